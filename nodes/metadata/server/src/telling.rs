//! What a member tells of itself to whoever watches it: figures, and whether it takes part.

use std::fmt;

use openraft::ServerState;
use roadstead_telemetry::metrics::{MemberMetrics, Role, Standing};

use crate::store::Store;
use crate::types::Raft;

/// A leader that heard from no quorum for so long does not lead. Several elections fit into it.
const QUORUM_WITHIN_MILLIS: u64 = 5_000;

/// Cheap to clone.
#[derive(Clone)]
pub struct Telling {
    raft: Raft,
    store: Store,
    metrics: MemberMetrics,
}

impl Telling {
    pub(crate) fn new(raft: Raft, store: Store, metrics: MemberMetrics) -> Self {
        Self {
            raft,
            store,
            metrics,
        }
    }

    /// Figures in Prometheus' text format.
    pub fn metrics(&self) -> String {
        self.metrics.render(&self.standing())
    }

    /// Why this member serves nobody now; `None` while it takes part in a group that has a leader.
    pub fn trouble(&self) -> Option<String> {
        if let Some(reason) = self.store.failure().borrow().clone() {
            return Some(format!("its disk has failed: {reason}"));
        }
        let metrics = self.raft.metrics().borrow().clone();
        if let Err(stopped) = &metrics.running_state {
            return Some(stopped.to_string());
        }
        if self.store.is_blank() {
            return Some("it is blank, and of no group yet".to_owned());
        }
        let Some(leader) = metrics.current_leader else {
            return Some("it knows of no leader".to_owned());
        };
        let heard = metrics.millis_since_quorum_ack;
        if leader == metrics.id && heard.is_none_or(|since| since > QUORUM_WITHIN_MILLIS) {
            return Some("it leads, and no quorum answers".to_owned());
        }
        None
    }

    fn standing(&self) -> Standing {
        let metrics = self.raft.metrics().borrow().clone();
        let last_log = metrics.last_log_index.unwrap_or(0);
        let replication = metrics.replication.unwrap_or_default();
        let others = replication.iter().filter(|(id, _)| **id != metrics.id);
        let behind = others.map(|(id, matched)| {
            let has = matched.map_or(0, |log_id| log_id.index);
            (*id, last_log.saturating_sub(has))
        });
        let (open_sessions, nodes) = self
            .store
            .look(|machine| (machine.open_sessions() as u64, machine.nodes().len() as u64));
        let failed = self.store.failure().borrow().is_some();
        Standing {
            role: if failed || metrics.running_state.is_err() {
                Role::Stopped
            } else {
                role(metrics.state)
            },
            term: metrics.current_term,
            leader: metrics.current_leader,
            last_log,
            applied: metrics.last_applied.map_or(0, |log_id| log_id.index),
            snapshot: metrics.snapshot.map_or(0, |log_id| log_id.index),
            behind: behind.collect(),
            open_sessions,
            nodes,
        }
    }
}

fn role(state: ServerState) -> Role {
    match state {
        ServerState::Leader => Role::Leader,
        ServerState::Follower => Role::Follower,
        ServerState::Candidate => Role::Candidate,
        ServerState::Learner => Role::Learner,
        ServerState::Shutdown => Role::Stopped,
    }
}

impl fmt::Debug for Telling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Telling").finish_non_exhaustive()
    }
}
