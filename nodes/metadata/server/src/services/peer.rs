//! Raft's calls, from other members. Each says which disk it is for: a member that lost its disk answers none of them,
//! so that it never votes with a log that it forgot.

use openraft::storage::Snapshot;
use roadstead_proto::metadata::v1 as wire;
use roadstead_proto::metadata::v1::peer_server::Peer;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tonic::{Request, Response, Status, Streaming};

#[cfg(test)]
use crate::simulation::{Mutant, is};
use crate::store::Store;
use crate::types::{Raft, SnapshotMeta, Vote, decode, encode};

/// Bytes of a snapshot at most: it is held in memory.
const SNAPSHOT_BYTES: usize = 1 << 30;

#[derive(Clone)]
pub(crate) struct PeerService {
    pub(crate) id: u64,
    pub(crate) raft: Raft,
    pub(crate) store: Store,
}

impl PeerService {
    fn check(&self, to: Option<&wire::Addressee>) -> Result<(), Status> {
        let to = to.ok_or_else(|| Status::invalid_argument("for whom?"))?;
        if to.id != self.id {
            let text = format!("this is member {}, not {}", self.id, to.id);
            return Err(Status::failed_precondition(text));
        }
        #[cfg(test)]
        if is(Mutant::AnyDisk) {
            return Ok(());
        }
        if to.incarnation != self.store.incarnation() {
            let text = if self.store.is_blank() {
                "blank"
            } else {
                "another disk"
            };
            return Err(Status::failed_precondition(text));
        }
        Ok(())
    }
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Status> {
    decode(bytes).map_err(|error| Status::invalid_argument(error.to_string()))
}

fn answer(response: &impl Serialize) -> Result<Response<wire::RaftResponse>, Status> {
    let response = encode(response).map_err(|error| Status::internal(error.to_string()))?;
    Ok(Response::new(wire::RaftResponse { response }))
}

fn failed(error: impl std::fmt::Display) -> Status {
    Status::unavailable(error.to_string())
}

#[async_trait::async_trait]
impl Peer for PeerService {
    async fn identify(
        &self,
        _request: Request<wire::IdentifyRequest>,
    ) -> Result<Response<wire::IdentifyResponse>, Status> {
        Ok(Response::new(wire::IdentifyResponse {
            id: self.id,
            incarnation: self.store.incarnation().to_vec(),
            blank: self.store.is_blank(),
        }))
    }

    async fn append(
        &self,
        request: Request<wire::RaftRequest>,
    ) -> Result<Response<wire::RaftResponse>, Status> {
        let request = request.into_inner();
        self.check(request.to.as_ref())?;
        let rpc = parse(&request.request)?;
        answer(&self.raft.append_entries(rpc).await.map_err(failed)?)
    }

    async fn vote(
        &self,
        request: Request<wire::RaftRequest>,
    ) -> Result<Response<wire::RaftResponse>, Status> {
        let request = request.into_inner();
        self.check(request.to.as_ref())?;
        let rpc = parse(&request.request)?;
        answer(&self.raft.vote(rpc).await.map_err(failed)?)
    }

    async fn snapshot(
        &self,
        request: Request<Streaming<wire::SnapshotPiece>>,
    ) -> Result<Response<wire::RaftResponse>, Status> {
        let mut pieces = request.into_inner();
        let first = pieces.message().await?;
        let first = first.ok_or_else(|| Status::invalid_argument("an empty snapshot"))?;
        self.check(first.to.as_ref())?;
        let (vote, meta): (Vote, SnapshotMeta) = parse(&first.request)?;
        let mut snapshot = Box::new(first.content);
        while let Some(piece) = pieces.message().await? {
            if snapshot.len() + piece.content.len() > SNAPSHOT_BYTES {
                return Err(Status::resource_exhausted("the snapshot is too large"));
            }
            snapshot.extend_from_slice(&piece.content);
        }
        let snapshot = Snapshot { meta, snapshot };
        let installed = self.raft.install_full_snapshot(vote, snapshot).await;
        answer(&installed.map_err(failed)?)
    }

    async fn stand(
        &self,
        request: Request<wire::StandRequest>,
    ) -> Result<Response<wire::StandResponse>, Status> {
        self.check(request.into_inner().to.as_ref())?;
        self.raft.trigger().elect().await.map_err(failed)?;
        Ok(Response::new(wire::StandResponse {}))
    }
}
