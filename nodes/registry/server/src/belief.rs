//! What this node's cache may say exists although other nodes remove: it hears of each removal before that is answered.
//!
//! ```text
//! remover:  Invalidate ──▶ waits until all know ──▶ removes the link ──▶ Settle ──▶ answers
//! all:               └──▶ drop it, believe nothing of it until it is settled, finish writing to it ──▶ Acknowledge
//! ```
//! A node is waited for until it acknowledges or its lease is over, and believes only while it holds its lease. Each
//! lease begins with an empty cache.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::future::{BoxFuture, join_all};
use roadstead_cache::{Cache, Key, Removal};
use roadstead_metadata::{
    Command, Invalidated, InvalidationCommand, InvalidationId, InvalidationOutcome, Lease,
    Metadata, Outcome, Unavailable, Unit,
};
use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::collect::flights::Flights;
use crate::error::Error;
use crate::token;

/// How long one question waits for news.
const WAIT: Duration = Duration::from_secs(2);

/// The pause after the log did not answer.
const PAUSE: Duration = Duration::from_secs(1);

/// How long a removal waits for nodes that do not answer: a lease, and an election before that. Proxies wait for a minute.
const KNOWN_WITHIN: Duration = Duration::from_secs(30);

/// For how long the store may still carry out a removal that nobody waits for any more.
const LATE: Duration = Duration::from_mins(1);

/// Between two numbers for Redis when nobody waits for one: a Redis that comes and goes costs no more than that.
const RENEW_EVERY: Duration = Duration::from_secs(10);

/// Cheap to clone.
#[derive(Clone)]
pub(crate) struct Belief(Arc<Inner>);

struct Inner {
    metadata: Arc<dyn Metadata>,
    cache: Cache,
    /// Requests of this node.
    flights: Flights,
    /// All who hold a lease tell of what they remove.
    is_told_all: AtomicBool,
    learnt: Mutex<Learnt>,
    /// What the cache is free of.
    told: watch::Sender<Arc<Invalidated>>,
}

/// What only one changes at a time.
#[derive(Default)]
struct Learnt {
    /// Counts leases: an answer to a question of an earlier one is worth nothing.
    generation: u64,
    pending: HashMap<InvalidationId, Vec<(Unit, Removal)>>,
    renewed: Option<Instant>,
}

impl Belief {
    pub(crate) fn new(metadata: Arc<dyn Metadata>, cache: Cache, flights: Flights) -> Self {
        Self(Arc::new(Inner {
            metadata,
            cache,
            flights,
            is_told_all: AtomicBool::new(false),
            learnt: Mutex::default(),
            told: watch::Sender::default(),
        }))
    }

    /// Whether the cache may be believed, by one who holds a lease.
    pub(crate) fn holds(&self) -> bool {
        self.0.is_told_all.load(Ordering::SeqCst)
    }

    fn told(&self) -> Arc<Invalidated> {
        Arc::clone(&self.0.told.borrow())
    }

    /// A lease begins, and is not held yet: with an empty cache, and knowing what is pending.
    pub(crate) async fn begin(&self, epoch: u64) -> Result<(), Unavailable> {
        let Inner {
            metadata, cache, ..
        } = &*self.0;
        let mut learnt = self.0.learnt.lock().await;
        learnt.generation += 1;
        cache.forget_all();
        end(std::mem::take(&mut learnt.pending)).await;
        let (doubts, number) = (cache.doubts(), cache.has_proofs().then(number));
        let announced = self.propose(InvalidationCommand::Announce {
            epoch,
            // Also without a cache it is waited for: it may be writing.
            believes: true,
            proof: number,
        });
        if announced.await? != InvalidationOutcome::Announced {
            return Err(Unavailable::because("the lease is over already"));
        }
        let told = metadata.invalidations(None, Duration::ZERO).await?;
        let told = told.unwrap_or_default();
        for (id, units) in &told.pending {
            learnt.pending.insert(*id, self.hold(units).await);
        }
        if let Some(number) = number.filter(|number| told.proof == Some(*number)) {
            cache.begin_epoch(number, doubts);
        }
        self.show(told);
        Ok(())
    }

    fn show(&self, told: Invalidated) {
        let is_told_all = !told.is_somebody_silent;
        self.0.is_told_all.store(is_told_all, Ordering::SeqCst);
        self.0.told.send_replace(Arc::new(told));
    }

    /// Neither believed nor learnt while what this answers with is kept.
    async fn hold(&self, units: &[Unit]) -> Vec<(Unit, Removal)> {
        let held = units.iter().filter_map(|unit| {
            let key = key(unit)?;
            Some(async move { (unit.clone(), self.0.cache.removing(&key).await) })
        });
        join_all(held).await
    }

    /// Waits for news, and drops what is not to be believed any more.
    async fn follow(&self, wait: Duration) -> Result<(), Unavailable> {
        let generation = self.0.learnt.lock().await.generation;
        let known = Some(self.told().version);
        if let Some(told) = self.0.metadata.invalidations(known, wait).await? {
            self.learn(generation, told).await;
        }
        Ok(())
    }

    async fn learn(&self, generation: u64, told: Invalidated) {
        let mut learnt = self.0.learnt.lock().await;
        let before = self.told();
        if learnt.generation != generation || told.version <= before.version {
            return;
        }
        if told.is_somebody_silent {
            self.0.is_told_all.store(false, Ordering::SeqCst);
        }
        match &told.settled {
            None => self.0.cache.forget_all(),
            Some(settled) => {
                let held = learnt.pending.values().flatten();
                let held: HashSet<&Unit> = held.map(|(unit, _)| unit).collect();
                let missed = settled.iter().filter(|unit| !held.contains(unit));
                let missed: Vec<Unit> = missed.cloned().collect();
                let dropped = self.hold(&missed).await;
                end([([0; 16], dropped)].into()).await;
            }
        }
        for (id, units) in &told.pending {
            if !learnt.pending.contains_key(id) {
                let held = self.hold(units).await;
                learnt.pending.insert(*id, held);
            }
        }
        let is_over = |id: &InvalidationId, _: &mut _| !told.pending.contains_key(id);
        end(learnt.pending.extract_if(is_over).collect()).await;
        if let Some(proof) = told.proof.filter(|_| told.proof != before.proof) {
            self.0.cache.replace_epoch(proof);
        }
        self.show(told);
    }

    /// Follows the log and acknowledges what is invalidated, until the end.
    pub(crate) async fn keep(&self, lease: Lease, ended: CancellationToken) {
        while !ended.is_cancelled() {
            let turn = async {
                if let Some(epoch) = lease.epoch() {
                    self.acknowledge(epoch).await?;
                }
                self.follow(WAIT).await
            };
            if let Some(Err(error)) = ended.run_until_cancelled(turn).await {
                tracing::debug!(%error, "what other nodes remove is not followed");
                ended.run_until_cancelled(sleep(PAUSE)).await;
            }
        }
    }

    /// Says that the cache is free of what was invalidated, if somebody waits for that, and that no request writes to it
    /// which came before: its client may have been served by another node meanwhile, and delete what it has pushed. What
    /// could not be cleared in Redis is not believed by anybody before.
    async fn acknowledge(&self, epoch: u64) -> Result<(), Unavailable> {
        let told = self.told();
        let is_awaited = told.awaits(epoch);
        if self.0.cache.is_in_doubt() {
            let renewed = self.0.learnt.lock().await.renewed;
            if is_awaited || renewed.is_none_or(|at| at.elapsed() >= RENEW_EVERY) {
                self.distrust(epoch).await?;
            }
        }
        if is_awaited {
            let pending = told.pending.values().flatten().collect();
            let landed = timeout(WAIT, self.0.flights.landed(&pending)).await;
            if landed.is_err() {
                return Ok(());
            }
            let version = told.version;
            self.propose(InvalidationCommand::Acknowledge { epoch, version })
                .await?;
        }
        Ok(())
    }

    /// What is in Redis proves nothing any more, to nobody: this node does not know what is there.
    async fn distrust(&self, epoch: u64) -> Result<(), Unavailable> {
        self.0.learnt.lock().await.renewed = Some(Instant::now());
        let (doubts, next) = (self.0.cache.doubts(), number());
        let Some(of) = self.told().proof else {
            return Ok(());
        };
        self.propose(InvalidationCommand::Distrust { epoch, of, next })
            .await?;
        self.follow(Duration::ZERO).await?;
        if self.told().proof == Some(next) {
            self.0.cache.begin_epoch(next, doubts);
        }
        Ok(())
    }

    /// What this node has cleared is believed by nobody on the strength of what it left in Redis.
    pub(crate) async fn vouch(&self, epoch: u64) -> Result<(), Unavailable> {
        if self.0.cache.is_in_doubt() {
            self.distrust(epoch).await?;
        }
        self.known_to_all(self.told().distrusted, WAIT).await
    }

    /// Nobody believes in it from now on, and whoever was writing to it under a lease that holds is done. To be followed by
    /// its removal.
    pub(crate) async fn withdraw(&self, lease: &Lease, unit: Unit) -> Result<Withdrawal, Error> {
        let mut withdrawal = Withdrawal {
            belief: self.clone(),
            lease: lease.clone(),
            id: [0; 16],
            epoch: 0,
            version: 0,
            units: vec![unit],
            removal: Reached::NotBegun,
            is_over: false,
        };
        withdrawal.begin().await?;
        let known = self.known_to_all(withdrawal.version, KNOWN_WITHIN);
        known.await?;
        Ok(withdrawal)
    }

    async fn settle(&self, id: InvalidationId) -> Result<bool, Unavailable> {
        let settled = self.propose(InvalidationCommand::Settle { id }).await?;
        Ok(settled == InvalidationOutcome::Settled { was_pending: true })
    }

    async fn known_to_all(&self, version: u64, within: Duration) -> Result<(), Unavailable> {
        let mut told = self.0.told.subscribe();
        let all = told.wait_for(|told| told.is_known_to_all(version));
        match timeout(within, all).await {
            Ok(Ok(_)) => Ok(()),
            _late => Err(Unavailable::because("not all nodes have heard of it yet")),
        }
    }

    async fn propose(
        &self,
        command: InvalidationCommand,
    ) -> Result<InvalidationOutcome, Unavailable> {
        let command = Command::Invalidation(command);
        match self.0.metadata.propose(command).await? {
            Outcome::Invalidation(outcome) => Ok(outcome),
            other => Err(Unavailable::because(format!("it answered {other:?}"))),
        }
    }
}

/// From now on they may be learnt again.
async fn end(held: HashMap<InvalidationId, Vec<(Unit, Removal)>>) {
    let all = held.into_values().flatten();
    // What could not be cleared in Redis proves nothing any more.
    let _cleared: Vec<bool> = join_all(all.map(|(_, removal)| removal.end())).await;
}

/// What is remembered, of a unit: bytes by themselves say nothing.
pub(crate) fn key(unit: &Unit) -> Option<Key> {
    match unit {
        Unit::Revision { repository, digest } => Some(Key::manifest(repository, digest)),
        Unit::Layer { repository, digest } => Some(Key::blob(repository, digest)),
        Unit::Data { .. } => None,
    }
}

fn no_lease() -> Unavailable {
    Unavailable::because("this node holds no lease")
}

fn number() -> u64 {
    u64::from_le_bytes(token::random())
}

/// A removal that other nodes are told of.
#[must_use = "to be brought to an end"]
pub(crate) struct Withdrawal {
    belief: Belief,
    lease: Lease,
    id: InvalidationId,
    epoch: u64,
    version: u64,
    units: Vec<Unit>,
    removal: Reached,
    is_over: bool,
}

/// How far the removal from the store came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reached {
    NotBegun,
    /// The store may do it at any time.
    Begun,
    /// The store has answered.
    Done,
}

impl Withdrawal {
    async fn begin(&mut self) -> Result<(), Error> {
        let Some(epoch) = self.lease.epoch() else {
            self.is_over = self.removal == Reached::NotBegun;
            return Err(no_lease().into());
        };
        (self.id, self.epoch) = (token::random(), epoch);
        let proposed = self.belief.propose(InvalidationCommand::Invalidate {
            epoch,
            id: self.id,
            units: self.units.clone(),
        });
        match proposed.await {
            Ok(InvalidationOutcome::Invalidated { version }) => {
                self.version = version;
                Ok(())
            }
            Ok(InvalidationOutcome::TooMany) => {
                self.is_over = self.removal == Reached::NotBegun;
                Err(Error::Busy("too many deletions are under way"))
            }
            Ok(_fenced) => {
                self.is_over = self.removal == Reached::NotBegun;
                Err(no_lease().into())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// From now on the store may remove it. Not at a node that was paused for long since it told of it.
    pub(crate) fn begins(&mut self) -> Result<(), Error> {
        if self.lease.epoch() != Some(self.epoch) {
            return Err(no_lease().into());
        }
        self.removal = Reached::Begun;
        Ok(())
    }

    /// Asks the log whether this node still has the lease under which it told of it.
    pub(crate) fn still(&self) -> impl Fn() -> BoxFuture<'static, bool> + Send + Sync + use<> {
        let (metadata, epoch) = (Arc::clone(&self.belief.0.metadata), self.epoch);
        move || {
            let metadata = Arc::clone(&metadata);
            Box::pin(async move {
                let fleet = metadata.fleet().await;
                fleet.is_ok_and(|fleet| fleet.nodes.values().any(|node| node.epoch == epoch))
            })
        }
    }

    /// Once the store has removed it, or has said that it is not there. Nobody believes in it when this is over.
    ///
    /// The removal is fenced by the log: if the lease ended before, others may have learnt what was still there, and it is
    /// all done again.
    pub(crate) async fn end(mut self) -> Result<(), Error> {
        self.removal = Reached::Done;
        while !self.belief.settle(self.id).await? {
            self.begin().await?;
        }
        self.is_over = true;
        let belief = &self.belief;
        belief.known_to_all(self.version, KNOWN_WITHIN).await?;
        // Somebody may have had to clear a Redis that did not answer: its number is to be out of use.
        let distrusted = belief.told().distrusted;
        Ok(belief.known_to_all(distrusted, KNOWN_WITHIN).await?)
    }

    /// Settles when the store cannot do it any more; if the lease is lost before that, tells of it once more.
    async fn end_late(mut self) {
        // Or it is not known whether anybody was told of it: the log may take that yet.
        if self.removal == Reached::Begun || self.version == 0 {
            sleep(LATE).await;
        }
        loop {
            match self.belief.settle(self.id).await {
                Ok(true) => break,
                Ok(false) if self.removal == Reached::NotBegun => break,
                Ok(false) if self.begin().await.is_ok() => {}
                Ok(false) | Err(_) => sleep(PAUSE).await,
            }
        }
        self.is_over = true;
    }
}

/// Nobody knows how far it came: its request was dropped, or the store or the log did not answer.
impl Drop for Withdrawal {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        self.is_over = true;
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let again = Self {
                belief: self.belief.clone(),
                lease: self.lease.clone(),
                id: self.id,
                epoch: self.epoch,
                version: self.version,
                units: std::mem::take(&mut self.units),
                removal: self.removal,
                is_over: true,
            };
            runtime.spawn(again.end_late());
        }
    }
}

impl fmt::Debug for Withdrawal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Withdrawal").field(&self.version).finish()
    }
}

#[cfg(test)]
#[path = "belief_tests.rs"]
mod tests;
