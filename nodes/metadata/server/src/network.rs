//! Raft's calls to the other members. A snapshot has a connection of its own, so that it stalls no heartbeat.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::stream;
use openraft::error::{
    Fatal, NetworkError, RPCError, RaftError, ReplicationClosed, StreamingError, Unreachable,
};
use openraft::network::{Backoff, RPCOption, RaftNetwork, RaftNetworkFactory};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse,
};
use openraft::storage::Snapshot;
use openraft::{AnyError, OptionalSend};
use roadstead_metadata::transport::{Dial, Link};
use roadstead_proto::PEER_MESSAGE_BYTES;
use roadstead_proto::metadata::v1 as wire;
use roadstead_proto::metadata::v1::peer_client::PeerClient;
use roadstead_telemetry::metrics::MemberMetrics;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tonic::Status;

#[cfg(test)]
use crate::simulation::{Mutant, is};
use crate::types::{Member, TypeConfig, Vote, decode, encode};

/// Between two tries to reach a member that is away.
const RETRY_AFTER: Duration = Duration::from_millis(200);

/// Of a snapshot, in one message.
const PIECE: usize = 1 << 20;

/// Appends that are not answered in a row, before that is said: some seconds of heartbeats.
const AWAY_AFTER: u32 = 20;

type CallError = RPCError<u64, Member, RaftError<u64>>;

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Lane {
    Raft,
    Snapshots,
}

/// Connections to all members, made when they are needed.
#[derive(Debug, Clone)]
pub(crate) struct Network {
    dial: Arc<dyn Dial>,
    metrics: MemberMetrics,
    links: Arc<Mutex<HashMap<(String, Lane), Link>>>,
    silences: Arc<Mutex<HashMap<u64, Silence>>>,
}

/// How long a member has not answered.
#[derive(Debug, Default)]
struct Silence {
    calls: u32,
    error: String,
}

impl Network {
    pub(crate) fn new(dial: Arc<dyn Dial>, metrics: MemberMetrics) -> Self {
        Self {
            dial,
            metrics,
            links: Arc::default(),
            silences: Arc::default(),
        }
    }

    /// Counts a call that may stay without an answer, and says once that too many did.
    fn asks(&self, id: u64, addr: &str) {
        let mut silences = self.silences.lock().unwrap_or_else(PoisonError::into_inner);
        let silence = silences.entry(id).or_default();
        silence.calls = silence.calls.saturating_add(1);
        if silence.calls == AWAY_AFTER {
            let error = silence.error.as_str();
            tracing::warn!(member = id, addr, error, "a member does not answer");
        }
    }

    fn heard(&self, id: u64, addr: &str, failed: Option<&Status>) {
        let mut silences = self.silences.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(status) = failed {
            let silence = silences.entry(id).or_default();
            status.message().clone_into(&mut silence.error);
            return;
        }
        let silence = silences.remove(&id).unwrap_or_default();
        if silence.calls >= AWAY_AFTER {
            tracing::info!(member = id, addr, "a member answers again");
        }
    }

    pub(crate) fn link(&self, addr: &str, lane: Lane) -> Result<Link, Status> {
        #[cfg(test)]
        let lane = if is(Mutant::OneLane) {
            Lane::Raft
        } else {
            lane
        };
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (addr.to_owned(), lane);
        if let Some(link) = links.get(&key) {
            return Ok(link.clone());
        }
        let made = self.dial.dial(addr);
        let made = made.map_err(|error| Status::invalid_argument(error.to_string()))?;
        links.insert(key, made.clone());
        Ok(made)
    }

    pub(crate) fn peer(&self, addr: &str, lane: Lane) -> Result<PeerClient<Link>, Status> {
        Ok(PeerClient::new(self.link(addr, lane)?)
            .max_decoding_message_size(PEER_MESSAGE_BYTES)
            .max_encoding_message_size(PEER_MESSAGE_BYTES))
    }
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Peer;

    async fn new_client(&mut self, target: u64, node: &Member) -> Peer {
        Peer {
            network: self.clone(),
            addr: node.addr.clone(),
            to: wire::Addressee {
                id: target,
                incarnation: node.incarnation.to_vec(),
            },
        }
    }
}

/// One other member.
#[derive(Debug)]
pub(crate) struct Peer {
    network: Network,
    addr: String,
    to: wire::Addressee,
}

#[expect(clippy::result_large_err, reason = "openraft asks for this error")]
impl Peer {
    fn request(&self, request: &impl Serialize) -> Result<wire::RaftRequest, CallError> {
        let request =
            encode(request).map_err(|error| RPCError::Network(NetworkError::new(&error)))?;
        let to = Some(self.to.clone());
        Ok(wire::RaftRequest { to, request })
    }

    fn client(&self) -> Result<PeerClient<Link>, CallError> {
        self.network
            .peer(&self.addr, Lane::Raft)
            .map_err(|status| away(&status))
    }
}

/// The member is not there, or not the one that is meant: later.
fn away(status: &Status) -> CallError {
    RPCError::Unreachable(Unreachable::new(&AnyError::error(status.message())))
}

#[expect(clippy::result_large_err, reason = "openraft asks for this error")]
fn answer<T: DeserializeOwned>(
    called: Result<tonic::Response<wire::RaftResponse>, Status>,
) -> Result<T, CallError> {
    let response = called
        .map_err(|status| away(&status))?
        .into_inner()
        .response;
    decode(&response).map_err(|error| RPCError::Network(NetworkError::new(&error)))
}

impl RaftNetwork<TypeConfig> for Peer {
    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<u64>, CallError> {
        let request = self.request(&rpc)?;
        self.network.asks(self.to.id, &self.addr);
        let called = self.client()?.append(request).await;
        self.network
            .heard(self.to.id, &self.addr, called.as_ref().err());
        answer(called)
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<u64>,
        _option: RPCOption,
    ) -> Result<VoteResponse<u64>, CallError> {
        let request = self.request(&rpc)?;
        answer(self.client()?.vote(request).await)
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot<TypeConfig>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<u64>, StreamingError<TypeConfig, Fatal<u64>>> {
        let sent = tokio::time::timeout(option.hard_ttl(), self.send(vote, snapshot));
        let unreachable = |status: &Status| {
            StreamingError::Unreachable(Unreachable::new(&AnyError::error(status.message())))
        };
        tokio::select! {
            closed = cancel => Err(StreamingError::Closed(closed)),
            sent = sent => match sent {
                Ok(Ok(response)) => Ok(response),
                Ok(Err(status)) => Err(unreachable(&status)),
                Err(_elapsed) => Err(unreachable(&Status::deadline_exceeded("a snapshot took too long"))),
            },
        }
    }

    fn backoff(&self) -> Backoff {
        Backoff::new(std::iter::repeat(RETRY_AFTER))
    }
}

impl Peer {
    async fn send(
        &self,
        vote: Vote,
        snapshot: Snapshot<TypeConfig>,
    ) -> Result<SnapshotResponse<u64>, Status> {
        let Snapshot { meta, snapshot } = snapshot;
        let unfit = |error: crate::types::FormError| Status::internal(error.to_string());
        let first = wire::SnapshotPiece {
            to: Some(self.to.clone()),
            request: encode(&(vote, meta)).map_err(unfit)?,
            content: Vec::new(),
        };
        let mut at = 0;
        let rest = std::iter::from_fn(move || {
            let rest = snapshot.get(at..).filter(|rest| !rest.is_empty())?;
            let content = rest.get(..PIECE).unwrap_or(rest).to_vec();
            at += content.len();
            Some(wire::SnapshotPiece {
                content,
                ..wire::SnapshotPiece::default()
            })
        });
        let pieces = stream::iter(std::iter::once(first).chain(rest));
        self.network.metrics.snapshot_sent();
        let mut client = self.network.peer(&self.addr, Lane::Snapshots)?;
        let response = client.snapshot(pieces).await?.into_inner().response;
        decode(&response).map_err(unfit)
    }
}
