//! What nodes may not believe any more: links that are being removed through the API, and who knows of that.
//!
//! ```text
//!  Invalidate ──▶ pending ──Settle, or the remover's lease ends──▶ settled (the last of them are kept)
//! ```
//! From `Invalidate` on every node that has announced itself is waited for. While it is pending, whoever knows of it neither
//! believes nor learns it, so it does not matter when within that time the store does it; what is settled may be learnt
//! again. One counter counts all that happens here: who knows a version knows all before it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

use crate::cluster::{Node, NodeId};
use crate::collection::{MAX_UNITS, Unit};

/// Settled invalidations that are kept: who has missed more begins anew.
const KEPT: usize = 1024;

/// Units that may be pending at a time.
const MAX_PENDING: usize = 10_000;

/// Tells an invalidation apart from all others, so that it can be proposed again.
pub type InvalidationId = [u8; 16];

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum InvalidationCommand {
    /// The node with this lease tells of what it removes. If it `believes` something, or writes, it is waited for from now
    /// on. `proof` replaces the number that entries in Redis carry, where it has one.
    Announce {
        epoch: u64,
        believes: bool,
        proof: Option<u64>,
    },
    /// The node with this lease is about to remove these links.
    Invalidate {
        epoch: u64,
        id: InvalidationId,
        units: Vec<Unit>,
    },
    /// The store has removed them, or not, and nothing of that is under way any more.
    Settle { id: InvalidationId },
    /// The node with this lease has dropped all that was invalidated up to this version.
    Acknowledge { epoch: u64, version: u64 },
    /// What may be in Redis under the number `of` proves nothing any more; `next` is the number from now on.
    Distrust { epoch: u64, of: u64, next: u64 },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum InvalidationOutcome {
    Announced,
    /// Those are waited for who have not acknowledged this version.
    Invalidated {
        version: u64,
    },
    /// Whether it was pending until now.
    Settled {
        was_pending: bool,
    },
    Acknowledged,
    Distrusted,
    /// The lease is over.
    Fenced,
    TooMany,
}

impl InvalidationCommand {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Announce { .. } => "announce",
            Self::Invalidate { .. } => "invalidate",
            Self::Settle { .. } => "settle",
            Self::Acknowledge { .. } => "acknowledge_invalidation",
            Self::Distrust { .. } => "distrust",
        }
    }
}

impl InvalidationOutcome {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Announced => "announced",
            Self::Invalidated { .. } => "invalidated",
            Self::Settled { .. } => "settled",
            Self::Acknowledged => "acknowledged",
            Self::Distrusted => "distrusted",
            Self::Fenced => "fenced",
            Self::TooMany => "too_many",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Pending {
    /// The version in which it began.
    since: u64,
    /// The remover's lease.
    epoch: u64,
    units: Vec<Unit>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Settled {
    id: InvalidationId,
    since: u64,
    until: u64,
    units: Vec<Unit>,
}

/// All that is agreed on about it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invalidations {
    version: u64,
    pending: BTreeMap<InvalidationId, Pending>,
    settled: VecDeque<Settled>,
    /// Who knows less than this has missed something that is not kept.
    forgotten: u64,
    /// The latest that has to be acknowledged.
    begun: u64,
    /// By the epochs of those who announce: up to where they know, if they believe anything.
    knows: BTreeMap<u64, Option<u64>>,
    /// Epochs of nodes that have not announced: they do not tell of what they remove.
    silent: BTreeSet<u64>,
    /// What entries in Redis have to carry.
    proof: Option<u64>,
    /// The version in which what they carried before was distrusted: it may prove what was removed.
    distrusted: u64,
}

/// What one who knew a version is told.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invalidated {
    pub version: u64,
    /// What was settled since the version that was known; `None` if that is not kept any more.
    pub settled: Option<Vec<Unit>>,
    pub pending: BTreeMap<InvalidationId, Vec<Unit>>,
    /// The latest version that has to be acknowledged.
    pub begun: u64,
    /// Up to where those know who believe, by epoch.
    pub knows: BTreeMap<u64, u64>,
    /// Somebody holds a lease who does not tell of what it removes.
    pub is_somebody_silent: bool,
    /// What entries in Redis have to carry.
    pub proof: Option<u64>,
    /// A removal is over when all know this version as well.
    pub distrusted: u64,
}

impl Invalidated {
    /// Whether nobody believes what was invalidated up to this version.
    pub fn is_known_to_all(&self, version: u64) -> bool {
        self.version >= version && self.knows.values().all(|known| *known >= version)
    }

    /// Whether the node with this lease is waited for.
    pub fn awaits(&self, epoch: u64) -> bool {
        self.knows
            .get(&epoch)
            .is_some_and(|known| *known < self.begun)
    }
}

type Nodes = BTreeMap<NodeId, Node>;

fn is_live(epoch: u64, nodes: &Nodes) -> bool {
    nodes.values().any(|node| node.epoch == epoch)
}

impl Invalidations {
    /// Nobody has told anything yet.
    pub(crate) fn is_blank(&self) -> bool {
        self.version == 0
    }

    /// Counts all that happens here.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// For one who knew this version; `None` knew nothing.
    pub fn since(&self, known: Option<u64>) -> Invalidated {
        let known = known.unwrap_or(self.version);
        let settled = (known >= self.forgotten).then(|| {
            let later = self.settled.iter().filter(|one| one.until > known);
            later.flat_map(|one| one.units.iter().cloned()).collect()
        });
        let pending = self.pending.iter();
        let knows = self.knows.iter();
        Invalidated {
            version: self.version,
            settled,
            pending: pending.map(|(id, one)| (*id, one.units.clone())).collect(),
            begun: self.begun,
            knows: knows
                .filter_map(|(epoch, known)| Some((*epoch, (*known)?)))
                .collect(),
            is_somebody_silent: !self.silent.is_empty(),
            proof: self.proof,
            distrusted: self.distrusted,
        }
    }

    pub(crate) fn apply(
        &mut self,
        command: InvalidationCommand,
        nodes: &Nodes,
    ) -> InvalidationOutcome {
        let epoch = match &command {
            InvalidationCommand::Announce { epoch, .. }
            | InvalidationCommand::Invalidate { epoch, .. }
            | InvalidationCommand::Acknowledge { epoch, .. }
            | InvalidationCommand::Distrust { epoch, .. } => Some(*epoch),
            InvalidationCommand::Settle { .. } => None,
        };
        if epoch.is_some_and(|epoch| !is_live(epoch, nodes)) {
            return InvalidationOutcome::Fenced;
        }
        if self.is_blank() {
            self.silent = nodes.values().map(|node| node.epoch).collect();
        }
        match command {
            InvalidationCommand::Announce {
                epoch,
                believes,
                proof,
            } => self.announce(epoch, believes, proof),
            InvalidationCommand::Invalidate { epoch, id, units } => {
                self.invalidate(epoch, id, units)
            }
            InvalidationCommand::Settle { id } => self.settle(id),
            InvalidationCommand::Acknowledge { epoch, version } => self.acknowledge(epoch, version),
            InvalidationCommand::Distrust { of, next, .. } => self.distrust(of, next),
        }
    }

    /// After nodes came or went: whose lease is over believes nothing, and what it was removing is settled. If it never
    /// said what it removes, nothing that was known before is known any more.
    ///
    /// Before the first command nothing is noted, so that members of which some have had an earlier version are equal.
    pub(crate) fn follow(&mut self, nodes: &Nodes) {
        if self.is_blank() {
            return;
        }
        let before = self.knows.len();
        self.knows.retain(|epoch, _| is_live(*epoch, nodes));
        let over: Vec<InvalidationId> = self
            .pending
            .iter()
            .filter(|(_, one)| !is_live(one.epoch, nodes))
            .map(|(id, _)| *id)
            .collect();
        if self.knows.len() != before || !over.is_empty() {
            self.version += 1;
        }
        for id in over {
            self.settle(id);
        }
        let live = nodes.values().map(|node| node.epoch);
        let silent = live
            .filter(|epoch| !self.knows.contains_key(epoch))
            .collect();
        let before = std::mem::replace(&mut self.silent, silent);
        if before != self.silent {
            self.version += 1;
        }
        if before.iter().any(|epoch| !is_live(*epoch, nodes)) {
            self.forgotten = self.version;
            self.settled.clear();
        }
    }

    fn announce(&mut self, epoch: u64, believes: bool, proof: Option<u64>) -> InvalidationOutcome {
        // Once: a second one may come late, when its number is distrusted already.
        if !self.knows.contains_key(&epoch) {
            self.version += 1;
            self.silent.remove(&epoch);
            self.knows.insert(epoch, believes.then_some(self.version));
            if proof.is_some() {
                self.prove_by(proof);
            }
        }
        InvalidationOutcome::Announced
    }

    fn invalidate(
        &mut self,
        epoch: u64,
        id: InvalidationId,
        units: Vec<Unit>,
    ) -> InvalidationOutcome {
        let settled = self.settled.iter().find(|one| one.id == id);
        let pending = self.pending.get(&id).map(|one| one.since);
        if let Some(version) = pending.or_else(|| settled.map(|one| one.since)) {
            return InvalidationOutcome::Invalidated { version };
        }
        let before: usize = self.pending.values().map(|one| one.units.len()).sum();
        if units.len() > MAX_UNITS || before + units.len() > MAX_PENDING {
            return InvalidationOutcome::TooMany;
        }
        self.version += 1;
        let since = self.version;
        self.begun = since;
        let pending = Pending {
            since,
            epoch,
            units,
        };
        self.pending.insert(id, pending);
        InvalidationOutcome::Invalidated { version: since }
    }

    fn settle(&mut self, id: InvalidationId) -> InvalidationOutcome {
        let Some(Pending { since, units, .. }) = self.pending.remove(&id) else {
            return InvalidationOutcome::Settled { was_pending: false };
        };
        self.version += 1;
        self.settled.push_back(Settled {
            id,
            since,
            until: self.version,
            units,
        });
        if self.settled.len() > KEPT
            && let Some(oldest) = self.settled.pop_front()
        {
            self.forgotten = self.forgotten.max(oldest.until);
        }
        InvalidationOutcome::Settled { was_pending: true }
    }

    fn acknowledge(&mut self, epoch: u64, version: u64) -> InvalidationOutcome {
        if let Some(Some(known)) = self.knows.get_mut(&epoch)
            && *known < version
            && version <= self.version
        {
            *known = version;
            self.version += 1;
        }
        InvalidationOutcome::Acknowledged
    }

    fn distrust(&mut self, of: u64, next: u64) -> InvalidationOutcome {
        if self.proof == Some(of) {
            self.version += 1;
            self.prove_by(Some(next));
        }
        InvalidationOutcome::Distrusted
    }

    /// What was proven before is so no more, once all know.
    fn prove_by(&mut self, proof: Option<u64>) {
        self.proof = proof;
        self.distrusted = self.version;
        self.begun = self.version;
    }
}

#[cfg(test)]
#[path = "invalidation_tests.rs"]
mod tests;
