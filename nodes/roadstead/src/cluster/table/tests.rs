//! How a cluster looks to people: to the letter, and within 80 columns with names of ordinary length.

use roadstead_metadata::{Member, Node, NodeId, Nodes, Timestamp};

use super::*;

fn member(id: u64, matched: Option<u64>) -> Member {
    Member {
        id,
        addr: format!("meta-{id}.example.com:7000"),
        voter: true,
        matched,
    }
}

fn status(id: u64, leader: Option<u64>) -> StatusResponse {
    let leads = leader == Some(id);
    StatusResponse {
        id,
        version: "0.1.0".to_owned(),
        term: 4,
        leader,
        last_log: Some(1_234_567),
        applied: Some(1_234_567),
        members: (1..=3)
            .map(|id| member(id, leads.then_some(1_234_560)))
            .collect(),
        open_sessions: 5,
        cluster: "00112233445566778899aabbccddeeff".to_owned(),
        up_seconds: 90_000 * id,
        present: 100_000_000,
        ..StatusResponse::default()
    }
}

fn nodes() -> Nodes {
    let node = |address: &str, version: &str, draining| Node {
        address: address.to_owned(),
        version: version.to_owned(),
        epoch: 12,
        joined: Timestamp(92_000_000),
        draining,
    };
    Nodes::from([
        (
            NodeId([2; 16]),
            node("node-a.example.com:5000", "0.1.0", false),
        ),
        (
            NodeId([1; 16]),
            node("node-b.example.com:5000", "0.2.0", true),
        ),
    ])
}

fn gone() -> Refused {
    Refused("no answer".to_owned())
}

#[test]
fn a_cluster_that_is_well() {
    let told = (1..=3).map(|id| (format!("meta-{id}"), Ok(status(id, Some(2)))));
    let table = readable(&Seen::new(told.collect(), Some(nodes())));
    let expected = "\
member 2 leads
cluster 00112233445566778899aabbccddeeff, term 4, log entry 1234567, open uploads: 5

MEMBER  ADDRESS                  ROLE    BEHIND  APPLIED     UP  VERSION
     1  meta-1.example.com:7000  voter        7  1234567  1d01h  0.1.0
     2  meta-2.example.com:7000  leader       7  1234567  2d02h  0.1.0
     3  meta-3.example.com:7000  voter        7  1234567  3d03h  0.1.0

NODE                     STATE     LEASE  SINCE  VERSION
node-a.example.com:5000  serving      12  2h13m  0.1.0
node-b.example.com:5000  draining     12  2h13m  0.2.0

versions differ:
  0.1.0: member 1, member 2, member 3, node node-a.example.com:5000
  0.2.0: node node-b.example.com:5000";
    assert_eq!(table, expected);
    assert!(table.lines().all(|line| line.len() < 86), "{table}");
}

#[test]
fn a_group_without_a_quorum_shows_what_one_member_knows() {
    let mut left = status(3, None);
    left.nodes = roadstead_metadata::encode_nodes(&nodes()).unwrap();
    let told = vec![
        ("meta-1:7000".to_owned(), Err(gone())),
        ("meta-2:7000".to_owned(), Err(gone())),
        ("meta-3:7000".to_owned(), Ok(left)),
    ];
    let seen = Seen::new(told, None);
    let table = readable(&seen);
    for line in [
        "NO QUORUM: 1 of 3 voting members answer, 2 are needed.",
        "As member 3 knows it; it may be out of date.",
        "     1  meta-1.example.com:7000  voter       -        -      -  no answer",
        "node-a.example.com:5000  serving      12  2h13m  0.1.0",
        "meta-2:7000: no answer",
    ] {
        assert!(table.lines().any(|told| told == line), "{line}\n{table}");
    }
    let told: Value = serde_json::from_str(&json(&seen)).unwrap();
    assert_eq!(told["quorum"], false);
    assert_eq!(told["group"]["members"][0]["answers"], false);
    assert_eq!(told["nodes"][0]["joined_seconds"], 8000);
}

#[test]
fn certificates_that_are_ordered_for_all() {
    let mut told = status(1, Some(1));
    let certificate = |names: &str, not_after, failure: &str| Certificate {
        names: names.to_owned(),
        not_after,
        failure: failure.to_owned(),
    };
    told.certificates = vec![
        certificate("new.example", None, "the authority: Connection refused"),
        certificate("hub.example", Some(100_000_000 + 90_000_000), ""),
        certificate("old.example www.old.example", Some(99_999_999), ""),
    ];
    let seen = Seen::new(vec![("meta-1".to_owned(), Ok(told))], Some(Nodes::new()));
    let table = readable(&seen);
    let expected = "\
CERTIFICATE                  GOOD FOR
hub.example                  1d01h
new.example                  not yet issued
old.example www.old.example  EXPIRED

no certificate was issued for new.example: the authority: Connection refused";
    assert!(table.ends_with(expected), "{table}");
    let told: Value = serde_json::from_str(&json(&seen)).unwrap();
    assert_eq!(told["certificates"][1]["good_for_seconds"], 90_000);
}

#[test]
fn a_leader_that_is_believed_by_nobody_is_none() {
    let told = (1..=3).map(|id| (format!("meta-{id}"), Ok(status(id, Some(1)))));
    let table = readable(&Seen::new(told.collect(), None));
    assert!(table.starts_with("NO LEADER: 3 of 3"), "{table}");
    assert!(!table.contains("leader  "), "{table}");
}

#[test]
fn nobody_and_blank_members() {
    let silent = Seen::new(vec![("meta-1:7000".to_owned(), Err(gone()))], None);
    assert!(readable(&silent).starts_with("NO MEMBER ANSWERS"));
    let blank = StatusResponse {
        id: 1,
        blank: true,
        ..StatusResponse::default()
    };
    let table = readable(&Seen::new(
        vec![("meta-1:7000".to_owned(), Ok(blank))],
        None,
    ));
    assert!(table.starts_with("NO GROUP YET"), "{table}");
    assert!(table.contains("member 1 is blank"), "{table}");
}
