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
