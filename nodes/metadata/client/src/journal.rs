//! The machine's log and snapshot in one file that survives a power cut at any point (redb: copy on write, checksums).

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use redb::backends::InMemoryBackend;
use redb::{Database, ReadableTable, TableDefinition};
use roadstead_machine::{Entry, FormatError, Machine, decode_entry, encode_entry};

const LOG: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("log");
/// Key: the index of the first entry that the snapshot does not hold.
const SNAPSHOT: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("snapshot");

/// Bytes of entries between two snapshots, at least; replaying them takes some milliseconds at start. When the state is
/// larger than that, as many as it is: a snapshot costs what it holds, and so much was written anyway.
const SNAPSHOT_EVERY: u64 = 256 << 10;

/// Pages that redb may keep in memory. The tables are small: this is for what a commit touches.
const CACHE_BYTES: usize = 1 << 20;

/// Where the log is kept.
#[derive(Debug, Clone)]
pub enum Home {
    File(PathBuf),
    /// For storage that is gone with the process as well.
    Memory,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum JournalError {
    #[error(transparent)]
    Database(Box<redb::Error>),
    #[error("another process has it open")]
    InUse,
    #[error("{what}: {source}")]
    Format {
        what: &'static str,
        source: FormatError,
    },
}

impl<E: Into<redb::Error>> From<E> for JournalError {
    fn from(error: E) -> Self {
        Self::Database(Box::new(error.into()))
    }
}

/// An open log. After an error it must be dropped and opened again: whether the last batch is in it is unknown.
#[derive(Debug)]
pub(crate) struct Journal {
    database: Database,
    next: u64,
    /// Bytes of the entries since the last snapshot, and of that.
    since_snapshot: u64,
    snapshot: u64,
}

impl Journal {
    /// Opens the log, or makes it, and rebuilds the machine that it tells of.
    pub(crate) fn open(home: &Home) -> Result<(Self, Machine), JournalError> {
        let mut builder = Database::builder();
        builder.set_cache_size(CACHE_BYTES);
        let database = match home {
            Home::Memory => builder.create_with_backend(InMemoryBackend::new())?,
            Home::File(path) => create(&builder, path)?,
        };
        let begin = database.begin_write()?;
        begin.open_table(LOG)?;
        begin.open_table(SNAPSHOT)?;
        begin.commit()?;
        let loaded = load(&database)?;
        Ok((
            Self {
                database,
                next: loaded.next,
                since_snapshot: loaded.since_snapshot,
                snapshot: loaded.snapshot,
            },
            loaded.machine,
        ))
    }

    /// Appends entries; durable when it returns.
    pub(crate) fn append(&mut self, entries: &[Entry]) -> Result<(), JournalError> {
        let write = self.database.begin_write()?;
        let (mut next, mut appended) = (self.next, 0);
        {
            let mut log = write.open_table(LOG)?;
            for entry in entries {
                let bytes = encode_entry(entry).map_err(|source| JournalError::Format {
                    what: "log entry",
                    source,
                })?;
                log.insert(next, bytes.as_slice())?;
                next += 1;
                appended += bytes.len() as u64;
            }
        }
        write.commit()?;
        self.since_snapshot += appended;
        self.next = next;
        Ok(())
    }

    /// Replaces the log by the state that it led to, when it has grown long.
    pub(crate) fn compact(&mut self, machine: &Machine) -> Result<(), JournalError> {
        if self.since_snapshot < SNAPSHOT_EVERY.max(self.snapshot) {
            return Ok(());
        }
        let bytes = machine.encode().map_err(|source| JournalError::Format {
            what: "snapshot",
            source,
        })?;
        let write = self.database.begin_write()?;
        {
            let mut snapshot = write.open_table(SNAPSHOT)?;
            snapshot.retain(|_, _| false)?;
            snapshot.insert(self.next, bytes.as_slice())?;
            write.open_table(LOG)?.retain(|_, _| false)?;
        }
        write.commit()?;
        self.since_snapshot = 0;
        self.snapshot = bytes.len() as u64;
        Ok(())
    }
}

/// The file's name must survive a power cut as well as its content.
fn create(builder: &redb::Builder, path: &Path) -> Result<Database, JournalError> {
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
    let database = builder.create_file(file).map_err(|error| match error {
        redb::DatabaseError::DatabaseAlreadyOpen => JournalError::InUse,
        other => other.into(),
    })?;
    for directory in parent
        .ancestors()
        .filter(|ancestor| !ancestor.as_os_str().is_empty())
        .take(2)
    {
        File::open(directory)?.sync_all()?;
    }
    Ok(database)
}

/// What a log holds.
struct Loaded {
    machine: Machine,
    next: u64,
    since_snapshot: u64,
    snapshot: u64,
}

fn load(database: &Database) -> Result<Loaded, JournalError> {
    use redb::ReadableDatabase as _;
    let read = database.begin_read()?;
    let mut loaded = match read.open_table(SNAPSHOT)?.last()? {
        None => Loaded {
            machine: Machine::default(),
            next: 0,
            since_snapshot: 0,
            snapshot: 0,
        },
        Some((index, bytes)) => Loaded {
            machine: Machine::decode(bytes.value()).map_err(|source| JournalError::Format {
                what: "snapshot",
                source,
            })?,
            next: index.value(),
            since_snapshot: 0,
            snapshot: bytes.value().len() as u64,
        },
    };
    for item in read.open_table(LOG)?.range(loaded.next..)? {
        let (index, bytes) = item?;
        let entry = decode_entry(bytes.value()).map_err(|source| JournalError::Format {
            what: "log entry",
            source,
        })?;
        loaded.machine.apply(entry);
        loaded.next = index.value() + 1;
        loaded.since_snapshot += bytes.value().len() as u64;
    }
    Ok(loaded)
}
