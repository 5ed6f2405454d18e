//! The log as openraft sees it: read from memory, written by the thread.

use std::fmt::Debug;
use std::ops::RangeBounds;
use std::sync::Arc;

use openraft::storage::{LogFlushed, LogState, RaftLogStorage};
use openraft::{OptionalSend, RaftLogReader, StorageIOError};

use super::Shared;
use super::disk::VOTE;
use super::writer::{Task, Waiting};
use crate::types::{LogEntry, LogId, StorageError, TypeConfig, Vote, encode};

/// Bytes of entries in one message to another member, unless a single one has more: openraft gives each message a heartbeat's
/// time, in which 8 Mbit/s carry these.
const MESSAGE_BYTES: u64 = 256 << 10;

#[derive(Debug, Clone)]
pub(crate) struct LogStore(pub(super) Arc<Shared>);

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<R: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: R,
    ) -> Result<Vec<LogEntry>, StorageError> {
        let log = self.0.log();
        let entries = log.entries.range(range);
        Ok(entries.map(|(_, (entry, _))| entry.clone()).collect())
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<LogEntry>, StorageError> {
        let log = self.0.log();
        let mut bytes = 0;
        let fits = |(_, (entry, length)): (&u64, &(LogEntry, u64))| {
            bytes += length;
            (bytes <= MESSAGE_BYTES || bytes == *length).then(|| entry.clone())
        };
        Ok(log.entries.range(start..end).map_while(fits).collect())
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, StorageError> {
        let log = self.0.log();
        let last = log.entries.last_key_value();
        Ok(LogState {
            last_purged_log_id: log.purged,
            last_log_id: last.map(|(_, (entry, _))| entry.log_id).or(log.purged),
        })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), StorageError> {
        let bytes = encode(vote).map_err(|error| StorageIOError::write_vote(&error))?;
        let written = self.0.writer.write(Task::Set(vec![(VOTE, bytes)])).await;
        written.map_err(|error| StorageIOError::write_vote(&error))?;
        self.0.log_mut().vote = Some(*vote);
        Ok(())
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, StorageError> {
        let vote = self.0.log().vote;
        // Asked at the start. Whoever led does not go on where its own disk ended: the others may have committed more in
        // its name, and it would answer readers before it has applied again what it had.
        let mine = |vote: &Vote| vote.leader_id.node_id == self.0.id;
        Ok(vote.map(|vote| {
            if mine(&vote) {
                Vote::new(vote.leader_id.term, self.0.id)
            } else {
                vote
            }
        }))
    }

    async fn append<I>(
        &mut self,
        entries: I,
        callback: LogFlushed<TypeConfig>,
    ) -> Result<(), StorageError>
    where
        I: IntoIterator<Item = LogEntry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut encoded = Vec::new();
        {
            let mut log = self.0.log_mut();
            for entry in entries {
                let index = entry.log_id.index;
                let bytes = encode(&entry)
                    .map_err(|error| StorageIOError::write_log_entry(entry.log_id, &error))?;
                log.since_snapshot += bytes.len() as u64;
                log.entries.insert(index, (entry, bytes.len() as u64));
                encoded.push((index, bytes));
            }
        }
        let writer = &self.0.writer;
        writer.order(Task::Append(encoded), Some(Waiting::Raft(callback)));
        Ok(())
    }

    async fn truncate(&mut self, log_id: LogId) -> Result<(), StorageError> {
        drop(self.0.log_mut().entries.split_off(&log_id.index));
        let written = self.0.writer.write(Task::Truncate(log_id.index)).await;
        Ok(written.map_err(|error| StorageIOError::write_logs(&error))?)
    }

    /// Not waited for: what is purged is in a snapshot that is durable, and a longer log after a crash harms nobody.
    async fn purge(&mut self, log_id: LogId) -> Result<(), StorageError> {
        let id = encode(&log_id).map_err(|error| StorageIOError::write_logs(&error))?;
        let mut log = self.0.log_mut();
        log.purged = Some(log_id);
        log.entries = log.entries.split_off(&(log_id.index + 1));
        drop(log);
        self.0.writer.order(Task::Purge(log_id.index, id), None);
        Ok(())
    }
}
