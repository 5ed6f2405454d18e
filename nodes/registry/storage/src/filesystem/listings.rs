//! Large directories that were read a moment ago: a page of them then costs the page, not the directory.
//!
//! A listing is good for as long as its directory's time of change stays what it was. Nobody can set that time, and each
//! name that comes or goes moves it on by the clock. The clock has ticks of some milliseconds: a directory that changed
//! within the last few may change again without a trace, and is not kept. Where names may be links, whose targets change
//! by themselves, and on file systems whose times may be late (those of a network), nothing is kept.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::fs::fstat;
use rustix::io::Errno;
use rustix::time::{ClockId, clock_gettime};

use super::directory;
use crate::driver::Entry;

/// Longer than a tick of any clock, several times.
const SURELY_TICKED: Duration = Duration::from_millis(100);

/// Smaller directories are read as fast as they are remembered.
const LARGE: usize = 256;

/// Names that are held of all directories together: some 6 MiB.
const NAMES: usize = 100_000;

/// A directory, and when it changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    identity: (u64, u64),
    changed: Duration,
    size: i64,
}

impl Stamp {
    fn of(directory: &OwnedFd) -> Option<Self> {
        let stat = fstat(directory).ok()?;
        Some(Self {
            identity: (stat.st_dev, stat.st_ino),
            changed: Duration::new(
                u64::try_from(stat.st_ctime).ok()?,
                u32::try_from(stat.st_ctime_nsec).ok()?,
            ),
            size: stat.st_size,
        })
    }

    /// Whether a change from now on would make it another one.
    fn is_settled(&self) -> bool {
        let now = clock_gettime(ClockId::Realtime);
        let now = u64::try_from(now.tv_sec)
            .ok()
            .zip(u32::try_from(now.tv_nsec).ok());
        now.and_then(|(seconds, rest)| Duration::new(seconds, rest).checked_sub(self.changed))
            .is_some_and(|age| age > SURELY_TICKED)
    }
}

/// The latest listings, the one used last at the end.
#[derive(Debug, Default)]
pub(super) struct Listings(Mutex<VecDeque<(Stamp, Arc<[Entry]>)>>);

impl Listings {
    /// As [`directory::list`], from memory if it is there. `None` where it is for that to do.
    pub(super) fn list(
        &self,
        opened: &OwnedFd,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Option<Vec<Entry>>, Errno> {
        let Some(stamp) = Stamp::of(opened).filter(Stamp::is_settled) else {
            return Ok(None);
        };
        let all = match self.known(&stamp) {
            Some(known) => known,
            None => match directory::all(opened, NAMES / 2)? {
                Some(read) if Stamp::of(opened) == Some(stamp) => self.keep(stamp, read.into()),
                _ => return Ok(None),
            },
        };
        let first = after.map_or(0, |after| {
            all.partition_point(|entry| entry.name.as_str() <= after)
        });
        Ok(Some(all.iter().skip(first).take(limit).cloned().collect()))
    }

    fn known(&self, stamp: &Stamp) -> Option<Arc<[Entry]>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = kept.iter().position(|(one, _)| one == stamp)?;
        let known = kept.remove(at)?;
        let names = Arc::clone(&known.1);
        kept.push_back(known);
        Some(names)
    }

    fn keep(&self, stamp: Stamp, names: Arc<[Entry]>) -> Arc<[Entry]> {
        if names.len() < LARGE {
            return names;
        }
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(one, _)| one.identity != stamp.identity);
        kept.push_back((stamp, Arc::clone(&names)));
        while kept.iter().map(|(_, names)| names.len()).sum::<usize>() > NAMES {
            kept.pop_front();
        }
        names
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::path::Path;

    use super::*;

    /// Waits until the directory's last change is old enough.
    fn settled(path: &Path) -> OwnedFd {
        let opened: OwnedFd = File::open(path).unwrap().into();
        let deadline = tokio::time::Instant::now() + Duration::from_mins(1);
        while !Stamp::of(&opened).unwrap().is_settled() {
            assert!(
                tokio::time::Instant::now() < deadline,
                "the clock stands still"
            );
            std::thread::yield_now();
        }
        opened
    }

    fn names(listed: Result<Option<Vec<Entry>>, Errno>) -> Vec<String> {
        let listed = listed.unwrap().expect("a listing");
        listed.into_iter().map(|entry| entry.name).collect()
    }

    #[test]
    fn a_page_is_what_the_directory_holds_also_after_changes() {
        let root = tempfile::tempdir().unwrap();
        for number in 0..2 * LARGE {
            File::create(root.path().join(format!("{number:04}"))).unwrap();
        }
        let listings = Listings::default();
        let opened = settled(root.path());
        for _from_the_disk_then_from_memory in 0..2 {
            assert_eq!(names(listings.list(&opened, None, 2)), ["0000", "0001"]);
            assert_eq!(
                names(listings.list(&opened, Some("0010"), 2)),
                ["0011", "0012"]
            );
            assert_eq!(names(listings.list(&opened, Some("0510x"), 5)), ["0511"]);
        }
        assert_eq!(listings.0.lock().unwrap().len(), 1);
        File::create(root.path().join("00005")).unwrap();
        let just_changed = listings.list(&opened, None, 2).unwrap();
        assert_eq!(just_changed, None, "it may change again within a tick");
        let opened = settled(root.path());
        assert_eq!(names(listings.list(&opened, None, 2)), ["0000", "00005"]);
        std::fs::rename(root.path().join("0001"), root.path().join("x")).unwrap();
        let opened = settled(root.path());
        assert_eq!(names(listings.list(&opened, Some("00005"), 1)), ["0002"]);
        assert_eq!(
            listings.0.lock().unwrap().len(),
            1,
            "the latest alone is kept"
        );
    }

    #[test]
    fn directories_with_links_are_not_kept() {
        let root = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("elsewhere", root.path().join("link")).unwrap();
        let opened = settled(root.path());
        assert_eq!(Listings::default().list(&opened, None, 2), Ok(None));
    }

    #[test]
    fn what_is_held_is_bounded() {
        let listings = Listings::default();
        let entry = Entry {
            name: "x".to_owned(),
            is_directory: false,
        };
        let stamp = Stamp {
            identity: (0, 0),
            changed: Duration::ZERO,
            size: 0,
        };
        for inode in 0..20 {
            let names: Vec<Entry> = vec![entry.clone(); NAMES / 10];
            let identity = (0, inode);
            listings.keep(Stamp { identity, ..stamp }, names.into());
        }
        let held = |inode| {
            listings
                .known(&Stamp {
                    identity: (0, inode),
                    ..stamp
                })
                .is_some()
        };
        assert_eq!((0..20).filter(|inode| held(*inode)).count(), 10);
        assert!(held(19) && !held(0));
    }
}
