//! The state as openraft sees it: one `apply`, snapshots of it, and being given one.

use std::sync::Arc;

use openraft::storage::{RaftStateMachine, Snapshot as RaftSnapshot};
use openraft::{EntryPayload, OptionalSend, RaftSnapshotBuilder, StorageIOError};
use roadstead_machine::Machine;

use super::disk::{SNAPSHOT_META, SNAPSHOT_STATE};
use super::writer::Task;
use super::{Shared, State, aside};
#[cfg(test)]
use crate::simulation::{Mutant, is};
use crate::types::{
    Answer, Change, LogEntry, LogId, Membership, SnapshotMeta, StorageError, TypeConfig, encode,
};

#[derive(Debug, Clone)]
pub(crate) struct StateStore(pub(super) Arc<Shared>);

/// The state at one moment, to be written down while it goes on.
#[derive(Debug)]
pub(crate) struct Builder {
    shared: Arc<Shared>,
    machine: Machine,
    meta: SnapshotMeta,
}

impl State {
    fn apply(&mut self, entry: LogEntry) -> Answer {
        self.applied = Some(entry.log_id);
        match entry.payload {
            EntryPayload::Blank => Answer::default(),
            EntryPayload::Membership(membership) => {
                self.membership = Membership::new(Some(entry.log_id), membership);
                Answer::default()
            }
            EntryPayload::Normal(Change::Import(bytes)) => {
                // Every member has the same bytes and the same program: each finds the same.
                match Machine::decode(&bytes) {
                    Ok(imported) if self.machine == Machine::default() => {
                        self.machine = imported;
                        Answer::default()
                    }
                    _ => Answer(vec![None]),
                }
            }
            EntryPayload::Normal(Change::Commands(commands)) => {
                let apply = |command: crate::types::Proposed| {
                    let in_time = self.machine.present(command.entry.at) <= command.until;
                    #[cfg(test)]
                    let in_time = in_time || is(Mutant::NeverTooLate);
                    in_time.then(|| self.machine.apply(command.entry))
                };
                Answer(commands.into_iter().map(apply).collect())
            }
        }
    }
}

impl RaftStateMachine<TypeConfig> for StateStore {
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, Membership), StorageError> {
        let state = self.0.state();
        Ok((state.applied, state.membership.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<Answer>, StorageError>
    where
        I: IntoIterator<Item = LogEntry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let answers = {
            let mut state = self.0.state_mut();
            let apply = |entry: LogEntry| {
                #[cfg(test)]
                let told = entry.clone();
                let answer = state.apply(entry);
                #[cfg(test)]
                crate::simulation::applied(&told, &answer, &state.machine);
                answer
            };
            entries.into_iter().map(apply).collect()
        };
        self.0.tell_applied();
        self.0.check_length();
        Ok(answers)
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        let state = self.0.state();
        let snapshot_id = state.applied.map_or_else(
            || "empty".to_owned(),
            |id| format!("{}-{}", id.leader_id, id.index),
        );
        Builder {
            machine: state.machine.clone(),
            meta: SnapshotMeta {
                last_log_id: state.applied,
                last_membership: state.membership.clone(),
                snapshot_id,
            },
            shared: Arc::clone(&self.0),
        }
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<Vec<u8>>, StorageError> {
        Ok(Box::default())
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: Box<Vec<u8>>,
    ) -> Result<(), StorageError> {
        let damaged = |error| StorageIOError::read_snapshot(Some(meta.signature()), &error);
        let machine = Machine::decode(&snapshot).map_err(damaged)?;
        save(&self.0, meta, *snapshot).await?;
        let mut state = self.0.state_mut();
        state.machine = machine;
        state.applied = meta.last_log_id;
        state.membership = meta.last_membership.clone();
        drop(state);
        self.0.tell_applied();
        Ok(())
    }

    async fn get_current_snapshot(
        &mut self,
    ) -> Result<Option<RaftSnapshot<TypeConfig>>, StorageError> {
        let disk = Arc::clone(&self.0.disk);
        let read = aside(move || disk.snapshot()).await;
        let read = read.map_err(|error| StorageIOError::read_snapshot(None, &error))?;
        let found = read.map_err(|error| StorageIOError::read_snapshot(None, &error))?;
        Ok(found.map(|snapshot| RaftSnapshot {
            meta: snapshot.meta,
            snapshot: Box::new(snapshot.state),
        }))
    }
}

impl RaftSnapshotBuilder<TypeConfig> for Builder {
    async fn build_snapshot(&mut self) -> Result<RaftSnapshot<TypeConfig>, StorageError> {
        let machine = std::mem::take(&mut self.machine);
        let encoded = aside(move || machine.encode()).await;
        let encoded = encoded.map_err(|error| StorageIOError::write_snapshot(None, &error))?;
        let state = encoded.map_err(|error| StorageIOError::write_snapshot(None, &error))?;
        save(&self.shared, &self.meta, state.clone()).await?;
        Ok(RaftSnapshot {
            meta: self.meta.clone(),
            snapshot: Box::new(state),
        })
    }
}

async fn save(shared: &Shared, meta: &SnapshotMeta, state: Vec<u8>) -> Result<(), StorageError> {
    let failed = |error: &(dyn std::error::Error + 'static)| {
        StorageIOError::write_snapshot(
            Some(meta.signature()),
            openraft::AnyError::from_dyn(error, None),
        )
    };
    let bytes = state.len();
    let encoded = encode(meta).map_err(|error| failed(&error))?;
    let task = Task::Set(vec![(SNAPSHOT_META, encoded), (SNAPSHOT_STATE, state)]);
    let written = shared.writer.write(task).await;
    written.map_err(|error| failed(&error))?;
    shared.snapshot_taken(bytes);
    Ok(())
}
