//! Large directories that were read a moment ago: a page of them then costs the page, not the directory.
//!
//! A listing is good for as long as its directory's time of change stays what it was. Nobody can set that time, and each
//! name that comes or goes moves it on by the clock. The clock has ticks of some milliseconds: a directory that changed
//! within the last few may change again without a trace, and is not kept. Where names may be links, whose targets change
//! by themselves, and on file systems whose times may be late (those of a network), nothing is kept.
//!
//! Beside names it is kept which of them have a certain file in them: a tag is one only if it says what it points to. That
//! file does not go without its directory's name, if all goes well: another registry that was killed while it removed a tag,
//! or somebody who tidies up, may have left it so. What is kept of files is forgotten when this process removes one, and
//! believed for a few seconds.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::fs::fstat;
use rustix::io::Errno;
use rustix::time::{ClockId, clock_gettime};
use tokio::time::Instant;

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

/// How long it is believed that a file is there.
const BELIEVED: Duration = Duration::from_secs(10);

/// A listing.
#[derive(Debug)]
struct Kept {
    stamp: Stamp,
    names: Arc<[Entry]>,
    files: Option<Files>,
}

/// Of a file of this path, in which directories it was seen.
#[derive(Debug)]
struct Files {
    path: String,
    since: Instant,
    /// For each name.
    seen: Vec<bool>,
}

/// A directory as it was before it was looked into, and how often a file had been removed by then.
#[derive(Debug, Clone, Copy)]
pub(super) struct Before {
    stamp: Stamp,
    removals: u64,
}

#[derive(Debug, Default)]
pub(super) struct Listings(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// The latest, the one used last at the end.
    kept: VecDeque<Kept>,
    removals: u64,
}

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

    /// Of which of these names it is remembered that they have a file of this path.
    pub(super) fn held(&self, opened: &OwnedFd, path: &str, names: &[String]) -> Option<Vec<bool>> {
        let stamp = Stamp::of(opened).filter(Stamp::is_settled)?;
        let state = self.lock();
        let one = state.kept.iter().find(|one| one.stamp == stamp)?;
        let files = one.files.as_ref().filter(|files| files.is_of(path))?;
        let seen = |name: &String| one.index(name).is_some_and(|at| files.seen[at]);
        Some(names.iter().map(seen).collect())
    }

    /// To be asked before it is looked where files are.
    pub(super) fn looks(&self, opened: &OwnedFd) -> Option<Before> {
        let stamp = Stamp::of(opened).filter(Stamp::is_settled)?;
        let state = self.lock();
        let is_kept = state.kept.iter().any(|one| one.stamp == stamp);
        let removals = state.removals;
        is_kept.then_some(Before { stamp, removals })
    }

    /// Remembers in which of these a file was seen, if the directory is what it was before, and no file was removed.
    pub(super) fn hold(
        &self,
        opened: &OwnedFd,
        Before { stamp, removals }: Before,
        path: &str,
        names: &[String],
        there: &[bool],
    ) {
        if Stamp::of(opened) != Some(stamp) {
            return;
        }
        let mut state = self.lock();
        if state.removals != removals {
            return;
        }
        let Some(one) = state.kept.iter_mut().find(|one| one.stamp == stamp) else {
            return;
        };
        let mut files = match one.files.take() {
            Some(files) if files.is_of(path) => files,
            _ => Files {
                path: path.to_owned(),
                since: Instant::now(),
                seen: vec![false; one.names.len()],
            },
        };
        for (name, is_there) in names.iter().zip(there) {
            if let Some(at) = one.index(name) {
                files.seen[at] = *is_there;
            }
        }
        one.files = Some(files);
    }

    /// A file was removed.
    pub(super) fn forget_files(&self) {
        let mut state = self.lock();
        state.removals += 1;
        for one in &mut state.kept {
            one.files = None;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self, stamp: &Stamp) -> Option<Arc<[Entry]>> {
        let kept = &mut self.lock().kept;
        let at = kept.iter().position(|one| one.stamp == *stamp)?;
        let known = kept.remove(at)?;
        let names = Arc::clone(&known.names);
        kept.push_back(known);
        Some(names)
    }

    fn keep(&self, stamp: Stamp, names: Arc<[Entry]>) -> Arc<[Entry]> {
        if names.len() < LARGE {
            return names;
        }
        let kept = &mut self.lock().kept;
        kept.retain(|one| one.stamp.identity != stamp.identity);
        kept.push_back(Kept {
            stamp,
            names: Arc::clone(&names),
            files: None,
        });
        while kept.iter().map(|one| one.names.len()).sum::<usize>() > NAMES {
            kept.pop_front();
        }
        names
    }
}

impl Kept {
    fn index(&self, name: &str) -> Option<usize> {
        let found = self
            .names
            .binary_search_by(|entry| entry.name.as_str().cmp(name));
        found.ok()
    }
}

impl Files {
    fn is_of(&self, path: &str) -> bool {
        self.path == path && self.since.elapsed() < BELIEVED
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
        let deadline = Instant::now() + Duration::from_mins(1);
        while !Stamp::of(&opened).unwrap().is_settled() {
            assert!(Instant::now() < deadline, "the clock stands still");
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
        assert_eq!(listings.lock().kept.len(), 1);
        File::create(root.path().join("00005")).unwrap();
        let just_changed = listings.list(&opened, None, 2).unwrap();
        assert_eq!(just_changed, None, "it may change again within a tick");
        let opened = settled(root.path());
        assert_eq!(names(listings.list(&opened, None, 2)), ["0000", "00005"]);
        std::fs::rename(root.path().join("0001"), root.path().join("x")).unwrap();
        let opened = settled(root.path());
        assert_eq!(names(listings.list(&opened, Some("00005"), 1)), ["0002"]);
        assert_eq!(listings.lock().kept.len(), 1, "the latest alone is kept");
    }

    #[tokio::test(start_paused = true)]
    async fn files_are_remembered_while_the_directory_stays_and_not_for_long() {
        const FILE: &str = "current/link";
        let root = tempfile::tempdir().unwrap();
        for number in 0..LARGE {
            std::fs::create_dir(root.path().join(format!("{number:04}"))).unwrap();
        }
        let listings = Listings::default();
        let asked = ["0003", "0005", "none"].map(str::to_owned);
        let held = |opened| listings.held(opened, FILE, &asked);
        let opened = settled(root.path());
        assert!(listings.looks(&opened).is_none(), "no name is kept");
        listings.list(&opened, None, 1).unwrap();
        let before = listings.looks(&opened).expect("names are kept");
        assert_eq!(held(&opened), None);
        listings.hold(&opened, before, FILE, &asked, &[true, false, true]);
        assert_eq!(held(&opened), Some(vec![true, false, false]));
        assert_eq!(listings.held(&opened, "another", &asked), None);
        listings.hold(&opened, before, FILE, &asked[1..2], &[true]);
        assert_eq!(held(&opened), Some(vec![true, true, false]));
        tokio::time::advance(BELIEVED).await;
        assert_eq!(held(&opened), None, "it may be gone by itself");
        listings.hold(&opened, before, FILE, &asked, &[true, true, false]);
        assert_eq!(held(&opened), Some(vec![true, true, false]));
        listings.forget_files();
        listings.hold(&opened, before, FILE, &asked, &[true, true, false]);
        assert_eq!(
            held(&opened),
            None,
            "it may have been seen before it was removed"
        );
        let before = listings.looks(&opened).unwrap();
        listings.hold(&opened, before, FILE, &asked, &[true, true, false]);
        assert_eq!(held(&opened), Some(vec![true, true, false]));

        std::fs::remove_dir(root.path().join("0005")).unwrap();
        listings.hold(&opened, before, FILE, &asked, &[true, true, false]);
        assert_eq!(held(&opened), None, "it may change again within a tick");
        let opened = settled(root.path());
        listings.list(&opened, None, 1).unwrap();
        assert_eq!(held(&opened), None, "it is another directory now");
        listings.hold(&opened, before, FILE, &asked, &[true, true, false]);
        assert_eq!(held(&opened), None, "what was seen before says nothing");
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
