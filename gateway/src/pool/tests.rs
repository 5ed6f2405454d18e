//! Which node is given a request.

use super::*;
use crate::options::{Expect, HealthOptions, Limits, Retries, Timeouts};

fn pool(names: &[&str]) -> Arc<Pool> {
    let options = Options {
        prefix: "/".to_owned(),
        trusted_proxies: Vec::new(),
        manifest_size: 1,
        body_idle: Duration::from_secs(1),
        refuse_ancient: false,
        health: HealthOptions {
            expect: Some(Expect::Ok),
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            rise: 1,
            fall: 1,
            slow_start: Duration::ZERO,
        },
        timeouts: Timeouts {
            answer: Duration::from_secs(1),
            commit: Duration::from_secs(1),
            idle: Duration::from_secs(1),
            patience: Duration::from_secs(5),
        },
        retries: Retries {
            tries: 1,
            percent: 1,
            reserve: 1,
        },
        limits: Limits {
            requests: 1,
            per_node: 2,
            chunk: 1,
            memory: 1,
        },
        receipts: None,
    };
    let dial = Dial {
        connect_within: Duration::from_secs(1),
        tls: None,
        http2: false,
        proxy: None,
    };
    let pool = Pool::build(
        &options,
        dial,
        GatewayMetrics::new("1", std::time::UNIX_EPOCH),
    );
    let nodes = names.iter().map(|name| {
        let node = Node::new(NodeInfo::at(name, 1));
        node.rise();
        node
    });
    *pool.nodes.write().unwrap() = nodes.collect();
    pool
}

#[tokio::test(start_paused = true)]
async fn an_empty_list_is_not_believed_while_one_is_well() {
    let pool = pool(&["a", "b"]);
    pool.set(&[]);
    assert!(pool.pick_now(&Want::default(), &[]).is_ok());
    for node in pool.all().iter() {
        node.fall();
    }
    pool.set(&[]);
    assert_eq!(pool.all().len(), 0);
}

fn session(id: &str) -> Want {
    Want {
        writes: true,
        session: Some(id.to_owned()),
    }
}

#[tokio::test(start_paused = true)]
async fn sessions_stay_at_their_node_and_most_of_them_when_another_goes() {
    let pool = pool(&["a", "b", "c"]);
    let of = |id: usize| {
        let picked = pool.pick_now(&session(&id.to_string()), &[]).unwrap();
        picked.node().name().to_owned()
    };
    let before: Vec<String> = (0..300).map(of).collect();
    for name in ["a:1", "b:1", "c:1"] {
        let share = before.iter().filter(|of| *of == name).count();
        assert!((60..140).contains(&share), "{name} has {share} of 300");
    }
    assert_eq!(before, (0..300).map(of).collect::<Vec<_>>());
    pool.all()[2].fall();
    for (before, now) in before.iter().zip((0..300).map(of)) {
        assert!(
            before == "c:1" || *before == now,
            "only those of the lost node move"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn the_least_loaded_of_two_is_picked_and_limits_are_kept() {
    let pool = pool(&["a", "b"]);
    let first = pool.pick_now(&Want::default(), &[]).unwrap();
    let second = pool.pick_now(&Want::default(), &[]).unwrap();
    assert_ne!(first.node().name(), second.node().name());
    let tried = [Arc::clone(first.node())];
    let third = pool.pick_now(&Want::default(), &tried).unwrap();
    assert_eq!(
        third.node().name(),
        second.node().name(),
        "rather one that was not tried"
    );
    let _fourth = pool.pick_now(&Want::default(), &[]).unwrap();
    assert_eq!(
        pool.pick_now(&Want::default(), &[]).unwrap_err(),
        NoNode::Free
    );
    drop(third);
    assert!(pool.pick_now(&Want::default(), &[]).is_ok());
}

#[tokio::test(start_paused = true)]
async fn one_without_a_lease_gets_only_what_reads_and_one_that_drains_nothing() {
    let pool = pool(&["a"]);
    let node = Arc::clone(&pool.all()[0]);
    let mut info = node.info.clone();
    info.takes_writes = false;
    node.told(&info);
    assert!(pool.pick_now(&Want::default(), &[]).is_ok());
    assert_eq!(pool.pick_now(&session("x"), &[]).unwrap_err(), NoNode::Well);
    info.draining = true;
    node.told(&info);
    assert_eq!(
        pool.pick_now(&Want::default(), &[]).unwrap_err(),
        NoNode::Well
    );
}

/// A gateway that was restarted has not asked any node yet.
#[tokio::test(start_paused = true)]
async fn at_the_start_the_first_check_is_waited_for() {
    let pool = pool(&["a"]);
    let node = Arc::clone(&pool.all()[0]);
    node.fall();
    let waiting = tokio::spawn({
        let pool = Arc::clone(&pool);
        async move { pool.pick(&Want::default(), &[]).await.is_ok() }
    });
    tokio::time::sleep(Duration::from_millis(500)).await;
    node.rise();
    pool.rose();
    assert!(waiting.await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_node_that_was_well_a_moment_ago_is_waited_for() {
    let pool = pool(&["a"]);
    let node = Arc::clone(&pool.all()[0]);
    node.fall();
    tokio::time::advance(RECENTLY).await;
    let begun = Instant::now();
    assert_eq!(
        pool.pick(&Want::default(), &[]).await.unwrap_err(),
        NoNode::Well
    );
    assert!(begun.elapsed().is_zero(), "none ever was: nobody waits");
    node.rise();
    drop(pool.pick(&Want::default(), &[]).await.unwrap());
    node.fall();
    let waiting = tokio::spawn({
        let pool = Arc::clone(&pool);
        async move { pool.pick(&Want::default(), &[]).await.is_ok() }
    });
    tokio::time::sleep(Duration::from_secs(4)).await;
    node.rise();
    pool.rose();
    assert!(waiting.await.unwrap());
    node.fall();
    assert_eq!(
        pool.pick(&Want::default(), &[]).await.unwrap_err(),
        NoNode::Well
    );
}
