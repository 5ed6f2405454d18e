//! What is done to one inode: its bytes, its attributes, and bringing them to the disk.

use std::time::SystemTime;

use rustix::io::Errno;

use super::{Body, Disk, Result};
use crate::file::File;

/// The attributes to change; size is changed by [`Disk::resize`].
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct AttrChange {
    pub(crate) permissions: Option<u16>,
    pub(crate) uid: Option<u32>,
    pub(crate) gid: Option<u32>,
    pub(crate) accessed: Option<SystemTime>,
    pub(crate) modified: Option<SystemTime>,
}

impl Disk {
    pub(crate) fn read(&self, ino: u64, offset: u64, length: u64) -> Result<Vec<u8>> {
        Ok(self.file(ino)?.seen().read(offset, length))
    }

    /// Writes all of it or, when it does not fit, nothing.
    pub(crate) fn write(
        &mut self,
        ino: u64,
        offset: u64,
        data: &[u8],
        now: SystemTime,
    ) -> Result<()> {
        if data.is_empty() {
            return Ok(());
        }
        self.reserve_room(ino, offset, data.len() as u64)?;
        self.change(ino, now, |file| file.write(offset, data))
    }

    pub(crate) fn resize(&mut self, ino: u64, size: u64, now: SystemTime) -> Result<()> {
        self.writable()?;
        self.change(ino, now, |file| file.resize(size))
    }

    /// Sets space aside, so that writing there cannot fail for the lack of it.
    pub(crate) fn allocate(
        &mut self,
        ino: u64,
        (offset, length): (u64, u64),
        keep_size: bool,
        now: SystemTime,
    ) -> Result<()> {
        if length == 0 {
            return Err(Errno::INVAL);
        }
        self.reserve_room(ino, offset, length)?;
        self.change(ino, now, |file| file.reserve(offset, length, keep_size))
    }

    fn reserve_room(&self, ino: u64, offset: u64, length: u64) -> Result<()> {
        self.writable()?;
        let end = offset.checked_add(length).ok_or(Errno::FBIG)?;
        if i64::try_from(end).is_err() {
            return Err(Errno::FBIG);
        }
        let content = self.file(ino)?.seen();
        let grows_by = content
            .allocated_with(offset, length)
            .saturating_sub(content.allocated());
        match self.capacity {
            // Overwriting goes on when the disk is full: it takes no space.
            Some(capacity) if grows_by > 0 && self.used + grows_by > capacity => Err(Errno::NOSPC),
            _ => Ok(()),
        }
    }

    /// Changes what is seen of a file, and keeps the account of the space.
    fn change(&mut self, ino: u64, now: SystemTime, change: impl FnOnce(&mut File)) -> Result<()> {
        let node = self.node_mut(ino)?;
        let Body::File(file) = &mut node.body else {
            return Err(Errno::ISDIR);
        };
        if file.is_forsaken() {
            return Err(Errno::NOENT);
        }
        let before = file.seen().allocated();
        change(file);
        let after = file.seen().allocated();
        node.attr.touch(now);
        self.used = self.used - before + after;
        Ok(())
    }

    pub(crate) fn set_attr(&mut self, ino: u64, change: AttrChange, now: SystemTime) -> Result<()> {
        self.writable()?;
        let attr = &mut self.node_mut(ino)?.attr;
        attr.permissions = change.permissions.unwrap_or(attr.permissions);
        attr.uid = change.uid.unwrap_or(attr.uid);
        attr.gid = change.gid.unwrap_or(attr.gid);
        attr.accessed = change.accessed.unwrap_or(attr.accessed);
        attr.modified = change.modified.unwrap_or(attr.modified);
        attr.changed = now;
        Ok(())
    }

    /// `fsync` of a file, or `fdatasync`, which leaves the attributes for later.
    pub(crate) fn sync_file(&mut self, ino: u64, data_only: bool) -> Result<()> {
        self.syncs.files += 1;
        let fails = self.fail_sync;
        let node = self.node_mut(ino)?;
        let Body::File(file) = &mut node.body else {
            return Err(Errno::INVAL);
        };
        if fails {
            file.lose_unsynced();
            return Err(Errno::IO);
        }
        file.sync();
        if !data_only {
            node.saved = node.attr;
        }
        Ok(())
    }

    /// `fsync` of a directory. When it fails, its steps stay unsynced: names are in the journal, and a journal is not
    /// dropped in parts.
    pub(crate) fn sync_directory(&mut self, ino: u64, data_only: bool) -> Result<()> {
        self.syncs.directories += 1;
        if self.fail_sync {
            return Err(Errno::IO);
        }
        let nameless = self.directory_mut(ino)?.sync();
        if !data_only {
            let node = self.node_mut(ino)?;
            node.saved = node.attr;
        }
        self.lose_disk_links(&nameless);
        Ok(())
    }
}
