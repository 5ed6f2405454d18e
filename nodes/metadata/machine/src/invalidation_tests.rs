//! Who is waited for, and what one who follows is told.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use roadstead_oci::{Algorithm, Digest};

use super::*;
use crate::{
    ClusterCommand, Command, Entry, Fingerprint, Machine, NodeId, Outcome, Timestamp, decode_entry,
    decode_invalidated, decode_outcome, encode_entry, encode_invalidated, encode_outcome,
};

fn unit(n: u8) -> Unit {
    Unit::Layer {
        repository: "a/b".parse().unwrap(),
        digest: Digest::of(Algorithm::Sha256, &[n]),
    }
}

fn id(n: u8) -> InvalidationId {
    [n; 16]
}

#[derive(Default)]
struct Log {
    machine: Machine,
    entries: Vec<Entry>,
}

impl Log {
    fn apply(&mut self, command: Command) -> Outcome {
        let at = Timestamp(1000);
        let entry = Entry { at, command };
        self.entries.push(entry.clone());
        self.machine.apply(entry)
    }

    fn tell(&mut self, command: InvalidationCommand) -> InvalidationOutcome {
        match self.apply(Command::Invalidation(command)) {
            Outcome::Invalidation(outcome) => outcome,
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

    fn announce(&mut self, epoch: u64, proof: Option<u64>) {
        let believes = true;
        self.tell(InvalidationCommand::Announce {
            epoch,
            believes,
            proof,
        });
    }

    fn invalidate(&mut self, epoch: u64, n: u8) -> u64 {
        let (id, units) = (id(n), vec![unit(n)]);
        match self.tell(InvalidationCommand::Invalidate { epoch, id, units }) {
            InvalidationOutcome::Invalidated { version } => version,
            other => panic!("{other:?}"),
        }
    }

    fn settle(&mut self, n: u8) -> bool {
        let settled = self.tell(InvalidationCommand::Settle { id: id(n) });
        settled == InvalidationOutcome::Settled { was_pending: true }
    }

    fn acknowledge(&mut self, epoch: u64, version: u64) {
        self.tell(InvalidationCommand::Acknowledge { epoch, version });
    }

    fn told(&self, known: Option<u64>) -> Invalidated {
        self.machine.invalidations().since(known)
    }

    /// Two nodes that believe.
    fn of_two() -> Self {
        let mut log = Self::default();
        log.join(1);
        log.join(2);
        log.announce(1, None);
        log.announce(2, None);
        log
    }
}

#[test]
fn whoever_believes_is_waited_for() {
    let mut log = Log::of_two();
    log.join(3);
    log.tell(InvalidationCommand::Announce {
        epoch: 3,
        believes: false,
        proof: None,
    });
    let version = log.invalidate(1, 7);
    assert!(!log.told(None).is_known_to_all(version));
    assert!(log.told(None).awaits(1) && log.told(None).awaits(2));
    assert!(!log.told(None).awaits(3));
    log.acknowledge(1, version);
    assert!(!log.told(None).is_known_to_all(version));
    // Nobody knows what has not been yet.
    log.acknowledge(2, version + 100);
    assert!(!log.told(None).is_known_to_all(version));
    log.acknowledge(2, version);
    assert!(log.told(None).is_known_to_all(version));
    assert!(!log.told(None).is_known_to_all(version + 100));
}

#[test]
fn a_lease_that_ends_is_not_waited_for_and_one_who_joins_knows_already() {
    let mut log = Log::of_two();
    let version = log.invalidate(1, 7);
    log.acknowledge(1, version);
    log.join(3);
    log.announce(3, None);
    assert!(!log.told(None).awaits(3));
    log.leave(2, 2);
    assert!(log.told(None).is_known_to_all(version));
}

#[test]
fn what_is_proposed_twice_happens_once() {
    let mut log = Log::of_two();
    let version = log.invalidate(1, 7);
    assert_eq!(log.invalidate(1, 7), version);
    assert!(log.settle(7));
    assert!(!log.settle(7));
    assert_eq!(log.invalidate(1, 7), version);
    assert_eq!(log.told(None).pending.len(), 0);
}

#[test]
fn what_a_lost_lease_was_removing_is_settled() {
    let mut log = Log::of_two();
    let version = log.invalidate(1, 7);
    let known = Some(version);
    assert_eq!(log.told(known).pending[&id(7)], [unit(7)]);
    log.leave(1, 1);
    let told = log.told(known);
    assert!(told.pending.is_empty());
    assert_eq!(told.settled, Some(vec![unit(7)]));
    assert!(!log.settle(7), "its remover is told that it was not");
    let fenced = InvalidationCommand::Invalidate {
        epoch: 1,
        id: id(8),
        units: vec![unit(8)],
    };
    assert_eq!(log.tell(fenced), InvalidationOutcome::Fenced);
}

#[test]
fn who_fell_behind_is_told_so() {
    let mut log = Log::of_two();
    let known = Some(log.told(None).version);
    for n in 0..=u8::MAX {
        for m in 0..=4 {
            let (mut id, units) = (id(n), vec![unit(n)]);
            id[0] = m;
            log.tell(InvalidationCommand::Invalidate {
                epoch: 1,
                id,
                units,
            });
            log.tell(InvalidationCommand::Settle { id });
            let kept = usize::from(n) * 5 + usize::from(m) < KEPT;
            assert_eq!(log.told(known).settled.is_some(), kept, "{n} {m}");
        }
    }
    assert!(log.told(None).settled.is_some());
}

#[test]
fn nodes_that_remove_without_a_word_are_noticed() {
    let mut log = Log::of_two();
    assert!(!log.told(None).is_somebody_silent);
    let before = log.told(None).version;
    let known = Some(before);
    log.join(3);
    assert!(log.told(known).is_somebody_silent);
    assert!(log.told(known).version > before);
    log.announce(3, None);
    let told = log.told(known);
    assert!(!told.is_somebody_silent && told.settled.is_some());
    log.join(4);
    log.leave(4, 4);
    let told = log.told(known);
    assert!(!told.is_somebody_silent);
    assert_eq!(told.settled, None, "whatever it removed");
}

#[test]
fn a_number_that_was_replaced_does_not_come_back() {
    let mut log = Log::of_two();
    log.join(3);
    log.announce(3, Some(30));
    assert_eq!(log.told(None).proof, Some(30));
    let distrust = |of, next| InvalidationCommand::Distrust { epoch: 1, of, next };
    log.tell(distrust(30, 31));
    let told = log.told(None);
    assert_eq!((told.proof, told.distrusted), (Some(31), told.version));
    assert!(told.awaits(1), "whatever it left there is out of use");
    assert!(told.awaits(3) && !told.is_known_to_all(told.distrusted));
    log.announce(3, Some(30));
    log.tell(distrust(30, 32));
    assert_eq!(log.told(None), told);
}

/// `tests/golden/v5.txt`: one line for each entry, the state after them, what is told, and then each outcome.
#[test]
fn what_the_fifth_version_brought_is_frozen() {
    let mut log = Log::of_two();
    log.join(3);
    log.announce(3, Some(30));
    let version = log.invalidate(1, 7);
    log.invalidate(2, 8);
    log.settle(7);
    log.acknowledge(2, version);
    log.tell(InvalidationCommand::Distrust {
        epoch: 1,
        of: 30,
        next: 31,
    });
    let hex = |bytes: Vec<u8>| -> String {
        let digits = bytes.iter().map(|byte| format!("{byte:02x}"));
        digits.collect()
    };
    let mut lines = Vec::new();
    for entry in &log.entries {
        let bytes = encode_entry(entry).unwrap();
        assert_eq!(decode_entry(&bytes).unwrap(), *entry);
        lines.push(hex(bytes));
    }
    let state = log.machine.encode().unwrap();
    assert_eq!(Machine::decode(&state).unwrap(), log.machine);
    lines.push(hex(state));
    let told = log.told(Some(1));
    let bytes = encode_invalidated(&told).unwrap();
    assert_eq!(decode_invalidated(&bytes).unwrap(), told);
    lines.push(hex(bytes));
    for outcome in [
        InvalidationOutcome::Announced,
        InvalidationOutcome::Invalidated { version: 3 },
        InvalidationOutcome::Settled { was_pending: true },
        InvalidationOutcome::Acknowledged,
        InvalidationOutcome::Distrusted,
        InvalidationOutcome::Fenced,
        InvalidationOutcome::TooMany,
    ] {
        let outcome = Outcome::Invalidation(outcome);
        let bytes = encode_outcome(&outcome).unwrap();
        assert_eq!(decode_outcome(&bytes).unwrap(), outcome);
        lines.push(hex(bytes));
    }
    let golden = include_str!("../tests/golden/v5.txt");
    assert_eq!(lines.join("\n"), golden.trim_end());
}

/// What happens in the world of the property below.
#[derive(Debug, Clone)]
enum Step {
    /// The remover logs it, then the store removes it, then that is logged.
    Invalidate(u8),
    Remove,
    Settle,
    Push(u8),
    /// A node begins to ask the store, and later takes in what it said.
    Ask(usize, u8),
    Learn(usize),
    /// A node follows the log, and later says so.
    Follow(usize),
    Acknowledge(usize),
    /// A lease is lost; the node comes back in another epoch, with nothing.
    Lose(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (node, link) = (0..2_usize, 0..2_u8);
    let step = prop_oneof![
        2 => link.clone().prop_map(Step::Invalidate),
        3 => Just(Step::Remove),
        3 => Just(Step::Settle),
        2 => link.clone().prop_map(Step::Push),
        3 => (node.clone(), link).prop_map(|(node, link)| Step::Ask(node, link)),
        3 => node.clone().prop_map(Step::Learn),
        4 => node.clone().prop_map(Step::Follow),
        3 => node.clone().prop_map(Step::Acknowledge),
        1 => node.prop_map(Step::Lose),
    ];
    proptest::collection::vec(step, 1..80)
}

/// A node as `registry/server/src/belief.rs` has it: what is pending it neither believes nor learns, and what was settled
/// it forgets, with what it was asking the store for.
#[derive(Debug, Default)]
struct Follower {
    epoch: u64,
    known: u64,
    believed: BTreeSet<u8>,
    pending: BTreeSet<u8>,
    asking: Option<(u8, bool)>,
}

impl Follower {
    fn forget(&mut self, link: u8) {
        self.believed.remove(&link);
        if self.asking.is_some_and(|(asked, _)| asked == link) {
            self.asking = None;
        }
    }

    fn follow(&mut self, told: &Invalidated, link_of: impl Fn(&Unit) -> u8) {
        for unit in told.settled.as_ref().expect("few enough") {
            self.forget(link_of(unit));
        }
        self.pending = told.pending.values().flatten().map(link_of).collect();
        for link in self.pending.clone() {
            self.forget(link);
        }
        self.known = told.version;
    }
}

struct Removal {
    link: u8,
    version: u64,
    is_removed: bool,
    /// A push since is no mistake.
    is_pushed_again: bool,
    is_answered: bool,
}

struct World {
    log: Log,
    stored: BTreeSet<u8>,
    nodes: [Follower; 2],
    removals: Vec<Removal>,
}

impl World {
    fn new() -> Self {
        let nodes = [1, 2].map(|epoch| Follower {
            epoch,
            known: 2,
            ..Follower::default()
        });
        Self {
            log: Log::of_two(),
            stored: BTreeSet::from([0, 1]),
            nodes,
            removals: Vec::new(),
        }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Invalidate(link) => {
                let n = u8::try_from(self.removals.len()).unwrap();
                let (epoch, units) = (self.nodes[0].epoch, vec![unit(link)]);
                let id = id(n);
                let command = InvalidationCommand::Invalidate { epoch, id, units };
                let InvalidationOutcome::Invalidated { version } = self.log.tell(command) else {
                    panic!("it has its lease");
                };
                self.removals.push(Removal {
                    link,
                    version,
                    is_removed: false,
                    is_pushed_again: false,
                    is_answered: false,
                });
            }
            Step::Remove => {
                if let Some(next) = self.removals.iter_mut().find(|one| !one.is_removed) {
                    next.is_removed = true;
                    self.stored.remove(&next.link);
                }
            }
            Step::Settle => self.settle(),
            Step::Push(link) => {
                self.stored.insert(link);
                let same = self.removals.iter_mut().filter(|one| one.link == link);
                same.for_each(|one| one.is_pushed_again = true);
            }
            Step::Ask(node, link) => {
                self.nodes[node].asking = Some((link, self.stored.contains(&link)));
            }
            Step::Learn(node) => {
                let node = &mut self.nodes[node];
                if let Some((link, true)) = node.asking.take()
                    && !node.pending.contains(&link)
                {
                    node.believed.insert(link);
                }
            }
            Step::Follow(node) => {
                let node = &mut self.nodes[node];
                let told = self.log.told(Some(node.known));
                node.follow(&told, |found| u8::from(*found == unit(1)));
            }
            Step::Acknowledge(node) => {
                let Follower { epoch, known, .. } = self.nodes[node];
                self.log.acknowledge(epoch, known);
            }
            Step::Lose(node) => self.lose(node),
        }
    }

    /// Only what was removed is settled, and answered for only if it had been pending until then.
    fn settle(&mut self) {
        for n in 0..self.removals.len() {
            let one = &self.removals[n];
            if !one.is_removed || one.is_answered {
                continue;
            }
            let name = u8::try_from(n).unwrap();
            let is_pending = self.log.told(None).pending.contains_key(&id(name));
            if is_pending {
                assert!(self.log.settle(name));
                self.removals[n].is_answered = true;
                return;
            }
        }
    }

    fn lose(&mut self, node: usize) {
        let name = u8::try_from(node).unwrap() + 1;
        let epoch = self.nodes[node].epoch;
        self.log.leave(name, epoch);
        self.log.join(name);
        let nodes = self.log.machine.nodes();
        let epoch = nodes[&NodeId([name; 16])].epoch;
        self.log.announce(epoch, None);
        let told = self.log.told(None);
        let mut begun = Follower {
            epoch,
            ..Follower::default()
        };
        begun.follow(&told, |found| u8::from(*found == unit(1)));
        self.nodes[node] = begun;
    }

    /// What was removed and answered for is believed by nobody, once all know.
    fn check(&self) {
        for one in &self.removals {
            let is_over = one.is_answered && self.log.told(None).is_known_to_all(one.version);
            if is_over && !one.is_pushed_again && !self.stored.contains(&one.link) {
                for node in &self.nodes {
                    assert!(!node.believed.contains(&one.link), "{node:?}");
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn nobody_believes_what_was_removed_once_all_know(steps in steps()) {
        let mut world = World::new();
        for step in &steps {
            world.step(step);
            world.check();
        }
    }
}

#[test]
fn members_of_which_some_had_an_earlier_version_are_equal() {
    let mut log = Log::default();
    log.join(1);
    let before = Machine::default();
    assert_eq!(
        log.machine.invalidations(),
        before.invalidations(),
        "nothing is noted before the first command"
    );
    assert_eq!(log.told(None).knows, BTreeMap::new());
}
