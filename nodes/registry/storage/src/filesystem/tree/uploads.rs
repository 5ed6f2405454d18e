//! Bytes of uploads: each in a file of its own, outside the layout until it is published.

use std::fs::File;
use std::io;
use std::time::SystemTime;

use rustix::fs::{AtFlags, Mode, OFlags, fsync, openat, statat, unlinkat};
use rustix::io::Errno;

use super::{FILE_MODE, TEMPORARY, Tree, UPLOADS, modified, write_error};
use crate::driver::{Publication, Staged};
use crate::{Error, StorePath};

/// Names looked at in one step.
const PAGE: usize = 1000;

impl Tree {
    pub(in super::super) fn create_staged(&self, place: &str) -> Result<File, Error> {
        self.check_root()?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = openat(&self.root, staged(place)?, flags, FILE_MODE);
        Ok(file
            .map_err(|errno| write_error("staging an upload", errno.into()))?
            .into())
    }

    pub(in super::super) fn open_staged(&self, place: &str) -> Result<File, Error> {
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
    pub(in super::super) fn sync_uploads(&self) -> Result<(), Error> {
        let uploads = self
            .open_directory(UPLOADS)
            .map_err(|errno| write_error("syncing uploads", errno.into()))?;
        fsync(&uploads).map_err(|errno| write_error("syncing uploads", errno.into()))
    }

    pub(in super::super) fn publish(
        &self,
        places: &[Staged],
        target: &StorePath,
    ) -> Result<Publication, Error> {
        let total: u64 = places.iter().map(|staged| staged.length).sum();
        if self.is_settled(target, total)? {
            return Ok(Publication::Existed);
        }
        let moved = match places {
            [one] => self
                .whole(one)
                .and_then(|()| self.rename(&staged(&one.place)?, target)),
            many => self.join(many).and_then(|joined| {
                self.rename(&joined, target).inspect_err(|_| {
                    let _swept_later = self.unlink(&joined);
                })
            }),
        };
        match moved {
            // Somebody else may have published the same session, by moving its bytes.
            Err(Error::Damaged | Error::NotFound(_)) if self.is_settled(target, total)? => {
                return Ok(Publication::Existed);
            }
            moved => moved?,
        }
        self.settle_names(&[target])?;
        Ok(Publication::New)
    }

    /// Whether content of this length is there; if so, it is durable.
    fn is_settled(&self, target: &StorePath, length: u64) -> Result<bool, Error> {
        let settled = self.stat(target).and_then(|stat| {
            let is_whole = !stat.is_directory && stat.size == length;
            if is_whole {
                self.settle(target).map(|()| true)
            } else {
                Ok(false)
            }
        });
        match settled {
            Err(Error::NotFound(_)) => Ok(false),
            settled => settled,
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

    pub(in super::super) fn discard(&self, place: &str) -> Result<(), Error> {
        match unlinkat(&self.root, staged(place)?, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(write_error("removing an upload's bytes", errno.into())),
        }
    }

    pub(in super::super) fn staged(
        &self,
        before: SystemTime,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, Error> {
        let (directory, mut after) = (
            StorePath::of(format_args!("/{UPLOADS}")),
            after.map(str::to_owned),
        );
        let mut old = Vec::new();
        while old.len() < limit {
            let page = self.list(&directory, after.as_deref(), PAGE)?;
            let Some(last) = page.last() else { break };
            after = Some(last.name.clone());
            let names = page.into_iter().map(|entry| entry.name);
            old.extend(names.filter(|place| self.is_older(UPLOADS, place, before)));
        }
        old.truncate(limit);
        Ok(old)
    }

    pub(in super::super) fn sweep(&self, before: SystemTime) -> Result<usize, Error> {
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
            match removed {
                Ok(()) => swept += 1,
                // Its own request was faster.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(write_error("sweeping", error)),
            }
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
