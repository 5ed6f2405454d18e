//! One method for each request of the kernel.
//!
//! Locks, extended attributes, `access`, `lseek` and `copy_file_range` are left unanswered on purpose: the kernel then
//! does them by itself, or falls back to reads and writes.

use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use fuser::{
    BsdFileFlags, FileHandle, FileType, Filesystem, FopenFlags, INodeNo, KernelConfig, LockOwner,
    OpenAccMode, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory,
    ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request, TimeOrNow, WriteFlags,
};
use rustix::fs::{FallocateFlags, FileType as ModeType, RawMode};
use rustix::io::Errno;

use super::{Served, caller, fuse, kind, make_file, now, permissions, set};
use crate::content::BLOCK;
use crate::disk::{AttrChange, Body, NAME_MAX, Spot};

/// The most that the kernel hands over in one request.
const MAX_WRITE: u32 = 1024 * 1024;

/// What a disk without a limit calls its size.
const UNLIMITED: u64 = 1 << 40;

/// Inodes take no space, so there are always more; the number is one that `df` can print.
const FREE_INODES: u64 = 1 << 30;

impl Filesystem for Served {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        // Refused only where the kernel's limit is lower, and then that limit stays.
        let _ = config.set_max_write(MAX_WRITE);
        let _ = config.set_max_readahead(MAX_WRITE);
        Ok(())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        self.entry(reply, |disk| disk.lookup(Spot::new(parent.0, name)));
    }

    fn forget(&self, _: &Request, ino: INodeNo, lookups: u64) {
        self.disk.lock().forget(ino.0, lookups);
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        self.attr(reply, ino.0, |_| Ok(()));
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let change = AttrChange {
            permissions: mode.map(permissions),
            uid,
            gid,
            accessed: atime.map(time),
            modified: mtime.map(time),
        };
        self.attr(reply, ino.0, |disk| set(disk, ino.0, size, change));
    }

    fn readlink(&self, _: &Request, ino: INodeNo, reply: ReplyData) {
        self.bytes(reply, |disk| {
            let target = disk.target(ino.0)?;
            Ok(target.as_os_str().as_encoded_bytes().to_vec())
        });
    }

    fn mknod(
        &self,
        by: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _: u32,
        _: u32,
        reply: ReplyEntry,
    ) {
        if ModeType::from_raw_mode(RawMode::from(mode)) != ModeType::RegularFile {
            // Sockets, pipes and devices: nothing of a server that a disk would have to keep.
            return reply.error(fuse(Errno::PERM));
        }
        let spot = Spot::new(parent.0, name);
        self.entry(reply, |disk| make_file(disk, spot, mode, by));
    }

    fn mkdir(
        &self,
        by: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _: u32,
        reply: ReplyEntry,
    ) {
        let (spot, mode) = (Spot::new(parent.0, name), permissions(mode));
        self.entry(reply, |disk| disk.make_directory(spot, mode, caller(by)));
    }

    fn symlink(
        &self,
        by: &Request,
        parent: INodeNo,
        name: &OsStr,
        target: &Path,
        reply: ReplyEntry,
    ) {
        let (spot, body) = (Spot::new(parent.0, name), Body::Symlink(Arc::from(target)));
        self.entry(reply, |disk| disk.make(spot, 0o777, body, caller(by)));
    }

    fn link(&self, _: &Request, ino: INodeNo, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let spot = Spot::new(parent.0, name);
        self.entry(reply, |disk| disk.link(ino.0, spot, now()).map(|()| ino.0));
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let spot = Spot::new(parent.0, name);
        self.done(reply, |disk| disk.unlink(spot, now()));
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let spot = Spot::new(parent.0, name);
        self.done(reply, |disk| disk.remove_directory(spot, now()));
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        newparent: INodeNo,
        newname: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        if !(flags - RenameFlags::RENAME_NOREPLACE).is_empty() {
            return reply.error(fuse(Errno::INVAL));
        }
        let from = Spot::new(parent.0, name);
        let to = Spot::new(newparent.0, newname);
        self.done(reply, |disk| disk.rename(from, to, flags.is_empty(), now()));
    }

    fn open(&self, _: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let for_writing = flags.acc_mode() != OpenAccMode::O_RDONLY;
        self.opened(reply, |disk| disk.open(ino.0, for_writing));
    }

    fn create(
        &self,
        by: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _: u32,
        _: i32,
        reply: ReplyCreate,
    ) {
        let spot = Spot::new(parent.0, name);
        self.created(reply, |disk| make_file(disk, spot, mode, by));
    }

    fn release(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        self.disk.lock().release(ino.0);
        reply.ok();
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        // A close promises nothing.
        reply.ok();
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        self.bytes(reply, |disk| disk.read(ino.0, offset, size.into()));
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        // To a file opened with O_SYNC or O_DSYNC too: after the write the kernel sends a sync of its own.
        self.written(reply, ino.0, offset, data);
    }

    fn fallocate(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        let flags = FallocateFlags::from_bits_retain(mode.cast_unsigned());
        let keep_size = flags.contains(FallocateFlags::KEEP_SIZE);
        if !(flags - FallocateFlags::KEEP_SIZE).is_empty() {
            return reply.error(fuse(Errno::OPNOTSUPP));
        }
        let range = (offset, length);
        self.done(reply, |disk| disk.allocate(ino.0, range, keep_size, now()));
    }

    fn fsync(&self, _: &Request, ino: INodeNo, _: FileHandle, datasync: bool, reply: ReplyEmpty) {
        self.done(reply, |disk| disk.sync_file(ino.0, datasync));
    }

    fn fsyncdir(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        datasync: bool,
        reply: ReplyEmpty,
    ) {
        self.done(reply, |disk| disk.sync_directory(ino.0, datasync));
    }

    fn opendir(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        let mut listings = self.listings();
        listings.opened += 1;
        reply.opened(FileHandle(listings.opened), FopenFlags::empty());
    }

    fn readdir(
        &self,
        _: &Request,
        ino: INodeNo,
        handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let rows = match self.rows(ino.0, handle.0, offset == 0) {
            Ok(rows) => rows,
            Err(error) => return reply.error(fuse(error)),
        };
        let disk = self.disk.lock();
        let unread = (1..).zip(rows.iter());
        for (position, (ino, name)) in unread.skip_while(|(position, _)| *position <= offset) {
            // It may have gone since the listing was made.
            let kind = disk.node(*ino).map_or(FileType::RegularFile, kind);
            if reply.add(INodeNo(*ino), position, kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn releasedir(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        _: OpenFlags,
        reply: ReplyEmpty,
    ) {
        self.listings().rows.remove(&handle.0);
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        let disk = self.disk.lock();
        let blocks = disk.capacity.unwrap_or(UNLIMITED) / BLOCK;
        let free = blocks.saturating_sub(disk.used() / BLOCK);
        let inodes = disk.count() + FREE_INODES;
        let block = u32::try_from(BLOCK).unwrap_or(u32::MAX);
        reply.statfs(
            blocks,
            free,
            free,
            inodes,
            FREE_INODES,
            block,
            NAME_MAX,
            block,
        );
    }
}

fn time(time: TimeOrNow) -> SystemTime {
    match time {
        TimeOrNow::SpecificTime(time) => time,
        TimeOrNow::Now => now(),
    }
}
