//! What a member says of itself and of the group.

use roadstead_proto::metadata::v1 as wire;

use crate::store::Store;
use crate::types::Raft;

pub(crate) fn status(raft: &Raft, store: &Store) -> wire::StatusResponse {
    let metrics = raft.metrics().borrow().clone();
    let membership = metrics.membership_config.membership();
    let voters: Vec<u64> = membership.voter_ids().collect();
    let matched = metrics.replication.as_ref();
    let matched_of = |id: &u64| {
        let told = matched.and_then(|matched| matched.get(id).copied().flatten());
        let mine = (*id == metrics.id && matched.is_some()).then_some(metrics.last_log_index);
        told.map(|log_id| log_id.index).or_else(|| mine.flatten())
    };
    let members = membership.nodes().map(|(id, member)| wire::Member {
        id: *id,
        addr: member.addr.clone(),
        voter: voters.contains(id),
        matched: matched_of(id),
    });
    let failed = store.failure().borrow().clone();
    let stopped = metrics
        .running_state
        .as_ref()
        .err()
        .map(ToString::to_string);
    wire::StatusResponse {
        id: metrics.id,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        term: metrics.current_term,
        leader: metrics.current_leader,
        last_log: metrics.last_log_index,
        applied: metrics.last_applied.map(|log_id| log_id.index),
        snapshot: metrics.snapshot.map(|log_id| log_id.index),
        members: members.collect(),
        open_sessions: store.look(roadstead_machine::Machine::open_sessions) as u64,
        failure: failed.or(stopped).unwrap_or_default(),
        blank: store.is_blank(),
    }
}
