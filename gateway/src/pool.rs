//! All nodes, and which of them is given a request.

use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use roadstead_telemetry::metrics::GatewayMetrics;
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::dial::Dial;
use crate::health;
use crate::node::{Node, Picked, Standing};
use crate::nodes::{NodeInfo, Nodes};
use crate::options::Options;

/// With no node well, one is waited for only if one was well this long ago: a restart, not an outage.
const RECENTLY: Duration = Duration::from_secs(30);

/// What a request needs of a node.
#[derive(Debug, Clone, Default)]
pub(crate) struct Want {
    pub(crate) writes: bool,
    /// Requests of one session prefer one node.
    pub(crate) session: Option<String>,
}

/// Why there is no node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoNode {
    /// None is well.
    Well,
    /// All have more than enough to do.
    Free,
}

#[derive(Debug)]
pub(crate) struct Pool {
    nodes: RwLock<Arc<[Arc<Node>]>>,
    pub(crate) dial: Dial,
    options: Options,
    /// Counts how often a node became well.
    risen: watch::Sender<u64>,
    last_well: Mutex<Option<Instant>>,
    pub(crate) metrics: GatewayMetrics,
}

impl Pool {
    pub(crate) fn build(options: &Options, dial: Dial, metrics: GatewayMetrics) -> Arc<Self> {
        Arc::new(Self {
            nodes: RwLock::new(Arc::from([])),
            dial,
            options: options.clone(),
            risen: watch::Sender::new(0),
            // The first checks are on their way: who comes meanwhile waits for them.
            last_well: Mutex::new(Some(Instant::now())),
            metrics,
        })
    }

    /// Keeps to what all these say, until the drain.
    pub(crate) fn follow(self: &Arc<Self>, all: Vec<Box<dyn Nodes>>, drain: &CancellationToken) {
        let mut watched: Vec<_> = all
            .into_iter()
            .map(|nodes| nodes.watch(drain.clone()))
            .collect();
        self.set(&union(&mut watched));
        let (pool, until) = (Arc::clone(self), drain.clone());
        tokio::spawn(async move {
            let following = async {
                loop {
                    let changes = watched.iter_mut().map(|told| Box::pin(told.changed()));
                    if watched_none(changes).await {
                        // Nobody will say anything any more: what was said last stands.
                        std::future::pending::<()>().await;
                    }
                    pool.set(&union(&mut watched));
                }
            };
            until.run_until_cancelled(following).await
        });
    }

    /// Those of a cluster whose metadata service began anew are in its list when they have found it. As long as one of them
    /// is well, an empty list is no reason to refuse everybody.
    fn set(self: &Arc<Self>, told: &[NodeInfo]) {
        let before = self.all();
        if told.is_empty() && before.iter().any(|node| node.takes(false)) {
            tracing::warn!(
                "the list of nodes is empty: they stay as they were while they are well"
            );
            return;
        }
        let mut after = Vec::with_capacity(told.len());
        for info in told {
            if let Some(known) = before.iter().find(|node| node.name() == info.name) {
                known.told(info);
                after.push(Arc::clone(known));
            } else {
                tracing::info!(node = info.name, "a node came");
                let node = Node::new(info.clone());
                health::keep_checking(Arc::clone(self), Arc::clone(&node), &self.options);
                after.push(node);
            }
        }
        for node in before.iter() {
            if !after.iter().any(|kept| Arc::ptr_eq(kept, node)) {
                tracing::info!(node = node.name(), "a node went: it finishes what it has");
                node.gone.cancel();
            }
        }
        *self.nodes.write().unwrap_or_else(PoisonError::into_inner) = after.into();
    }

    pub(crate) fn all(&self) -> Arc<[Arc<Node>]> {
        Arc::clone(&self.nodes.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn any_is_well(&self) -> bool {
        self.all().iter().any(|node| node.takes(false))
    }

    /// A node became well.
    pub(crate) fn rose(&self) {
        self.risen.send_modify(|count| *count += 1);
    }

    /// A node for this request, rather one that was not tried. Waits a while when all have just gone down.
    pub(crate) async fn pick(&self, want: &Want, tried: &[Arc<Node>]) -> Result<Picked, NoNode> {
        match self.pick_now(want, tried) {
            Err(NoNode::Well) if self.was_well_recently() => {}
            picked => return picked,
        }
        let deadline = Instant::now() + self.options.timeouts.patience;
        let mut risen = self.risen.subscribe();
        loop {
            risen.mark_unchanged();
            match self.pick_now(want, tried) {
                Err(NoNode::Well) if self.was_well_recently() => {}
                picked => return picked,
            }
            if !matches!(
                tokio::time::timeout_at(deadline, risen.changed()).await,
                Ok(Ok(()))
            ) {
                return Err(NoNode::Well);
            }
        }
    }

    fn was_well_recently(&self) -> bool {
        let last = self
            .last_well
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        last.is_some_and(|last| last.elapsed() < RECENTLY)
    }

    fn pick_now(&self, want: &Want, tried: &[Arc<Node>]) -> Result<Picked, NoNode> {
        let all = self.all();
        let well: Vec<&Arc<Node>> = all.iter().filter(|node| node.takes(want.writes)).collect();
        if well.is_empty() {
            return Err(NoNode::Well);
        }
        *self
            .last_well
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        let is_untried = |node: &&Arc<Node>| !tried.iter().any(|before| Arc::ptr_eq(before, node));
        let untried: Vec<_> = well.iter().copied().filter(is_untried).collect();
        let mut choice = if untried.is_empty() { well } else { untried };
        let per_node = self.options.limits.per_node;
        choice.retain(|node| node.in_flight() < per_node);
        let picked = match &want.session {
            Some(session) => preferred(&choice, session),
            None => self.least_loaded_of_two(&choice),
        };
        picked.map(Node::give).ok_or(NoNode::Free)
    }

    fn least_loaded_of_two<'a>(&self, choice: &[&'a Arc<Node>]) -> Option<&'a Arc<Node>> {
        match choice {
            [] => None,
            [one] => Some(one),
            many => {
                let first = fastrand::usize(..many.len());
                let second = (first + fastrand::usize(1..many.len())) % many.len();
                let load = |index: usize| many[index].load(self.options.health.slow_start);
                let less = if load(second) < load(first) {
                    second
                } else {
                    first
                };
                Some(many[less])
            }
        }
    }

    /// How all stand, for those who ask.
    pub(crate) fn standings(&self) -> Vec<(String, Standing, bool)> {
        let all = self.all();
        let standing =
            |node: &Arc<Node>| (node.name().to_owned(), node.standing(), node.is_draining());
        all.iter().map(standing).collect()
    }
}

/// The same for every gateway, and for most sessions the same when nodes come and go (rendezvous hashing).
fn preferred<'a>(choice: &[&'a Arc<Node>], session: &str) -> Option<&'a Arc<Node>> {
    let score = |node: &&&'a Arc<Node>| {
        let hash = Sha256::new()
            .chain_update(session)
            .chain_update([0])
            .chain_update(node.name());
        <[u8; 32]>::from(hash.finalize())
    };
    choice.iter().max_by_key(score).copied()
}

/// What all say together; of two that name the same node, the first counts.
fn union(watched: &mut [watch::Receiver<Vec<NodeInfo>>]) -> Vec<NodeInfo> {
    let mut all: Vec<NodeInfo> = Vec::new();
    for told in watched {
        for info in told.borrow_and_update().iter() {
            if !all.iter().any(|known| known.name == info.name) {
                all.push(info.clone());
            }
        }
    }
    all
}

/// Waits for the first change. Whether there will be none.
async fn watched_none<F>(changes: impl Iterator<Item = F>) -> bool
where
    F: Future<Output = Result<(), watch::error::RecvError>> + Unpin,
{
    let mut waiting: Vec<F> = changes.collect();
    while !waiting.is_empty() {
        let (changed, _, others) = futures::future::select_all(waiting).await;
        if changed.is_ok() {
            return false;
        }
        waiting = others;
    }
    true
}

#[cfg(test)]
mod tests;
