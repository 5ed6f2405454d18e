//! The queues in one file that survives a power cut at any point (redb: copy on write, checksums).

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use bytes::Bytes;
use redb::backends::InMemoryBackend;
use redb::{
    Database, Durability, ReadableDatabase as _, ReadableTable as _, Table, TableDefinition,
    WriteTransaction,
};

use crate::options::{Home, Limits};

/// One row: the version of what the other tables hold.
const FORMAT: TableDefinition<'_, (), u32> = TableDefinition::new("format");
const VERSION: u32 = 1;

/// An endpoint's name, and which one of several of that name, to its queue.
const QUEUES: TableDefinition<'_, (&str, u32), Row> = TableDefinition::new("queues");

/// The number of the queue; its first event, the place after its last, and the bytes between.
type Row = (u32, u64, u64, u64);

/// Queue and place to the envelope, as it is sent.
const EVENTS: TableDefinition<'_, (u32, u64), &[u8]> = TableDefinition::new("events");

/// Pages that redb may keep in memory: what commits touch, and the heads of the queues.
const CACHE_BYTES: usize = 4 << 20;

#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    #[error(transparent)]
    Database(Box<redb::Error>),
    #[error("another process has it open")]
    InUse,
    #[error("it is closed after a failure")]
    Closed,
    #[error("it was written by another version (format {0})")]
    Format(u32),
}

impl<E: Into<redb::Error>> From<E> for StoreError {
    fn from(error: E) -> Self {
        Self::Database(Box::new(error.into()))
    }
}

/// Which queue is whose: the name, and which one of several of that name.
pub(crate) type Key = (String, u32);

/// Something that happens to queues.
#[derive(Debug)]
pub(crate) enum Change {
    /// An event for these queues.
    Add { queues: Vec<usize>, envelope: Bytes },
    /// All up to this place were taken.
    Delivered { queue: usize, place: u64 },
}

/// A queue's bounds in the file. Places are given in order and never again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cursor {
    number: u32,
    pub(crate) head: u64,
    next: u64,
    bytes: u64,
}

impl Cursor {
    pub(crate) fn pending(&self) -> u64 {
        self.next - self.head
    }
}

/// The open file. After an error it must be dropped and opened again: whether the last changes are in it is unknown.
#[derive(Debug)]
pub(crate) struct Store {
    database: Database,
    limits: Limits,
    pub(crate) cursors: Vec<Cursor>,
}

impl Store {
    /// Opens the file, or makes it, with a queue for each key. Other queues go, with what is in them.
    pub(crate) fn open(home: &Home, keys: &[Key], limits: Limits) -> Result<Self, StoreError> {
        let mut builder = Database::builder();
        builder.set_cache_size(CACHE_BYTES);
        let database = match home {
            Home::Memory => builder.create_with_backend(InMemoryBackend::new())?,
            Home::File(path) => create(&builder, path)?,
        };
        Self::over(database, keys, limits)
    }

    pub(crate) fn over(
        database: Database,
        keys: &[Key],
        limits: Limits,
    ) -> Result<Self, StoreError> {
        let begin = database.begin_write()?;
        check_format(&begin)?;
        let cursors = settle(&begin, keys)?;
        begin.commit()?;
        Ok(Self {
            database,
            limits,
            cursors,
        })
    }

    /// Makes changes, in order; on the disk when it returns, if `durable`, and else with the next that are. Answers with
    /// the number of events that each queue had no room for.
    pub(crate) fn apply(
        &mut self,
        changes: &[Change],
        durable: bool,
    ) -> Result<Vec<u64>, StoreError> {
        let mut write = self.database.begin_write()?;
        if !durable {
            write.set_durability(Durability::None)?;
        }
        let mut cursors = self.cursors.clone();
        let mut dropped = vec![0; cursors.len()];
        {
            let mut events = write.open_table(EVENTS)?;
            for change in changes {
                match change {
                    Change::Add { queues, envelope } => {
                        for &queue in queues {
                            dropped[queue] +=
                                add(&mut events, &mut cursors[queue], envelope, self.limits)?;
                        }
                    }
                    Change::Delivered { queue, place } => {
                        let cursor = &mut cursors[*queue];
                        while cursor.head <= *place && cursor.head < cursor.next {
                            remove_first(&mut events, cursor)?;
                        }
                    }
                }
            }
        }
        save(&write, &self.cursors, &cursors)?;
        write.commit()?;
        self.cursors = cursors;
        Ok(dropped)
    }

    /// The first events from a place on, with theirs: `count` at most, and no more than `bytes` after the first.
    pub(crate) fn read(
        &self,
        queue: usize,
        from: u64,
        count: usize,
        bytes: usize,
    ) -> Result<Vec<(u64, Bytes)>, StoreError> {
        let cursor = &self.cursors[queue];
        let from = from.max(cursor.head);
        if from >= cursor.next {
            return Ok(Vec::new());
        }
        let read = self.database.begin_read()?;
        let events = read.open_table(EVENTS)?;
        let (mut found, mut room) = (Vec::new(), bytes);
        for item in events.range((cursor.number, from)..(cursor.number, cursor.next))? {
            let (place, envelope) = item?;
            let envelope = envelope.value();
            if found.len() == count || (!found.is_empty() && envelope.len() > room) {
                break;
            }
            room = room.saturating_sub(envelope.len());
            found.push((place.value().1, Bytes::copy_from_slice(envelope)));
        }
        Ok(found)
    }
}

type Events<'txn> = Table<'txn, (u32, u64), &'static [u8]>;

/// Makes room, and appends. Answers with the number of events that went, this one among them if it never fits.
fn add(
    events: &mut Events<'_>,
    cursor: &mut Cursor,
    envelope: &Bytes,
    limits: Limits,
) -> Result<u64, StoreError> {
    let size = envelope.len() as u64;
    if size > limits.bytes || limits.events == 0 {
        return Ok(1);
    }
    let mut dropped = 0;
    while cursor.pending() > 0
        && (cursor.pending() >= limits.events || cursor.bytes > limits.bytes - size)
    {
        remove_first(events, cursor)?;
        dropped += 1;
    }
    events.insert((cursor.number, cursor.next), envelope.as_ref())?;
    cursor.next += 1;
    cursor.bytes += size;
    Ok(dropped)
}

fn remove_first(events: &mut Events<'_>, cursor: &mut Cursor) -> Result<(), StoreError> {
    let removed = events.remove((cursor.number, cursor.head))?;
    let size = removed.map_or(0, |envelope| envelope.value().len() as u64);
    cursor.bytes = cursor.bytes.saturating_sub(size);
    cursor.head += 1;
    Ok(())
}

/// Writes the cursors that moved.
fn save(write: &WriteTransaction, before: &[Cursor], after: &[Cursor]) -> Result<(), StoreError> {
    let mut queues = write.open_table(QUEUES)?;
    let mut moved = HashMap::new();
    for (before, after) in before.iter().zip(after) {
        if before != after {
            moved.insert(after.number, *after);
        }
    }
    if moved.is_empty() {
        return Ok(());
    }
    let mut rows = Vec::new();
    for item in queues.iter()? {
        let (key, row) = item?;
        if let Some(cursor) = moved.get(&row.value().0) {
            let (name, which) = key.value();
            rows.push((name.to_owned(), which, *cursor));
        }
    }
    for (name, which, cursor) in rows {
        insert(&mut queues, (&name, which), cursor)?;
    }
    Ok(())
}

fn insert(
    queues: &mut Table<'_, (&'static str, u32), Row>,
    key: (&str, u32),
    cursor: Cursor,
) -> Result<(), StoreError> {
    let row = (cursor.number, cursor.head, cursor.next, cursor.bytes);
    queues.insert(key, row)?;
    Ok(())
}

fn check_format(write: &WriteTransaction) -> Result<(), StoreError> {
    let mut format = write.open_table(FORMAT)?;
    let found = format.get(())?.map(|version| version.value());
    match found {
        Some(VERSION) => Ok(()),
        Some(other) => Err(StoreError::Format(other)),
        None => {
            format.insert((), VERSION)?;
            Ok(())
        }
    }
}

/// Makes the queues that are missing, and removes those that nobody configures any more.
fn settle(write: &WriteTransaction, keys: &[Key]) -> Result<Vec<Cursor>, StoreError> {
    let mut queues = write.open_table(QUEUES)?;
    let mut events = write.open_table(EVENTS)?;
    let mut known = HashMap::new();
    for item in queues.iter()? {
        let (key, row) = item?;
        let (number, head, next, bytes) = row.value();
        let (name, which) = key.value();
        let cursor = Cursor {
            number,
            head,
            next,
            bytes,
        };
        known.insert((name.to_owned(), which), cursor);
    }
    let mut fresh = known
        .values()
        .map(|cursor| cursor.number + 1)
        .max()
        .unwrap_or(0);
    let mut cursors = Vec::new();
    for key in keys {
        let cursor = known.remove(key).unwrap_or_else(|| {
            fresh += 1;
            Cursor {
                number: fresh - 1,
                head: 0,
                next: 0,
                bytes: 0,
            }
        });
        insert(&mut queues, (&key.0, key.1), cursor)?;
        cursors.push(cursor);
    }
    for ((name, which), cursor) in known {
        let of_the_queue = (cursor.number, 0)..=(cursor.number, u64::MAX);
        events.retain_in(of_the_queue, |_, _| false)?;
        queues.remove((name.as_str(), which))?;
        tracing::warn!(
            endpoint = %name, events = cursor.pending(),
            "notifications: this endpoint is no longer configured; what waited for it is dropped"
        );
    }
    Ok(cursors)
}

/// The file's name must survive a power cut as well as its content.
fn create(builder: &redb::Builder, path: &Path) -> Result<Database, StoreError> {
    let parent = path.parent().unwrap_or_else(|| Path::new("."));
    std::fs::create_dir_all(parent)?;
    // Events tell who pulls what.
    let file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)?;
    let database = builder.create_file(file).map_err(|error| match error {
        redb::DatabaseError::DatabaseAlreadyOpen => StoreError::InUse,
        other => other.into(),
    })?;
    let named = parent
        .ancestors()
        .filter(|ancestor| !ancestor.as_os_str().is_empty());
    for directory in named.take(2) {
        File::open(directory)?.sync_all()?;
    }
    Ok(database)
}

#[cfg(test)]
mod tests;
