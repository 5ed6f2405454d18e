//! `tests/golden/v1.txt`: what has been stored or sent once is read for ever. Add a file per version; never edit one.

use std::collections::{BTreeMap, BTreeSet};

use openraft::{CommittedLeaderId, EntryPayload};
use roadstead_machine::Command;

use super::*;

fn log_id(index: u64) -> LogId {
    LogId::new(CommittedLeaderId::new(3, 2), index)
}

fn membership() -> openraft::Membership<u64, Member> {
    let member = Member {
        addr: "meta-1:7000".to_owned(),
        incarnation: [5; 16],
    };
    openraft::Membership::new(vec![BTreeSet::from([1])], BTreeMap::from([(1, member)]))
}

fn entries() -> Vec<LogEntry> {
    let command = Proposed {
        until: Timestamp(2_000),
        entry: Entry {
            at: Timestamp(1_000),
            command: Command::Purge {
                idle_since: Timestamp(5),
            },
        },
    };
    let payloads = [
        EntryPayload::Blank,
        EntryPayload::Normal(Change::Commands(vec![command])),
        EntryPayload::Normal(Change::Import(vec![1, 2, 3])),
        EntryPayload::Membership(membership()),
    ];
    (7..)
        .zip(payloads)
        .map(|(index, payload)| LogEntry {
            log_id: log_id(index),
            payload,
        })
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

#[test]
fn stored_forms_are_frozen() {
    let mut lines = Vec::new();
    for entry in entries() {
        let bytes = encode(&entry).unwrap();
        assert_eq!(decode::<LogEntry>(&bytes).unwrap(), entry);
        lines.push(hex(&bytes));
    }
    let vote = Vote::new_committed(3, 2);
    let bytes = encode(&vote).unwrap();
    assert_eq!(decode::<Vote>(&bytes).unwrap(), vote);
    lines.push(hex(&bytes));
    let meta = SnapshotMeta {
        last_log_id: Some(log_id(9)),
        last_membership: Membership::new(Some(log_id(8)), membership()),
        snapshot_id: "3-2-9".to_owned(),
    };
    let bytes = encode(&meta).unwrap();
    assert_eq!(decode::<SnapshotMeta>(&bytes).unwrap(), meta);
    lines.push(hex(&bytes));
    let golden = include_str!("../tests/golden/v1.txt");
    assert_eq!(lines.join("\n"), golden.trim_end());
}

#[test]
fn what_a_newer_version_wrote_is_refused_by_name() {
    assert!(matches!(decode::<Vote>(&[9]), Err(FormError::Newer(9))));
    assert!(matches!(decode::<Vote>(&[]), Err(FormError::Empty)));
    assert!(matches!(decode::<Vote>(&[1]), Err(FormError::Damaged(_))));
}
