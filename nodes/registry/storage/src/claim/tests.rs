//! Two servers, one store; time is paused, and the store's clock is the machine's, so nothing looks old by it.

use super::*;
use crate::Memory;

fn claimant(owner: Option<&str>, instance: &str) -> Claimant {
    Claimant {
        owner: owner.map(str::to_owned),
        instance: instance.to_owned(),
        host: format!("host-of-{instance}"),
    }
}

fn store() -> Arc<dyn Driver> {
    Arc::new(Memory::new())
}

async fn take(
    store: &Arc<dyn Driver>,
    owner: Option<&str>,
    instance: &str,
) -> Result<Claim, ClaimError> {
    Claim::take(Arc::clone(store), claimant(owner, instance)).await
}

fn put(content: &'static str) -> Vec<Put> {
    vec![Put {
        path: "/x".parse().unwrap(),
        content: content.into(),
    }]
}

#[tokio::test(start_paused = true)]
async fn a_living_server_keeps_others_out() {
    let store = store();
    let first = take(&store, Some("a"), "1").await.unwrap();
    let (kept, second) = tokio::select! {
        lost = first.keep() => (Some(lost), None),
        second = take(&store, Some("b"), "2") => (None, Some(second)),
    };
    assert!(kept.is_none(), "{kept:?}");
    let refused = second.unwrap().unwrap_err();
    assert_eq!(
        refused.to_string(),
        "is in use by another roadstead on host-of-1"
    );
    assert!(first.lease().is_held());
}

#[tokio::test(start_paused = true)]
async fn who_gave_it_up_is_not_waited_for() {
    let store = store();
    take(&store, None, "1")
        .await
        .unwrap()
        .release()
        .await
        .unwrap();
    let began = Instant::now();
    take(&store, None, "2").await.unwrap();
    assert!(began.elapsed() < LOOK);
}

#[tokio::test(start_paused = true)]
async fn who_was_killed_comes_back_at_once_and_others_wait() {
    let store = store();
    let killed = take(&store, Some("a"), "1").await.unwrap();
    let began = Instant::now();
    let back = take(&store, Some("a"), "2").await.unwrap();
    assert!(began.elapsed() < LOOK);
    let lost = killed.keep().await;
    assert_eq!(
        lost.to_string(),
        "is in use by another roadstead on host-of-2"
    );
    assert!(!killed.lease().is_held());
    drop(back);
    let began = Instant::now();
    take(&store, Some("b"), "3").await.unwrap();
    let waited = began.elapsed();
    assert!(
        waited + LOOK >= DEAD_AFTER && waited < DEAD_AFTER * 2,
        "{waited:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn who_was_paused_writes_nothing_before_it_has_asked() {
    let store = store();
    let claim = take(&store, Some("a"), "1").await.unwrap();
    let held = Held::new(Arc::clone(&store), claim.lease());
    held.put(put("before")).await.unwrap();
    sleep(HELD_FOR).await;
    let refused = held.put(put("late")).await.unwrap_err();
    assert!(refused.to_string().contains("has lapsed"), "{refused}");
    assert!(held.stage("x").await.is_err());
    assert!(held.ensure(put("late")).await.is_err());
    assert!(held.remove(&"/x".parse().unwrap()).await.is_err());
    assert!(held.discard(&[]).await.is_err());
    let path = "/x".parse().unwrap();
    assert_eq!(held.get(&path, 10).await.unwrap(), "before", "reads go on");
    let kept = timeout(BEAT * 2, claim.keep()).await;
    assert!(kept.is_err(), "it has asked, and nobody had come");
    held.put(put("after")).await.unwrap();
}

/// The store was away for longer than a claim counts: whoever wants to write when it is back does not wait for a try that is
/// seconds away.
#[tokio::test(start_paused = true)]
async fn a_write_that_is_refused_wakes_the_beat() {
    // It takes no writes while this is over.
    let there = Lease::begun(Instant::now());
    let store: Arc<dyn Driver> = Arc::new(Held::new(store(), there.clone()));
    let claim = take(&store, Some("a"), "1").await.unwrap();
    let held = Held::new(Arc::clone(&store), claim.lease());
    let kept = tokio::spawn(async move { claim.keep().await });
    there.set(None);
    sleep(HELD_FOR + AGAIN / 2).await;
    held.put(put("nobody has it")).await.unwrap_err();
    there.set(Some(Instant::now()));
    let back = Instant::now();
    while held.put(put("again")).await.is_err() {
        sleep(SOON / 10).await;
    }
    assert!(back.elapsed() <= SOON * 2, "{:?}", back.elapsed());
    kept.abort();
}

/// Of two that found nobody, the one whose name stays.
#[tokio::test(start_paused = true)]
async fn of_two_at_once_one_stays() {
    let store = store();
    let other = Record {
        owner: "b".to_owned(),
        instance: "2".to_owned(),
        host: "elsewhere".to_owned(),
        beat: 0,
    };
    let overwrite = async {
        sleep(SETTLE / 2).await;
        record::write(&*store, &other).await.unwrap();
    };
    let (one, ()) = tokio::join!(take(&store, Some("a"), "1"), overwrite);
    let refused = one.unwrap_err();
    assert!(matches!(refused, ClaimError::InUse { host } if host == "elsewhere"));
    let found = record::read(&*store).await.unwrap();
    assert_eq!(found, Some(other), "it is left alone");
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_an_operator_removed_is_written_again() {
    let store = store();
    let claim = take(&store, None, "1").await.unwrap();
    store.remove(&record::path()).await.unwrap();
    let kept = timeout(BEAT * 2, claim.keep()).await;
    assert!(kept.is_err());
    assert!(record::read(&*store).await.unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn what_nobody_understands_is_left_alone() {
    let store = store();
    let strange = Put {
        path: record::path(),
        content: "something else".into(),
    };
    store.put(vec![strange]).await.unwrap();
    let refused = take(&store, None, "1").await.unwrap_err();
    assert!(matches!(refused, ClaimError::Strange { .. }), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn a_driver_that_is_held_keeps_the_contract() {
    let make = || {
        let lease = Lease::begun(Instant::now());
        Box::new(Held::new(store(), lease)) as Box<dyn Driver>
    };
    crate::contract::check(&make).await;
}
