//! A leader that sleeps: the others go on, and when it wakes up it answers nothing stale.

use roadstead_metadata::{Metadata as _, Standing};
use rustix::process::Signal;

use super::group::{Group, SESSION, Stream, remote_of};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_leader_that_wakes_up_answers_nothing_stale() {
    let mut group = Group::new(1..=3);
    group.start_all();
    let stream = Stream::start(group.remote()).await;
    stream.goes_on("the start").await;
    let leader = group.leader(1, None);
    // Its connection is open before it sleeps, so that the question below is the first thing it hears.
    let asking = remote_of(vec![group.peers[&leader].clone()]);
    asking
        .session(SESSION)
        .await
        .expect("an answer of the leader");
    group
        .running
        .get_mut(&leader)
        .expect("the leader")
        .signal(Signal::STOP);
    stream.goes_on("a SIGSTOP of the leader").await;
    let acknowledged = stream.acknowledged();
    let asked = tokio::spawn(async move { asking.session(SESSION).await });
    group
        .running
        .get_mut(&leader)
        .expect("the leader")
        .signal(Signal::CONT);
    let standing = asked.await.expect("a task").expect("an answer");
    let Some(Standing::Receiving { offset, .. }) = standing else {
        panic!("{standing:?}");
    };
    assert!(
        offset >= acknowledged,
        "{offset} was read after {acknowledged} was acknowledged"
    );
    stream.goes_on("its waking up").await;
    stream.check().await;
}
