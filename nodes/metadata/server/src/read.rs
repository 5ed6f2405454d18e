//! Linearizable reads: those that wait together share one round of asking a quorum whether this member still leads.

use std::time::Duration;

use openraft::error::{CheckIsLeaderError, RaftError};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};

use crate::propose::Refusal;
#[cfg(test)]
use crate::simulation::{Mutant, is};
use crate::types::{Member, Raft};

/// Readers that wait at most.
const QUEUE: usize = 1024;

/// A leader that reaches no quorum for so long says so: before those who ask lose their patience.
const CONFIRM_WITHIN: Duration = Duration::from_millis(600);

/// openraft asks once, and gives each member one heartbeat to answer in. One that writes to a slow disk misses that.
const AGAIN_AFTER: Duration = Duration::from_millis(50);

type Waiting = oneshot::Sender<Result<(), Refusal>>;

/// Lets readers through once what was acknowledged before they came is applied here.
#[derive(Debug, Clone)]
pub(crate) struct Reads(mpsc::Sender<Waiting>);

impl Reads {
    pub(crate) fn start(raft: Raft) -> Self {
        let (queue, mut readers) = mpsc::channel::<Waiting>(QUEUE);
        tokio::spawn(async move {
            while let Some(first) = readers.recv().await {
                let more = std::iter::from_fn(|| readers.try_recv().ok()).take(QUEUE);
                let waiting: Vec<Waiting> = std::iter::once(first).chain(more).collect();
                let confirmed = confirm(&raft).await;
                for reader in waiting {
                    let _reader_gone = reader.send(confirmed.clone());
                }
            }
        });
        Self(queue)
    }

    /// Waits until this member is known to lead, and has applied all that was committed before.
    pub(crate) async fn confirm(&self) -> Result<(), Refusal> {
        let (waiting, confirmed) = oneshot::channel();
        let stopped = || Refusal::Unavailable("it has stopped".to_owned());
        self.0.send(waiting).await.map_err(|_stopped| stopped())?;
        confirmed.await.map_err(|_stopped| stopped())?
    }
}

async fn confirm(raft: &Raft) -> Result<(), Refusal> {
    #[cfg(test)]
    if is(Mutant::ReadsUnconfirmed) && raft.metrics().borrow().state.is_leader() {
        return Ok(());
    }
    let asking = async {
        loop {
            match raft.ensure_linearizable().await {
                Err(error) if is_unanswered(&error) => sleep(AGAIN_AFTER).await,
                answered => return answered,
            }
        }
    };
    match timeout(CONFIRM_WITHIN, asking).await {
        Ok(Ok(_applied)) => Ok(()),
        Ok(Err(error)) => Err(refusal(&error)),
        Err(_elapsed) => Err(Refusal::Unavailable("no quorum answers".to_owned())),
    }
}

fn is_unanswered(error: &RaftError<u64, CheckIsLeaderError<u64, Member>>) -> bool {
    matches!(
        error.api_error(),
        Some(CheckIsLeaderError::QuorumNotEnough(_))
    )
}

fn refusal(error: &RaftError<u64, CheckIsLeaderError<u64, Member>>) -> Refusal {
    match error.api_error() {
        Some(CheckIsLeaderError::ForwardToLeader(forward)) => {
            Refusal::forward(forward.leader_node.as_ref())
        }
        _ => Refusal::Unavailable(error.to_string()),
    }
}
