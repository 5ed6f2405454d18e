//! What takes part in the group, wherever its calls come from and go to.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use roadstead_machine::Machine;
use roadstead_metadata::transport::Dial;
use roadstead_metadata::{CLUSTER, Clock, Elapsed};
use roadstead_proto::metadata::v1::cluster_server::ClusterServer;
use roadstead_proto::metadata::v1::metadata_server::MetadataServer;
use roadstead_proto::metadata::v1::peer_server::PeerServer;
use roadstead_proto::{MESSAGE_BYTES, PEER_MESSAGE_BYTES};
use roadstead_telemetry::metrics::MemberMetrics;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::service::interceptor::InterceptedService;
use tonic::{Request, Status};

use crate::bootstrap::Bootstrap;
use crate::clock::raft_config;
use crate::group::Group;
use crate::hand_over::hand_over;
use crate::leases::Leases;
use crate::network::Network;
use crate::propose::{ImportGuard, Proposer};
use crate::read::Reads;
use crate::server::{BuildError, Failed};
use crate::services::{ClusterService, MetadataService, PeerService};
use crate::store::Store;
use crate::telling::Telling;
use crate::types::{Answer, Change, Raft};

const IMPORT_AGAIN_AFTER: Duration = Duration::from_millis(200);

/// What it is told at its start.
pub(crate) struct Setting {
    pub(crate) id: u64,
    pub(crate) peers: BTreeMap<u64, String>,
    pub(crate) clock: Clock,
    pub(crate) elapsed: Elapsed,
    pub(crate) import: Option<Vec<u8>>,
}

/// Raft on an open disk.
pub(crate) struct Participant {
    setting: Setting,
    pub(crate) store: Store,
    pub(crate) raft: Raft,
    network: Network,
    metrics: MemberMetrics,
    started: Instant,
}

impl Participant {
    pub(crate) async fn start(
        setting: Setting,
        store: Store,
        dial: Arc<dyn Dial>,
    ) -> Result<Self, BuildError> {
        let begun = SystemTime::from((setting.clock)());
        let metrics = MemberMetrics::new(env!("CARGO_PKG_VERSION"), begun);
        store.measure(metrics.clone());
        let network = Network::new(dial, metrics.clone());
        let (logs, states) = (store.logs(), store.states());
        let config = Arc::new(raft_config()?);
        let raft = Raft::new(setting.id, config, network.clone(), logs, states).await?;
        Ok(Self {
            setting,
            store,
            raft,
            network,
            metrics,
            started: Instant::now(),
        })
    }

    /// What it tells of itself, also while it runs.
    pub(crate) fn telling(&self) -> Telling {
        Telling::new(self.raft.clone(), self.store.clone(), self.metrics.clone())
    }

    /// Starts what it does by itself, until `stop`.
    pub(crate) fn start_helpers(&self, stop: &CancellationToken) -> Proposer {
        let bootstrap = Bootstrap {
            id: self.setting.id,
            peers: self.setting.peers.clone(),
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
        if !self.store.is_blank() {
            let (raft, until) = (self.raft.clone(), stop.clone());
            tokio::spawn(async move { until.run_until_cancelled(stand_alone(raft)).await });
        }
        let (raft, metrics) = (self.raft.clone(), self.metrics.clone());
        let proposer = Proposer::start(raft, Arc::clone(&self.setting.clock), metrics);
        if let Some(state) = self.setting.import.clone() {
            let import = Import {
                raft: self.raft.clone(),
                store: self.store.clone(),
                first: proposer.wait_for_import(),
            };
            let until = stop.clone();
            tokio::spawn(async move { until.run_until_cancelled(import.run(state)).await });
        }
        proposer
    }

    /// All that others may ask of it.
    pub(crate) fn routes(&self, proposer: Proposer, stop: &CancellationToken) -> Routes {
        let reads = Reads::start(self.raft.clone());
        Routes::new(self.peer_service())
            .add_service(InterceptedService::new(
                self.metadata_service(proposer, reads.clone(), stop),
                of_cluster(self.store.clone()),
            ))
            .add_service(self.cluster_service(reads))
    }

    fn peer_service(&self) -> PeerServer<PeerService> {
        PeerServer::new(PeerService {
            id: self.setting.id,
            raft: self.raft.clone(),
            store: self.store.clone(),
        })
        .max_decoding_message_size(PEER_MESSAGE_BYTES)
        .max_encoding_message_size(PEER_MESSAGE_BYTES)
    }

    fn metadata_service(
        &self,
        proposer: Proposer,
        reads: Reads,
        stop: &CancellationToken,
    ) -> MetadataServer<MetadataService> {
        let leases = Leases::new(Arc::clone(&self.setting.elapsed));
        let keeping = leases.clone().keep(
            self.raft.clone(),
            reads.clone(),
            self.store.clone(),
            proposer.clone(),
        );
        let until = stop.clone();
        tokio::spawn(async move { until.run_until_cancelled(keeping).await });
        MetadataServer::new(MetadataService {
            store: self.store.clone(),
            proposer,
            leases,
            reads,
            clock: Arc::clone(&self.setting.clock),
        })
        .max_decoding_message_size(MESSAGE_BYTES)
        .max_encoding_message_size(MESSAGE_BYTES)
    }

    fn cluster_service(&self, reads: Reads) -> ClusterServer<ClusterService> {
        let configured = self.setting.peers.keys().copied().collect();
        ClusterServer::new(ClusterService {
            raft: self.raft.clone(),
            store: self.store.clone(),
            group: Group::new(self.raft.clone(), self.network.clone(), reads, configured),
            started: self.started,
            clock: Arc::clone(&self.setting.clock),
        })
    }

    /// Goes on serving while another is elected.
    pub(crate) async fn drained(&self, drain: &CancellationToken, proposer: &Proposer) {
        drain.cancelled().await;
        hand_over(&self.raft, proposer, &self.network).await;
    }

    pub(crate) async fn fails(&self) -> Failed {
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

/// Refuses those who mean another cluster: a member that lost its disk, and is configured with itself alone, begins a group
/// that knows nothing of what was acknowledged.
fn of_cluster(store: Store) -> impl Fn(Request<()>) -> Result<Request<()>, Status> + Clone {
    move |request: Request<()>| {
        let Some(meant) = request.metadata().get(CLUSTER) else {
            return Ok(request);
        };
        let own = store.look(Machine::cluster).map(|id| id.to_string());
        if own.as_ref().is_some_and(|own| meant == own.as_str()) {
            return Ok(request);
        }
        let why = format!("this member is not of cluster {meant:?}");
        Err(Status::failed_precondition(why))
    }
}

/// The only voter stands at once: there is nobody to wait for.
async fn stand_alone(raft: Raft) {
    let mut seen = raft.metrics();
    let has_voters = |metrics: &openraft::RaftMetrics<u64, _>| {
        metrics.membership_config.voter_ids().next().is_some()
    };
    let is_alone = match seen.wait_for(has_voters).await {
        Ok(metrics) => metrics.membership_config.voter_ids().eq([metrics.id]),
        Err(_ended) => false,
    };
    if is_alone && let Err(error) = raft.trigger().elect().await {
        tracing::debug!(%error, "it does not stand");
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

/// Gives the group its first state.
struct Import {
    raft: Raft,
    store: Store,
    /// Until it is dropped, nothing else is proposed here.
    first: ImportGuard,
}

impl Import {
    async fn run(self, state: Vec<u8>) {
        let imported = loop {
            if let Some(done) = self.step(&state).await {
                break done;
            }
            tokio::time::sleep(IMPORT_AGAIN_AFTER).await;
        };
        drop(self.first);
        if let Some(index) = imported
            && let Err(error) = forget(&self.raft, index).await
        {
            tracing::warn!(%error, "what was imported stays in the log");
        }
    }

    /// `None` as long as the group has no state; then where in the log it was imported, if it was.
    async fn step(&self, state: &[u8]) -> Option<Option<u64>> {
        // What was decided before is applied.
        if let Err(error) = self.raft.ensure_linearizable().await {
            tracing::debug!(%error, "nothing is imported while another leads");
            return None;
        }
        let is_new = |machine: &Machine| *machine == Machine::default();
        if !self.store.look(is_new) {
            tracing::warn!("the group has a state already: nothing is imported");
            return Some(None);
        }
        match self.raft.client_write(Change::Import(state.to_vec())).await {
            Ok(written) if written.data == Answer::default() => {
                tracing::info!("the state of the stand-alone registry was imported");
                Some(Some(written.log_id.index))
            }
            Ok(_nothing) => {
                tracing::error!("the state of the stand-alone registry cannot be imported");
                Some(None)
            }
            Err(error) => {
                tracing::warn!(%error, "the state of the stand-alone registry is not imported yet");
                None
            }
        }
    }
}

/// Takes an entry out of the log, and all before it. Members that come are sent a snapshot: what was imported may be too
/// long for an append.
async fn forget(raft: &Raft, index: u64) -> Result<(), openraft::error::Fatal<u64>> {
    let is_in_snapshot = || {
        let taken = raft.metrics().borrow().snapshot;
        taken.is_some_and(|taken| taken.index >= index)
    };
    while !is_in_snapshot() {
        // One that was begun before may be under way.
        raft.trigger().snapshot().await?;
        tokio::time::sleep(IMPORT_AGAIN_AFTER).await;
    }
    raft.trigger().purge_log(index).await
}
