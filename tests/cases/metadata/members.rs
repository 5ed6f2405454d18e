//! Members that lose their disk, join, leave; and the state of a stand-alone registry that becomes a cluster's.

use roadstead_metadata::{Command, Home, Local, Metadata as _, Outcome, system_clock};
use roadstead_tests::wait_for;

use super::group::{DEADLINE, Group, SESSION, Stream, append, present, remote_of};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_member_that_lost_its_disk_comes_back() {
    let mut group = Group::new(1..=3);
    group.start_all();
    let stream = Stream::start(group.remote()).await;
    stream.goes_on("the start").await;
    let leader = group.leader(1, None);
    let lost = if leader == 3 { 2 } else { 3 };
    group.kill(lost);
    std::fs::remove_dir_all(group.dir(lost)).expect("a directory");
    group.start(lost, &[]);
    // Until then the group still knows the member by its old disk.
    wait_for("the member is of the group again", DEADLINE, || {
        let told = group.cluster(leader, &["status", "--json"]).output().json();
        let own = told["asked"]
            .as_array()?
            .iter()
            .find(|told| told["id"] == lost)?;
        (own["blank"] == false).then_some(())
    });
    is_member(&group, leader, lost, "voter");
    let other = (1..=3)
        .find(|id| *id != lost && *id != leader)
        .expect("a third");
    group.kill(other);
    stream
        .goes_on("a loss of a disk, and a kill of another")
        .await;
    stream.check().await;
}

fn is_member(group: &Group, asking: u64, id: u64, role: &str) {
    let sentence = format!("member {id} is {role}, and has what the others have");
    wait_for(&sentence, DEADLINE, || {
        let status = group.status(asking);
        let members = status["members"].as_array()?;
        let found = members.iter().find(|member| member["id"] == id)?;
        let caught_up = found["behind"].as_u64()? < 50;
        (found["role"] == role && caught_up).then_some(())
    });
}

/// From one to three to five, and then without the first leader.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn members_join_and_leave_while_it_goes_on() {
    let mut group = Group::new(1..=5);
    let all = group.peers.clone();
    group.peers.retain(|id, _| *id == 1);
    group.start_all();
    let stream = Stream::start(remote_of(all.values().cloned().collect())).await;
    stream.goes_on("the start").await;
    for id in 2..=5 {
        let members = if id <= 3 { 3 } else { 5 };
        group.peers = all.clone();
        group.peers.retain(|id, _| *id <= members);
        group.start(id, &[]);
        let addr = group.peers[&id].clone();
        let added = group
            .cluster(1, &["add", &id.to_string(), &addr, "--json"])
            .ok();
        assert_eq!(added.json()["added"], id);
        is_member(&group, 1, id, "voter");
        stream.goes_on(&format!("member {id} came")).await;
    }
    let table = group.cluster(1, &["status"]).ok().text();
    assert!(
        table.contains("leader") && table.contains(&group.peers[&5]),
        "{table}"
    );
    let refused = group.cluster(1, &["remove", "9"]).fails();
    assert!(
        refused.said().contains("9 is no member"),
        "{}",
        refused.said()
    );
    let leader = group.leader(1, None);
    group.cluster(4, &["remove", &leader.to_string()]).ok();
    let asking = if leader == 1 { 2 } else { 1 };
    group.leader(asking, Some(leader));
    stream.goes_on("the removal of the leader").await;
    let members = group.status(asking)["members"].clone();
    assert_eq!(members.as_array().map(Vec::len), Some(4), "{members}");
    stream.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_stand_alone_registrys_state_begins_a_group() {
    let mut group = Group::new(1..=1);
    let journal = group.home.path().join("sessions.redb");
    let local = Local::open(Home::File(journal.clone()), system_clock()).expect("a journal");
    let secret = vec![3; 32];
    let adopt = |secret: &[u8]| Command::AdoptSecret {
        secret: secret.to_vec(),
    };
    local.propose(adopt(&secret)).await.expect("an outcome");
    let opened = local.now().await.expect("the present");
    local.propose(append(opened, 0)).await.expect("an outcome");
    local.close();
    group.start(1, &["--import", &journal.display().to_string()]);
    let remote = group.remote();
    present(&remote).await;
    group
        .running
        .get_mut(&1)
        .expect("the member")
        .wait_for_log("it imports", DEADLINE, |log| {
            log.contains("was imported").then_some(())
        });
    let adopted = remote.propose(adopt(&[4; 32])).await.expect("an outcome");
    assert!(adopted == Outcome::Secret { secret }, "another secret");
    assert_eq!(remote.segments(SESSION).await.expect("segments").len(), 1);
}

/// It was configured with one member, and that one is replaced.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_client_learns_who_replaced_all_that_it_was_configured_with() {
    let mut group = Group::new(1..=3);
    let all = group.peers.clone();
    group.peers.retain(|id, _| *id == 1);
    group.start_all();
    let remote = group.remote();
    present(&remote).await;
    group.peers = all;
    group.start(2, &[]);
    let addr = group.peers[&2].clone();
    group.cluster(1, &["add", "2", &addr]).ok();
    remote.fleet().await.expect("the nodes");
    group.cluster(1, &["remove", "1"]).ok();
    group.kill(1);
    group.leader(2, Some(1));
    let secret = vec![5; 32];
    let adopted = remote.propose(Command::AdoptSecret { secret }).await;
    assert!(adopted.is_ok(), "{:?}", adopted.err());
}
