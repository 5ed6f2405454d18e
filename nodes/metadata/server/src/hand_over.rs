//! A leader that is to stop asks a follower to stand: the others need not wait until they miss it.
//!
//! A follower that hears from a leader votes for nobody else within its lease. So the leader goes silent first, for as
//! long as a lease lasts: that is shorter than what the followers would wait by themselves, and certain.

use std::time::Duration;

use roadstead_proto::metadata::v1 as wire;
use tokio::time::timeout;

use crate::clock::FOLLOWER_LEASE;
use crate::network::{Lane, Network};
use crate::propose::Proposer;
use crate::types::{Member, Raft};

type Metrics = openraft::RaftMetrics<u64, Member>;

/// Followers are a round trip behind; one that is further behind is not waited for.
const CATCH_UP_WITHIN: Duration = Duration::from_millis(500);

/// What was said last may still be on its way.
const ROUND_TRIP: Duration = Duration::from_millis(50);

/// An election among members that are all there.
const ELECTED_WITHIN: Duration = Duration::from_secs(3);

/// Returns when another leads, or none could be found.
pub(crate) async fn hand_over(raft: &Raft, proposer: &Proposer, network: &Network) {
    let metrics = raft.metrics().borrow().clone();
    let voters = metrics.membership_config.voter_ids();
    let others: Vec<u64> = voters.filter(|id| *id != metrics.id).collect();
    if metrics.current_leader != Some(metrics.id) || others.is_empty() {
        return;
    }
    let Some(heir) = caught_up(raft, &others).await else {
        return;
    };
    let Some(member) = metrics.membership_config.membership().get_node(&heir) else {
        return;
    };
    let to = Some(wire::Addressee {
        id: heir,
        incarnation: member.incarnation.to_vec(),
    });
    let Ok(mut peer) = network.peer(&member.addr, Lane::Raft) else {
        return;
    };
    tracing::info!(heir, "handing the lead over");
    proposer.close();
    raft.runtime_config().heartbeat(false);
    tokio::time::sleep(FOLLOWER_LEASE + ROUND_TRIP).await;
    if let Err(error) = peer.stand(wire::StandRequest { to }).await {
        tracing::warn!(%error, heir, "the lead is not handed over: the others elect by themselves");
        return;
    }
    let me = metrics.id;
    let another = |metrics: &Metrics| metrics.current_leader.is_some_and(|leader| leader != me);
    let mut seen = raft.metrics();
    if !matches!(
        timeout(ELECTED_WITHIN, seen.wait_for(another)).await,
        Ok(Ok(_))
    ) {
        tracing::warn!(heir, "the lead was not taken over in time");
    }
}

/// The follower that has the most, preferably all.
async fn caught_up(raft: &Raft, others: &[u64]) -> Option<u64> {
    let mut seen = raft.metrics();
    let best = |metrics: &Metrics| {
        let matched = metrics.replication.clone().unwrap_or_default();
        let has = |id: &u64| {
            matched
                .get(id)
                .copied()
                .flatten()
                .map(|log_id| log_id.index)
        };
        let best = others.iter().copied().max_by_key(has)?;
        Some((best, has(&best) >= metrics.last_log_index))
    };
    let all = async {
        loop {
            let now = best(&seen.borrow_and_update());
            if let Some((id, true)) = now {
                return Some(id);
            }
            if seen.changed().await.is_err() {
                return None;
            }
        }
    };
    match timeout(CATCH_UP_WITHIN, all).await {
        Ok(found) => found,
        Err(_elapsed) => best(&raft.metrics().borrow()).map(|(id, _)| id),
    }
}
