//! What manifests name, as numbers.

use std::collections::HashMap;

use super::ids::{Id, Ids};
use super::named::Named;

/// What one manifest names: blobs, then manifests, then what it refers to and does not keep.
#[derive(Debug)]
pub(super) struct Refs {
    all: Box<[Id]>,
    manifests_at: usize,
    subjects_at: usize,
}

impl Refs {
    pub(super) fn of(named: &Named, ids: &mut Ids) -> Self {
        let all = named.blobs.iter().chain(&named.manifests);
        let all = all.chain(&named.subjects).map(|digest| ids.id(digest));
        Self {
            all: all.collect(),
            manifests_at: named.blobs.len(),
            subjects_at: named.blobs.len() + named.manifests.len(),
        }
    }

    /// All that it keeps.
    pub(super) fn children(&self) -> &[Id] {
        &self.all[..self.subjects_at]
    }

    pub(super) fn manifests(&self) -> &[Id] {
        &self.all[self.manifests_at..self.subjects_at]
    }

    pub(super) fn subjects(&self) -> &[Id] {
        &self.all[self.subjects_at..]
    }

    pub(super) fn renumbered(&self, from: &Ids, to: &mut Ids) -> Self {
        Self {
            all: self.all.iter().map(|id| to.id(&from.digest(*id))).collect(),
            manifests_at: self.manifests_at,
            subjects_at: self.subjects_at,
        }
    }
}

/// By where their bytes are.
pub(super) type Manifests = HashMap<Id, Refs>;
