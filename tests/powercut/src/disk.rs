//! The model: a file system in memory that knows what processes see and what a cut would leave. No FUSE here.
//!
//! This file holds the table of inodes and how long each lives; [`data`] holds what is done to one inode, [`names`]
//! what is done to the names in directories.

mod data;
mod names;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use rustix::io::Errno;

use crate::directory::Directory;
use crate::file::File;

pub(crate) use data::AttrChange;
pub(crate) use names::{NAME_MAX, Spot};

pub(crate) type Result<T, E = Errno> = std::result::Result<T, E>;

/// What a name leads to, and the name: a row of a directory listing.
pub(crate) type Row = (u64, OsString);

/// The directory that is mounted. It is always on the disk.
pub(crate) const ROOT: u64 = 1;

/// What is kept of an inode besides its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Attr {
    pub(crate) permissions: u16,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) accessed: SystemTime,
    pub(crate) modified: SystemTime,
    pub(crate) changed: SystemTime,
    pub(crate) created: SystemTime,
}

impl Attr {
    pub(crate) fn new(permissions: u16, caller: Caller) -> Self {
        Self {
            permissions,
            uid: caller.uid,
            gid: caller.gid,
            accessed: caller.now,
            modified: caller.now,
            changed: caller.now,
            created: caller.now,
        }
    }

    /// The content was changed.
    fn touch(&mut self, now: SystemTime) {
        self.modified = now;
        self.changed = now;
    }
}

/// Who asks, and when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caller {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) now: SystemTime,
}

#[derive(Clone, Debug)]
pub(crate) enum Body {
    File(File),
    Directory(Directory),
    /// There is no call that syncs a symbolic link, so where it leads is on the disk when its name is.
    Symlink(Arc<Path>),
}

#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) attr: Attr,
    /// The attributes on the disk.
    pub(crate) saved: Attr,
    /// Names that processes see; for a directory also its `.` and the `..` of those in it.
    pub(crate) links: u32,
    pub(crate) body: Body,
    /// Times the kernel was told of this inode and has not forgotten it.
    lookups: u64,
    /// Open descriptors.
    opens: u64,
    /// Names on the disk, and steps not yet there that would give it one.
    disk_links: u64,
}

impl Node {
    fn new(attr: Attr, body: Body) -> Self {
        let links = match body {
            Body::Directory(_) => 2,
            Body::File(_) | Body::Symlink(_) => 1,
        };
        Self {
            attr,
            saved: attr,
            links,
            body,
            lookups: 0,
            opens: 0,
            disk_links: 0,
        }
    }

    pub(crate) fn size(&self) -> u64 {
        match &self.body {
            Body::File(file) => file.seen().size(),
            Body::Directory(_) => crate::content::BLOCK,
            Body::Symlink(target) => target.as_os_str().len() as u64,
        }
    }

    pub(crate) fn allocated(&self) -> u64 {
        match &self.body {
            Body::File(file) => file.seen().allocated(),
            Body::Directory(_) | Body::Symlink(_) => 0,
        }
    }
}

/// How often a disk was asked to make something durable, failed attempts included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Syncs {
    /// Calls of `fsync` and `fdatasync` on files.
    pub files: u64,
    /// Calls of `fsync` on directories.
    pub directories: u64,
}

impl Syncs {
    pub fn total(self) -> u64 {
        self.files + self.directories
    }
}

/// A copy is cheap and shares all content: that is how the moment of a cut is held.
#[derive(Clone, Debug)]
pub(crate) struct Disk {
    nodes: BTreeMap<u64, Arc<Node>>,
    /// Never goes back, so that no inode number is used twice.
    next: u64,
    /// Bytes taken by what processes see.
    used: u64,
    pub(crate) capacity: Option<u64>,
    pub(crate) read_only: bool,
    pub(crate) fail_sync: bool,
    pub(crate) syncs: Syncs,
}

impl Disk {
    pub(crate) fn new(owner: Caller) -> Self {
        let root = Node::new(
            Attr::new(0o755, owner),
            Body::Directory(Directory::new(ROOT)),
        );
        Self {
            nodes: BTreeMap::from([(ROOT, Arc::new(root))]),
            next: ROOT + 1,
            used: 0,
            capacity: None,
            read_only: false,
            fail_sync: false,
            syncs: Syncs::default(),
        }
    }

    pub(crate) fn used(&self) -> u64 {
        self.used
    }

    pub(crate) fn count(&self) -> u64 {
        self.nodes.len() as u64
    }

    pub(crate) fn node(&self, ino: u64) -> Result<&Node> {
        self.nodes.get(&ino).map(Arc::as_ref).ok_or(Errno::NOENT)
    }

    fn node_mut(&mut self, ino: u64) -> Result<&mut Node> {
        let node = self.nodes.get_mut(&ino).ok_or(Errno::NOENT)?;
        Ok(Arc::make_mut(node))
    }

    pub(crate) fn directory(&self, ino: u64) -> Result<&Directory> {
        match &self.node(ino)?.body {
            Body::Directory(directory) => Ok(directory),
            Body::File(_) | Body::Symlink(_) => Err(Errno::NOTDIR),
        }
    }

    fn directory_mut(&mut self, ino: u64) -> Result<&mut Directory> {
        match &mut self.node_mut(ino)?.body {
            Body::Directory(directory) => Ok(directory),
            Body::File(_) | Body::Symlink(_) => Err(Errno::NOTDIR),
        }
    }

    pub(crate) fn file(&self, ino: u64) -> Result<&File> {
        match &self.node(ino)?.body {
            Body::File(file) => Ok(file),
            Body::Directory(_) => Err(Errno::ISDIR),
            Body::Symlink(_) => Err(Errno::INVAL),
        }
    }

    /// Where a symbolic link leads.
    pub(crate) fn target(&self, ino: u64) -> Result<Arc<Path>> {
        match &self.node(ino)?.body {
            Body::Symlink(target) => Ok(Arc::clone(target)),
            Body::File(_) | Body::Directory(_) => Err(Errno::INVAL),
        }
    }

    fn writable(&self) -> Result<()> {
        if self.read_only {
            return Err(Errno::ROFS);
        }
        Ok(())
    }

    /// Everything that is seen is now on the disk, as after a long while without a change.
    pub(crate) fn settle(&mut self) {
        let inodes: Vec<u64> = self.nodes.keys().copied().collect();
        for ino in inodes {
            // Syncing one directory may end the life of inodes further on in the list.
            let Ok(node) = self.node_mut(ino) else {
                continue;
            };
            node.saved = node.attr;
            let nameless = match &mut node.body {
                Body::File(file) => {
                    file.sync();
                    Vec::new()
                }
                Body::Directory(directory) => directory.sync(),
                Body::Symlink(_) => Vec::new(),
            };
            self.lose_disk_links(&nameless);
        }
    }

    /// The kernel was told of an inode.
    pub(crate) fn remember(&mut self, ino: u64) -> Result<()> {
        self.node_mut(ino)?.lookups += 1;
        Ok(())
    }

    /// The kernel forgot an inode as often as it was told of it.
    pub(crate) fn forget(&mut self, ino: u64, lookups: u64) {
        if let Ok(node) = self.node_mut(ino) {
            node.lookups = node.lookups.saturating_sub(lookups);
            self.reap(ino);
        }
    }

    pub(crate) fn open(&mut self, ino: u64, for_writing: bool) -> Result<()> {
        // The last name went between the kernel's lookup and now.
        if self.file(ino)?.is_forsaken() {
            return Err(Errno::NOENT);
        }
        if for_writing {
            self.writable()?;
        }
        self.node_mut(ino)?.opens += 1;
        Ok(())
    }

    pub(crate) fn release(&mut self, ino: u64) {
        if let Ok(node) = self.node_mut(ino) {
            node.opens = node.opens.saturating_sub(1);
            self.reap(ino);
        }
    }

    fn lose_disk_links(&mut self, nameless: &[u64]) {
        for &ino in nameless {
            if let Ok(node) = self.node_mut(ino) {
                node.disk_links = node.disk_links.saturating_sub(1);
                self.reap(ino);
            }
        }
    }

    /// Ends the life of an inode as far as nobody needs it: first what is seen of it, then the inode itself.
    fn reap(&mut self, ino: u64) {
        let mut candidates = vec![ino];
        while let Some(ino) = candidates.pop() {
            let Some(node) = self.nodes.get_mut(&ino) else {
                continue;
            };
            if node.links > 0 || node.opens > 0 {
                continue;
            }
            let freed = node.allocated();
            if freed > 0
                && let Body::File(file) = &mut Arc::make_mut(node).body
            {
                file.forsake();
                self.used -= freed;
            }
            if node.lookups > 0 || node.disk_links > 0 {
                continue;
            }
            let removed = self.nodes.remove(&ino);
            if let Some(Body::Directory(directory)) = removed.as_deref().map(|node| &node.body) {
                let children: Vec<u64> = directory.reachable_on_disk().collect();
                for child in &children {
                    if let Ok(node) = self.node_mut(*child) {
                        node.disk_links = node.disk_links.saturating_sub(1);
                    }
                }
                candidates.extend(children);
            }
        }
    }
}
