//! Nodes' leases: who was heard is known to the leader alone, in memory; that a lease has ended is in the log.
//!
//! A node counts its lease from when it asked for it, and is answered only by one whose leadership was confirmed after
//! the question came. So whoever leads next ends no lease before a whole one, and the margin, have gone by since it was
//! elected: by then no answer of a leader before it is still good. And whom it is about to end, it renews no more.
//!
//! A leader without a quorum answers nobody, so it could not hear its nodes: that time does not count against them. Else all
//! were gone at once, to those who pass requests on as well, when a quorum that was lost for a while is back.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use roadstead_machine::{ClusterCommand, Command, NodeId, Nodes, Timestamp};
use roadstead_metadata::{Elapsed, LEASE, LEASE_MARGIN};

use crate::propose::Proposer;
use crate::read::Reads;
#[cfg(test)]
use crate::simulation::{Mutant, is};
use crate::store::Store;
use crate::types::Raft;

/// How often it is looked who has not been heard.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// So long a leader may not have been confirmed before that counts as time in which nobody was heard.
const GAP: Duration = Duration::from_secs(2);

/// Bytes of the command that ends a lease, roughly: it is never batched by them.
const COMMAND_BYTES: usize = 64;

/// A lease: the node, and the epoch.
type Epoch = (NodeId, u64);

#[derive(Debug, Default)]
struct Heard {
    /// The term in which this member leads, and since when it knows that.
    leads: Option<(u64, Duration)>,
    /// When its lead was confirmed last.
    confirmed: Duration,
    /// When each lease was asked for last, or first seen.
    leases: HashMap<Epoch, Duration>,
    /// It is being ended.
    ending: HashSet<Epoch>,
}

/// Cheap to clone.
#[derive(Clone)]
pub(crate) struct Leases {
    elapsed: Elapsed,
    heard: Arc<Mutex<Heard>>,
}

impl Leases {
    pub(crate) fn new(elapsed: Elapsed) -> Self {
        Self {
            elapsed,
            heard: Arc::default(),
        }
    }

    pub(crate) fn now(&self) -> Duration {
        (self.elapsed)()
    }

    /// Whether a node is to drain that asked at `asked`, since when this member was confirmed to lead; `None` if its lease
    /// is over. `nodes` are those of the log, as they were after that.
    pub(crate) fn renew(
        &self,
        node: NodeId,
        epoch: u64,
        asked: Duration,
        nodes: &Nodes,
    ) -> Option<bool> {
        let mut heard = self.lock();
        let known = nodes.get(&node).filter(|known| known.epoch == epoch);
        match known {
            Some(known) if !heard.ending.contains(&(node, epoch)) => {
                let last = heard.leases.entry((node, epoch)).or_insert(asked);
                *last = asked.max(*last);
                Some(known.draining)
            }
            _ => None,
        }
    }

    /// The leases that are over, for one who was just confirmed to lead in `term`; they are not renewed any more.
    fn over(&self, term: u64, nodes: &Nodes) -> Vec<Epoch> {
        let now = self.now();
        let mut heard = self.lock();
        if heard.leads.is_none_or(|(led, _)| led != term) {
            *heard = Heard {
                leads: Some((term, now)),
                confirmed: now,
                ..Heard::default()
            };
        }
        let gap = now.saturating_sub(std::mem::replace(&mut heard.confirmed, now));
        if gap > GAP {
            // Later than it was: nobody is ended earlier for it.
            heard.leads = heard.leads.map(|(term, since)| (term, since + gap));
            heard.leases.values_mut().for_each(|last| *last += gap);
        }
        let since = heard.leads.map_or(now, |(_, since)| since);
        let current: HashSet<Epoch> = nodes.iter().map(|(id, node)| (*id, node.epoch)).collect();
        heard.leases.retain(|epoch, _| current.contains(epoch));
        heard.ending.retain(|epoch| current.contains(epoch));
        let mut over = Vec::new();
        for epoch in current {
            let last = *heard.leases.entry(epoch).or_insert(now);
            let patience = LEASE + LEASE_MARGIN;
            #[cfg(test)]
            let patience = patience / if is(Mutant::ExpiresEarly) { 2 } else { 1 };
            if now.saturating_sub(last.max(since)) > patience {
                heard.ending.insert(epoch);
                over.push(epoch);
            }
        }
        over
    }

    fn follows(&self) {
        *self.lock() = Heard::default();
    }

    /// Ends leases that are over, while this member leads.
    pub(crate) async fn keep(self, raft: Raft, reads: Reads, store: Store, proposer: Proposer) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let lead = || {
                let metrics = raft.metrics();
                let metrics = metrics.borrow();
                let leads = metrics.current_leader == Some(metrics.id);
                leads.then_some(metrics.current_term)
            };
            let Some(term) = lead() else {
                self.follows();
                continue;
            };
            if reads.confirm().await.is_err() || lead() != Some(term) {
                continue;
            }
            let nodes = store.look(|machine| machine.nodes().clone());
            for (node, epoch) in self.over(term, &nodes) {
                tracing::warn!(%node, epoch, "a node was not heard for longer than its lease: it is taken for gone");
                let leave = Command::Cluster(ClusterCommand::Leave { node, epoch });
                let ended = proposer
                    .propose(leave, COMMAND_BYTES, Timestamp(u64::MAX))
                    .await;
                if let Err(refusal) = ended {
                    tracing::debug!(%refusal, %node, "its lease is not ended yet");
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use roadstead_machine::Node;

    use super::*;

    fn id(n: u8) -> NodeId {
        NodeId([n; 16])
    }

    fn nodes(epochs: &[(u8, u64)]) -> Nodes {
        let node = |epoch| Node {
            address: "a:1".to_owned(),
            version: "1".to_owned(),
            epoch,
            joined: Timestamp(0),
            draining: false,
        };
        epochs
            .iter()
            .map(|(n, epoch)| (id(*n), node(*epoch)))
            .collect()
    }

    struct Bench {
        seconds: Arc<AtomicU64>,
        leases: Leases,
    }

    impl Bench {
        fn new() -> Self {
            let seconds = Arc::new(AtomicU64::new(1000));
            let clock = Arc::clone(&seconds);
            let elapsed: Elapsed =
                Arc::new(move || Duration::from_secs(clock.load(Ordering::Relaxed)));
            Self {
                seconds,
                leases: Leases::new(elapsed),
            }
        }

        fn pass(&self, seconds: u64) {
            self.seconds.fetch_add(seconds, Ordering::Relaxed);
        }

        /// The same, in which it is looked as often as it is.
        fn lead(&self, seconds: u64, term: u64, nodes: &Nodes) -> Vec<Epoch> {
            let look = |_second| {
                self.pass(1);
                self.leases.over(term, nodes)
            };
            (0..seconds).flat_map(look).collect()
        }

        fn renew(&self, n: u8, epoch: u64, nodes: &Nodes) -> bool {
            let asked = self.leases.now();
            self.leases.renew(id(n), epoch, asked, nodes).is_some()
        }
    }

    #[test]
    fn a_node_that_is_not_heard_is_over_and_renewed_no_more() {
        let (bench, nodes) = (Bench::new(), nodes(&[(1, 1), (2, 2)]));
        assert_eq!(bench.leases.over(1, &nodes), []);
        assert_eq!(bench.lead(8, 1, &nodes), []);
        assert!(bench.renew(2, 2, &nodes));
        assert!(!bench.renew(2, 1, &nodes), "another epoch");
        assert!(!bench.renew(3, 1, &nodes), "nobody");
        assert_eq!(bench.lead(2, 1, &nodes), []);
        assert_eq!(bench.lead(1, 1, &nodes), [(id(1), 1)]);
        assert!(!bench.renew(1, 1, &nodes), "it is being ended");
        assert!(bench.renew(2, 2, &nodes));
    }

    #[test]
    fn a_new_leader_waits_for_a_whole_lease() {
        let (bench, nodes) = (Bench::new(), nodes(&[(1, 1)]));
        assert_eq!(bench.leases.over(1, &nodes), []);
        bench.pass(100);
        assert_eq!(bench.leases.over(2, &nodes), [], "elected just now");
        assert_eq!(bench.lead(10, 2, &nodes), []);
        assert_eq!(bench.lead(1, 2, &nodes), [(id(1), 1)]);
        bench.leases.follows();
        assert_eq!(bench.leases.over(3, &nodes), [], "and again");
    }

    #[test]
    fn time_without_a_quorum_does_not_count() {
        let (bench, nodes) = (Bench::new(), nodes(&[(1, 1), (2, 2)]));
        assert_eq!(bench.lead(5, 1, &nodes), []);
        assert!(bench.renew(2, 2, &nodes));
        assert_eq!(bench.lead(3, 1, &nodes), []);
        bench.pass(60);
        assert_eq!(bench.leases.over(1, &nodes), [], "nobody could be heard");
        assert!(bench.renew(2, 2, &nodes), "it was never taken for gone");
        // Of the first, 7 seconds were heard; of the second none since.
        assert_eq!(bench.lead(3, 1, &nodes), []);
        assert_eq!(bench.lead(1, 1, &nodes), [(id(1), 1)]);
        let second = self::nodes(&[(2, 2)]);
        assert_eq!(bench.lead(6, 1, &second), []);
        assert_eq!(bench.lead(1, 1, &second), [(id(2), 2)]);
    }

    #[test]
    fn whom_it_was_about_to_end_is_not_renewed_after_a_gap_either() {
        let (bench, nodes) = (Bench::new(), nodes(&[(1, 1)]));
        assert_eq!(bench.lead(12, 1, &nodes).first(), Some(&(id(1), 1)));
        bench.pass(60);
        bench.leases.over(1, &nodes);
        assert!(!bench.renew(1, 1, &nodes), "its end may be in the log");
    }
}
