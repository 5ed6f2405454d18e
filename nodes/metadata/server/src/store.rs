//! A member's disk: log, vote and snapshot in one redb file; and its state, in memory, rebuilt from them.
//!
//! One thread writes. What it finds waiting shares one transaction, and so one sync; nobody is answered before. A torn
//! write leaves the transaction before it. After an error nothing is written any more: whether the last transaction is
//! on the disk is unknown until the file is opened again, so the member ends.

mod disk;
mod log;
mod state;
mod writer;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use roadstead_machine::{FormatError, Machine};
use roadstead_telemetry::metrics::MemberMetrics;
use tokio::sync::{Notify, watch};
use tokio::task::JoinError;
use tokio::time::timeout;

use crate::types::{FormError, Incarnation, LogEntry, LogId, Membership, SnapshotMeta, Vote};
use disk::Disk;
pub(crate) use log::LogStore;
pub(crate) use state::StateStore;
use writer::Writer;

/// Bytes logged between two snapshots, at least; when the state is larger than that, as many as it is.
const SNAPSHOT_EVERY: u64 = 256 << 10;

/// How long the next write takes.
#[cfg(test)]
pub(crate) type Pace = Arc<dyn Fn() -> Duration + Send + Sync>;

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error(transparent)]
    Database(Box<redb::Error>),
    #[error("another process has it open")]
    InUse,
    #[error("it belongs to member {0}")]
    OtherMember(u64),
    #[error("log entries are missing before {0}")]
    Gap(u64),
    #[error("{what}: {source}")]
    Form {
        what: &'static str,
        source: FormError,
    },
    #[error("the state: {0}")]
    State(FormatError),
    #[error("no randomness: {0}")]
    Randomness(getrandom::Error),
}

impl<E: Into<redb::Error>> From<E> for StoreError {
    fn from(error: E) -> Self {
        Self::Database(Box::new(error.into()))
    }
}

/// The log as it will be on the disk once the writer has done what it was given.
#[derive(Debug, Default)]
struct Log {
    /// With the bytes that each takes.
    entries: BTreeMap<u64, (LogEntry, u64)>,
    purged: Option<LogId>,
    vote: Option<Vote>,
    /// Bytes logged since the last snapshot, and of that.
    since_snapshot: u64,
    snapshot: u64,
}

/// What the log has led to.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) machine: Machine,
    applied: Option<LogId>,
    membership: Membership,
}

#[derive(Debug)]
struct Shared {
    id: u64,
    incarnation: Incarnation,
    disk: Arc<Disk>,
    log: RwLock<Log>,
    state: RwLock<State>,
    writer: Writer,
    /// It is time for a snapshot.
    long: Notify,
    /// The version of the invalidations, and that it is another one: those who wait for it wait to answer a deletion. Not a
    /// `watch`: that wakes several in an order that no seed determines.
    invalidated: AtomicU64,
    invalidates: Notify,
}

/// Handles of one member's store.
#[derive(Debug, Clone)]
pub(crate) struct Store(Arc<Shared>);

impl Store {
    /// Opens a member's file, or makes it. Blocks.
    pub(crate) fn open(path: &Path, id: u64) -> Result<Self, StoreError> {
        Self::on(Disk::open(path)?, id)
    }

    fn on(disk: Disk, id: u64) -> Result<Self, StoreError> {
        Self::written_by(disk, id, |disk| Ok(Writer::start(disk)?))
    }

    /// On a disk of the simulation, written at its pace.
    #[cfg(test)]
    pub(crate) fn paced(
        backend: impl redb::StorageBackend,
        id: u64,
        pace: Pace,
    ) -> Result<Self, StoreError> {
        Self::written_by(Disk::on(backend)?, id, |disk| Ok(Writer::paced(disk, pace)))
    }

    fn written_by(
        disk: Disk,
        id: u64,
        writer: impl FnOnce(Arc<Disk>) -> Result<Writer, StoreError>,
    ) -> Result<Self, StoreError> {
        let incarnation = disk.settle(id)?;
        let (log, state) = disk.load()?;
        let disk = Arc::new(disk);
        let writer = writer(Arc::clone(&disk))?;
        let invalidated = state.machine.invalidations().version();
        Ok(Self(Arc::new(Shared {
            id,
            incarnation,
            disk,
            log: RwLock::new(log),
            state: RwLock::new(state),
            writer,
            long: Notify::new(),
            invalidated: AtomicU64::new(invalidated),
            invalidates: Notify::new(),
        })))
    }

    pub(crate) fn incarnation(&self) -> Incarnation {
        self.0.incarnation
    }

    /// It has never taken part in a group.
    pub(crate) fn is_blank(&self) -> bool {
        let log = self.0.log();
        let nothing_applied = self.0.state().applied.is_none();
        log.vote.is_none() && log.entries.is_empty() && log.purged.is_none() && nothing_applied
    }

    /// Looks at the state, as of the entries applied so far.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Machine) -> T) -> T {
        look(&self.0.state().machine)
    }

    /// Waits until the invalidations have another version than the known one, or for so long.
    pub(crate) async fn invalidated_since(&self, known: Option<u64>, wait: Duration) {
        let is_other = async {
            loop {
                // First, so that nothing is missed between the look and the wait.
                let told = self.0.invalidates.notified();
                if Some(self.0.invalidated.load(Ordering::SeqCst)) != known {
                    return;
                }
                told.await;
            }
        };
        let _waited_long_enough = timeout(wait, is_other).await;
    }

    /// Where the group's members are, as of the entries applied so far.
    pub(crate) fn members(&self) -> Vec<String> {
        let state = self.0.state();
        let members = state.membership.membership().nodes();
        members.map(|(_, member)| member.addr.clone()).collect()
    }

    /// As [`Self::look`], for what takes long.
    pub(crate) async fn look_long<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Machine) -> T + Send + 'static,
    ) -> Result<T, JoinError> {
        let store = self.clone();
        aside(move || store.look(look)).await
    }

    /// Why nothing is written any more, once that is so.
    pub(crate) fn failure(&self) -> watch::Receiver<Option<String>> {
        self.0.writer.failure()
    }

    /// Tells these metrics from now on how long writes take.
    pub(crate) fn measure(&self, metrics: MemberMetrics) {
        self.0.writer.measure(metrics);
    }

    /// Waits until a snapshot is due.
    pub(crate) async fn long(&self) {
        self.0.long.notified().await;
    }

    pub(crate) fn logs(&self) -> LogStore {
        LogStore(Arc::clone(&self.0))
    }

    pub(crate) fn states(&self) -> StateStore {
        StateStore(Arc::clone(&self.0))
    }
}

impl Shared {
    fn log(&self) -> std::sync::RwLockReadGuard<'_, Log> {
        self.log
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn log_mut(&self) -> std::sync::RwLockWriteGuard<'_, Log> {
        self.log
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn state(&self) -> std::sync::RwLockReadGuard<'_, State> {
        self.state
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn state_mut(&self) -> std::sync::RwLockWriteGuard<'_, State> {
        self.state
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Notes a snapshot of so many bytes.
    fn snapshot_taken(&self, bytes: usize) {
        let mut log = self.log_mut();
        log.since_snapshot = 0;
        log.snapshot = bytes as u64;
    }

    /// Wakes up those who wait for something in the state.
    fn tell_applied(&self) {
        let now = self.state().machine.invalidations().version();
        if self.invalidated.swap(now, Ordering::SeqCst) != now {
            self.invalidates.notify_waiters();
        }
    }

    fn check_length(&self) {
        let log = self.log();
        if log.since_snapshot >= SNAPSHOT_EVERY.max(log.snapshot) {
            self.long.notify_one();
        }
    }
}

/// Does what takes long where it holds up nobody.
async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, JoinError> {
    #[cfg(test)]
    if crate::simulation::is_running() {
        return Ok(work());
    }
    tokio::task::spawn_blocking(work).await
}

/// A snapshot as the disk has it.
#[derive(Debug, Clone)]
struct Snapshot {
    meta: SnapshotMeta,
    state: Vec<u8>,
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
