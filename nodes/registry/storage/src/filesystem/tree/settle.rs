//! Making what was written survive a power cut: content, names, and the names of the directories above.

use std::os::fd::OwnedFd;

use rustix::fs::{fdatasync, fsync};
use rustix::io::Errno;

use super::super::durable::Identity;
use super::{Tree, parent, relative, write_error};
use crate::driver::Put;
use crate::{Error, StorePath};

impl Tree {
    pub(in super::super) fn settle(&self, path: &StorePath) -> Result<(), Error> {
        let file = self.open_file(path)?;
        if Identity::of(&file).is_some_and(|identity| self.durable.contains(&identity)) {
            return Ok(());
        }
        fdatasync(&file).map_err(|errno| write_error("syncing", errno.into()))?;
        self.settle_names(&[path])
    }

    /// Whether it is there and known to be durable, where it takes no time to say so.
    pub(in super::super) fn is_known_durable(&self, path: &StorePath) -> bool {
        let file = self.open_cached(path);
        let identity = file.as_ref().and_then(Identity::of);
        identity.is_some_and(|identity| self.durable.contains(&identity))
    }

    /// Those that are not there with this content. The others are, and durable.
    pub(in super::super) fn absent(&self, writes: Vec<Put>) -> Result<Vec<Put>, Error> {
        let mut absent = Vec::new();
        for write in writes {
            let there = self.get(&write.path, write.content.len());
            let there = there.and_then(|content| self.settle(&write.path).map(|()| content));
            match there {
                Ok(content) if content == write.content => {}
                Ok(_) | Err(Error::NotFound(_) | Error::TooLarge { .. }) => absent.push(write),
                Err(error) => return Err(error),
            }
        }
        Ok(absent)
    }

    /// Makes the names of files durable whose content is. Each directory is synced once.
    pub(super) fn settle_names(&self, paths: &[&StorePath]) -> Result<(), Error> {
        let mut directories: Vec<&str> = paths.iter().map(|path| parent(relative(path))).collect();
        directories.sort_unstable();
        directories.dedup();
        // Taken before the sync: what replaces a file after it is not covered by it.
        let files: Vec<(Identity, OwnedFd)> = paths
            .iter()
            .filter_map(|path| self.open_file(path).ok())
            .filter_map(|file| Some((Identity::of(&file)?, file.into())))
            .collect();
        for directory in directories {
            let opened = match self.settle_directory(directory) {
                // Removed by another request after this one had written: that is an order in which it may happen.
                Err(Error::NotFound(_)) => continue,
                opened => opened?,
            };
            fsync(&opened).map_err(|errno| write_error("syncing a directory", errno.into()))?;
        }
        for (identity, file) in files {
            self.durable.insert(identity, file);
        }
        Ok(())
    }

    /// Makes a directory's name durable, and those of all above it.
    pub(super) fn settle_directory(&self, directory: &str) -> Result<OwnedFd, Error> {
        let not_found = || Error::NotFound(StorePath::of(format_args!("/{directory}")));
        let opened = match self.open_directory(directory) {
            Ok(opened) => opened,
            Err(Errno::NOENT) => return self.check_root().and_then(|()| Err(not_found())),
            Err(errno) => return Err(write_error("syncing a directory", errno.into())),
        };
        let identity = Identity::of(&opened);
        if directory == "." || identity.is_some_and(|identity| self.durable.contains(&identity)) {
            return Ok(opened);
        }
        let above = self.settle_directory(parent(directory))?;
        fsync(&above).map_err(|errno| write_error("syncing a directory", errno.into()))?;
        if let (Some(identity), Ok(handle)) = (identity, opened.try_clone()) {
            self.durable.insert(identity, handle);
        }
        Ok(opened)
    }
}
