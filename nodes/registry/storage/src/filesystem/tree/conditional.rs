//! Writing a file only if there is none, and removing one only if it is the one that was meant.
//!
//! A name is linked by one process only. For removing, a file system has no such operation. The file is moved away first,
//! which only one process can do, and looked at there: one that another writer had put in its place meanwhile is linked back,
//! unless there is a newer one by then. In that moment it is not seen; a power cut in it would lose it.

use rustix::fs::{AtFlags, fsync, linkat, renameat, unlinkat};
use rustix::io::Errno;
use uuid::Uuid;

use super::{TEMPORARY, Tree, parent, relative, write_error};
use crate::driver::Put;
use crate::{Error, StorePath};

impl Tree {
    /// Whether the file is there now as it was given, and for good.
    pub(in super::super) fn put_new(&self, write: &Put) -> Result<bool, Error> {
        let temporary = self.write_in(TEMPORARY, &write.content)?;
        let linked = self.link(&temporary, &write.path);
        let _swept_later = self.unlink(&temporary);
        let is_new = linked?;
        if is_new {
            self.settle_names(&[&write.path])?;
        }
        Ok(is_new)
    }

    /// Whether the file held `content`, and is gone for good.
    pub(in super::super) fn remove_if(
        &self,
        path: &StorePath,
        content: &[u8],
    ) -> Result<bool, Error> {
        match self.get(path, content.len()) {
            Ok(found) if found == content => {}
            Ok(_) | Err(Error::NotFound(_) | Error::TooLarge { .. }) => return Ok(false),
            Err(error) => return Err(error),
        }
        self.check_root()?;
        let (name, aside) = (
            relative(path),
            StorePath::of(format_args!("/{TEMPORARY}/{}", Uuid::new_v4().simple())),
        );
        match renameat(&self.root, name, &self.root, relative(&aside)) {
            Ok(()) => self.listings.forget_files(),
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(false),
            Err(errno) => return Err(write_error("removing", errno.into())),
        }
        let is_it = match self.get(&aside, content.len()) {
            Ok(found) => Ok(found == content),
            Err(Error::TooLarge { .. }) => Ok(false),
            Err(error) => Err(error),
        };
        // Also where it is not known what it is.
        if !matches!(is_it, Ok(true)) {
            self.put_back(&aside, path)?;
        }
        match unlinkat(&self.root, relative(&aside), AtFlags::empty()) {
            // Moved back.
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(write_error("removing", errno.into())),
        }
        self.sync_parent(path)?;
        is_it
    }

    /// Where a newer one is there, that stays.
    fn put_back(&self, aside: &StorePath, path: &StorePath) -> Result<(), Error> {
        self.link(relative(aside), path).map(drop)
    }

    /// Gives a file another name, unless something has that. A file system that has no links moves it; of two who do that at
    /// the same time, the later one's stays.
    fn link(&self, from: &str, to: &StorePath) -> Result<bool, Error> {
        let (target, flags) = (relative(to), AtFlags::empty());
        self.make_directories(parent(target))?;
        match linkat(&self.root, from, &self.root, target, flags) {
            Ok(()) => Ok(true),
            Err(Errno::EXIST) => Ok(false),
            Err(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS) => match self.stat(to) {
                Ok(_) => Ok(false),
                Err(Error::NotFound(_)) => self.rename(from, to).map(|()| true),
                Err(error) => Err(error),
            },
            Err(errno) => Err(write_error("linking a file", errno.into())),
        }
    }

    fn sync_parent(&self, path: &StorePath) -> Result<(), Error> {
        match self.open_directory(parent(relative(path))) {
            Ok(parent) => {
                fsync(&parent).map_err(|errno| write_error("syncing a directory", errno.into()))
            }
            // Another request removed it as well, and answers for that.
            Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(write_error("syncing a directory", errno.into())),
        }
    }

    /// Removes directories without files, the innermost first.
    pub(in super::super) fn prune(&self, directory: &StorePath) -> Result<(), Error> {
        let entries = match self.list(directory, None, usize::MAX) {
            Ok(entries) => entries,
            Err(Error::NotFound(_)) => return Ok(()),
            Err(error) => return Err(error),
        };
        for entry in entries.iter().filter(|entry| entry.is_directory) {
            self.prune(&StorePath::of(format_args!("{directory}/{}", entry.name)))?;
        }
        match unlinkat(&self.root, relative(directory), AtFlags::REMOVEDIR) {
            Ok(()) => self.sync_parent(directory),
            // Somebody wrote into it, or removed it as well.
            Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOENT) => Ok(()),
            Err(errno) => Err(write_error("removing a directory", errno.into())),
        }
    }
}
