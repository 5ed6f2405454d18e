//! Proposals in batches: those that wait together share one log entry, and so one sync at every member.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use openraft::error::{ClientWriteError, RaftError};
use roadstead_machine::{Command, Entry, Outcome, Timestamp};
use roadstead_metadata::Clock;
use roadstead_telemetry::metrics::MemberMetrics;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};

#[cfg(test)]
use crate::simulation::{Mutant, is};
use crate::types::{Change, Member, Proposed, Raft};

/// Proposals that wait at most; beyond that, proposers wait to get in.
const QUEUE: usize = 1024;

/// Commands in one log entry at most, and their bytes unless a single one has more.
const BATCH: usize = 256;
const BATCH_BYTES: usize = 128 << 10;

/// Log entries under way at once.
const UNDER_WAY: usize = 4;

/// Why something was not done here.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("another member leads")]
    NotLeader(Option<String>),
    #[error("{0}")]
    Unavailable(String),
}

impl Refusal {
    pub(crate) fn forward(to: Option<&Member>) -> Self {
        Self::NotLeader(to.map(|member| member.addr.clone()))
    }
}

/// One command with its proposer.
#[derive(Debug)]
struct Proposal {
    command: Command,
    bytes: usize,
    until: Timestamp,
    answer: oneshot::Sender<Result<Option<Outcome>, Refusal>>,
}

/// Takes proposals in.
#[derive(Debug, Clone)]
pub(crate) struct Proposer {
    seen: watch::Receiver<openraft::RaftMetrics<u64, Member>>,
    queue: mpsc::Sender<Proposal>,
    is_closed: Arc<AtomicBool>,
    is_importing: Arc<AtomicBool>,
}

/// While it is held, nothing is proposed here: the state to import comes first.
#[derive(Debug)]
pub(crate) struct ImportGuard(Arc<AtomicBool>);

impl Drop for ImportGuard {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

impl Proposer {
    /// Starts the task that batches.
    pub(crate) fn start(raft: Raft, clock: Clock, metrics: MemberMetrics) -> Self {
        let (queue, proposals) = mpsc::channel(QUEUE);
        let seen = raft.metrics();
        let log = Log { raft, metrics };
        tokio::spawn(batches(log, clock, proposals));
        Self {
            seen,
            queue,
            is_closed: Arc::default(),
            is_importing: Arc::default(),
        }
    }

    /// Takes nothing until what is answered with is dropped.
    pub(crate) fn wait_for_import(&self) -> ImportGuard {
        self.is_importing.store(true, Ordering::Relaxed);
        ImportGuard(Arc::clone(&self.is_importing))
    }

    /// Where to go meanwhile.
    fn importing(&self) -> Refusal {
        let seen = self.seen.borrow();
        let members = seen.membership_config.membership();
        let leader = seen.current_leader.filter(|leader| *leader != seen.id);
        match leader.and_then(|leader| members.get_node(&leader)) {
            Some(leader) => Refusal::forward(Some(leader)),
            None => Refusal::Unavailable("a state is being imported".to_owned()),
        }
    }

    /// Takes nothing more: this member is about to follow another.
    pub(crate) fn close(&self) {
        self.is_closed.store(true, Ordering::Relaxed);
    }

    /// Logs a command of so many bytes; `None` when it was applied too late to do anything.
    pub(crate) async fn propose(
        &self,
        command: Command,
        bytes: usize,
        until: Timestamp,
    ) -> Result<Option<Outcome>, Refusal> {
        if self.is_closed.load(Ordering::Relaxed) {
            return Err(Refusal::NotLeader(None));
        }
        let is_importing = self.is_importing.load(Ordering::Relaxed);
        #[cfg(test)]
        let is_importing = is_importing && !is(Mutant::ImportsLate);
        if is_importing {
            return Err(self.importing());
        }
        let (answer, outcome) = oneshot::channel();
        let stopped = || Refusal::Unavailable("it has stopped".to_owned());
        let proposal = Proposal {
            command,
            bytes,
            until,
            answer,
        };
        self.queue
            .send(proposal)
            .await
            .map_err(|_stopped| stopped())?;
        outcome.await.map_err(|_stopped| stopped())?
    }
}

/// Where batches go.
#[derive(Clone)]
struct Log {
    raft: Raft,
    metrics: MemberMetrics,
}

async fn batches(log: Log, clock: Clock, mut proposals: mpsc::Receiver<Proposal>) {
    let seats = Arc::new(Semaphore::new(UNDER_WAY));
    while let Some(first) = proposals.recv().await {
        // Only what is still waiting once there is room: the longer that takes, the larger the batch.
        let Ok(seat) = Arc::clone(&seats).acquire_owned().await else {
            return;
        };
        let (mut bytes, mut batch) = (first.bytes, vec![first]);
        while batch.len() < BATCH
            && bytes < BATCH_BYTES
            && let Ok(next) = proposals.try_recv()
        {
            bytes += next.bytes;
            batch.push(next);
        }
        batch.retain(|proposal| !proposal.answer.is_closed());
        tokio::spawn(commit(log.clone(), clock(), batch, seat));
    }
}

async fn commit(log: Log, at: Timestamp, batch: Vec<Proposal>, _seat: OwnedSemaphorePermit) {
    if batch.is_empty() {
        return;
    }
    let (commands, answers): (Vec<_>, Vec<_>) = batch
        .into_iter()
        .map(|proposal| {
            let entry = Entry {
                at,
                command: proposal.command,
            };
            let until = proposal.until;
            (Proposed { until, entry }, proposal.answer)
        })
        .unzip();
    let proposals = commands.len();
    match log.raft.client_write(Change::Commands(commands)).await {
        Ok(written) => {
            log.metrics.batch(proposals);
            for (answer, outcome) in answers.into_iter().zip(written.data.0) {
                let _proposer_gone = answer.send(Ok(outcome));
            }
        }
        Err(error) => {
            let refusal = refusal(&error);
            for answer in answers {
                let _proposer_gone = answer.send(Err(refusal.clone()));
            }
        }
    }
}

/// What openraft said of a change.
pub(crate) fn refusal(error: &RaftError<u64, ClientWriteError<u64, Member>>) -> Refusal {
    match error.api_error() {
        Some(ClientWriteError::ForwardToLeader(forward)) => {
            Refusal::forward(forward.leader_node.as_ref())
        }
        _ => Refusal::Unavailable(error.to_string()),
    }
}
