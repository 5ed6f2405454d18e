//! The tier in this process' memory, and who may fill it.
//!
//! A fill says what the store said some time ago. In between, the content may have been deleted. So whoever is going to
//! ask the store takes a [`Ticket`] first, and what it learns is taken only if nothing was forgotten since that might have
//! been the same content.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use roadstead_oci::Digest;

use crate::fact::{Descriptor, Key};
use crate::options::Descriptors;
use crate::weighed::Weighed;

/// Content that shares a mark of when it was forgotten: a deletion makes fills of one in so many others void, which are
/// just not remembered.
const STRIPES: usize = 1024;

/// When somebody began to ask the store. The default is before all that was ever forgotten: nothing is learnt with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ticket(u64);

/// What the tier holds, and how often it knew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    pub descriptors: usize,
    pub descriptor_bytes: usize,
    pub manifests: usize,
    pub manifest_bytes: usize,
    pub hits: u64,
    pub misses: u64,
    pub evictions: u64,
}

#[derive(Debug)]
pub(crate) struct Memory {
    facts: Mutex<Facts>,
    manifests: Mutex<Manifests>,
}

/// What is in which repository.
#[derive(Debug)]
struct Facts {
    /// `None` without descriptors.
    entries: Option<Weighed<Key, Descriptor>>,
    /// This process knows of every deletion.
    trusted: bool,
    /// Counts what is forgotten.
    clock: u64,
    /// When everything was forgotten.
    all: u64,
    /// When something of a stripe was forgotten.
    stripes: Box<[u64]>,
    /// What is being removed, and how many do it.
    removing: HashMap<Key, usize>,
    hits: u64,
    misses: u64,
}

/// Bytes of manifests. They are what their digest says, so that nothing has to be forgotten.
#[derive(Debug)]
struct Manifests {
    entries: Weighed<Digest, Bytes>,
    hits: u64,
    misses: u64,
}

impl Memory {
    pub(crate) fn new(descriptors: Option<Descriptors>, manifests: usize, trusted: bool) -> Self {
        let entries = descriptors.map(|limits| Weighed::new(limits.bytes, limits.count));
        Self {
            facts: Mutex::new(Facts {
                entries,
                trusted,
                clock: 1,
                all: 0,
                stripes: vec![0; STRIPES].into(),
                removing: HashMap::new(),
                hits: 0,
                misses: 0,
            }),
            manifests: Mutex::new(Manifests {
                entries: Weighed::new(manifests, None),
                hits: 0,
                misses: 0,
            }),
        }
    }

    pub(crate) fn begin(&self) -> Ticket {
        Ticket(lock(&self.facts).clock)
    }

    pub(crate) fn get(&self, key: &Key) -> Option<Descriptor> {
        let facts = &mut *lock(&self.facts);
        if facts.entries.is_none() || !facts.trusted {
            return None;
        }
        let found = facts
            .entries
            .as_mut()
            .and_then(|entries| entries.get(key).cloned());
        let count = if found.is_some() {
            &mut facts.hits
        } else {
            &mut facts.misses
        };
        *count += 1;
        found
    }

    /// Whether what was learnt since the ticket was taken may be believed.
    pub(crate) fn may_learn(&self, ticket: Ticket, key: &Key) -> bool {
        lock(&self.facts).may_learn(ticket, key)
    }

    /// Answers whether it may be believed; then it is remembered, if there is room.
    pub(crate) fn learn(&self, ticket: Ticket, key: &Key, descriptor: &Descriptor) -> bool {
        let facts = &mut *lock(&self.facts);
        if !facts.may_learn(ticket, key) {
            return false;
        }
        if let Some(entries) = &mut facts.entries {
            let weight = key.weight() + descriptor.media_type.len();
            entries.insert(key.clone(), descriptor.clone(), weight);
        }
        true
    }

    /// From now on nothing is known or learnt of it, until as many have ended as began.
    pub(crate) fn begin_removal(&self, key: &Key) {
        let facts = &mut *lock(&self.facts);
        *facts.removing.entry(key.clone()).or_default() += 1;
        facts.forget(key);
    }

    pub(crate) fn end_removal(&self, key: &Key) {
        let facts = &mut *lock(&self.facts);
        if let Some(count) = facts.removing.get_mut(key) {
            *count -= 1;
            if *count == 0 {
                facts.removing.remove(key);
            }
        }
        facts.forget(key);
    }

    pub(crate) fn forget_all(&self) {
        lock(&self.facts).forget_all();
    }

    pub(crate) fn is_trusted(&self) -> bool {
        lock(&self.facts).trusted
    }

    pub(crate) fn trust(&self, trusted: bool) {
        let facts = &mut *lock(&self.facts);
        facts.trusted = trusted;
        // Also when trust begins: what was learnt before it may have been deleted unheard.
        facts.forget_all();
    }

    pub(crate) fn manifest(&self, digest: &Digest) -> Option<Bytes> {
        let manifests = &mut *lock(&self.manifests);
        let found = manifests.entries.get(digest).cloned();
        let count = if found.is_some() {
            &mut manifests.hits
        } else {
            &mut manifests.misses
        };
        *count += 1;
        found
    }

    /// The bytes are those of the digest.
    pub(crate) fn keep_manifest(&self, digest: &Digest, bytes: &Bytes) {
        let weight = bytes.len() + digest.hex().len();
        // A piece of a larger buffer would keep all of it.
        let bytes = Bytes::copy_from_slice(bytes);
        let manifests = &mut *lock(&self.manifests);
        manifests.entries.insert(digest.clone(), bytes, weight);
    }

    pub(crate) fn stats(&self) -> Stats {
        let facts = lock(&self.facts);
        let mut stats = Stats {
            hits: facts.hits,
            misses: facts.misses,
            ..Stats::default()
        };
        if let Some(entries) = &facts.entries {
            stats.descriptors = entries.len();
            stats.descriptor_bytes = entries.bytes();
            stats.evictions = entries.evicted();
        }
        drop(facts);
        let manifests = lock(&self.manifests);
        stats.manifests = manifests.entries.len();
        stats.manifest_bytes = manifests.entries.bytes();
        stats.hits += manifests.hits;
        stats.misses += manifests.misses;
        stats.evictions += manifests.entries.evicted();
        stats
    }
}

impl Facts {
    fn may_learn(&self, ticket: Ticket, key: &Key) -> bool {
        self.trusted
            && ticket.0 > self.all
            && ticket.0 > self.stripes[stripe(key)]
            && !self.removing.contains_key(key)
    }

    fn forget(&mut self, key: &Key) {
        self.stripes[stripe(key)] = self.clock;
        self.clock += 1;
        if let Some(entries) = &mut self.entries {
            entries.remove(key);
        }
    }

    fn forget_all(&mut self) {
        self.all = self.clock;
        self.clock += 1;
        if let Some(entries) = &mut self.entries {
            entries.clear();
        }
    }
}

fn stripe(key: &Key) -> usize {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    usize::try_from(hasher.finish() % STRIPES as u64).unwrap_or(0)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
