//! A garbage collection that runs while everyone pushes: what is condemned, by whom, and who knows.
//!
//! ```text
//!  (idle) ──Condemn──▶ condemned ──every live node acknowledged──▶ settled ──the wait is over, Reap──▶ reaping
//!    ▲                  │ ▲  │                                                                          │
//!    │                  │ └──┘ Condemn: more of it, to be acknowledged anew                             │
//!    └──────Finish──────┴──────────────────────────────────────────────────────────────────Finish──────┘
//!
//!  of a unit:   condemned ──Reap──▶ being reaped ──Removed, or Finish──▶ gone, and may be pushed again
//! ```
//! The machine does not look at the store. It says what may be removed, and when: nothing that a node vetoed or rescued,
//! and nothing before every node has known for the whole wait that it is condemned. What it cannot fence is an act in the
//! store that was allowed a moment ago and happens later; DESIGN.md says what does.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use roadstead_oci::{Digest, Name};
use serde::{Deserialize, Serialize};

use crate::cluster::{Node, NodeId};
use crate::time::Timestamp;

/// Units condemned at a time at most: some 15 MB of state with names of usual length.
pub const MAX_CONDEMNED: usize = 100_000;

/// Units in one command at most, so that an entry stays below a few hundred kilobytes.
pub const MAX_UNITS: usize = 1000;

/// The epoch of a process that has the store for itself: it holds no lease, and lives as long as nobody does.
pub const ALONE: u64 = 0;

/// What is removed as one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Unit {
    /// That a repository has a manifest.
    Revision { repository: Name, digest: Digest },
    /// That a repository has a blob.
    Layer { repository: Name, digest: Digest },
    /// The bytes.
    Data { digest: Digest },
}

/// Terms and versions only grow. A command that names another than the present one does nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum CollectCommand {
    /// The node with this lease is to be the coordinator, if the one before it has lost its own.
    Begin { epoch: u64 },
    /// Condemns what is unmarked and old. `after` is the version before; a second command adds to the first.
    Condemn {
        term: u64,
        after: u64,
        units: Vec<Unit>,
        wait: Duration,
    },
    /// The node with this lease knows what is condemned. What its requests in flight name is to stay.
    Acknowledge {
        epoch: u64,
        version: u64,
        vetoes: Vec<Unit>,
    },
    /// These are wanted, says one who knew this version.
    Rescue { version: u64, units: Vec<Unit> },
    /// Of these, found unmarked again since the run was settled, nothing exists from now on that was not rescued.
    Reap {
        term: u64,
        version: u64,
        units: Vec<Unit>,
    },
    /// What was to be reaped is seen to be gone. Whatever else was condemned is not any more.
    Finish { term: u64, version: u64 },
    /// These were to be reaped and are seen to be gone, so that they may be pushed again while others are removed.
    Removed {
        term: u64,
        version: u64,
        units: Vec<Unit>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum CollectOutcome {
    Began {
        term: u64,
    },
    /// Another node coordinates, and has its lease.
    Busy,
    /// The lease is over, the term is, or the run has moved on.
    Fenced,
    /// More than [`MAX_UNITS`] in a command, or [`MAX_CONDEMNED`] in all; or reaping has begun.
    TooMany,
    Condemned {
        version: u64,
    },
    Acknowledged,
    Rescued,
    /// These are being reaped: they do not exist, and can be pushed again when that is finished.
    Gone {
        units: Vec<Unit>,
    },
    /// What the caller knew is over: it has to follow, and look again.
    Stale,
    /// Not acknowledged by every node, or not for long enough.
    Early,
    /// These are to be removed from the store.
    Reaping {
        units: Vec<Unit>,
    },
    Finished,
    Removed,
}

impl CollectCommand {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Begin { .. } => "begin_collection",
            Self::Condemn { .. } => "condemn",
            Self::Acknowledge { .. } => "acknowledge",
            Self::Rescue { .. } => "rescue",
            Self::Reap { .. } => "reap",
            Self::Finish { .. } => "finish_collection",
            Self::Removed { .. } => "removed",
        }
    }
}

impl CollectOutcome {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Began { .. } => "began",
            Self::Busy => "busy",
            Self::Fenced => "fenced",
            Self::TooMany => "too_many",
            Self::Condemned { .. } => "condemned",
            Self::Acknowledged => "acknowledged",
            Self::Rescued => "rescued",
            Self::Gone { .. } => "gone",
            Self::Stale => "stale",
            Self::Early => "early",
            Self::Reaping { .. } => "reaping",
            Self::Finished => "finished",
            Self::Removed => "removed",
        }
    }
}

/// What is condemned, and how far that went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// The version in which it began.
    since: u64,
    condemned: BTreeSet<Unit>,
    reaping: BTreeSet<Unit>,
    /// Leases whose nodes have not acknowledged.
    awaited: BTreeSet<u64>,
    /// When the last of them did, or lost its lease.
    settled: Option<Timestamp>,
    /// How long all must have known before anything is reaped: the push window, or grace if that is longer.
    wait: Duration,
}

impl Run {
    pub fn condemned(&self) -> &BTreeSet<Unit> {
        &self.condemned
    }

    pub fn reaping(&self) -> &BTreeSet<Unit> {
        &self.reaping
    }

    /// Leases whose nodes have not acknowledged.
    pub fn awaited(&self) -> &BTreeSet<u64> {
        &self.awaited
    }

    pub fn awaits(&self, epoch: u64) -> bool {
        self.awaited.contains(&epoch)
    }

    /// When something may be reaped at the earliest, once every node has acknowledged. The second mark begins after that.
    pub fn ripe(&self) -> Option<Timestamp> {
        self.settled.map(|settled| settled.plus(self.wait))
    }
}

/// All that is agreed on about collecting.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Collection {
    /// The coordinator's; never given twice.
    term: u64,
    /// The coordinator's lease.
    holder: Option<u64>,
    /// Of what is condemned.
    version: u64,
    run: Option<Run>,
}

/// How far collecting has come, as far as those have to know who follow it: a later one is greater.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp {
    pub version: u64,
    /// Nothing is condemned, or being reaped.
    pub is_over: bool,
    /// The coordinator's.
    pub term: u64,
}

type Nodes = BTreeMap<NodeId, Node>;

fn is_live(epoch: u64, nodes: &Nodes) -> bool {
    (epoch == ALONE && nodes.is_empty()) || nodes.values().any(|node| node.epoch == epoch)
}

fn live(nodes: &Nodes) -> BTreeSet<u64> {
    if nodes.is_empty() {
        return BTreeSet::from([ALONE]);
    }
    nodes.values().map(|node| node.epoch).collect()
}

impl Collection {
    pub fn term(&self) -> u64 {
        self.term
    }

    pub fn version(&self) -> u64 {
        self.version
    }

    /// The coordinator's lease, in the present term.
    pub fn holder(&self) -> Option<u64> {
        self.holder
    }

    pub fn stamp(&self) -> Stamp {
        Stamp {
            version: self.version,
            is_over: self.run.is_none(),
            term: self.term,
        }
    }

    pub fn run(&self) -> Option<&Run> {
        self.run.as_ref()
    }

    /// Whether this term is the present one and its coordinator has its lease.
    pub fn is_led_in(&self, term: u64, nodes: &Nodes) -> bool {
        self.term == term && self.holder.is_some_and(|holder| is_live(holder, nodes))
    }

    pub(crate) fn apply(
        &mut self,
        command: CollectCommand,
        now: Timestamp,
        nodes: &Nodes,
    ) -> CollectOutcome {
        let term = match &command {
            CollectCommand::Condemn { term, .. }
            | CollectCommand::Reap { term, .. }
            | CollectCommand::Finish { term, .. }
            | CollectCommand::Removed { term, .. } => Some(*term),
            _ => None,
        };
        if term.is_some_and(|term| !self.is_led_in(term, nodes)) {
            return CollectOutcome::Fenced;
        }
        match command {
            CollectCommand::Begin { epoch } => self.begin(epoch, nodes),
            CollectCommand::Condemn {
                after, units, wait, ..
            } => self.condemn(after, units, wait, nodes),
            CollectCommand::Acknowledge {
                epoch,
                version,
                vetoes,
            } => self.acknowledge(epoch, version, &vetoes, now),
            CollectCommand::Rescue { version, units } => self.rescue(version, &units),
            CollectCommand::Reap { version, units, .. } => self.reap(version, units, now),
            CollectCommand::Finish { version, .. } => self.finish(version),
            CollectCommand::Removed { version, units, .. } => self.removed(version, &units),
        }
    }

    /// After nodes came or went: whose lease is over is not awaited any more. Who joins knows what is condemned before it
    /// holds its lease, so it was never awaited.
    pub(crate) fn follow(&mut self, nodes: &Nodes, now: Timestamp) {
        if let Some(run) = &mut self.run {
            run.awaited.retain(|epoch| is_live(*epoch, nodes));
            run.settle(now);
        }
    }

    fn begin(&mut self, epoch: u64, nodes: &Nodes) -> CollectOutcome {
        if !is_live(epoch, nodes) {
            return CollectOutcome::Fenced;
        }
        if self.holder != Some(epoch) {
            if self.holder.is_some_and(|holder| is_live(holder, nodes)) {
                return CollectOutcome::Busy;
            }
            self.holder = Some(epoch);
            self.term += 1;
        }
        CollectOutcome::Began { term: self.term }
    }

    fn condemn(
        &mut self,
        after: u64,
        units: Vec<Unit>,
        wait: Duration,
        nodes: &Nodes,
    ) -> CollectOutcome {
        // One coordinator proposes one after the other, so this is the answer that it missed.
        if self.version == after + 1 {
            return CollectOutcome::Condemned {
                version: self.version,
            };
        }
        if self.version != after {
            return CollectOutcome::Fenced;
        }
        let before = self.run.as_ref().map_or(0, |run| run.condemned.len());
        let is_reaping = self.run.as_ref().is_some_and(|run| !run.reaping.is_empty());
        if is_reaping || units.len() > MAX_UNITS || before + units.len() > MAX_CONDEMNED {
            return CollectOutcome::TooMany;
        }
        self.version += 1;
        let run = self.run.get_or_insert_with(|| Run {
            since: after + 1,
            condemned: BTreeSet::new(),
            reaping: BTreeSet::new(),
            awaited: BTreeSet::new(),
            settled: None,
            wait,
        });
        run.condemned.extend(units);
        run.wait = run.wait.max(wait);
        run.awaited = live(nodes);
        run.settled = None;
        CollectOutcome::Condemned {
            version: self.version,
        }
    }

    fn acknowledge(
        &mut self,
        epoch: u64,
        version: u64,
        vetoes: &[Unit],
        now: Timestamp,
    ) -> CollectOutcome {
        let known = self.run.as_mut().filter(|_| self.version == version);
        let Some(run) = known.filter(|run| run.awaits(epoch)) else {
            return CollectOutcome::Stale;
        };
        run.awaited.remove(&epoch);
        for unit in vetoes {
            run.condemned.remove(unit);
        }
        run.settle(now);
        CollectOutcome::Acknowledged
    }

    fn rescue(&mut self, version: u64, units: &[Unit]) -> CollectOutcome {
        let Some(run) = self.run.as_mut().filter(|run| run.since <= version) else {
            return CollectOutcome::Stale;
        };
        let gone: Vec<Unit> = units
            .iter()
            .filter(|unit| run.reaping.contains(unit))
            .cloned()
            .collect();
        if !gone.is_empty() {
            return CollectOutcome::Gone { units: gone };
        }
        for unit in units {
            run.condemned.remove(unit);
        }
        CollectOutcome::Rescued
    }

    fn reap(&mut self, version: u64, units: Vec<Unit>, now: Timestamp) -> CollectOutcome {
        if units.len() > MAX_UNITS {
            return CollectOutcome::TooMany;
        }
        let Some(run) = self.run.as_mut().filter(|_| self.version == version) else {
            return CollectOutcome::Fenced;
        };
        if run.ripe().is_none_or(|ripe| now < ripe) {
            return CollectOutcome::Early;
        }
        let mut taken = Vec::new();
        for unit in units {
            if run.condemned.remove(&unit) {
                run.reaping.insert(unit.clone());
            }
            if run.reaping.contains(&unit) {
                taken.push(unit);
            }
        }
        CollectOutcome::Reaping { units: taken }
    }

    fn removed(&mut self, version: u64, units: &[Unit]) -> CollectOutcome {
        let Some(run) = self.run.as_mut().filter(|_| self.version == version) else {
            return CollectOutcome::Fenced;
        };
        for unit in units {
            run.reaping.remove(unit);
        }
        CollectOutcome::Removed
    }

    fn finish(&mut self, version: u64) -> CollectOutcome {
        if self.version != version {
            return CollectOutcome::Fenced;
        }
        self.run = None;
        CollectOutcome::Finished
    }
}

impl Run {
    fn settle(&mut self, now: Timestamp) {
        if self.awaited.is_empty() {
            self.settled.get_or_insert(now);
        }
    }
}

#[cfg(test)]
#[path = "collection_tests.rs"]
mod tests;
