//! Forms that were written once are read for ever.

use super::*;
use crate::cluster::{ClusterId, Fingerprint, NodeId};
use crate::collection::{CollectOutcome, Unit};
use crate::session::{Origin, Segment, SessionId};
use crate::time::Timestamp;
use roadstead_oci::{Algorithm, Digest, Hasher};

fn history() -> Vec<Entry> {
    let origin = |n| Origin {
        session: SessionId([n; 16]),
        repository: "a/b".parse().unwrap(),
        opened: Timestamp(1000),
    };
    let segment = |place: &str| Segment {
        place: place.to_owned(),
        length: 3,
    };
    let mut hasher = Hasher::new(Algorithm::Sha256);
    hasher.update(b"abc");
    let state = hasher.save();
    let digest = Digest::of(Algorithm::Sha512, b"abcabc");
    let commands = [
        Command::AdoptSecret {
            secret: vec![7; 32],
        },
        Command::Append {
            origin: origin(1),
            from: 0,
            segment: segment("p"),
            state,
        },
        Command::Seal {
            origin: origin(2),
            at: 0,
            tail: Some(segment("q")),
            digest,
        },
        Command::Cancel { origin: origin(3) },
        Command::Finish {
            session: SessionId([2; 16]),
        },
        Command::Purge {
            idle_since: Timestamp(5),
        },
    ];
    commands
        .into_iter()
        .zip(1001..)
        .map(|(command, at)| Entry {
            at: Timestamp(at),
            command,
        })
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// `tests/golden/v1.txt`: one line per entry of [`history`], then the state after it. Add a file per version; never edit one.
#[test]
fn the_stored_forms_are_frozen() {
    let mut machine = Machine::default();
    let mut lines = Vec::new();
    for entry in history() {
        let bytes = encode_entry(&entry).unwrap();
        assert_eq!(decode_entry(&bytes).unwrap(), entry);
        lines.push(hex(&bytes));
        machine.apply(entry);
    }
    let golden = include_str!("../tests/golden/v1.txt").trim_end();
    let (entries, state) = golden.rsplit_once('\n').unwrap();
    assert_eq!(lines.join("\n"), entries);
    assert_eq!(Machine::decode(&unhex(state)).unwrap(), machine);
}

fn unhex(text: &str) -> Vec<u8> {
    let digit = |at| u8::from_str_radix(text.get(at..at + 2).unwrap(), 16).unwrap();
    (0..text.len()).step_by(2).map(digit).collect()
}

fn history_of_a_cluster() -> Vec<Entry> {
    let join = |id, address: &str| ClusterCommand::Join {
        node: NodeId([id; 16]),
        address: address.to_owned(),
        version: "1.2.3".to_owned(),
        fingerprint: Fingerprint {
            store: "filesystem 07".to_owned(),
            secret: Some([9; 32]),
            authentication: "htpasswd".to_owned(),
            redis: None,
        },
    };
    let commands = [
        Command::AdoptSecret {
            secret: vec![7; 32],
        },
        Command::Cluster(join(1, "a:5000")),
        Command::Cluster(join(2, "b:5000")),
        Command::Cluster(ClusterCommand::Drain {
            address: "b:5000".to_owned(),
            on: true,
        }),
        Command::Cluster(ClusterCommand::Leave {
            node: NodeId([1; 16]),
            epoch: 1,
        }),
        Command::Cluster(ClusterCommand::RotateSecret {
            secret: vec![8; 32],
        }),
        Command::Renounce {
            places: vec!["p".to_owned()],
        },
        Command::Cluster(ClusterCommand::Identify {
            id: ClusterId([5; 16]),
        }),
    ];
    let at = |(command, at)| Entry {
        at: Timestamp(at),
        command,
    };
    commands.into_iter().zip(1001..).map(at).collect()
}

/// `tests/golden/v2.txt`, in the same way.
#[test]
fn what_the_second_version_brought_is_frozen() {
    let mut machine = Machine::default();
    let mut lines = Vec::new();
    for entry in history_of_a_cluster() {
        let bytes = encode_entry(&entry).unwrap();
        assert_eq!(decode_entry(&bytes).unwrap(), entry);
        lines.push(hex(&bytes));
        machine.apply(entry);
    }
    let golden = include_str!("../tests/golden/v2.txt").trim_end();
    let (entries, state) = golden.rsplit_once('\n').unwrap();
    assert_eq!(lines.join("\n"), entries);
    assert_eq!(Machine::decode(&unhex(state)).unwrap(), machine);
}

/// Two nodes; one coordinates, one has acknowledged, and some of it is being reaped.
fn history_of_a_collection() -> Vec<Entry> {
    let repository: roadstead_oci::Name = "a/b".parse().unwrap();
    let digest = Digest::of(Algorithm::Sha256, b"abc");
    let revision = Unit::Revision {
        repository: repository.clone(),
        digest: digest.clone(),
    };
    let layer = Unit::Layer {
        repository,
        digest: digest.clone(),
    };
    let data = Unit::Data { digest };
    let acknowledge = |epoch, vetoes| CollectCommand::Acknowledge {
        epoch,
        version: 1,
        vetoes,
    };
    let commands = [
        CollectCommand::Begin { epoch: 1 },
        CollectCommand::Condemn {
            term: 1,
            after: 0,
            units: vec![revision, layer.clone(), data.clone()],
            wait: std::time::Duration::from_millis(1500),
        },
        acknowledge(1, vec![layer]),
        acknowledge(2, Vec::new()),
        CollectCommand::Rescue {
            version: 1,
            units: Vec::new(),
        },
        CollectCommand::Reap {
            term: 1,
            version: 1,
            units: vec![data],
        },
    ];
    let joins = history_of_a_cluster().into_iter().skip(1).take(2);
    let at = |(command, at)| Entry {
        at: Timestamp(at),
        command: Command::Collect(command),
    };
    let collects = commands.into_iter().zip((2000..).step_by(1000)).map(at);
    joins.chain(collects).collect()
}

/// `tests/golden/v3.txt`, in the same way: the entries, the state after them, and the entry that ends it.
#[test]
fn what_the_third_version_brought_is_frozen() {
    let mut machine = Machine::default();
    let mut lines = Vec::new();
    for entry in history_of_a_collection() {
        let bytes = encode_entry(&entry).unwrap();
        assert_eq!(decode_entry(&bytes).unwrap(), entry);
        lines.push(hex(&bytes));
        machine.apply(entry);
    }
    let run = machine.collection().run().unwrap();
    assert_eq!((run.condemned().len(), run.reaping().len()), (1, 1));
    let golden = include_str!("../tests/golden/v3.txt");
    let state = golden.lines().nth(lines.len()).unwrap();
    assert_eq!(Machine::decode(&unhex(state)).unwrap(), machine);
    lines.push(state.to_owned());
    let finish = Entry {
        at: Timestamp(9000),
        command: Command::Collect(CollectCommand::Finish {
            term: 1,
            version: 1,
        }),
    };
    lines.push(hex(&encode_entry(&finish).unwrap()));
    assert_eq!(lines.join("\n"), golden.trim_end());
}

/// `tests/golden/v5-removed.txt`: the entry, and the answer to it.
#[test]
fn what_the_fifth_version_brought_is_frozen() {
    let digest = Digest::of(Algorithm::Sha256, b"abc");
    let removed = Entry {
        at: Timestamp(9000),
        command: Command::Collect(CollectCommand::Removed {
            term: 1,
            version: 1,
            units: vec![Unit::Data { digest }],
        }),
    };
    let bytes = encode_entry(&removed).unwrap();
    assert_eq!(decode_entry(&bytes).unwrap(), removed);
    let answer = Outcome::Collect(CollectOutcome::Removed);
    let answered = encode_outcome(&answer).unwrap();
    assert_eq!(decode_outcome(&answered).unwrap(), answer);
    let golden = include_str!("../tests/golden/v5-removed.txt");
    assert_eq!(
        format!("{}\n{}", hex(&bytes), hex(&answered)),
        golden.trim_end()
    );
}

/// `tests/golden/v3-answers.txt`: what travels, one line each.
#[test]
fn answers_about_a_collection_are_frozen() {
    let units = || {
        let digest = Digest::of(Algorithm::Sha256, b"abc");
        vec![Unit::Data { digest }]
    };
    let outcomes = [
        CollectOutcome::Began { term: 3 },
        CollectOutcome::Busy,
        CollectOutcome::Fenced,
        CollectOutcome::TooMany,
        CollectOutcome::Condemned { version: 2 },
        CollectOutcome::Acknowledged,
        CollectOutcome::Rescued,
        CollectOutcome::Gone { units: units() },
        CollectOutcome::Stale,
        CollectOutcome::Early,
        CollectOutcome::Reaping { units: units() },
        CollectOutcome::Finished,
    ];
    let mut lines = Vec::new();
    for outcome in outcomes.map(Outcome::Collect) {
        let bytes = encode_outcome(&outcome).unwrap();
        assert_eq!(decode_outcome(&bytes).unwrap(), outcome);
        lines.push(hex(&bytes));
    }
    let golden = include_str!("../tests/golden/v3-answers.txt");
    assert_eq!(lines.join("\n"), golden.trim_end());
}

/// `tests/golden/v1-open.txt`: a command that came later, in the same form.
#[test]
fn commands_that_came_later_are_frozen_as_well() {
    let origin = Origin {
        session: SessionId([1; 16]),
        repository: "a/b".parse().unwrap(),
        opened: Timestamp(1000),
    };
    let state = Hasher::new(Algorithm::Sha512).save();
    let entry = Entry {
        at: Timestamp(1001),
        command: Command::Open { origin, state },
    };
    let bytes = encode_entry(&entry).unwrap();
    assert_eq!(decode_entry(&bytes).unwrap(), entry);
    assert_eq!(
        hex(&bytes),
        include_str!("../tests/golden/v1-open.txt").trim_end()
    );
}

/// `tests/golden/v1-abandon.txt`.
#[test]
fn abandoning_is_frozen() {
    let origin = Origin {
        session: SessionId([1; 16]),
        repository: "a/b".parse().unwrap(),
        opened: Timestamp(1000),
    };
    let entry = Entry {
        at: Timestamp(1001),
        command: Command::Abandon { origin, at: 7 },
    };
    let bytes = encode_entry(&entry).unwrap();
    assert_eq!(decode_entry(&bytes).unwrap(), entry);
    assert_eq!(
        hex(&bytes),
        include_str!("../tests/golden/v1-abandon.txt").trim_end()
    );
}

/// `tests/golden/v2-cancel-once.txt`: the entry, and the state after it.
#[test]
fn cancelling_once_is_frozen() {
    let origin = Origin {
        session: SessionId([1; 16]),
        repository: "a/b".parse().unwrap(),
        opened: Timestamp(1000),
    };
    let entry = Entry {
        at: Timestamp(1001),
        command: Command::CancelOnce {
            origin,
            proposal: [9; 16],
        },
    };
    let bytes = encode_entry(&entry).unwrap();
    assert_eq!(decode_entry(&bytes).unwrap(), entry);
    let mut machine = Machine::default();
    machine.apply(entry);
    let golden = include_str!("../tests/golden/v2-cancel-once.txt").trim_end();
    let (logged, state) = golden.rsplit_once('\n').unwrap();
    assert_eq!(hex(&bytes), logged);
    assert_eq!(Machine::decode(&unhex(state)).unwrap(), machine);
}

/// `tests/golden/v1-answers.txt`: what travels, one line each.
#[test]
fn answers_are_frozen() {
    let segment = Segment {
        place: "p".to_owned(),
        length: 3,
    };
    let digest = Digest::of(Algorithm::Sha256, b"abc");
    let segments = vec![segment];
    let outcomes = [
        Outcome::Appended { offset: 3 },
        Outcome::Sealed {
            segments: segments.clone(),
            again: true,
        },
        Outcome::Completed {
            digest: digest.clone(),
        },
        Outcome::Conflict { offset: 3 },
        Outcome::UnknownSession,
        Outcome::TooManySegments,
        Outcome::Discarded {
            sessions: 1,
            segments,
        },
        Outcome::Secret { secret: vec![7; 4] },
    ];
    let mut lines = Vec::new();
    for outcome in outcomes {
        let bytes = encode_outcome(&outcome).unwrap();
        assert_eq!(decode_outcome(&bytes).unwrap(), outcome);
        lines.push(hex(&bytes));
    }
    let repository: roadstead_oci::Name = "a/b".parse().unwrap();
    let standings = [
        Standing::Receiving {
            repository: repository.clone(),
            offset: 3,
            state: Hasher::new(Algorithm::Sha256).save(),
        },
        Standing::Sealed {
            repository: repository.clone(),
            digest,
        },
        Standing::Cancelled { repository },
    ];
    for standing in standings {
        let bytes = encode_standing(&standing).unwrap();
        assert_eq!(decode_standing(&bytes).unwrap(), standing);
        lines.push(hex(&bytes));
    }
    let golden = include_str!("../tests/golden/v1-answers.txt");
    assert_eq!(lines.join("\n"), golden.trim_end());
}

#[test]
fn what_a_newer_version_wrote_is_refused_by_name() {
    assert!(matches!(
        Machine::decode(&[9, 0]),
        Err(FormatError::Newer { found: 9, known: 5 })
    ));
    assert!(matches!(decode_entry(&[]), Err(FormatError::Empty)));
}
