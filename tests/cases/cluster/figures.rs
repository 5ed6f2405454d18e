//! What a cluster tells of itself: figures, health, and `cluster status`.

use roadstead_oci::{Algorithm, Digest};
use roadstead_tests::{Client, wait_for, wait_until};

use super::nodes::{Cluster, DEADLINE, path_of};
use crate::metadata::group::Group;

/// The addresses that a process says it listens on for operators.
fn debug_of(log: &str) -> Option<Client> {
    let (_, rest) = log.split_once("debug server listening ")?;
    let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.' && c != ':')?;
    Some(Client::new(&format!("http://{}", rest.get(..end)?)))
}

fn figure(text: &str, series: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(series));
    line?.trim().parse().ok()
}

#[track_caller]
fn reads(client: &Client, series: &str, expected: impl Fn(f64) -> bool) {
    wait_until(&format!("{series} is right"), DEADLINE, || {
        let text = client.get("/metrics").expect_status(200).text();
        figure(&text, series).is_some_and(&expected)
    });
}

#[test]
fn nodes_and_members_tell_how_they_stand() {
    let mut group = Group::new(1..=3).with_debug();
    group.start_all();
    let mut cluster = Cluster::around(group, 0);
    cluster.add_with(
        "http:\n  addr: 127.0.0.1:0\n  debug: {addr: '127.0.0.1:0', prometheus: {enabled: true}}\n",
        None,
    );
    let blob = b"counted".to_vec();
    let digest = Digest::of(Algorithm::Sha256, &blob);
    let repository = cluster.node(0).repository("figures");
    let at = path_of(&repository.open_upload());
    let at = path_of(repository.patch(&at, &blob).expect_status(202).location());
    repository
        .close_upload(&at, b"", &digest)
        .expect_status(201);
    let node = debug_of(&cluster.node(0).log()).expect("the node's debug address");
    for series in ["append\",outcome=\"appended", "seal\",outcome=\"sealed"] {
        let series = format!("roadstead_metadata_proposal_seconds_count{{command=\"{series}\"}}");
        reads(&node, &series, |count| count >= 1.0);
    }
    for command in ["append", "seal", "finish"] {
        let series = format!("roadstead_upload_sessions_decided_total{{command=\"{command}\"}}");
        reads(&node, &series, |count| count >= 1.0);
    }
    reads(&node, "roadstead_lease_held", |held| held > 0.5);
    reads(&node, "roadstead_lease_epoch", |epoch| epoch >= 1.0);
    reads(&node, "roadstead_lease_age_seconds", |age| age < 8.0);
    members_tell_how_they_stand(cluster.group());
    reads(
        &node,
        "roadstead_metadata_leader_changes_total",
        |changes| changes >= 1.0,
    );
    reads(&node, "roadstead_metadata_retries_total", |retries| {
        retries >= 1.0
    });
}

/// Kills the one that leads.
fn members_tell_how_they_stand(group: &mut Group) {
    let leader = group.leader(1, None);
    let told = |id: u64| debug_of(&group.running[&id].log()).expect("the member's debug address");
    let leads = told(leader);
    assert_eq!(leads.get("/livez").status, 200);
    assert_eq!(leads.get("/readyz").status, 200);
    assert_eq!(leads.get("/v2/").status, 404);
    reads(&leads, "roadstead_raft_role{role=\"leader\"}", |is| {
        is > 0.5
    });
    reads(&leads, "roadstead_cluster_nodes", |nodes| nodes > 0.5);
    reads(&leads, "roadstead_raft_sync_seconds_count", |syncs| {
        syncs > 1.0
    });
    reads(&leads, "roadstead_raft_proposals_total", |made| made > 1.0);
    let follower = if leader == 1 { 2 } else { 1 };
    let series = format!("roadstead_raft_member_behind_entries{{member=\"{follower}\"}}");
    reads(&leads, &series, |behind| behind < 100.0);
    let follows = told(follower);
    reads(&follows, "roadstead_raft_role{role=\"follower\"}", |is| {
        is > 0.5
    });
    let third = told(6 - leader - follower);
    group.kill(leader);
    let next = group.leader(follower, Some(leader));
    wait_until("those that are left are ready", DEADLINE, || {
        follows.get("/readyz").status == 200
    });
    // The last one has nobody to decide with.
    group.kill(next);
    let (left, one) = if next == follower {
        (6 - leader - follower, third)
    } else {
        (follower, follows)
    };
    wait_until("it says so", DEADLINE, || one.get("/readyz").status == 503);
    assert_eq!(one.get("/livez").status, 200);
    a_status_without_a_quorum(group, left);
    group.start(next, &[]);
    group.leader(left, None);
}

fn a_status_without_a_quorum(group: &Group, left: u64) {
    let said = group.cluster(left, &["status"]).fails();
    let table = said.text();
    assert!(table.contains("NO QUORUM: 1 of 3"), "{table}");
    assert!(
        table.contains("serving"),
        "the node that was there: {table}"
    );
    let told = group.cluster(left, &["status", "--json"]).fails().json();
    assert_eq!(told["quorum"], false, "{told}");
    let refused = group.cluster(left, &["remove", &left.to_string()]).fails();
    assert!(
        refused.said().contains("only while a quorum answers"),
        "{}",
        refused.said()
    );
    let known = told["group"]["members"].as_array().map(Vec::len);
    assert_eq!(known, Some(3), "{told}");
}

/// A member that is not in anybody's configuration is asked as well.
#[test]
fn status_shows_all_there_is() {
    let mut group = Group::new(1..=3);
    let all = group.peers.clone();
    group.peers.retain(|id, _| *id == 1);
    group.start_all();
    let mut cluster = Cluster::around(group, 1);
    let group = cluster.group();
    // It names all that there will be; the first names itself alone, and so does the operator.
    group.peers = all.clone();
    group.start(2, &[]);
    group.peers.retain(|id, _| *id == 1);
    group.cluster(1, &["add", "2", &all[&2]]).ok();
    let told = wait_for("both answer", DEADLINE, || {
        let told = group.cluster(1, &["status", "--json"]).output().json();
        let members = told["group"]["members"].as_array()?.clone();
        let both = members.len() == 2 && members.iter().all(|one| one["answers"] == true);
        both.then_some(told)
    });
    assert_eq!(told["quorum"], true);
    assert_eq!(told["cluster"].as_str().map(str::len), Some(32));
    assert_eq!(told["nodes"][0]["state"], "serving");
    assert_eq!(
        told["versions"].as_object().map(serde_json::Map::len),
        Some(1)
    );
    let table = group.cluster(1, &["status"]).ok().text();
    for words in [
        "leads",
        "MEMBER",
        "NODE",
        all[&2].as_str(),
        "open uploads: 0",
    ] {
        assert!(table.contains(words), "{words}: {table}");
    }
}
