//! Removing what was opened, and nothing that lies at its path later.

use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, Dir, Mode, OFlags, fsync, openat, unlinkat};
use rustix::io::Errno;

use super::{Tree, parent, relative, write_error};
use crate::fence::Gone;
use crate::{Error, StorePath};

/// A directory that is to be removed, as it was found; `None` if it was not there.
#[derive(Debug)]
pub(in super::super) struct Doomed {
    path: StorePath,
    found: Option<OwnedFd>,
}

impl Tree {
    pub(in super::super) fn doom(&self, directories: &[StorePath]) -> Result<Vec<Doomed>, Error> {
        self.check_root()?;
        let open = |path: &StorePath| {
            let found = match self.open_directory(relative(path)) {
                Ok(found) => Some(found),
                Err(Errno::NOENT | Errno::NOTDIR) => None,
                Err(errno) => return Err(write_error("removing", errno.into())),
            };
            let path = path.clone();
            Ok(Doomed { path, found })
        };
        directories.iter().map(open).collect()
    }

    /// What is put at such a path again lies in a directory that was made later, unless it was put there before this one
    /// was removed: then it is left there, and the directory is not gone.
    pub(in super::super) fn remove_doomed(&self, doomed: &[Doomed]) -> Result<Vec<Gone>, Error> {
        let mut gone = Vec::with_capacity(doomed.len());
        for Doomed { path, found } in doomed {
            if let Some(found) = found {
                empty(found).map_err(|errno| write_error("removing", errno.into()))?;
            }
            gone.push(
                match unlinkat(&self.root, relative(path), AtFlags::REMOVEDIR) {
                    Ok(()) | Err(Errno::NOENT) => Gone::Entirely,
                    Err(Errno::NOTEMPTY | Errno::EXIST) => Gone::Not,
                    // No registry put it there: a file, or a link to a directory elsewhere.
                    Err(Errno::NOTDIR) => self.unlink(relative(path)).map(|()| Gone::Entirely)?,
                    Err(errno) => return Err(write_error("removing", errno.into())),
                },
            );
        }
        let mut parents: Vec<&str> = doomed.iter().map(|it| parent(relative(&it.path))).collect();
        parents.sort_unstable();
        parents.dedup();
        for parent in parents {
            match self.open_directory(parent).and_then(fsync) {
                // Removed by another request, which answers for that.
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(write_error("syncing a directory", errno.into())),
            }
        }
        Ok(gone)
    }
}

/// All by handles: a path could lead elsewhere by now.
fn empty(directory: &OwnedFd) -> Result<(), Errno> {
    for item in Dir::read_from(directory)? {
        let item = item?;
        let name = item.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        match unlinkat(directory, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => continue,
            Err(Errno::ISDIR | Errno::PERM) => {}
            Err(errno) => return Err(errno),
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match openat(directory, name, flags, Mode::empty()) {
            Ok(inner) => empty(&inner)?,
            Err(Errno::NOENT) => continue,
            Err(errno) => return Err(errno),
        }
        match unlinkat(directory, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT | Errno::NOTEMPTY | Errno::EXIST) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}
