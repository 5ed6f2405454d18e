//! Which files and directories are known to survive a power cut, with their names.
//!
//! An inode is known by its number and its birth: a file made anew at the same path is another one, also where the
//! number is used again. Where the file system tells no birth, nothing is known, and everything is synced again.

use std::collections::{HashSet, VecDeque};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use rustix::fs::{AtFlags, StatxFlags, statx};
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep};

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

/// Births are told by a clock that ticks every 1 to 10 ms. Within one tick, a number that is free again can be given to
/// a file with the same birth: until then, an open handle keeps the number from being free.
const SURELY_TICKED: Duration = Duration::from_millis(50);

/// Handles that are kept open for it, at most. Beyond that the oldest is forgotten.
const KEPT_OPEN: usize = 256;

/// A bounded set: when a generation is full, the one before it is forgotten. Forgetting costs a sync, no more.
#[derive(Debug, Default)]
pub(super) struct KnownDurable(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    generations: [HashSet<Identity>; 2],
    young: VecDeque<Young>,
    /// Somebody closes what is no longer young.
    is_tended: bool,
}

#[derive(Debug)]
struct Young {
    identity: Identity,
    kept_since: Instant,
    _handle: OwnedFd,
}

impl KnownDurable {
    pub(super) fn contains(&self, identity: &Identity) -> bool {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known
            .generations
            .iter()
            .any(|generation| generation.contains(identity))
    }

    /// The handle is of the inode.
    pub(super) fn insert(&self, identity: Identity, handle: OwnedFd) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(Young {
            identity,
            kept_since: Instant::now(),
            _handle: handle,
        });
        if !known.is_tended
            && let Ok(runtime) = Handle::try_current()
        {
            known.is_tended = true;
            runtime.spawn(close_when_old(Arc::downgrade(&self.0)));
        }
    }
}

async fn close_when_old(known: Weak<Mutex<Known>>) {
    loop {
        sleep(SURELY_TICKED).await;
        let Some(known) = known.upgrade() else { return };
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retire(Instant::now());
        if known.young.is_empty() {
            known.is_tended = false;
            return;
        }
    }
}

impl Known {
    /// Closes what is surely older than a tick.
    fn retire(&mut self, now: Instant) {
        while let Some(oldest) = self.young.front() {
            if now.duration_since(oldest.kept_since) < SURELY_TICKED {
                break;
            }
            self.young.pop_front();
        }
    }

    fn insert(&mut self, young: Young) {
        self.retire(young.kept_since);
        if self.young.len() >= KEPT_OPEN
            && let Some(Young { identity, .. }) = self.young.pop_front()
        {
            for generation in &mut self.generations {
                generation.remove(&identity);
            }
        }
        if self.generations[0].len() >= GENERATION {
            self.generations.swap(0, 1);
            self.generations[0].clear();
        }
        self.generations[0].insert(young.identity);
        self.young.push_back(young);
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    fn identity(inode: u64) -> Identity {
        Identity {
            device: (0, 0),
            inode,
            born: (0, 0),
        }
    }

    #[test]
    fn the_set_is_bounded_and_keeps_the_latest() {
        let mut known = Known::default();
        let (begun, handle) = (Instant::now(), tempfile::tempfile().unwrap());
        for inode in 0..4 * GENERATION as u64 {
            known.insert(Young {
                identity: identity(inode),
                kept_since: begun + SURELY_TICKED * u32::try_from(inode).unwrap(),
                _handle: handle.try_clone().unwrap().into(),
            });
            assert!(known.generations[0].contains(&identity(inode)));
            assert_eq!(known.young.len(), 1, "time has passed");
        }
        assert!(
            !known
                .generations
                .iter()
                .any(|one| one.contains(&identity(0)))
        );
        assert!(known.generations.iter().map(HashSet::len).sum::<usize>() <= 2 * GENERATION);
    }

    #[test]
    fn what_is_young_is_known_only_while_it_is_open() {
        let mut known = Known::default();
        let (within_a_tick, handle) = (Instant::now(), tempfile::tempfile().unwrap());
        let count = 2 * KEPT_OPEN as u64;
        for inode in 0..count {
            known.insert(Young {
                identity: identity(inode),
                kept_since: within_a_tick,
                _handle: handle.try_clone().unwrap().into(),
            });
        }
        assert_eq!(known.young.len(), KEPT_OPEN);
        let still_open = count - KEPT_OPEN as u64;
        for inode in 0..count {
            let remembered = known.generations[0].contains(&identity(inode));
            assert_eq!(remembered, inode >= still_open, "{inode}");
        }
    }

    /// Which of 1000 files, each made, known and removed, passes for the one before it.
    #[test]
    fn a_file_made_again_is_another_one() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("file");
        let known = KnownDurable::default();
        for _ in 0..1000 {
            let file = File::create(&path).unwrap();
            let Some(identity) = Identity::of(&file) else {
                return;
            };
            assert!(!known.contains(&identity));
            known.insert(identity, file.into());
            std::fs::remove_file(&path).unwrap();
        }
    }
}
