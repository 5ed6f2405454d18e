//! The tree of files under the root: every operation that touches the disk, blocking, with its syncs.
//!
//! Here it is opened and read; [`mod@write`], [`uploads`] and [`settle`] hold the rest.
//!
//! All paths are resolved from a handle on the root at the moment of the operation. A write that finds its directory
//! removed by another request makes it again; one that finds the root itself gone fails.

mod conditional;
mod each;
mod epochs;
pub(super) mod fenced;
pub(super) mod leaves;
mod settle;
mod uploads;
mod write;

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, openat, statat};
use rustix::io::Errno;

use super::cached::Cached;
use super::directory;
use super::durable::KnownDurable;
use super::listings::Listings;
use crate::driver::{Entry, Stat};
use crate::{Error, StorePath};

const TEMPORARY: &str = "roadstead/tmp";
const UPLOADS: &str = "roadstead/uploads";

const FILE_MODE: Mode = Mode::from_raw_mode(0o666);
const DIRECTORY_MODE: Mode = Mode::from_raw_mode(0o777);

/// Why a root cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("storage.filesystem.rootdirectory: {}: {reason}: {source}", root.display())]
pub struct OpenError {
    root: PathBuf,
    reason: &'static str,
    source: io::Error,
}

#[derive(Debug)]
pub(super) struct Tree {
    root: OwnedFd,
    path: PathBuf,
    /// Device and inode of the root: what the path must lead to.
    identity: (u64, u64),
    durable: KnownDurable,
    cached: Cached,
    listings: Listings,
}

impl Tree {
    pub(super) fn open(path: &Path, writable: bool) -> Result<Self, OpenError> {
        let failed = |reason| {
            move |source: io::Error| OpenError {
                root: path.to_owned(),
                reason,
                source,
            }
        };
        if writable {
            std::fs::create_dir_all(path).map_err(failed("cannot be made"))?;
            for ancestor in path
                .ancestors()
                .skip(1)
                .filter(|ancestor| !ancestor.as_os_str().is_empty())
            {
                // Above directories that we made there are some that we may not open: those were there before.
                let _not_ours = File::open(ancestor).and_then(|directory| directory.sync_all());
            }
        }
        let root = openat(
            rustix::fs::CWD,
            path,
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .map_err(|errno| failed("cannot be opened")(errno.into()))?;
        let stat =
            rustix::fs::fstat(&root).map_err(|errno| failed("cannot be read")(errno.into()))?;
        let identity = (stat.st_dev, stat.st_ino);
        let tree = Self {
            root,
            path: path.to_owned(),
            identity,
            durable: KnownDurable::default(),
            cached: Cached::default(),
            listings: Listings::default(),
        };
        if writable {
            tree.prepare().map_err(|error| {
                failed("cannot be written (storage.maintenance.readonly serves a store without writing to it)")(
                    io::Error::other(error),
                )
            })?;
        }
        Ok(tree)
    }

    fn prepare(&self) -> Result<(), Error> {
        for directory in [TEMPORARY, UPLOADS] {
            self.make_directories(directory)?;
            self.settle_directory(directory)?;
        }
        // A file system that is mounted read-only lets directories be "made" that are there.
        let probe = self.write_temporary(b"")?;
        self.unlink(&probe)
    }

    pub(super) fn stat(&self, path: &StorePath) -> Result<Stat, Error> {
        let name = relative(path);
        if name == "." {
            // The handle would answer for a root that is not there any more.
            self.check_root()?;
        }
        let stat = statat(&self.root, name, AtFlags::empty())
            .map_err(|errno| self.read_error(path, errno))?;
        Ok(told(&stat))
    }

    /// As [`stat`](Self::stat), where it takes no time. Of the root itself more is asked.
    pub(super) fn stat_cached(&self, path: &StorePath) -> Option<Stat> {
        let name = path.relative();
        let stat = (!name.is_empty()).then(|| self.cached.stat(&self.root, name))??;
        Some(told(&stat))
    }

    pub(super) fn get(&self, path: &StorePath, limit: usize) -> Result<Bytes, Error> {
        let file = self.open_file(path)?;
        // What is too large is not read at all, and what is not takes the memory that it needs.
        let length = file.metadata().map_or(0, |metadata| metadata.len());
        if length > limit as u64 {
            return Err(Error::TooLarge {
                path: path.clone(),
                limit,
            });
        }
        let mut content = Vec::with_capacity(usize::try_from(length).unwrap_or(0) + 1);
        let mut bounded = io::Read::take(file, limit as u64 + 1);
        io::Read::read_to_end(&mut bounded, &mut content).map_err(|source| Error::Io {
            what: format!("reading {path}"),
            source,
        })?;
        if content.len() > limit {
            return Err(Error::TooLarge {
                path: path.clone(),
                limit,
            });
        }
        Ok(content.into())
    }

    /// As [`get`](Self::get), where it takes no time.
    pub(super) fn get_cached(&self, path: &StorePath, limit: usize) -> Option<Bytes> {
        self.cached.get(&self.root, relative(path), limit)
    }

    /// As [`open_file`](Self::open_file), where it takes no time.
    pub(super) fn open_cached(&self, path: &StorePath) -> Option<File> {
        let file = self.cached.open(&self.root, relative(path))?;
        let is_file = file.metadata().is_ok_and(|metadata| metadata.is_file());
        is_file.then_some(file)
    }

    pub(super) fn open_file(&self, path: &StorePath) -> Result<File, Error> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
        let file = openat(&self.root, relative(path), flags, Mode::empty());
        let file = File::from(file.map_err(|errno| self.read_error(path, errno))?);
        match file.metadata() {
            Ok(metadata) if metadata.is_file() => Ok(file),
            Ok(_directory) => Err(Error::NotFound(path.clone())),
            Err(source) => Err(Error::Io {
                what: format!("stat {path}"),
                source,
            }),
        }
    }

    pub(super) fn list(
        &self,
        path: &StorePath,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Entry>, Error> {
        let opened = self
            .open_directory(relative(path))
            .map_err(|errno| self.read_error(path, errno))?;
        let kept = if self.cached.is_of_use() {
            self.listings.list(&opened, after, limit)
        } else {
            Ok(None)
        };
        let listed = kept.and_then(|kept| match kept {
            Some(listed) => Ok(listed),
            None => directory::list(&opened, after, limit),
        });
        listed.map_err(|errno| Error::Io {
            what: format!("listing {path}"),
            source: errno.into(),
        })
    }

    /// Whether this is a file system of this machine, as far as is known.
    pub(super) fn is_local(&self) -> bool {
        self.cached.is_of_use()
    }

    fn open_directory(&self, name: &str) -> Result<OwnedFd, Errno> {
        openat(
            &self.root,
            name,
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )
    }

    /// Whether the configured path still leads to the root that was opened: a disk that was unmounted, or a directory
    /// that was moved away, must not take writes that nobody will find.
    fn check_root(&self) -> Result<(), Error> {
        let there = statat(rustix::fs::CWD, &self.path, AtFlags::empty());
        match there {
            Ok(stat) if (stat.st_dev, stat.st_ino) == self.identity => Ok(()),
            _ => Err(Error::Vanished),
        }
    }

    fn read_error(&self, path: &StorePath, errno: Errno) -> Error {
        match errno {
            Errno::NOENT | Errno::NOTDIR => match self.check_root() {
                Ok(()) => Error::NotFound(path.clone()),
                Err(vanished) => vanished,
            },
            other => Error::Io {
                what: format!("reading {path}"),
                source: other.into(),
            },
        }
    }
}

/// What a failed write means.
pub(super) fn write_error(what: &str, source: io::Error) -> Error {
    match Errno::from_io_error(&source) {
        Some(Errno::NOSPC | Errno::DQUOT | Errno::FBIG) => Error::Full(source),
        Some(Errno::ROFS | Errno::ACCESS | Errno::PERM) => Error::ReadOnly(source),
        _ => Error::Io {
            what: what.to_owned(),
            source,
        },
    }
}

fn told(stat: &rustix::fs::Stat) -> Stat {
    let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    let size = if is_directory {
        0
    } else {
        stat.st_size.cast_unsigned()
    };
    Stat {
        size,
        is_directory,
        modified: Some(modified(stat)),
    }
}

fn modified(stat: &rustix::fs::Stat) -> SystemTime {
    let since = Duration::new(
        u64::try_from(stat.st_mtime).unwrap_or(0),
        u32::try_from(stat.st_mtime_nsec).unwrap_or(0),
    );
    SystemTime::UNIX_EPOCH + since
}

fn relative(path: &StorePath) -> &str {
    match path.relative() {
        "" => ".",
        relative => relative,
    }
}

fn parent(relative: &str) -> &str {
    relative.rsplit_once('/').map_or(".", |(parent, _)| parent)
}
