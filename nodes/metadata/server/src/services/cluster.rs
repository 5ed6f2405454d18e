//! The group's administration.

use roadstead_metadata::Clock;
use roadstead_proto::metadata::v1 as wire;
use roadstead_proto::metadata::v1::cluster_server::Cluster;
use tokio::time::Instant;
use tonic::{Request, Response, Status};

use crate::group::{Group, incarnation};
use crate::status::status;
use crate::store::Store;
use crate::types::{Member, Raft};

#[derive(Clone)]
pub(crate) struct ClusterService {
    pub(crate) raft: Raft,
    pub(crate) store: Store,
    pub(crate) group: Group,
    pub(crate) started: Instant,
    pub(crate) clock: Clock,
}

#[async_trait::async_trait]
impl Cluster for ClusterService {
    async fn status(
        &self,
        _request: Request<wire::StatusRequest>,
    ) -> Result<Response<wire::StatusResponse>, Status> {
        Ok(Response::new(status(
            &self.raft,
            &self.store,
            self.started,
            (self.clock)(),
        )))
    }

    /// The change goes on when its caller is gone: half a change helps nobody.
    async fn add_member(
        &self,
        request: Request<wire::AddMemberRequest>,
    ) -> Result<Response<wire::AddMemberResponse>, Status> {
        let wire::AddMemberRequest { id, addr } = request.into_inner();
        let group = self.group.clone();
        finish(async move { group.add(id, addr).await }).await?;
        Ok(Response::new(wire::AddMemberResponse {}))
    }

    async fn remove_member(
        &self,
        request: Request<wire::RemoveMemberRequest>,
    ) -> Result<Response<wire::RemoveMemberResponse>, Status> {
        let id = request.into_inner().id;
        let group = self.group.clone();
        finish(async move { group.remove(id).await }).await?;
        Ok(Response::new(wire::RemoveMemberResponse {}))
    }

    async fn rejoin(
        &self,
        request: Request<wire::RejoinRequest>,
    ) -> Result<Response<wire::RejoinResponse>, Status> {
        let asked = request.into_inner();
        let member = Member {
            addr: asked.addr,
            incarnation: incarnation(&asked.incarnation)?,
        };
        let group = self.group.clone();
        finish(async move { group.rejoin(asked.id, member).await }).await?;
        Ok(Response::new(wire::RejoinResponse {}))
    }
}

async fn finish(
    change: impl Future<Output = Result<(), Status>> + Send + 'static,
) -> Result<(), Status> {
    let done = tokio::spawn(change).await;
    done.map_err(|error| Status::internal(error.to_string()))?
}
