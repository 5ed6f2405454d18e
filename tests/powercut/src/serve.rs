//! The FUSE side: each request of the kernel becomes one call of the model, under its lock.
//!
//! [`requests`] takes the requests; this file holds what they share, and the words of FUSE for those of the model.

mod requests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use fuser::{
    FileAttr, FileHandle, FileType, FopenFlags, Generation, INodeNo, ReplyAttr, ReplyCreate,
    ReplyData, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyWrite, Request,
};
use rustix::io::Errno;

use crate::Shared;
use crate::content::BLOCK;
use crate::disk::{AttrChange, Body, Caller, Disk, Node, Result, Row, Spot};
use crate::file::File;

/// The kernel asks each time, so what it shows is never older than the model.
const TTL: Duration = Duration::ZERO;

/// Inode numbers are not reused, so one generation is enough.
const GENERATION: Generation = Generation(0);

#[derive(Debug)]
pub(crate) struct Served {
    disk: Shared,
    listings: Mutex<Listings>,
}

/// What open directories list: an entry that goes while somebody reads must not shift the others.
#[derive(Debug, Default)]
struct Listings {
    opened: u64,
    rows: HashMap<u64, Arc<[Row]>>,
}

impl Served {
    pub(crate) fn new(disk: Shared) -> Self {
        Self {
            disk,
            listings: Mutex::default(),
        }
    }

    fn listings(&self) -> MutexGuard<'_, Listings> {
        self.listings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn rows(&self, ino: u64, handle: u64, from_the_start: bool) -> Result<Arc<[Row]>> {
        let mut listings = self.listings();
        if !from_the_start && let Some(rows) = listings.rows.get(&handle) {
            return Ok(Arc::clone(rows));
        }
        let rows: Arc<[Row]> = self.disk.lock().list(ino)?.into();
        listings.rows.insert(handle, Arc::clone(&rows));
        Ok(rows)
    }

    /// Makes or finds an inode, and answers with it: from then on the kernel remembers it.
    fn entry(&self, reply: ReplyEntry, find: impl FnOnce(&mut Disk) -> Result<u64>) {
        let mut disk = self.disk.lock();
        match find(&mut disk).and_then(|ino| introduce(&mut disk, ino)) {
            Ok(attr) => reply.entry(&TTL, &attr, GENERATION),
            Err(error) => reply.error(fuse(error)),
        }
    }

    fn created(&self, reply: ReplyCreate, make: impl FnOnce(&mut Disk) -> Result<u64>) {
        let mut disk = self.disk.lock();
        let made = make(&mut disk).and_then(|ino| {
            disk.open(ino, true)?;
            introduce(&mut disk, ino)
        });
        match made {
            Ok(attr) => {
                reply.created(&TTL, &attr, GENERATION, FileHandle(0), FopenFlags::empty());
            }
            Err(error) => reply.error(fuse(error)),
        }
    }

    /// Does what has no answer but whether it was done.
    fn done(&self, reply: ReplyEmpty, action: impl FnOnce(&mut Disk) -> Result<()>) {
        match action(&mut self.disk.lock()) {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(fuse(error)),
        }
    }

    fn opened(&self, reply: ReplyOpen, open: impl FnOnce(&mut Disk) -> Result<()>) {
        match open(&mut self.disk.lock()) {
            Ok(()) => reply.opened(FileHandle(0), FopenFlags::empty()),
            Err(error) => reply.error(fuse(error)),
        }
    }

    /// Does something to an inode and answers with its attributes.
    fn attr(&self, reply: ReplyAttr, ino: u64, change: impl FnOnce(&mut Disk) -> Result<()>) {
        let mut disk = self.disk.lock();
        let changed = change(&mut disk).and_then(|()| Ok(attributes(ino, disk.node(ino)?)));
        match changed {
            Ok(attr) => reply.attr(&TTL, &attr),
            Err(error) => reply.error(fuse(error)),
        }
    }

    fn bytes(&self, reply: ReplyData, get: impl FnOnce(&Disk) -> Result<Vec<u8>>) {
        match get(&self.disk.lock()) {
            Ok(bytes) => reply.data(&bytes),
            Err(error) => reply.error(fuse(error)),
        }
    }

    fn written(&self, reply: ReplyWrite, ino: u64, offset: u64, data: &[u8]) {
        let written = self.disk.lock().write(ino, offset, data, now());
        match written.and_then(|()| u32::try_from(data.len()).or(Err(Errno::INVAL))) {
            Ok(length) => reply.written(length),
            Err(error) => reply.error(fuse(error)),
        }
    }
}

/// Tells the kernel of an inode.
fn introduce(disk: &mut Disk, ino: u64) -> Result<FileAttr> {
    disk.remember(ino)?;
    Ok(attributes(ino, disk.node(ino)?))
}

fn make_file(disk: &mut Disk, spot: Spot<'_>, mode: u32, by: &Request) -> Result<u64> {
    let body = Body::File(File::default());
    disk.make(spot, permissions(mode), body, caller(by))
}

fn set(disk: &mut Disk, ino: u64, size: Option<u64>, change: AttrChange) -> Result<()> {
    let now = now();
    if let Some(size) = size {
        disk.resize(ino, size, now)?;
    }
    disk.set_attr(ino, change, now)
}

/// The owner of the mounted directory: whoever mounts it.
pub(crate) fn mounter() -> Caller {
    Caller {
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
        now: now(),
    }
}

fn caller(request: &Request) -> Caller {
    Caller {
        uid: request.uid(),
        gid: request.gid(),
        now: now(),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a file system stamps its files with the time of the machine"
)]
fn now() -> SystemTime {
    SystemTime::now()
}

fn fuse(error: Errno) -> fuser::Errno {
    fuser::Errno::from_i32(error.raw_os_error())
}

fn permissions(mode: u32) -> u16 {
    u16::try_from(mode & 0o7777).unwrap_or_default()
}

fn kind(node: &Node) -> FileType {
    match node.body {
        Body::File(_) => FileType::RegularFile,
        Body::Directory(_) => FileType::Directory,
        Body::Symlink(_) => FileType::Symlink,
    }
}

fn attributes(ino: u64, node: &Node) -> FileAttr {
    FileAttr {
        ino: INodeNo(ino),
        size: node.size(),
        blocks: node.allocated() / 512,
        atime: node.attr.accessed,
        mtime: node.attr.modified,
        ctime: node.attr.changed,
        crtime: node.attr.created,
        kind: kind(node),
        perm: node.attr.permissions,
        nlink: node.links,
        uid: node.attr.uid,
        gid: node.attr.gid,
        rdev: 0,
        blksize: u32::try_from(BLOCK).unwrap_or(u32::MAX),
        flags: 0,
    }
}
