//! What a member says of itself and of the group.

use roadstead_machine::{Machine, Timestamp, encode_nodes};
use roadstead_proto::metadata::v1 as wire;
use tokio::time::Instant;

use crate::store::Store;
use crate::types::Raft;

/// A member that was begun at `started`; `clock` is the time of day.
pub(crate) fn status(
    raft: &Raft,
    store: &Store,
    started: Instant,
    clock: Timestamp,
) -> wire::StatusResponse {
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
    let told = store.look(|machine| Told::of(machine, clock));
    wire::StatusResponse {
        id: metrics.id,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        term: metrics.current_term,
        leader: metrics.current_leader,
        last_log: metrics.last_log_index,
        applied: metrics.last_applied.map(|log_id| log_id.index),
        snapshot: metrics.snapshot.map(|log_id| log_id.index),
        members: members.collect(),
        open_sessions: told.open_sessions,
        failure: failed.or(stopped).unwrap_or_default(),
        blank: store.is_blank(),
        nodes: told.nodes,
        cluster: told.cluster,
        up_seconds: started.elapsed().as_secs(),
        present: told.present,
        certificates: told.certificates,
    }
}

/// What the state says.
struct Told {
    open_sessions: u64,
    nodes: Vec<u8>,
    cluster: String,
    present: u64,
    certificates: Vec<wire::Certificate>,
}

impl Told {
    fn of(machine: &Machine, clock: Timestamp) -> Self {
        let cluster = machine.cluster();
        Self {
            open_sessions: machine.open_sessions() as u64,
            // Nothing that this process holds fails to be encoded; none is what an operator can do with.
            nodes: encode_nodes(machine.nodes()).unwrap_or_default(),
            cluster: cluster.map(|id| id.to_string()).unwrap_or_default(),
            present: machine.present(clock).0,
            certificates: certificates(machine),
        }
    }
}

fn certificates(machine: &Machine) -> Vec<wire::Certificate> {
    let told = machine.certificates().told();
    let told = told.filter(|told| !told.names.is_empty());
    let wire = told.map(|told| wire::Certificate {
        names: told.names.clone(),
        not_after: told.not_after.map(|time| time.0),
        failure: told.failure.clone().unwrap_or_default(),
    });
    wire.collect()
}
