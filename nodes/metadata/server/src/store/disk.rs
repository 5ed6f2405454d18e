//! The file: what is in it and how it is read.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use redb::{Database, ReadableDatabase as _, TableDefinition};
use roadstead_machine::Machine;

use super::{Log, Snapshot, State, StoreError};
use crate::types::{FormError, Incarnation, LogEntry, LogId, Vote, decode, encode};

pub(super) const LOG: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("log");
/// Single values by name.
pub(super) const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");

pub(super) const VOTE: &str = "vote";
pub(super) const PURGED: &str = "purged";
pub(super) const SNAPSHOT_META: &str = "snapshot-meta";
pub(super) const SNAPSHOT_STATE: &str = "snapshot-state";
const MEMBER: &str = "member";
const INCARNATION: &str = "incarnation";

/// Pages that redb may keep in memory. The log is kept in memory anyway: this is for what a commit touches.
const CACHE_BYTES: usize = 1 << 20;

#[derive(Debug)]
pub(super) struct Disk {
    pub(super) database: Database,
}

impl Disk {
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let parent = path.parent().unwrap_or_else(|| Path::new("."));
        std::fs::create_dir_all(parent)?;
        // It holds the secret that upload sessions are signed with.
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)?;
        let database = builder().create_file(file).map_err(|error| match error {
            redb::DatabaseError::DatabaseAlreadyOpen => StoreError::InUse,
            other => other.into(),
        })?;
        // The names must survive a power cut as well as the content.
        let named = |ancestor: &&Path| !ancestor.as_os_str().is_empty();
        for directory in parent.ancestors().filter(named).take(2) {
            File::open(directory)?.sync_all()?;
        }
        Self::with(database)
    }

    #[cfg(test)]
    pub(super) fn on(backend: impl redb::StorageBackend) -> Result<Self, StoreError> {
        Self::with(builder().create_with_backend(backend)?)
    }

    fn with(database: Database) -> Result<Self, StoreError> {
        let write = database.begin_write()?;
        write.open_table(LOG)?;
        write.open_table(META)?;
        write.commit()?;
        Ok(Self { database })
    }

    /// Whose file it is, made out once.
    pub(super) fn settle(&self, id: u64) -> Result<Incarnation, StoreError> {
        if let Some(member) = self.value::<u64>(MEMBER)?
            && member != id
        {
            return Err(StoreError::OtherMember(member));
        }
        if let Some(incarnation) = self.value(INCARNATION)? {
            return Ok(incarnation);
        }
        let mut incarnation = Incarnation::default();
        getrandom::fill(&mut incarnation).map_err(StoreError::Randomness)?;
        let write = self.database.begin_write()?;
        {
            let mut meta = write.open_table(META)?;
            let form = |source| StoreError::Form {
                what: MEMBER,
                source,
            };
            meta.insert(MEMBER, encode(&id).map_err(form)?.as_slice())?;
            meta.insert(INCARNATION, encode(&incarnation).map_err(form)?.as_slice())?;
        }
        write.commit()?;
        Ok(incarnation)
    }

    /// What the file tells of.
    pub(super) fn load(&self) -> Result<(Log, State), StoreError> {
        let mut log = Log {
            entries: BTreeMap::new(),
            purged: self.value::<LogId>(PURGED)?,
            vote: self.value::<Vote>(VOTE)?,
            since_snapshot: 0,
            snapshot: 0,
        };
        let mut state = State::default();
        if let Some(snapshot) = self.snapshot()? {
            state.machine = Machine::decode(&snapshot.state).map_err(StoreError::State)?;
            state.applied = snapshot.meta.last_log_id;
            state.membership = snapshot.meta.last_membership;
            log.snapshot = snapshot.state.len() as u64;
        }
        let applied = state.applied.map(|id| id.index);
        let read = self.database.begin_read()?;
        let first = log.purged.map_or(0, |id| id.index + 1);
        for (next, item) in (first..).zip(read.open_table(LOG)?.range(first..)?) {
            let (index, bytes) = item?;
            if index.value() != next {
                return Err(StoreError::Gap(index.value()));
            }
            let form = |source| StoreError::Form {
                what: "log entry",
                source,
            };
            let entry: LogEntry = decode(bytes.value()).map_err(form)?;
            let length = bytes.value().len() as u64;
            if Some(index.value()) > applied {
                log.since_snapshot += length;
            }
            log.entries.insert(index.value(), (entry, length));
        }
        Ok((log, state))
    }

    pub(super) fn snapshot(&self) -> Result<Option<Snapshot>, StoreError> {
        let Some(meta) = self.value(SNAPSHOT_META)? else {
            return Ok(None);
        };
        let state = self.bytes(SNAPSHOT_STATE)?.ok_or(StoreError::Form {
            what: SNAPSHOT_STATE,
            source: FormError::Empty,
        })?;
        Ok(Some(Snapshot { meta, state }))
    }

    fn value<T: serde::de::DeserializeOwned>(
        &self,
        name: &'static str,
    ) -> Result<Option<T>, StoreError> {
        let form = |source| StoreError::Form { what: name, source };
        let bytes = self.bytes(name)?;
        bytes.map(|bytes| decode(&bytes).map_err(form)).transpose()
    }

    fn bytes(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let read = self.database.begin_read()?;
        let found = read.open_table(META)?.get(name)?;
        Ok(found.map(|bytes| bytes.value().to_vec()))
    }
}

fn builder() -> redb::Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES);
    builder
}
