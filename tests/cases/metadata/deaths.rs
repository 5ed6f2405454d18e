//! Members that are killed, one by one and all at once, under a stream of proposals.

use roadstead_metadata::Metadata as _;
use roadstead_tests::wait_for;

use super::group::{DEADLINE, Group, SESSION, Stream};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_acknowledged_proposal_dies_with_a_member() {
    let mut group = Group::new(1..=3);
    group.start_all();
    let stream = Stream::start(group.remote()).await;
    stream.goes_on("the start").await;
    let first = group.leader(1, None);
    group.kill(first);
    stream.goes_on("a kill of the leader").await;
    group.start(first, &[]);
    for id in 1..=3 {
        group.kill(id);
        stream.goes_on(&format!("a kill of member {id}")).await;
        group.start(id, &[]);
    }
    for id in 1..=3 {
        group.kill(id);
    }
    group.start_all();
    stream.goes_on("a kill of all at once").await;
    stream.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_leader_that_is_stopped_hands_over() {
    let mut group = Group::new(1..=3);
    group.start_all();
    let stream = Stream::start(group.remote()).await;
    stream.goes_on("the start").await;
    let leader = group.leader(1, None);
    let mut process = group.running.remove(&leader).expect("the leader");
    assert!(process.stop(DEADLINE).success());
    assert!(
        process.log().contains("handing the lead over"),
        "{}",
        process.log()
    );
    stream.goes_on("a SIGTERM of the leader").await;
    stream.check().await;
}

/// Enough for several snapshots, which the member that was away has to be given.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_member_that_was_away_for_long_is_given_a_snapshot() {
    let mut group = Group::new(1..=3);
    group.start_all();
    let stream = Stream::start(group.remote()).await;
    stream.goes_on("the start").await;
    let leader = group.leader(1, None);
    let away = if leader == 3 { 2 } else { 3 };
    group.kill(away);
    let snapshot = || {
        let asked = group.cluster(leader, &["status", "--json"]).output().json();
        let asked = asked["asked"]
            .as_array()?
            .iter()
            .find(|told| told["id"] == leader)?;
        asked["snapshot"].as_u64()
    };
    let first = wait_for("a snapshot is taken", DEADLINE, snapshot);
    wait_for("another is taken", DEADLINE, || {
        snapshot().filter(|now| *now > first + 300)
    });
    group.start(away, &[]);
    wait_for("the member has caught up", DEADLINE, || {
        let status = group.status(leader);
        let members = status["members"].as_array()?;
        let behind = members.iter().find(|member| member["id"] == away)?["behind"].as_u64()?;
        (behind < 50).then_some(())
    });
    stream.check().await;
    let remote = group.remote();
    assert!(remote.session(SESSION).await.expect("an answer").is_some());
}
