//! Marking: what of a store nothing needs, read while others write.
//!
//! [`Marker`] is kept from run to run. What is named when a run settles stays named, is deleted, or is named again by a
//! request that rescues it: so a mark may read one thing earlier and another later.

use std::collections::BTreeSet;
use std::fmt;
use std::time::{Duration, SystemTime};

use roadstead_metadata::Unit;
use roadstead_storage::{Driver, Put, StorePath};

use super::doubt::{CollectError, Doubt};
use super::keep::{Depth, Rules};
use super::plan::{Plan, Wanted};
use super::read::Memory;

/// What is to be found unneeded.
#[derive(Debug, Clone)]
pub struct Policy<'a> {
    /// Manifests that nothing leads to as well, and not only what no manifest names.
    pub untagged: bool,
    /// What is younger stays.
    pub grace: Duration,
    /// By the clock of the store.
    pub now: SystemTime,
    /// No others than these, if there are some: what a second mark asks about.
    pub among: Option<&'a BTreeSet<Unit>>,
    /// Units of each kind to be answered with, at most.
    pub most: usize,
}

/// What a mark came to.
#[derive(Debug, Default)]
pub struct Marked {
    /// Manifests first, then links, then bytes. All of it may go at once.
    pub unneeded: Vec<Unneeded>,
    /// There is more that is unneeded.
    pub has_more: bool,
    /// Digests that something names.
    pub named: usize,
    /// Links and manifests that were read, and not remembered.
    pub read: u64,
    pub findings: Vec<Finding>,
}

/// Something that may go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unneeded {
    pub unit: Unit,
    pub modified: Option<SystemTime>,
    /// That are freed.
    pub bytes: u64,
    pub reason: Reason,
}

/// Why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// No tag leads to the manifest, nor an index, and what it refers to is not there.
    Untagged,
    /// No manifest of the repository names the blob.
    NotNamedHere,
    /// No manifest anywhere does.
    NotNamed,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Untagged => "no tag and no index leads to it",
            Self::NotNamedHere => "no manifest of the repository names it",
            Self::NotNamed => "no manifest names it",
        })
    }
}

/// Something that is not as it should be, and harms nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub place: StorePath,
    pub doubt: Doubt,
    /// What to write there under a lease, to mend it.
    pub mend: Option<Put>,
}

/// Reads a store, and remembers what cannot change: what each manifest names.
#[derive(Default)]
pub struct Marker {
    memory: Memory,
}

impl Marker {
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads what is new since the last time, and lists the rest. An error says that something could not be understood, or
    /// not be read: then nothing may be taken for unneeded.
    pub async fn mark(
        &mut self,
        store: &dyn Driver,
        policy: &Policy<'_>,
    ) -> Result<Marked, CollectError> {
        let rules = Rules {
            depth: Depth::TopDown,
            untagged: policy.untagged,
            grace: policy.grace,
            now: policy.now,
        };
        let wanted = Wanted {
            among: policy.among,
            most: policy.most,
        };
        let plan = Plan::of(store, &mut self.memory, rules, wanted).await?;
        let kinds = [
            (&plan.revisions, Reason::Untagged),
            (&plan.layers, Reason::NotNamedHere),
            (&plan.blobs, Reason::NotNamed),
        ];
        let mut unneeded = Vec::new();
        for (candidates, reason) in kinds {
            unneeded.extend(candidates.iter().filter_map(|candidate| {
                Some(Unneeded {
                    unit: plan.unit(candidate)?,
                    modified: candidate.modified,
                    bytes: candidate.bytes,
                    reason,
                })
            }));
        }
        Ok(Marked {
            unneeded,
            has_more: plan.has_more,
            named: plan.named,
            read: plan.read,
            findings: plan.findings,
        })
    }
}

impl fmt::Debug for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Marker").field(&self.memory).finish()
    }
}

#[cfg(test)]
#[path = "mark_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "scale_tests.rs"]
mod scale_tests;
