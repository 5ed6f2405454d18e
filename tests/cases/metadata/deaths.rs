//! Members that are killed, one by one and all at once, under a stream of proposals.

use super::group::{DEADLINE, Group, Stream};

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
