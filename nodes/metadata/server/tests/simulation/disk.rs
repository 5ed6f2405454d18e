//! A disk in memory that outlives its process, and forgets what was not synced when that crashes.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::StorageBackend;

use super::chance;

/// Syncs that are done in any case: so many make a file that can be opened.
const HONEST: u64 = 20;

/// What lies on it.
#[derive(Debug, Default)]
struct Platter {
    synced: Vec<u8>,
    /// As the process sees it.
    seen: Vec<u8>,
    /// Since the last sync: what was written where, or how long the file became.
    pending: Vec<Change>,
    /// Counts crashes: a process from before one reaches nothing.
    life: u64,
    syncs: u64,
    /// Says that it synced, and did not.
    lies: bool,
}

#[derive(Debug, Clone)]
enum Change {
    Write(usize, Vec<u8>),
    Length(usize),
}

impl Change {
    fn make(&self, to: &mut Vec<u8>) {
        match self {
            Self::Write(at, bytes) => {
                let end = at + bytes.len();
                if to.len() < end {
                    to.resize(end, 0);
                }
                to[*at..end].copy_from_slice(bytes);
            }
            Self::Length(length) => to.resize(*length, 0),
        }
    }
}

#[derive(Debug, Clone, Default)]
pub(super) struct Disk(Arc<Mutex<Platter>>);

impl Disk {
    pub(super) fn new(lies: bool) -> Self {
        let disk = Self::default();
        disk.platter().lies = lies;
        disk
    }

    /// As the next process will find it: of what was not synced, any part may be there.
    pub(super) fn crash(&self) {
        let mut platter = self.platter();
        let platter = &mut *platter;
        platter.life += 1;
        for change in std::mem::take(&mut platter.pending) {
            if !platter.lies && chance::one_in(2) {
                change.make(&mut platter.synced);
            }
        }
        platter.seen.clone_from(&platter.synced);
    }

    /// For one process.
    pub(super) fn open(&self) -> Handle {
        let life = self.platter().life;
        Handle {
            disk: self.clone(),
            life,
        }
    }

    fn platter(&self) -> MutexGuard<'_, Platter> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The disk, as one process has it.
#[derive(Debug)]
pub(super) struct Handle {
    disk: Disk,
    life: u64,
}

impl Handle {
    fn platter(&self) -> io::Result<MutexGuard<'_, Platter>> {
        let platter = self.disk.platter();
        if platter.life == self.life {
            Ok(platter)
        } else {
            Err(io::Error::other("this process has crashed"))
        }
    }

    fn change(&self, change: Change) -> io::Result<()> {
        let mut platter = self.platter()?;
        change.make(&mut platter.seen);
        platter.pending.push(change);
        Ok(())
    }
}

fn index(offset: u64) -> io::Result<usize> {
    usize::try_from(offset).map_err(io::Error::other)
}

impl StorageBackend for Handle {
    fn len(&self) -> io::Result<u64> {
        Ok(self.platter()?.seen.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let platter = self.platter()?;
        let at = index(offset)?;
        let found = platter.seen.get(at..at + out.len());
        out.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(Change::Length(index(len)?))
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut platter = self.platter()?;
        let platter = &mut *platter;
        platter.syncs += 1;
        // One that lies keeps what it had when the group began, most of the time.
        if platter.lies && platter.syncs > HONEST && !chance::one_in(8) {
            return Ok(());
        }
        for change in std::mem::take(&mut platter.pending) {
            change.make(&mut platter.synced);
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.change(Change::Write(index(offset)?, data.to_vec()))
    }
}
