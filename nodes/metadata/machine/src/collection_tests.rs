//! What the machine allows of a collection, and to whom.

use super::*;
use crate::{ClusterCommand, Command, Entry, Fingerprint, Machine, Outcome};

use roadstead_oci::Algorithm;

const WAIT: Duration = Duration::from_millis(10);

fn unit(n: u8) -> Unit {
    Unit::Data {
        digest: Digest::of(Algorithm::Sha256, &[n]),
    }
}

fn units(numbers: &[u8]) -> Vec<Unit> {
    numbers.iter().map(|n| unit(*n)).collect()
}

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

    fn collect(&mut self, command: CollectCommand) -> CollectOutcome {
        match self.apply(Command::Collect(command)) {
            Outcome::Collect(outcome) => outcome,
            other => panic!("{other:?}"),
        }
    }

    /// Epochs are given from 1 on.
    fn join(&mut self, n: u8) {
        let fingerprint = Fingerprint {
            store: "s".to_owned(),
            secret: None,
            authentication: "a".to_owned(),
            redis: None,
        };
        self.apply(Command::Cluster(ClusterCommand::Join {
            node: NodeId([n; 16]),
            address: format!("{n}:5000"),
            version: "1".to_owned(),
            fingerprint,
        }));
    }

    fn leave(&mut self, n: u8, epoch: u64) {
        let node = NodeId([n; 16]);
        self.apply(Command::Cluster(ClusterCommand::Leave { node, epoch }));
    }

    fn begin(&mut self, epoch: u64) -> CollectOutcome {
        self.collect(CollectCommand::Begin { epoch })
    }

    fn condemn(&mut self, term: u64, after: u64, numbers: &[u8]) -> CollectOutcome {
        self.collect(CollectCommand::Condemn {
            term,
            after,
            units: units(numbers),
            wait: WAIT,
        })
    }

    fn acknowledge(&mut self, epoch: u64, version: u64, vetoes: &[u8]) -> CollectOutcome {
        self.collect(CollectCommand::Acknowledge {
            epoch,
            version,
            vetoes: units(vetoes),
        })
    }

    fn rescue(&mut self, version: u64, numbers: &[u8]) -> CollectOutcome {
        let units = units(numbers);
        self.collect(CollectCommand::Rescue { version, units })
    }

    fn reap(&mut self, term: u64, version: u64, numbers: &[u8]) -> CollectOutcome {
        self.collect(CollectCommand::Reap {
            term,
            version,
            units: units(numbers),
        })
    }

    fn removed(&mut self, term: u64, version: u64, numbers: &[u8]) -> CollectOutcome {
        self.collect(CollectCommand::Removed {
            term,
            version,
            units: units(numbers),
        })
    }

    fn finish(&mut self, term: u64, version: u64) -> CollectOutcome {
        self.collect(CollectCommand::Finish { term, version })
    }
}

/// Two nodes, of which the first coordinates and has condemned these.
fn condemned(numbers: &[u8]) -> Log {
    let mut log = Log::default();
    log.join(1);
    log.join(2);
    assert_eq!(log.begin(1), CollectOutcome::Began { term: 1 });
    assert_eq!(
        log.condemn(1, 0, numbers),
        CollectOutcome::Condemned { version: 1 }
    );
    log
}

fn reaping(numbers: &[u8]) -> CollectOutcome {
    CollectOutcome::Reaping {
        units: units(numbers),
    }
}

#[test]
fn what_nobody_wants_is_reaped_when_all_have_known_it_for_the_whole_wait() {
    let mut log = condemned(&[1, 2, 3, 4]);
    log.now = 100;
    assert_eq!(log.reap(1, 1, &[1]), CollectOutcome::Early);
    log.acknowledge(1, 1, &[2]);
    assert_eq!(log.reap(1, 1, &[1]), CollectOutcome::Early);
    log.acknowledge(2, 1, &[]);
    assert_eq!(log.rescue(1, &[3]), CollectOutcome::Rescued);
    log.now = 109;
    assert_eq!(log.reap(1, 1, &[1]), CollectOutcome::Early);
    log.now = 110;
    assert_eq!(log.reap(1, 1, &[1, 2, 3, 9]), reaping(&[1]));
    assert_eq!(log.reap(1, 1, &[1]), reaping(&[1]), "asked again");
    assert_eq!(
        log.rescue(1, &[1, 4]),
        CollectOutcome::Gone { units: units(&[1]) }
    );
    assert_eq!(log.condemn(1, 1, &[5]), CollectOutcome::TooMany);
    assert_eq!(log.finish(1, 1), CollectOutcome::Finished);
    assert_eq!(log.machine.collection().run(), None);
    assert_eq!(log.rescue(1, &[1]), CollectOutcome::Stale);
}

#[test]
fn what_is_seen_to_be_gone_can_be_pushed_again_while_others_are_removed() {
    let mut log = condemned(&[1, 2, 3]);
    log.acknowledge(1, 1, &[]);
    log.acknowledge(2, 1, &[]);
    log.now = 100;
    assert_eq!(log.reap(1, 1, &[1, 2]), reaping(&[1, 2]));
    assert_eq!(log.removed(1, 2, &[1]), CollectOutcome::Fenced);
    assert_eq!(log.removed(2, 1, &[1]), CollectOutcome::Fenced);
    assert_eq!(log.removed(1, 1, &[1]), CollectOutcome::Removed);
    assert_eq!(log.removed(1, 1, &[1]), CollectOutcome::Removed, "twice");
    assert_eq!(log.rescue(1, &[1]), CollectOutcome::Rescued);
    assert_eq!(
        log.rescue(1, &[1, 2]),
        CollectOutcome::Gone { units: units(&[2]) }
    );
    assert_eq!(log.reap(1, 1, &[1, 3]), reaping(&[3]), "once in a run");
    assert_eq!(log.finish(1, 1), CollectOutcome::Finished);
    assert_eq!(log.removed(1, 1, &[3]), CollectOutcome::Fenced);
}

#[test]
fn more_can_be_condemned_and_is_acknowledged_anew() {
    let mut log = condemned(&[1]);
    log.acknowledge(1, 1, &[1]);
    log.acknowledge(2, 1, &[]);
    assert_eq!(
        log.condemn(1, 1, &[2]),
        CollectOutcome::Condemned { version: 2 }
    );
    assert_eq!(
        log.condemn(1, 1, &[2]),
        CollectOutcome::Condemned { version: 2 },
        "asked again"
    );
    assert_eq!(log.acknowledge(2, 1, &[]), CollectOutcome::Stale);
    log.now = 100;
    assert_eq!(log.reap(1, 2, &[1, 2]), CollectOutcome::Early);
    log.acknowledge(1, 2, &[]);
    log.acknowledge(2, 2, &[]);
    assert_eq!(log.acknowledge(2, 2, &[2]), CollectOutcome::Stale, "twice");
    assert_eq!(log.rescue(1, &[]), CollectOutcome::Rescued, "the same run");
    log.now = 110;
    assert_eq!(log.reap(1, 1, &[2]), CollectOutcome::Fenced);
    assert_eq!(log.reap(1, 2, &[1, 2]), reaping(&[2]));
}

#[test]
fn a_node_that_is_gone_is_not_waited_for_and_one_that_comes_knows() {
    let mut log = condemned(&[1]);
    log.acknowledge(1, 1, &[]);
    log.join(3);
    log.now = 50;
    log.leave(2, 2);
    let run = log.machine.collection().run();
    assert_eq!(run.and_then(Run::ripe), Some(Timestamp(60)));
    assert_eq!(log.acknowledge(2, 1, &[1]), CollectOutcome::Stale);
    log.now = 60;
    assert_eq!(log.reap(1, 1, &[1]), reaping(&[1]));
}

#[test]
fn a_node_that_came_back_is_not_its_former_self() {
    let mut log = condemned(&[1]);
    log.acknowledge(1, 1, &[]);
    log.join(2);
    let run = log.machine.collection().run();
    assert!(run.is_some_and(|run| run.ripe().is_some()));
    assert_eq!(log.acknowledge(2, 1, &[1]), CollectOutcome::Stale);
}

#[test]
fn a_coordinator_without_its_lease_is_fenced_and_its_successor_goes_on() {
    let mut log = condemned(&[1, 2]);
    assert_eq!(log.begin(2), CollectOutcome::Busy);
    assert_eq!(log.begin(7), CollectOutcome::Fenced, "no such lease");
    log.acknowledge(2, 1, &[]);
    log.leave(1, 1);
    log.now = 10;
    assert_eq!(log.reap(1, 1, &[1]), CollectOutcome::Fenced, "nobody leads");
    assert_eq!(log.begin(2), CollectOutcome::Began { term: 2 });
    assert_eq!(log.begin(2), CollectOutcome::Began { term: 2 });
    assert_eq!(log.reap(1, 1, &[1]), CollectOutcome::Fenced);
    assert_eq!(log.finish(1, 1), CollectOutcome::Fenced);
    assert_eq!(log.condemn(1, 1, &[3]), CollectOutcome::Fenced);
    assert_eq!(log.reap(2, 1, &[1]), reaping(&[1]));
    assert_eq!(log.finish(2, 1), CollectOutcome::Finished);
    assert_eq!(
        log.condemn(2, 0, &[1]),
        CollectOutcome::Condemned { version: 1 }
    );
    assert_eq!(log.machine.collection().run(), None, "that was the first");
}

#[test]
fn one_process_alone_collects_by_itself() {
    let mut log = Log::default();
    assert_eq!(log.begin(ALONE), CollectOutcome::Began { term: 1 });
    log.condemn(1, 0, &[1]);
    log.now = 100;
    assert_eq!(log.reap(1, 1, &[1]), CollectOutcome::Early);
    log.acknowledge(ALONE, 1, &[]);
    log.now = 110;
    assert_eq!(log.reap(1, 1, &[1]), reaping(&[1]));
    log.join(1);
    assert_eq!(log.finish(1, 1), CollectOutcome::Fenced);
}

#[test]
fn there_is_a_bound() {
    let mut log = condemned(&[]);
    let many = |from: u32, count: u32| -> Vec<Unit> {
        let unit = |n: u32| Unit::Data {
            digest: Digest::of(Algorithm::Sha256, &n.to_be_bytes()),
        };
        (from..from + count).map(unit).collect()
    };
    let condemn = |log: &mut Log, after, units| {
        let wait = WAIT;
        let command = CollectCommand::Condemn {
            term: 1,
            after,
            units,
            wait,
        };
        log.collect(command)
    };
    assert_eq!(condemn(&mut log, 1, many(0, 1001)), CollectOutcome::TooMany);
    for (after, from) in (1..).zip((0..100_000).step_by(1000)) {
        let outcome = condemn(&mut log, after, many(from, 1000));
        assert_eq!(outcome, CollectOutcome::Condemned { version: after + 1 });
    }
    let one_more = condemn(&mut log, 101, many(100_000, 1));
    assert_eq!(one_more, CollectOutcome::TooMany);
}
