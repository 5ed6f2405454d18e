//! Marking: what of a store nothing needs, read while others write.
//!
//! [`Marker`] is kept from run to run.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use roadstead_metadata::Unit;
use roadstead_storage::{Driver, Put, StorePath};

use super::doubt::{CollectError, Doubt};

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
    /// Units to be answered with, at most.
    pub most: usize,
}

/// What a mark came to.
#[derive(Debug, Default)]
pub struct Marked {
    /// Manifests first, then links, then bytes.
    pub unneeded: Vec<Unneeded>,
    /// There is more that is unneeded.
    pub has_more: bool,
    /// Digests that something names.
    pub named: usize,
    /// Files that were read.
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

/// Something that is not as it should be, and harms nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub place: StorePath,
    pub doubt: Doubt,
    /// What to write there under a lease, to mend it.
    pub mend: Option<Put>,
}

/// Reads a store, and remembers what cannot change: what each manifest names.
#[derive(Debug, Default)]
pub struct Marker {}

impl Marker {
    /// Reads what is new since the last time, and lists the rest. An error says that something could not be understood, or
    /// not be read: then nothing may be taken for unneeded.
    pub async fn mark(
        &mut self,
        store: &dyn Driver,
        policy: &Policy<'_>,
    ) -> Result<Marked, CollectError> {
        let _being_written = (store, policy);
        Ok(Marked::default())
    }
}
