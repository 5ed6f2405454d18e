//! One member: built from its options, run until it is drained or its disk fails.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use roadstead_metadata::transport::{Identity, incoming};
use roadstead_metadata::{Clock, boot_time};
use roadstead_proto::metadata::v1::cluster_server::ClusterServer;
use roadstead_proto::metadata::v1::metadata_server::MetadataServer;
use roadstead_proto::metadata::v1::peer_server::PeerServer;
use roadstead_proto::{MESSAGE_BYTES, PEER_MESSAGE_BYTES};
use roadstead_telemetry::metrics::MemberMetrics;
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::bootstrap::Bootstrap;
use crate::clock::raft_config;
use crate::group::Group;
use crate::hand_over::hand_over;
use crate::leases::Leases;
use crate::network::Network;
use crate::propose::Proposer;
use crate::read::Reads;
use crate::services::{ClusterService, MetadataService, PeerService};
use crate::store::{Store, StoreError};
use crate::telling::Telling;
use crate::types::{Change, Raft};

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
    options: Options,
    store: Store,
    raft: Raft,
    network: Network,
    metrics: MemberMetrics,
    started: Instant,
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
            .field("id", &self.options.id)
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
        let path = options.dir.join(FILE);
        let store = Store::open(&path, options.id);
        let store = store.map_err(|source| BuildError::Store { path, source })?;
        let begun = SystemTime::from((options.clock)());
        let metrics = MemberMetrics::new(env!("CARGO_PKG_VERSION"), begun);
        store.measure(metrics.clone());
        let network = Network::new(options.identity.clone(), metrics.clone());
        let (logs, states) = (store.logs(), store.states());
        let config = Arc::new(raft_config()?);
        let raft = Raft::new(options.id, config, network.clone(), logs, states).await?;
        Ok(Self {
            options,
            store,
            raft,
            network,
            metrics,
            started: Instant::now(),
        })
    }

    /// What it tells of itself, also while it runs.
    pub fn telling(&self) -> Telling {
        Telling::new(self.raft.clone(), self.store.clone(), self.metrics.clone())
    }

    /// Takes part in the group on `listener`, until `drain` or until the disk fails.
    pub async fn run(self, listener: TcpListener, drain: CancellationToken) -> Result<(), Failed> {
        let stop = CancellationToken::new();
        let _stop_helpers = stop.clone().drop_guard();
        self.start_helpers(&stop);
        let proposer = Proposer::start(
            self.raft.clone(),
            Arc::clone(&self.options.clock),
            self.metrics.clone(),
        );
        let serving = tonic::transport::Server::builder()
            .add_service(self.peer_service())
            .add_service(self.metadata_service(proposer.clone(), &stop))
            .add_service(self.cluster_service())
            .serve_with_incoming(incoming(listener, &self.options.identity));
        let ended = tokio::select! {
            served = serving => served.map_err(Failed::from),
            failed = self.fails() => Err(failed),
            () = self.drained(&drain, &proposer) => Ok(()),
        };
        if let Err(error) = self.raft.shutdown().await {
            tracing::error!(%error, "raft was not brought to an end");
        }
        ended
    }

    fn start_helpers(&self, stop: &CancellationToken) {
        let bootstrap = Bootstrap {
            id: self.options.id,
            peers: self.options.peers.clone(),
            raft: self.raft.clone(),
            store: self.store.clone(),
            network: self.network.clone(),
        };
        let until = stop.clone();
        tokio::spawn(async move { until.run_until_cancelled(bootstrap.run()).await });
        let (raft, store, until) = (self.raft.clone(), self.store.clone(), stop.clone());
        let snapshots = async move {
            loop {
                store.long().await;
                if let Err(error) = raft.trigger().snapshot().await {
                    tracing::debug!(%error, "no snapshot");
                }
            }
        };
        tokio::spawn(async move { until.run_until_cancelled(snapshots).await });
        let (raft, until) = (self.raft.clone(), stop.clone());
        tokio::spawn(async move { until.run_until_cancelled(tell_roles(raft)).await });
        if let Some(state) = self.options.import.clone() {
            let (raft, store, until) = (self.raft.clone(), self.store.clone(), stop.clone());
            tokio::spawn(
                async move { until.run_until_cancelled(import(raft, store, state)).await },
            );
        }
    }

    fn peer_service(&self) -> PeerServer<PeerService> {
        PeerServer::new(PeerService {
            id: self.options.id,
            raft: self.raft.clone(),
            store: self.store.clone(),
        })
        .max_decoding_message_size(PEER_MESSAGE_BYTES)
        .max_encoding_message_size(PEER_MESSAGE_BYTES)
    }

    fn metadata_service(
        &self,
        proposer: Proposer,
        stop: &CancellationToken,
    ) -> MetadataServer<MetadataService> {
        let leases = Leases::new(boot_time());
        let keeping = leases
            .clone()
            .keep(self.raft.clone(), self.store.clone(), proposer.clone());
        let until = stop.clone();
        tokio::spawn(async move { until.run_until_cancelled(keeping).await });
        MetadataServer::new(MetadataService {
            store: self.store.clone(),
            proposer,
            leases,
            reads: Reads::start(self.raft.clone()),
            clock: Arc::clone(&self.options.clock),
        })
        .max_decoding_message_size(MESSAGE_BYTES)
        .max_encoding_message_size(MESSAGE_BYTES)
    }

    fn cluster_service(&self) -> ClusterServer<ClusterService> {
        let configured = self.options.peers.keys().copied().collect();
        ClusterServer::new(ClusterService {
            raft: self.raft.clone(),
            store: self.store.clone(),
            group: Group::new(self.raft.clone(), self.network.clone(), configured),
            started: self.started,
            clock: Arc::clone(&self.options.clock),
        })
    }

    /// Goes on serving while another is elected.
    async fn drained(&self, drain: &CancellationToken, proposer: &Proposer) {
        drain.cancelled().await;
        hand_over(&self.raft, proposer, &self.network).await;
    }

    async fn fails(&self) -> Failed {
        let (mut disk, mut raft) = (self.store.failure(), self.raft.metrics());
        let is_over = |metrics: &openraft::RaftMetrics<u64, _>| metrics.running_state.is_err();
        tokio::select! {
            Ok(reason) = disk.wait_for(Option::is_some) => {
                Failed::Disk(reason.clone().unwrap_or_default())
            }
            Ok(metrics) = raft.wait_for(is_over) => {
                let stopped = metrics.running_state.as_ref().err();
                Failed::Raft(stopped.map(ToString::to_string).unwrap_or_default())
            }
            else => Failed::Raft("it has stopped".to_owned()),
        }
    }
}

/// Logs who leads, as this member sees it.
async fn tell_roles(raft: Raft) {
    let mut seen = raft.metrics();
    let mut told = None;
    loop {
        let (role, leader, term) = {
            let metrics = seen.borrow_and_update();
            (metrics.state, metrics.current_leader, metrics.current_term)
        };
        if told != Some((role, leader)) {
            told = Some((role, leader));
            if let Some(leader) = leader {
                tracing::info!(?role, leader, term, "the group has a leader");
            } else {
                tracing::info!(?role, term, "the group has no leader");
            }
        }
        if seen.changed().await.is_err() {
            return;
        }
    }
}

/// Gives the group its first state, once this member leads it.
async fn import(raft: Raft, store: Store, state: Vec<u8>) {
    let me = raft.metrics().borrow().id;
    let mut seen = raft.metrics();
    let leads = |metrics: &openraft::RaftMetrics<u64, _>| {
        metrics.current_leader == Some(me) && metrics.last_applied.is_some()
    };
    if seen.wait_for(leads).await.is_err() {
        return;
    }
    if store.look(|machine| *machine != roadstead_machine::Machine::default()) {
        tracing::warn!("the group has a state already: nothing is imported");
        return;
    }
    match raft.client_write(Change::Import(state)).await {
        Ok(_imported) => tracing::info!("the state of the stand-alone registry was imported"),
        Err(error) => {
            tracing::error!(%error, "the state of the stand-alone registry was not imported");
        }
    }
}
