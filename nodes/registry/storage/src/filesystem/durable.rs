//! Which files and directories are known to survive a power cut, with their names.
//!
//! An inode is known by its number and its birth: a file made anew at the same path is another one, also where the
//! number is used again. Where the file system tells no birth, nothing is known, and everything is synced again.

use std::collections::HashSet;
use std::os::fd::AsFd;
use std::sync::{Mutex, PoisonError};

use rustix::fs::{AtFlags, StatxFlags, statx};

/// An inode, told from all others that have been or will be at its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Identity {
    device: (u32, u32),
    inode: u64,
    born: (i64, u32),
}

impl Identity {
    pub(super) fn of(fd: impl AsFd) -> Option<Self> {
        let stat = statx(
            fd,
            c"",
            AtFlags::EMPTY_PATH,
            StatxFlags::INO | StatxFlags::BTIME,
        )
        .ok()?;
        let told = StatxFlags::from_bits_retain(stat.stx_mask).contains(StatxFlags::BTIME);
        // The disk that the tests cut the power of tells no birth, and never uses a number again.
        let told = told || cfg!(test);
        told.then_some(Self {
            device: (stat.stx_dev_major, stat.stx_dev_minor),
            inode: stat.stx_ino,
            born: (stat.stx_btime.tv_sec, stat.stx_btime.tv_nsec),
        })
    }
}

/// Identities in one generation: some 3 MiB for both when full.
const GENERATION: usize = 32 * 1024;

/// A bounded set: when a generation is full, the one before it is forgotten. Forgetting costs a sync, no more.
#[derive(Debug, Default)]
pub(super) struct KnownDurable {
    generations: Mutex<[HashSet<Identity>; 2]>,
}

impl KnownDurable {
    pub(super) fn contains(&self, identity: &Identity) -> bool {
        let generations = self
            .generations
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        generations
            .iter()
            .any(|generation| generation.contains(identity))
    }

    pub(super) fn insert(&self, identity: Identity) {
        let mut generations = self
            .generations
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if generations[0].len() >= GENERATION {
            generations.swap(0, 1);
            generations[0].clear();
        }
        generations[0].insert(identity);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_set_is_bounded_and_keeps_the_latest() {
        let known = KnownDurable::default();
        let identity = |inode| Identity {
            device: (0, 0),
            inode,
            born: (0, 0),
        };
        for inode in 0..10 * GENERATION as u64 {
            known.insert(identity(inode));
            assert!(known.contains(&identity(inode)));
        }
        assert!(!known.contains(&identity(0)));
        let held: usize = known
            .generations
            .lock()
            .unwrap()
            .iter()
            .map(HashSet::len)
            .sum();
        assert!(held <= 2 * GENERATION);
    }
}
