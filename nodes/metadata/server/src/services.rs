//! The gRPC services of a member: parse, call, answer.

mod cluster;
mod metadata;
mod peer;

pub(crate) use cluster::ClusterService;
pub(crate) use metadata::MetadataService;
pub(crate) use peer::PeerService;

use roadstead_metadata::LEADER;
use tonic::Status;

use crate::propose::Refusal;

/// What a caller is told; the trailer names the leader where it is known.
pub(crate) fn status_of(refusal: &Refusal) -> Status {
    match refusal {
        Refusal::NotLeader(leader) => {
            let mut status = Status::failed_precondition(refusal.to_string());
            if let Some(addr) = leader.as_ref().and_then(|addr| addr.parse().ok()) {
                status.metadata_mut().insert(LEADER, addr);
            }
            status
        }
        Refusal::Unavailable(reason) => Status::unavailable(reason.clone()),
    }
}
