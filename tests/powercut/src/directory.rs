//! A directory twice: the names that processes see and the names on the disk, and the steps between them.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};

use crate::chance::Chance;

/// Names, and the inodes they lead to.
pub(crate) type Entries = BTreeMap<OsString, u64>;

/// One change of a directory, which is on the disk whole or not at all.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    leaves: Option<OsString>,
    enters: Option<(OsString, u64)>,
}

impl Step {
    pub(crate) fn enter(name: &OsStr, ino: u64) -> Self {
        Self {
            leaves: None,
            enters: Some((name.to_owned(), ino)),
        }
    }

    pub(crate) fn leave(name: &OsStr) -> Self {
        Self {
            leaves: Some(name.to_owned()),
            enters: None,
        }
    }

    /// A rename within the directory: the only step with two names.
    pub(crate) fn rename(from: &OsStr, to: &OsStr, ino: u64) -> Self {
        Self {
            leaves: Some(from.to_owned()),
            enters: Some((to.to_owned(), ino)),
        }
    }

    /// The inode that the step would give a name on the disk.
    pub(crate) fn names_inode(&self) -> Option<u64> {
        self.enters.as_ref().map(|(_, ino)| *ino)
    }

    fn names(&self) -> impl Iterator<Item = &OsString> {
        let entering = self.enters.iter().map(|(name, _)| name);
        self.leaves.iter().chain(entering)
    }

    /// Takes the step; returns the inodes that lost a name by it.
    fn apply(&self, entries: &mut Entries) -> [Option<u64>; 2] {
        let left = self.leaves.as_ref().and_then(|name| entries.remove(name));
        let entering = self.enters.clone();
        let displaced = entering.and_then(|(name, ino)| entries.insert(name, ino));
        [left, displaced]
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Directory {
    /// For `..`.
    pub(crate) parent: u64,
    seen: Entries,
    disk: Entries,
    /// In the order in which they were taken.
    unsynced: Vec<Step>,
}

impl Directory {
    pub(crate) fn new(parent: u64) -> Self {
        Self {
            parent,
            seen: Entries::new(),
            disk: Entries::new(),
            unsynced: Vec::new(),
        }
    }

    pub(crate) fn seen(&self) -> &Entries {
        &self.seen
    }

    pub(crate) fn on_disk(&self) -> &Entries {
        &self.disk
    }

    pub(crate) fn take(&mut self, step: Step) {
        step.apply(&mut self.seen);
        self.unsynced.push(step);
    }

    /// What is seen is now on the disk. Returns the inodes that lost a name there, once for each name.
    pub(crate) fn sync(&mut self) -> Vec<u64> {
        let mut nameless = Vec::new();
        for step in std::mem::take(&mut self.unsynced) {
            nameless.extend(step.apply(&mut self.disk).into_iter().flatten());
        }
        nameless
    }

    /// The inodes that this directory leads to after one cut or another, once for each name or step.
    pub(crate) fn reachable_on_disk(&self) -> impl Iterator<Item = u64> {
        let coming = self.unsynced.iter().filter_map(Step::names_inode);
        self.disk.values().copied().chain(coming)
    }

    /// The directory after a cut: some of the unsynced steps are on the disk too. Those that touch a name come in
    /// order, so after the first that was lost, no later one of that name is there.
    pub(crate) fn cut(&self, chance: &mut Chance) -> Entries {
        let mut entries = self.disk.clone();
        let mut lost = BTreeSet::new();
        for step in &self.unsynced {
            let follows_lost = step.names().any(|name| lost.contains(name));
            if !follows_lost && chance.survives() {
                step.apply(&mut entries);
            } else {
                lost.extend(step.names());
            }
        }
        entries
    }
}
