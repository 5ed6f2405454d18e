//! One member: built from its options, run until it is drained or its disk fails.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use roadstead_metadata::transport::{Identity, incoming};
use roadstead_metadata::{Clock, boot_time};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::participant::{Participant, Setting};
use crate::store::{Store, StoreError};
use crate::telling::Telling;

/// The file in a member's directory.
const FILE: &str = "raft.redb";

/// Bytes of a state to begin with at most: it travels as one log entry.
const IMPORT_BYTES: usize = 32 << 20;

/// What a member needs.
pub struct Options {
    /// Which of `peers` this is.
    pub id: u64,
    /// Where its log and snapshots are.
    pub dir: PathBuf,
    /// The members that the first group begins with, `host:port` by id, this one among them.
    pub peers: BTreeMap<u64, String>,
    pub identity: Identity,
    pub clock: Clock,
    /// The state to begin with, if the group has none yet (see `roadstead_metadata::read_state`).
    pub import: Option<Vec<u8>>,
}

#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error("{}: {source}", path.display())]
    Store { path: PathBuf, source: StoreError },
    #[error("the state to import has {0} bytes; {IMPORT_BYTES} are possible")]
    ImportTooLarge(usize),
    #[error("raft: {0}")]
    Config(#[from] openraft::ConfigError),
    #[error("raft: {0}")]
    Raft(#[from] openraft::error::Fatal<u64>),
}

/// Why a member ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    #[error("the raft log cannot be written: {0}")]
    Disk(String),
    #[error("raft: {0}")]
    Raft(String),
    #[error("serving: {0}")]
    Serve(#[from] tonic::transport::Error),
}

/// A member that is open, and not serving yet.
pub struct Server {
    id: u64,
    identity: Identity,
    participant: Participant,
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl Server {
    /// Opens the disk and starts raft on it.
    pub async fn build(options: Options) -> Result<Self, BuildError> {
        if let Some(state) = options
            .import
            .as_ref()
            .filter(|state| state.len() > IMPORT_BYTES)
        {
            return Err(BuildError::ImportTooLarge(state.len()));
        }
        let Options {
            id,
            dir,
            peers,
            identity,
            clock,
            import,
        } = options;
        let path = dir.join(FILE);
        let store = Store::open(&path, id);
        let store = store.map_err(|source| BuildError::Store { path, source })?;
        let setting = Setting {
            id,
            peers,
            clock,
            elapsed: boot_time(),
            import,
        };
        let dial = Arc::new(identity.clone());
        Ok(Self {
            id,
            identity,
            participant: Participant::start(setting, store, dial).await?,
        })
    }

    /// What it tells of itself, also while it runs.
    pub fn telling(&self) -> Telling {
        self.participant.telling()
    }

    /// Takes part in the group on `listener`, until `drain` or until the disk fails.
    pub async fn run(self, listener: TcpListener, drain: CancellationToken) -> Result<(), Failed> {
        let stop = CancellationToken::new();
        let _stop_helpers = stop.clone().drop_guard();
        let participant = self.participant;
        let proposer = participant.start_helpers(&stop);
        let serving = tonic::transport::Server::builder()
            .add_routes(participant.routes(proposer.clone(), &stop))
            .serve_with_incoming(incoming(listener, &self.identity));
        let ended = tokio::select! {
            served = serving => served.map_err(Failed::from),
            failed = participant.fails() => Err(failed),
            () = participant.drained(&drain, &proposer) => Ok(()),
        };
        if let Err(error) = participant.raft.shutdown().await {
            tracing::error!(%error, "raft was not brought to an end");
        }
        ended
    }
}
