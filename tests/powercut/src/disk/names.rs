//! What is done to the names in directories. Each change is seen at once, and is a step that the directory has yet to
//! bring to the disk.

use std::ffi::{OsStr, OsString};
use std::sync::Arc;
use std::time::SystemTime;

use rustix::io::Errno;

use super::{Attr, Body, Caller, Disk, Node, ROOT, Result, Row};
use crate::directory::{Directory, Step};

/// The longest name, as on most file systems.
pub(crate) const NAME_MAX: u32 = 255;

/// A place for a name, taken or not.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spot<'a> {
    pub(crate) parent: u64,
    pub(crate) name: &'a OsStr,
}

impl<'a> Spot<'a> {
    pub(crate) fn new(parent: u64, name: &'a OsStr) -> Self {
        Self { parent, name }
    }
}

impl Disk {
    pub(crate) fn lookup(&self, spot: Spot<'_>) -> Result<u64> {
        fits(spot.name)?;
        let entries = self.directory(spot.parent)?.seen();
        entries.get(spot.name).copied().ok_or(Errno::NOENT)
    }

    /// The names of a directory with `.` and `..`.
    pub(crate) fn list(&self, ino: u64) -> Result<Vec<Row>> {
        let directory = self.directory(ino)?;
        let dots = [(ino, OsString::from(".")), (directory.parent, "..".into())];
        let entries = directory.seen().iter();
        let rows = entries.map(|(name, ino)| (*ino, name.clone()));
        Ok(dots.into_iter().chain(rows).collect())
    }

    /// Makes an inode with a first name. A directory is made with [`Disk::make_directory`].
    pub(crate) fn make(
        &mut self,
        spot: Spot<'_>,
        permissions: u16,
        body: Body,
        by: Caller,
    ) -> Result<u64> {
        self.vacant(spot)?;
        let ino = self.next;
        self.next += 1;
        let is_directory = matches!(body, Body::Directory(_));
        let node = Node::new(Attr::new(permissions, by), body);
        self.nodes.insert(ino, Arc::new(node));
        self.take(spot.parent, Step::enter(spot.name, ino), by.now)?;
        if is_directory {
            self.node_mut(spot.parent)?.links += 1;
        }
        Ok(ino)
    }

    pub(crate) fn make_directory(
        &mut self,
        spot: Spot<'_>,
        permissions: u16,
        by: Caller,
    ) -> Result<u64> {
        let body = Body::Directory(Directory::new(spot.parent));
        self.make(spot, permissions, body, by)
    }

    pub(crate) fn link(&mut self, ino: u64, spot: Spot<'_>, now: SystemTime) -> Result<()> {
        self.vacant(spot)?;
        let node = self.node_mut(ino)?;
        if matches!(node.body, Body::Directory(_)) {
            return Err(Errno::PERM);
        }
        if node.links == 0 {
            return Err(Errno::NOENT);
        }
        node.links += 1;
        node.attr.changed = now;
        self.take(spot.parent, Step::enter(spot.name, ino), now)
    }

    pub(crate) fn unlink(&mut self, spot: Spot<'_>, now: SystemTime) -> Result<()> {
        self.writable()?;
        let ino = self.lookup(spot)?;
        if self.directory(ino).is_ok() {
            return Err(Errno::ISDIR);
        }
        self.take(spot.parent, Step::leave(spot.name), now)?;
        self.lose_name(ino, spot.parent, now)
    }

    pub(crate) fn remove_directory(&mut self, spot: Spot<'_>, now: SystemTime) -> Result<()> {
        self.writable()?;
        let ino = self.lookup(spot)?;
        if !self.directory(ino)?.seen().is_empty() {
            return Err(Errno::NOTEMPTY);
        }
        self.take(spot.parent, Step::leave(spot.name), now)?;
        self.lose_name(ino, spot.parent, now)
    }

    /// A rename. That no directory moves into itself is seen to by the kernel.
    pub(crate) fn rename(
        &mut self,
        from: Spot<'_>,
        to: Spot<'_>,
        replaces: bool,
        now: SystemTime,
    ) -> Result<()> {
        self.writable()?;
        let moved = self.lookup(from)?;
        let displaced = match self.lookup(to) {
            Ok(_) if !replaces => return Err(Errno::EXIST),
            // Two names of one file: POSIX has it that both stay.
            Ok(ino) if ino == moved => return Ok(()),
            Ok(ino) => Some(ino),
            Err(Errno::NOENT) => None,
            Err(other) => return Err(other),
        };
        if let Some(displaced) = displaced {
            self.may_displace(moved, displaced)?;
        }
        self.exists(to.parent)?;
        if from.parent == to.parent {
            self.take(from.parent, Step::rename(from.name, to.name, moved), now)?;
        } else {
            self.take(from.parent, Step::leave(from.name), now)?;
            self.take(to.parent, Step::enter(to.name, moved), now)?;
            if let Ok(directory) = self.directory_mut(moved) {
                directory.parent = to.parent;
                self.node_mut(from.parent)?.links -= 1;
                self.node_mut(to.parent)?.links += 1;
            }
        }
        self.node_mut(moved)?.attr.changed = now;
        match displaced {
            Some(ino) => self.lose_name(ino, to.parent, now),
            None => Ok(()),
        }
    }

    fn may_displace(&self, moved: u64, displaced: u64) -> Result<()> {
        match (self.directory(moved), self.directory(displaced)) {
            (Ok(_), Ok(target)) if !target.seen().is_empty() => Err(Errno::NOTEMPTY),
            (Ok(_), Ok(_)) | (Err(_), Err(_)) => Ok(()),
            (Ok(_), Err(_)) => Err(Errno::NOTDIR),
            (Err(_), Ok(_)) => Err(Errno::ISDIR),
        }
    }

    /// Whether a new name may be made there.
    fn vacant(&self, spot: Spot<'_>) -> Result<()> {
        self.writable()?;
        self.exists(spot.parent)?;
        match self.lookup(spot) {
            Ok(_) => Err(Errno::EXIST),
            Err(Errno::NOENT) => Ok(()),
            Err(other) => Err(other),
        }
    }

    /// A directory that was removed may still be somebody's working directory; nothing can be made in it.
    fn exists(&self, directory: u64) -> Result<()> {
        match self.node(directory)?.links {
            0 => Err(Errno::NOENT),
            _ => Ok(()),
        }
    }

    fn take(&mut self, parent: u64, step: Step, now: SystemTime) -> Result<()> {
        if let Some(ino) = step.names_inode() {
            self.node_mut(ino)?.disk_links += 1;
        }
        self.directory_mut(parent)?.take(step);
        self.node_mut(parent)?.attr.touch(now);
        Ok(())
    }

    /// An inode lost a name in `parent`; a directory has only one, so it is gone.
    fn lose_name(&mut self, ino: u64, parent: u64, now: SystemTime) -> Result<()> {
        debug_assert_ne!(ino, ROOT, "the root has no name");
        let node = self.node_mut(ino)?;
        node.attr.changed = now;
        if matches!(node.body, Body::Directory(_)) {
            node.links = 0;
            self.node_mut(parent)?.links -= 1;
        } else {
            node.links -= 1;
        }
        self.reap(ino);
        Ok(())
    }
}

fn fits(name: &OsStr) -> Result<()> {
    if name.len() as u64 > u64::from(NAME_MAX) {
        return Err(Errno::NAMETOOLONG);
    }
    Ok(())
}
