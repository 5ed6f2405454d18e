//! The tree of files under the root: every operation that touches the disk, blocking, with its syncs.
//!
//! All paths are resolved from a handle on the root at the moment of the operation. A write that finds its directory
//! removed by another request makes it again; one that finds the root itself gone fails.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, fdatasync, fsync, mkdirat, openat, renameat, statat, unlinkat,
};
use rustix::io::Errno;
use uuid::Uuid;

use super::directory;
use super::durable::{Identity, KnownDurable};
use crate::driver::{Entry, Publication, Put, Staged, Stat};
use crate::{Error, StorePath};

const TEMPORARY: &str = "roadstead/tmp";
const UPLOADS: &str = "roadstead/uploads";

/// How often a write tries again whose directory other requests keep removing.
const ATTEMPTS: usize = 32;

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
        let stat = statat(&self.root, name, AtFlags::empty())
            .map_err(|errno| self.read_error(path, errno))?;
        let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        let size = if is_directory {
            0
        } else {
            stat.st_size.cast_unsigned()
        };
        Ok(Stat {
            size,
            is_directory,
            modified: Some(modified(&stat)),
        })
    }

    pub(super) fn get(&self, path: &StorePath, limit: usize) -> Result<Bytes, Error> {
        let file = self.open_file(path)?;
        let mut content = Vec::new();
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
        let listed = directory::list(&opened, after, limit);
        listed.map_err(|errno| Error::Io {
            what: format!("listing {path}"),
            source: errno.into(),
        })
    }

    pub(super) fn put(&self, writes: &[Put]) -> Result<(), Error> {
        let mut placed = Vec::new();
        for Put { path, content } in writes {
            let temporary = self.write_temporary(content)?;
            if let Err(error) = self.rename(&temporary, path) {
                let _swept_later = self.unlink(&temporary);
                return Err(error);
            }
            placed.push(path);
        }
        self.settle_names(&placed)
    }

    pub(super) fn settle(&self, path: &StorePath) -> Result<(), Error> {
        let file = self.open_file(path)?;
        if Identity::of(&file).is_some_and(|identity| self.durable.contains(&identity)) {
            return Ok(());
        }
        fdatasync(&file).map_err(|errno| write_error("syncing", errno.into()))?;
        self.settle_names(&[path])
    }

    pub(super) fn remove(&self, path: &StorePath) -> Result<(), Error> {
        self.check_root()?;
        let name = relative(path);
        match unlinkat(&self.root, name, AtFlags::empty()) {
            Ok(()) => {}
            Err(Errno::ISDIR | Errno::PERM) => self.remove_directory(path)?,
            Err(errno @ (Errno::NOENT | Errno::NOTDIR)) => return Err(self.read_error(path, errno)),
            Err(errno) => return Err(write_error("removing", errno.into())),
        }
        match self.open_directory(parent(name)) {
            Ok(parent) => {
                fsync(&parent).map_err(|errno| write_error("syncing a directory", errno.into()))
            }
            // Another request removed the parent as well, and answers for that.
            Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(write_error("syncing a directory", errno.into())),
        }
    }

    /// Out of the way in one step, then piece by piece: no reader sees half of it.
    fn remove_directory(&self, path: &StorePath) -> Result<(), Error> {
        let trash = format!("{TEMPORARY}/{}", Uuid::new_v4().simple());
        match renameat(&self.root, relative(path), &self.root, &trash) {
            Ok(()) => {}
            Err(errno @ (Errno::NOENT | Errno::NOTDIR)) => return Err(self.read_error(path, errno)),
            Err(errno) => return Err(write_error("removing", errno.into())),
        }
        if let Err(error) = std::fs::remove_dir_all(self.path.join(&trash)) {
            tracing::warn!(%error, trash, "removed content stays on the disk until it is swept");
        }
        Ok(())
    }

    pub(super) fn create_staged(&self, place: &str) -> Result<File, Error> {
        self.check_root()?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = openat(&self.root, staged(place)?, flags, FILE_MODE);
        Ok(file
            .map_err(|errno| write_error("staging an upload", errno.into()))?
            .into())
    }

    pub(super) fn open_staged(&self, place: &str) -> Result<File, Error> {
        match openat(
            &self.root,
            staged(place)?,
            OFlags::RDONLY | OFlags::CLOEXEC,
            Mode::empty(),
        ) {
            Ok(file) => Ok(file.into()),
            Err(Errno::NOENT) => self.check_root().and(Err(Error::Damaged)),
            Err(errno) => Err(Error::Io {
                what: "opening an upload's bytes".to_owned(),
                source: errno.into(),
            }),
        }
    }

    /// The directory itself was made durable when the tree was opened.
    pub(super) fn sync_uploads(&self) -> Result<(), Error> {
        let uploads = self
            .open_directory(UPLOADS)
            .map_err(|errno| write_error("syncing uploads", errno.into()))?;
        fsync(&uploads).map_err(|errno| write_error("syncing uploads", errno.into()))
    }

    pub(super) fn publish(
        &self,
        places: &[Staged],
        target: &StorePath,
    ) -> Result<Publication, Error> {
        let total: u64 = places.iter().map(|staged| staged.length).sum();
        if self.is_there(target, total)? {
            self.settle(target)?;
            return Ok(Publication::Existed);
        }
        let moved = match places {
            [one] => self
                .whole(one)
                .and_then(|()| self.rename(&staged(&one.place)?, target)),
            many => self
                .join(many)
                .and_then(|joined| self.rename(&joined, target)),
        };
        match moved {
            // Somebody else may have published the same session, by moving its bytes.
            Err(Error::Damaged | Error::NotFound(_)) if self.is_there(target, total)? => {
                self.settle(target)?;
                return Ok(Publication::Existed);
            }
            moved => moved?,
        }
        self.settle_names(&[target])?;
        Ok(Publication::New)
    }

    fn is_there(&self, target: &StorePath, length: u64) -> Result<bool, Error> {
        match self.stat(target) {
            Ok(stat) => Ok(!stat.is_directory && stat.size == length),
            Err(Error::NotFound(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Checks that the bytes are all there.
    fn whole(&self, expected: &Staged) -> Result<(), Error> {
        let file = self.open_staged(&expected.place)?;
        let length = file
            .metadata()
            .map_err(|source| Error::Io {
                what: "stat".to_owned(),
                source,
            })?
            .len();
        if length == expected.length {
            Ok(())
        } else {
            Err(Error::Damaged)
        }
    }

    /// Writes the places one behind the other into a temporary file, synced. Copies in the kernel where it can.
    fn join(&self, places: &[Staged]) -> Result<String, Error> {
        let (name, mut joined) = self.create_temporary()?;
        let copied = places.iter().try_for_each(|place| {
            let mut segment = self.open_staged(&place.place)?;
            let length = io::copy(&mut segment, &mut joined)
                .map_err(|error| write_error("joining chunks", error))?;
            if length == place.length {
                Ok(())
            } else {
                Err(Error::Damaged)
            }
        });
        let synced = copied.and_then(|()| {
            joined
                .sync_data()
                .map_err(|error| write_error("syncing", error))
        });
        if let Err(error) = synced {
            let _swept_later = self.unlink(&name);
            return Err(error);
        }
        Ok(name)
    }

    pub(super) fn discard(&self, place: &str) -> Result<(), Error> {
        match unlinkat(&self.root, staged(place)?, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(write_error("removing an upload's bytes", errno.into())),
        }
    }

    pub(super) fn staged(
        &self,
        before: SystemTime,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, Error> {
        let places = self.list(&StorePath::of(format_args!("/{UPLOADS}")), after, limit)?;
        Ok(places
            .into_iter()
            .map(|entry| entry.name)
            .filter(|place| self.is_older(UPLOADS, place, before))
            .collect())
    }

    pub(super) fn sweep(&self, before: SystemTime) -> Result<usize, Error> {
        let leftovers = self.list(
            &StorePath::of(format_args!("/{TEMPORARY}")),
            None,
            usize::MAX,
        )?;
        let mut swept = 0;
        for entry in leftovers
            .into_iter()
            .filter(|entry| self.is_older(TEMPORARY, &entry.name, before))
        {
            let path = self.path.join(TEMPORARY).join(&entry.name);
            let removed = if entry.is_directory {
                std::fs::remove_dir_all(path)
            } else {
                std::fs::remove_file(path)
            };
            removed.map_err(|error| write_error("sweeping", error))?;
            swept += 1;
        }
        Ok(swept)
    }

    fn is_older(&self, directory: &str, name: &str, before: SystemTime) -> bool {
        let stat = statat(
            &self.root,
            format!("{directory}/{name}"),
            AtFlags::SYMLINK_NOFOLLOW,
        );
        stat.is_ok_and(|stat| modified(&stat) < before)
    }

    fn create_temporary(&self) -> Result<(String, File), Error> {
        self.check_root()?;
        let name = format!("{TEMPORARY}/{}", Uuid::new_v4().simple());
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = openat(&self.root, &name, flags, FILE_MODE)
            .map_err(|errno| write_error("writing", errno.into()))?;
        Ok((name, file.into()))
    }

    /// A synced file with this content; its name is not synced.
    fn write_temporary(&self, content: &[u8]) -> Result<String, Error> {
        let (name, mut file) = self.create_temporary()?;
        let written = file.write_all(content).and_then(|()| file.sync_data());
        if let Err(error) = written {
            let _swept_later = self.unlink(&name);
            return Err(write_error("writing", error));
        }
        Ok(name)
    }

    fn unlink(&self, name: &str) -> Result<(), Error> {
        unlinkat(&self.root, name, AtFlags::empty())
            .map_err(|errno| write_error("removing", errno.into()))
    }

    /// Moves a synced file to where it belongs, making directories as needed.
    fn rename(&self, from: &str, to: &StorePath) -> Result<(), Error> {
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

    fn make_directories(&self, directory: &str) -> Result<(), Error> {
        self.check_root()?;
        for (end, _) in directory
            .match_indices('/')
            .chain(std::iter::once((directory.len(), "")))
        {
            let (ancestor, _) = directory.split_at(end);
            match mkdirat(&self.root, ancestor, DIRECTORY_MODE) {
                Ok(()) | Err(Errno::EXIST) => {}
                // Another request removes it at the same time; the caller tries again.
                Err(Errno::NOENT) => return Ok(()),
                Err(errno) => return Err(write_error("making a directory", errno.into())),
            }
        }
        Ok(())
    }

    /// Makes the names of files durable whose content is. Each directory is synced once.
    fn settle_names(&self, paths: &[&StorePath]) -> Result<(), Error> {
        let mut directories: Vec<&str> = paths.iter().map(|path| parent(relative(path))).collect();
        directories.sort_unstable();
        directories.dedup();
        // Taken before the sync: what replaces a file after it is not covered by it.
        let identities: Vec<Identity> = paths
            .iter()
            .filter_map(|path| self.open_file(path).ok())
            .filter_map(|file| Identity::of(&file))
            .collect();
        for directory in directories {
            let opened = match self.settle_directory(directory) {
                // Removed by another request after this one had written: that is an order in which it may happen.
                Err(Error::NotFound(_)) => continue,
                opened => opened?,
            };
            fsync(&opened).map_err(|errno| write_error("syncing a directory", errno.into()))?;
        }
        for identity in identities {
            self.durable.insert(identity);
        }
        Ok(())
    }

    /// Makes a directory's name durable, and those of all above it.
    fn settle_directory(&self, directory: &str) -> Result<OwnedFd, Error> {
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
        if let Some(identity) = identity {
            self.durable.insert(identity);
        }
        Ok(opened)
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

/// The path of a place. Places come back from the log: what is not one is refused, whoever wrote it.
fn staged(place: &str) -> Result<String, Error> {
    let right = !place.is_empty()
        && place
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-'));
    if right && !place.starts_with('.') {
        Ok(format!("{UPLOADS}/{place}"))
    } else {
        Err(Error::Damaged)
    }
}
