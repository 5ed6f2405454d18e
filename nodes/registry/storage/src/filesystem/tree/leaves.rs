//! Looking into many directories for the same file.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, openat, statat};
use rustix::io::Errno;

use super::{Tree, directory, modified, relative};
use crate::driver::{Entry, Leaf, LeafFile};
use crate::{Error, StorePath};

impl Tree {
    /// A directory and all names in it; `None` when there is none.
    pub(in super::super) fn names(
        &self,
        path: &StorePath,
    ) -> Result<Option<(OwnedFd, Vec<Entry>)>, Error> {
        let opened = match self.open_directory(relative(path)) {
            Ok(opened) => opened,
            Err(errno) => {
                return match self.read_error(path, errno) {
                    Error::NotFound(_) => Ok(None),
                    error => Err(error),
                };
            }
        };
        let listed = directory::list(&opened, None, usize::MAX);
        let listed = listed.map_err(|errno| Error::Io {
            what: format!("listing {path}"),
            source: errno.into(),
        })?;
        Ok(Some((opened, listed)))
    }
}

/// The file in each of them, with so many bytes of its content, if it is to be read.
pub(in super::super) fn look(
    opened: &OwnedFd,
    entries: Vec<Entry>,
    file: &str,
    limit: Option<usize>,
) -> Result<Vec<Leaf>, Error> {
    let look = |Entry { name, is_directory }| {
        let file = if is_directory {
            let path = format!("{name}/{file}");
            let found = match limit {
                None => known(opened, &path),
                Some(limit) => content(opened, &path, limit),
            };
            found.map_err(|errno| Error::Io {
                what: format!("reading {path}"),
                source: errno.into(),
            })?
        } else {
            None
        };
        Ok(Leaf {
            name,
            is_directory,
            file,
        })
    };
    entries.into_iter().map(look).collect()
}

fn known(opened: &OwnedFd, path: &str) -> Result<Option<LeafFile>, Errno> {
    match statat(opened, path, AtFlags::empty()) {
        Ok(stat) => Ok(of(&stat, None)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(errno) => Err(errno),
    }
}

fn content(opened: &OwnedFd, path: &str, limit: usize) -> Result<Option<LeafFile>, Errno> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
    let file = match openat(opened, path, flags, Mode::empty()) {
        Ok(file) => file,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
        Err(errno) => return Err(errno),
    };
    let stat = rustix::fs::fstat(&file)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Ok(None);
    }
    let length = usize::try_from(stat.st_size).unwrap_or(usize::MAX);
    if length > limit {
        return Ok(of(&stat, None));
    }
    let mut content = Vec::with_capacity(length + 1);
    File::from(file)
        .take(limit as u64 + 1)
        .read_to_end(&mut content)
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    let content = (content.len() <= limit).then(|| content.into());
    Ok(of(&stat, content))
}

fn of(stat: &rustix::fs::Stat, content: Option<bytes::Bytes>) -> Option<LeafFile> {
    let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    is_file.then(|| LeafFile {
        size: stat.st_size.cast_unsigned(),
        modified: Some(modified(stat)),
        content,
    })
}
