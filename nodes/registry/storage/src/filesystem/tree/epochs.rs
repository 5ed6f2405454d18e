//! Writing under an epoch, and ending epochs.
//!
//! What is written under an epoch is staged in a directory of its own and renamed from there, each time by its path. The end
//! moves that directory away and empties it: whoever was paused before a system call finds no directory, and a rename that
//! the kernel had begun finds no file.

use rustix::fs::{AtFlags, fsync, renameat, statat, unlinkat};
use rustix::io::Errno;
use uuid::Uuid;

use super::{TEMPORARY, Tree, write_error};
use crate::driver::{Entry, Put};
use crate::{Error, StorePath};

const EPOCHS: &str = "roadstead/epochs";

/// How often a directory is emptied into which somebody keeps writing: each of them can only once.
const ATTEMPTS: usize = 1000;

impl Tree {
    pub(in super::super) fn begin_epoch(&self, epoch: u64) -> Result<(), Error> {
        let directory = at(epoch);
        self.make_directories(&directory)?;
        self.settle_directory(&directory).map(drop)
    }

    pub(in super::super) fn epochs(&self) -> Result<Vec<u64>, Error> {
        match self.list(&StorePath::of(format_args!("/{EPOCHS}")), None, usize::MAX) {
            Ok(entries) => Ok(entries
                .iter()
                .filter_map(|entry| entry.name.parse().ok())
                .collect()),
            Err(Error::NotFound(_)) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    pub(in super::super) fn end_epochs(&self, epochs: &[u64]) -> Result<(), Error> {
        let mut ended = Vec::new();
        for epoch in epochs {
            let aside = format!("{TEMPORARY}/epoch-{epoch}-{}", Uuid::new_v4().simple());
            match renameat(&self.root, at(*epoch), &self.root, &aside) {
                Ok(()) => ended.push(aside),
                Err(Errno::NOENT) => self.check_root()?,
                Err(errno) => return Err(write_error("ending an epoch", errno.into())),
            }
        }
        if ended.is_empty() {
            return Ok(());
        }
        // A power cut must not bring one back.
        let above = self.open_directory(EPOCHS);
        let synced = above.and_then(fsync);
        synced.map_err(|errno| write_error("ending an epoch", errno.into()))?;
        ended.iter().try_for_each(|aside| self.empty_out(aside))
    }

    /// Until nothing is in it and nothing can be put there.
    fn empty_out(&self, aside: &str) -> Result<(), Error> {
        let directory = StorePath::of(format_args!("/{aside}"));
        for _attempt in 0..ATTEMPTS {
            let names = self.list(&directory, None, usize::MAX)?;
            let ours = || names.iter().filter(|entry| !is_kept_by_nfs(entry));
            for Entry { name, .. } in ours() {
                match unlinkat(&self.root, format!("{aside}/{name}"), AtFlags::empty()) {
                    Ok(()) | Err(Errno::NOENT) => {}
                    Err(errno) => return Err(write_error("ending an epoch", errno.into())),
                }
            }
            match unlinkat(&self.root, aside, AtFlags::REMOVEDIR) {
                Ok(()) | Err(Errno::NOENT) => return Ok(()),
                Err(Errno::NOTEMPTY | Errno::EXIST) => {}
                Err(errno) => return Err(write_error("ending an epoch", errno.into())),
            }
            if !names.is_empty() && ours().next().is_none() {
                return Ok(());
            }
        }
        Err(Error::Io {
            what: format!("emptying {aside}"),
            source: Errno::NOTEMPTY.into(),
        })
    }

    /// As [`Tree::put`], with as many syncs.
    pub(in super::super) fn put_under(&self, epoch: u64, writes: &[Put]) -> Result<(), Error> {
        let put = self.put_from(&at(epoch), writes);
        if put.is_err() && self.has_ended(epoch)? {
            return Err(Error::Fenced);
        }
        put
    }

    fn has_ended(&self, epoch: u64) -> Result<bool, Error> {
        match statat(&self.root, at(epoch), AtFlags::empty()) {
            Ok(_) => Ok(false),
            Err(Errno::NOENT | Errno::STALE) => self.check_root().map(|()| true),
            Err(errno) => Err(write_error("looking for an epoch", errno.into())),
        }
    }
}

/// Under a name that no writer knows, as long as a process of this machine has it open.
fn is_kept_by_nfs(entry: &Entry) -> bool {
    entry.name.starts_with(".nfs")
}

fn at(epoch: u64) -> String {
    format!("{EPOCHS}/{epoch}")
}

#[cfg(test)]
mod tests {
    use rustix::fs::{Mode, OFlags, openat};

    use super::*;
    use crate::StorePath;

    fn tree() -> (tempfile::TempDir, Tree) {
        let root = tempfile::tempdir().unwrap();
        let tree = Tree::open(root.path(), true).unwrap();
        tree.begin_epoch(7).unwrap();
        (root, tree)
    }

    fn target() -> StorePath {
        "/a/link".parse().unwrap()
    }

    #[test]
    fn what_was_staged_before_the_end_is_not_moved_after_it() {
        let (_root, tree) = tree();
        let staged = tree.write_in(&at(7), b"x").unwrap();
        tree.end_epochs(&[7]).unwrap();
        assert!(tree.rename(&staged, &target()).is_err());
        tree.begin_epoch(8).unwrap();
        assert!(tree.rename(&staged, &target()).is_err());
        assert!(matches!(tree.stat(&target()), Err(Error::NotFound(_))));
    }

    /// As the kernel has it that found the directory before the end, and goes on with it afterwards.
    #[test]
    fn a_directory_that_was_found_before_the_end_is_of_no_use_after_it() {
        let (_root, tree) = tree();
        let staged = tree.write_in(&at(7), b"x").unwrap();
        let (_, name) = staged.rsplit_once('/').unwrap();
        let found = tree.open_directory(&at(7)).unwrap();
        tree.end_epochs(&[7]).unwrap();
        let moved = renameat(&found, name, &tree.root, "late");
        assert_eq!(moved, Err(Errno::NOENT));
        let flags = OFlags::WRONLY | OFlags::CREATE;
        let made = openat(&found, "late", flags, Mode::from_raw_mode(0o600));
        assert_eq!(made.map(drop), Err(Errno::NOENT));
    }

    #[test]
    fn an_end_may_be_made_twice_and_leaves_nothing() {
        let (root, tree) = tree();
        tree.write_in(&at(7), b"x").unwrap();
        tree.end_epochs(&[7, 7, 9]).unwrap();
        tree.end_epochs(&[7]).unwrap();
        for empty in [EPOCHS, TEMPORARY] {
            let left = std::fs::read_dir(root.path().join(empty)).unwrap();
            assert_eq!(left.count(), 0, "{empty}");
        }
    }
}
