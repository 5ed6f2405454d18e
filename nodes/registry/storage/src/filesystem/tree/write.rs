//! Writing small files, moving files to where they belong, and removing.

use std::fs::File;
use std::io::Write as _;

use rustix::fs::{AtFlags, OFlags, fsync, mkdirat, openat, renameat, statat, unlinkat};
use rustix::io::Errno;
use uuid::Uuid;

use super::{DIRECTORY_MODE, FILE_MODE, TEMPORARY, Tree, parent, relative, write_error};
use crate::driver::Put;
use crate::{Error, StorePath};

/// How often a write tries again whose directory other requests keep removing.
const ATTEMPTS: usize = 32;

/// Where a removed directory lies, out of the layout, until it is emptied.
#[derive(Debug)]
pub(in super::super) struct Trash(String);

impl Tree {
    pub(in super::super) fn put(&self, writes: &[Put]) -> Result<(), Error> {
        self.put_from(TEMPORARY, writes)
    }

    /// Each is written in that directory, and renamed from there.
    pub(super) fn put_from(&self, directory: &str, writes: &[Put]) -> Result<(), Error> {
        let mut placed = Vec::new();
        for Put { path, content } in writes {
            let temporary = self.write_in(directory, content)?;
            if let Err(error) = self.rename(&temporary, path) {
                let _swept_later = self.unlink(&temporary);
                return Err(error);
            }
            placed.push(path);
        }
        self.settle_names(&placed)
    }

    /// Removes a file or a directory, for good when it returns. Of a directory, the content is left in a temporary place
    /// that is answered with, for [`Tree::empty`]: that may take long.
    pub(in super::super) fn remove(&self, path: &StorePath) -> Result<Option<Trash>, Error> {
        self.check_root()?;
        let (name, mut trash) = (relative(path), None);
        match unlinkat(&self.root, name, AtFlags::empty()) {
            Ok(()) => {}
            Err(Errno::ISDIR | Errno::PERM) => trash = Some(self.move_away(path)?),
            Err(errno @ (Errno::NOENT | Errno::NOTDIR)) => return Err(self.read_error(path, errno)),
            Err(errno) => return Err(write_error("removing", errno.into())),
        }
        self.listings.forget_files();
        match self.open_directory(parent(name)) {
            Ok(parent) => {
                fsync(&parent).map_err(|errno| write_error("syncing a directory", errno.into()))?;
            }
            // Another request removed the parent as well, and answers for that.
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(write_error("syncing a directory", errno.into())),
        }
        Ok(trash)
    }

    /// Out of the way in one step: no reader sees half of it.
    fn move_away(&self, path: &StorePath) -> Result<Trash, Error> {
        let trash = format!("{TEMPORARY}/{}", Uuid::new_v4().simple());
        match renameat(&self.root, relative(path), &self.root, &trash) {
            Ok(()) => {}
            Err(errno @ (Errno::NOENT | Errno::NOTDIR)) => return Err(self.read_error(path, errno)),
            Err(errno) => return Err(write_error("removing", errno.into())),
        }
        Ok(Trash(trash))
    }

    /// Frees what was removed.
    pub(in super::super) fn empty(&self, Trash(trash): &Trash) {
        if let Err(error) = std::fs::remove_dir_all(self.path.join(trash)) {
            tracing::warn!(%error, trash, "removed content stays on the disk until it is swept");
        }
    }

    pub(super) fn create_temporary(&self) -> Result<(String, File), Error> {
        self.create_in(TEMPORARY)
    }

    fn create_in(&self, directory: &str) -> Result<(String, File), Error> {
        self.check_root()?;
        let name = format!("{directory}/{}", Uuid::new_v4().simple());
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = openat(&self.root, &name, flags, FILE_MODE)
            .map_err(|errno| write_error("writing", errno.into()))?;
        Ok((name, file.into()))
    }

    /// A synced file with this content; its name is not synced.
    pub(super) fn write_temporary(&self, content: &[u8]) -> Result<String, Error> {
        self.write_in(TEMPORARY, content)
    }

    pub(super) fn write_in(&self, directory: &str, content: &[u8]) -> Result<String, Error> {
        let (name, mut file) = self.create_in(directory)?;
        let written = file.write_all(content).and_then(|()| file.sync_data());
        if let Err(error) = written {
            let _swept_later = self.unlink(&name);
            return Err(write_error("writing", error));
        }
        Ok(name)
    }

    pub(super) fn unlink(&self, name: &str) -> Result<(), Error> {
        unlinkat(&self.root, name, AtFlags::empty())
            .map_err(|errno| write_error("removing", errno.into()))
    }

    /// Moves a synced file to where it belongs, making directories as needed.
    pub(super) fn rename(&self, from: &str, to: &StorePath) -> Result<(), Error> {
        let target = relative(to);
        for _attempt in 0..ATTEMPTS {
            match renameat(&self.root, from, &self.root, target) {
                Ok(()) => return Ok(()),
                Err(Errno::NOENT) => {
                    if let Err(Errno::NOENT) = statat(&self.root, from, AtFlags::empty()) {
                        return self.check_root().and(Err(Error::Damaged));
                    }
                    self.make_directories(parent(target))?;
                }
                Err(errno) => return Err(write_error("publishing", errno.into())),
            }
        }
        Err(Error::Io {
            what: format!("publishing {to}"),
            source: Errno::NOENT.into(),
        })
    }

    pub(super) fn make_directories(&self, directory: &str) -> Result<(), Error> {
        self.check_root()?;
        self.make_directory(directory)
    }

    /// From below: mostly the last one is missing alone, and asking for one that is there locks the one above it.
    fn make_directory(&self, directory: &str) -> Result<(), Error> {
        let failed = |errno: Errno| write_error("making a directory", errno.into());
        match mkdirat(&self.root, directory, DIRECTORY_MODE) {
            Ok(()) | Err(Errno::EXIST) => return Ok(()),
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(failed(errno)),
        }
        if let Some((above, _)) = directory.rsplit_once('/') {
            self.make_directory(above)?;
        }
        match mkdirat(&self.root, directory, DIRECTORY_MODE) {
            // Where it is still missing, another request removes it at the same time; the caller tries again.
            Ok(()) | Err(Errno::EXIST | Errno::NOENT) => Ok(()),
            Err(errno) => Err(failed(errno)),
        }
    }
}
