//! Joining, leaving, and what nodes must share.

use super::*;
use crate::{
    Command, Entry, Machine, Outcome, decode_entry, decode_outcome, encode_entry, encode_outcome,
};

fn fingerprint() -> Fingerprint {
    Fingerprint {
        store: "s3 1".to_owned(),
        secret: Some([1; 32]),
        authentication: "htpasswd".to_owned(),
        redis: Some("r".to_owned()),
    }
}

fn id(n: u8) -> NodeId {
    NodeId([n; 16])
}

/// A machine with a clock that stands where it is put.
#[derive(Default)]
struct Log {
    machine: Machine,
    now: u64,
}

impl Log {
    fn apply(&mut self, command: Command) -> Outcome {
        let at = Timestamp(self.now);
        self.machine.apply(Entry { at, command })
    }

    fn cluster(&mut self, command: ClusterCommand) -> ClusterOutcome {
        match self.apply(Command::Cluster(command)) {
            Outcome::Cluster(outcome) => outcome,
            other => panic!("{other:?}"),
        }
    }

    fn join(&mut self, n: u8, fingerprint: Fingerprint) -> ClusterOutcome {
        self.join_at(n, &format!("{n}:5000"), fingerprint)
    }

    fn join_at(&mut self, n: u8, address: &str, fingerprint: Fingerprint) -> ClusterOutcome {
        self.cluster(ClusterCommand::Join {
            node: id(n),
            address: address.to_owned(),
            version: "1".to_owned(),
            fingerprint,
        })
    }

    fn join_over(&mut self, n: u8, address: &str, over: u64) -> ClusterOutcome {
        self.cluster(ClusterCommand::JoinOver {
            node: id(n),
            address: address.to_owned(),
            version: "1".to_owned(),
            fingerprint: fingerprint(),
            over,
        })
    }

    fn leave(&mut self, n: u8, epoch: u64) -> ClusterOutcome {
        self.cluster(ClusterCommand::Leave { node: id(n), epoch })
    }

    fn members(&self) -> Vec<(NodeId, u64)> {
        let nodes = self.machine.nodes().iter();
        nodes.map(|(id, node)| (*id, node.epoch)).collect()
    }
}

fn joined(epoch: u64) -> ClusterOutcome {
    ClusterOutcome::Joined {
        epoch,
        remarks: Vec::new(),
    }
}

#[test]
fn each_join_begins_an_epoch_of_its_own() {
    let mut log = Log::default();
    assert_eq!(log.join(1, fingerprint()), joined(1));
    assert_eq!(log.join(2, fingerprint()), joined(2));
    assert_eq!(log.join(1, fingerprint()), joined(3));
    assert_eq!(log.members(), [(id(1), 3), (id(2), 2)]);
    assert_eq!(
        log.leave(1, 1),
        ClusterOutcome::Left { was_member: false },
        "what was decided about an earlier epoch"
    );
    assert_eq!(log.leave(1, 3), ClusterOutcome::Left { was_member: true });
    assert_eq!(log.members(), [(id(2), 2)]);
    assert_eq!(log.join(1, fingerprint()), joined(4), "never given again");
}

#[test]
fn a_node_that_was_started_again_takes_its_address_over() {
    let mut log = Log::default();
    log.join_at(1, "a:5000", fingerprint());
    log.join_at(2, "b:5000", fingerprint());
    assert_eq!(log.join_at(3, "a:5000", fingerprint()), joined(3));
    assert_eq!(log.members(), [(id(2), 2), (id(3), 3)]);
}

#[test]
fn a_late_join_takes_no_lease_from_the_process_that_came_after() {
    let mut log = Log::default();
    log.join_at(1, "b:5000", fingerprint());
    assert_eq!(log.join_over(2, "a:5000", 0), joined(2));
    assert_eq!(log.join_over(2, "a:5000", 0), joined(2), "asked again");
    assert_eq!(log.join_over(3, "a:5000", 2), joined(3), "started again");
    let late = log.join_over(2, "a:5000", 0);
    assert_eq!(late, ClusterOutcome::Overtaken);
    assert_eq!(log.join_over(2, "a:5000", 2), ClusterOutcome::Overtaken);
    assert_eq!(log.members(), [(id(1), 1), (id(3), 3)]);
    assert_eq!(log.join_over(3, "a:5000", 3), joined(4), "interrupted");
}

#[test]
fn what_must_be_shared_is_named_where_it_is_not() {
    let mut log = Log::default();
    log.join(1, fingerprint());
    let other = Fingerprint {
        store: "s3 2".to_owned(),
        secret: None,
        authentication: "none".to_owned(),
        redis: None,
    };
    let refused = ["storage", "http.secret", "auth"].map(str::to_owned);
    assert_eq!(
        log.join(2, other.clone()),
        ClusterOutcome::Refused {
            settings: refused.to_vec()
        }
    );
    assert_eq!(log.members(), [(id(1), 1)]);
    let slower = Fingerprint {
        redis: None,
        ..fingerprint()
    };
    assert_eq!(
        log.join(2, slower),
        ClusterOutcome::Joined {
            epoch: 2,
            remarks: vec!["redis".to_owned()]
        }
    );
    log.leave(2, 2);
    assert_eq!(log.join(1, other), joined(3), "alone, it decides anew");
}

#[test]
fn draining_outlasts_an_interruption_and_ends_with_the_process() {
    let mut log = Log::default();
    log.join_at(1, "a:5000", fingerprint());
    let drain = |on| ClusterCommand::Drain {
        address: "a:5000".to_owned(),
        on,
    };
    let draining = |log: &Log| log.machine.nodes().values().next().unwrap().draining;
    assert_eq!(log.cluster(drain(true)), ClusterOutcome::Told { nodes: 1 });
    assert!(draining(&log));
    log.join_at(1, "a:5000", fingerprint());
    assert!(draining(&log), "the same process");
    log.join_at(2, "a:5000", fingerprint());
    assert!(!draining(&log), "the one after it");
    log.cluster(drain(true));
    log.cluster(drain(false));
    assert!(!draining(&log));
    let elsewhere = ClusterCommand::Drain {
        address: "b:5000".to_owned(),
        on: true,
    };
    assert_eq!(log.cluster(elsewhere), ClusterOutcome::Told { nodes: 0 });
}

#[test]
fn a_cluster_has_no_more_nodes_than_it_can_hold() {
    let mut log = Log::default();
    for n in 0..MAX_NODES {
        let node = NodeId(u128::try_from(n).unwrap().to_be_bytes());
        log.cluster(ClusterCommand::Join {
            node,
            address: format!("{n}:5000"),
            version: "1".to_owned(),
            fingerprint: fingerprint(),
        });
    }
    assert_eq!(log.join_at(255, "x:1", fingerprint()), ClusterOutcome::Full);
    assert_eq!(log.machine.nodes().len(), MAX_NODES);
}

#[test]
fn a_secret_that_was_replaced_is_good_for_a_while() {
    let mut log = Log::default();
    log.apply(Command::AdoptSecret { secret: vec![1] });
    log.cluster(ClusterCommand::RotateSecret { secret: vec![2] });
    let adopted = log.apply(Command::AdoptSecret { secret: vec![3] });
    assert_eq!(adopted, Outcome::Secret { secret: vec![2] });
    let all = |log: &Log| {
        let now = Timestamp(log.now);
        let secrets = log.machine.secrets(now);
        let fields = secrets
            .iter()
            .map(|one| (one.bytes.to_vec(), one.since.0, one.good_until));
        fields.collect::<Vec<_>>()
    };
    let rotated = log.now;
    let overlap = u64::try_from(SECRET_OVERLAP.as_millis()).unwrap();
    let good_until = Some(Timestamp(rotated + overlap));
    let overlapping = [(vec![1], 0, good_until), (vec![2], rotated, None)];
    assert_eq!(all(&log), overlapping);
    log.cluster(ClusterCommand::RotateSecret { secret: vec![2] });
    assert_eq!(all(&log), overlapping, "asked again");
    log.now += overlap;
    assert_eq!(all(&log), [(vec![2], rotated, None)]);
}

#[test]
fn a_secret_replaces_the_one_that_it_names_and_no_later_one() {
    let mut log = Log::default();
    let replace = |since, n: u8| ClusterCommand::ReplaceSecret {
        since: Timestamp(since),
        secret: vec![n],
    };
    assert_eq!(log.cluster(replace(0, 2)), ClusterOutcome::NoSecret);
    log.apply(Command::AdoptSecret { secret: vec![1] });
    log.now = 1000;
    assert_eq!(log.cluster(replace(0, 2)), ClusterOutcome::Rotated);
    assert_eq!(log.cluster(replace(0, 2)), ClusterOutcome::Rotated, "again");
    assert_eq!(log.machine.secret_since(), Timestamp(1000), "once");
    assert_eq!(log.cluster(replace(1000, 3)), ClusterOutcome::Rotated);
    let newest = log.machine.secret_since();
    for late in [replace(0, 2), replace(1000, 4)] {
        assert_eq!(log.cluster(late), ClusterOutcome::Overtaken);
    }
    assert_eq!(log.machine.secret(), Some(&[3][..]));
    assert_eq!(log.machine.secret_since(), newest);
}

#[test]
fn secrets_are_told_apart_while_time_stands_still() {
    let mut log = Log::default();
    log.apply(Command::AdoptSecret { secret: vec![1] });
    let mut seen = vec![log.machine.secret_since()];
    for n in 2..5 {
        let secret = vec![n];
        let rotate = Command::Cluster(ClusterCommand::RotateSecret { secret });
        let at = Timestamp(1000);
        log.machine.apply(Entry {
            at,
            command: rotate,
        });
        seen.push(log.machine.secret_since());
    }
    assert!(seen.is_sorted_by(|a, b| a < b), "{seen:?}");
}

#[test]
fn a_secret_that_there_is_not_is_not_replaced() {
    let mut log = Log::default();
    let rotated = log.cluster(ClusterCommand::RotateSecret { secret: vec![2] });
    assert_eq!(rotated, ClusterOutcome::NoSecret);
    assert!(log.machine.secrets(Timestamp(log.now)).is_empty());
}

#[test]
fn a_cluster_has_one_name() {
    let mut log = Log::default();
    let identify = |n| ClusterCommand::Identify {
        id: ClusterId([n; 16]),
    };
    let id = ClusterId([1; 16]);
    assert_eq!(log.cluster(identify(1)), ClusterOutcome::Identified { id });
    assert_eq!(log.cluster(identify(2)), ClusterOutcome::Identified { id });
}

fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().map(|byte| format!("{byte:02x}"));
    digits.collect()
}

/// `tests/golden/v4-cluster.txt`: the entries, and then the answer that came with them. The state has its form of before.
#[test]
fn commands_that_compare_are_frozen() {
    let commands = [
        ClusterCommand::JoinOver {
            node: id(1),
            address: "a:5000".to_owned(),
            version: "1.2.3".to_owned(),
            fingerprint: Fingerprint {
                store: "filesystem 07".to_owned(),
                secret: None,
                authentication: "htpasswd".to_owned(),
                redis: None,
            },
            over: 7,
        },
        ClusterCommand::ReplaceSecret {
            since: Timestamp(1000),
            secret: vec![8; 32],
        },
    ];
    let mut lines = Vec::new();
    for command in commands.map(Command::Cluster) {
        let at = Timestamp(1001);
        let entry = Entry { at, command };
        let bytes = encode_entry(&entry).unwrap();
        assert_eq!(decode_entry(&bytes).unwrap(), entry);
        lines.push(hex(&bytes));
    }
    let outcome = Outcome::Cluster(ClusterOutcome::Overtaken);
    let bytes = encode_outcome(&outcome).unwrap();
    assert_eq!(decode_outcome(&bytes).unwrap(), outcome);
    lines.push(hex(&bytes));
    let golden = include_str!("../tests/golden/v4-cluster.txt");
    assert_eq!(lines.join("\n"), golden.trim_end());
}
