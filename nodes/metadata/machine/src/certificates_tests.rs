//! Who may write, who has adopted it, and the bytes of it.

use super::*;
use crate::{
    Command, Entry, Machine, Outcome, decode_entry, decode_outcome, encode_entry, encode_outcome,
};

const RECORD: RecordId = RecordId([7; 16]);
const KEY: u64 = 5;

fn id(n: u8) -> NodeId {
    NodeId([n; 16])
}

/// A machine with a clock that stands where it is put, in seconds.
#[derive(Default)]
struct Log {
    machine: Machine,
    now: u64,
}

/// What a follower is told.
#[derive(Debug, PartialEq, Eq)]
struct Heard {
    version: u64,
    term: Option<u64>,
    document: Option<Vec<u8>>,
    unaware: u32,
    strangers: u32,
}

impl Log {
    fn apply(&mut self, command: CertificateCommand) -> CertificateOutcome {
        let at = Timestamp(self.now * 1000);
        let command = Command::Certificates(command);
        match self.machine.apply(Entry { at, command }) {
            Outcome::Certificates(outcome) => outcome,
            other => panic!("{other:?}"),
        }
    }

    fn follow_with(&mut self, record: RecordId, n: u8, seen: u64, key: u64) -> Heard {
        let process = id(n);
        let follow = CertificateCommand::Follow {
            record,
            process,
            seen,
            key,
        };
        match self.apply(follow) {
            CertificateOutcome::Followed {
                version,
                term,
                document,
                unaware,
                strangers,
            } => Heard {
                version,
                term,
                document,
                unaware,
                strangers,
            },
            other => panic!("{other:?}"),
        }
    }

    fn follow(&mut self, n: u8, seen: u64) -> Heard {
        self.follow_with(RECORD, n, seen, KEY)
    }

    fn write(&mut self, term: u64, document: &[u8]) -> CertificateOutcome {
        self.apply(write(term, document))
    }
}

fn write(term: u64, document: &[u8]) -> CertificateCommand {
    CertificateCommand::Write {
        record: RECORD,
        term,
        document: document.to_vec(),
        told: Told {
            names: "a.example".to_owned(),
            not_after: Some(Timestamp(9)),
            failure: None,
        },
    }
}

#[test]
fn one_writes_and_all_are_told_and_counted() {
    let mut log = Log::default();
    let first = log.follow(1, 0);
    assert_eq!((first.term, first.document), (Some(1), None));
    assert_eq!(log.follow(2, 0).term, None);
    assert_eq!(
        log.write(1, b"x"),
        CertificateOutcome::Written { version: 2 }
    );
    assert_eq!(log.follow(1, 2).unaware, 1, "the second has not adopted it");
    let second = log.follow(2, 0);
    assert_eq!((second.version, second.document), (2, Some(b"x".to_vec())));
    assert_eq!(log.follow(2, 2).document, None);
    assert_eq!(log.follow(1, 2).unaware, 0);
}

#[test]
fn one_that_is_not_heard_is_not_waited_for() {
    let mut log = Log::default();
    log.follow(1, 0);
    log.follow(2, 0);
    log.write(1, b"x");
    log.now = FOLLOWS_FOR.as_secs() - 1;
    assert_eq!(log.follow(1, 2).unaware, 1);
    log.now += 1;
    assert_eq!(log.follow(1, 2).unaware, 0);
}

#[test]
fn a_holder_that_was_replaced_writes_no_more() {
    let mut log = Log::default();
    assert_eq!(log.follow(1, 0).term, Some(1));
    log.now = FOLLOWS_FOR.as_secs();
    assert_eq!(
        log.write(1, b"late"),
        CertificateOutcome::Written { version: 2 },
        "nobody else wanted to"
    );
    assert_eq!(log.follow(2, 0).term, Some(3));
    assert_eq!(log.write(1, b"too late"), CertificateOutcome::Fenced);
    assert_eq!(log.follow(1, 2).term, None);
    assert_eq!(
        log.write(3, b"y"),
        CertificateOutcome::Written { version: 4 }
    );
}

#[test]
fn whoever_leaves_is_replaced_at_once() {
    let mut log = Log::default();
    let leave = |n| CertificateCommand::Leave {
        record: RECORD,
        process: id(n),
    };
    log.follow(1, 0);
    log.follow(2, 0);
    log.apply(leave(2));
    assert_eq!(
        log.follow(1, 0).term,
        Some(1),
        "another one's leaving is nothing"
    );
    log.apply(leave(1));
    assert_eq!(log.write(1, b"x"), CertificateOutcome::Fenced);
    assert_eq!(log.follow(2, 0).term, Some(2));
}

#[test]
fn other_keys_are_counted() {
    let mut log = Log::default();
    log.follow_with(RECORD, 1, 0, 1);
    assert_eq!(log.follow_with(RECORD, 2, 0, 2).strangers, 1);
    assert_eq!(log.follow_with(RECORD, 1, 0, 2).strangers, 0);
}

#[test]
fn everything_is_bounded() {
    let mut log = Log::default();
    log.follow(1, 0);
    let large = vec![0; MAX_DOCUMENT + 1];
    assert_eq!(log.write(1, &large), CertificateOutcome::TooMuch);
    let wordy = CertificateCommand::Write {
        record: RECORD,
        term: 1,
        document: Vec::new(),
        told: Told {
            failure: Some("x".repeat(MAX_TOLD + 1)),
            ..Told::default()
        },
    };
    assert_eq!(log.apply(wordy), CertificateOutcome::TooMuch);
    for n in 0..MAX_FOLLOWERS {
        let mut process = [9; 16];
        process[..8].copy_from_slice(&n.to_be_bytes());
        let outcome = log.apply(CertificateCommand::Follow {
            record: RECORD,
            process: NodeId(process),
            seen: 0,
            key: KEY,
        });
        let is_last = n + 1 == MAX_FOLLOWERS;
        assert_eq!(outcome == CertificateOutcome::TooMuch, is_last, "{n}");
    }
}

/// A term of one that was forgotten is not given again: whoever had it may be paused.
#[test]
fn a_record_that_nobody_follows_makes_room() {
    let mut log = Log::default();
    let record = |n: usize| RecordId([u8::try_from(n).unwrap(); 16]);
    for n in 0..MAX_RECORDS {
        log.follow_with(record(n), 1, 0, KEY);
    }
    let another = CertificateCommand::Follow {
        record: record(MAX_RECORDS),
        process: id(1),
        seen: 0,
        key: KEY,
    };
    assert_eq!(log.apply(another.clone()), CertificateOutcome::TooMuch);
    log.now = FOLLOWS_FOR.as_secs() - 1;
    for n in 1..MAX_RECORDS {
        log.follow_with(record(n), 1, 0, KEY);
    }
    log.now += 1;
    assert!(matches!(
        log.apply(another),
        CertificateOutcome::Followed { .. }
    ));
    log.now += 100;
    let again = log.follow_with(record(0), 2, 0, KEY).term;
    assert_eq!(again, Some(MAX_RECORDS as u64 + 2), "its first was 1");
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

fn unhex(text: &str) -> Vec<u8> {
    let digit = |at| u8::from_str_radix(text.get(at..at + 2).unwrap(), 16).unwrap();
    (0..text.len()).step_by(2).map(digit).collect()
}

/// `tests/golden/v4.txt`: one line for each entry, the state after them, the entry that ends it, and then each outcome.
#[test]
fn what_the_fourth_version_brought_is_frozen() {
    let entry = |at, command| Entry {
        at: Timestamp(at),
        command: Command::Certificates(command),
    };
    let follow = |n, seen| CertificateCommand::Follow {
        record: RECORD,
        process: id(n),
        seen,
        key: KEY,
    };
    let leave = CertificateCommand::Leave {
        record: RECORD,
        process: id(1),
    };
    let history = [
        entry(1001, follow(1, 0)),
        entry(1002, follow(2, 0)),
        entry(1003, write(1, b"sealed")),
        entry(1004, follow(2, 2)),
    ];
    let mut machine = Machine::default();
    let mut lines = Vec::new();
    for entry in history {
        let bytes = encode_entry(&entry).unwrap();
        assert_eq!(decode_entry(&bytes).unwrap(), entry);
        lines.push(hex(&bytes));
        machine.apply(entry);
    }
    let golden = include_str!("../tests/golden/v4.txt");
    let state = golden.lines().nth(lines.len()).unwrap_or_default();
    lines.push(hex(&machine.encode().unwrap()));
    lines.push(hex(&encode_entry(&entry(1005, leave)).unwrap()));
    let outcomes = [
        CertificateOutcome::Followed {
            version: 2,
            term: Some(1),
            document: Some(b"sealed".to_vec()),
            unaware: 3,
            strangers: 4,
        },
        CertificateOutcome::Written { version: 2 },
        CertificateOutcome::Fenced,
        CertificateOutcome::TooMuch,
        CertificateOutcome::Left,
    ];
    for outcome in outcomes.map(Outcome::Certificates) {
        let bytes = encode_outcome(&outcome).unwrap();
        assert_eq!(decode_outcome(&bytes).unwrap(), outcome);
        lines.push(hex(&bytes));
    }
    assert_eq!(lines.join("\n"), golden.trim_end());
    assert_eq!(Machine::decode(&unhex(state)).unwrap(), machine);
}
