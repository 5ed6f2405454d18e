//! What this node knows of the collection, and what its requests in flight name.
//!
//! The order matters, and is the same as in `tests/models`. A request enters its units first and looks at what is known
//! after that; whoever learns makes it known first, then drops from the caches what is in question, and then looks at what
//! is entered. So a request either asks the log, or its units are vetoed.

use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use roadstead_cache::Cache;
use roadstead_metadata::{
    ALONE, CollectCommand, CollectOutcome, Collection, Command, Follows, Lease, MAX_UNITS,
    Metadata, Outcome, Run, Stamp, Unavailable, Unit,
};
use roadstead_storage::Driver;
use roadstead_telemetry::metrics::CollectionMetrics;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::flights::{Flights, InFlight};
use crate::belief::{Belief, key};
use crate::error::Error;

/// How long one question waits for the collection to move on.
const WAIT: Duration = Duration::from_secs(2);

/// The pause after the log did not answer.
const PAUSE: Duration = Duration::from_secs(1);

/// Of more units than this, it costs less to learn again what exists.
const DROPPED_ONE_BY_ONE: usize = 1000;

/// What is known of the collection.
#[derive(Debug, Default)]
pub(crate) struct View {
    pub(crate) stamp: Stamp,
    /// Condemned, or being reaped: of these, the log has to be asked.
    questioned: HashSet<Unit>,
    /// Epochs whose nodes had not acknowledged.
    awaited: BTreeSet<u64>,
    /// The coordinator's epoch.
    pub(crate) holder: Option<u64>,
}

impl View {
    fn of(collection: &Collection) -> Self {
        let run = collection.run();
        let units = run.map(|run| run.condemned().iter().chain(run.reaping()));
        Self {
            stamp: collection.stamp(),
            questioned: units.into_iter().flatten().cloned().collect(),
            awaited: run.map(Run::awaited).cloned().unwrap_or_default(),
            holder: collection.holder(),
        }
    }

    /// Version and whether anything is in question, in one number.
    fn mark(&self) -> u64 {
        (self.stamp.version << 1) | u64::from(!self.questioned.is_empty())
    }

    pub(crate) fn questions(&self, unit: &Unit) -> bool {
        self.questioned.contains(unit)
    }
}

/// Cheap to clone.
#[derive(Clone)]
pub(crate) struct Following(Arc<Inner>);

struct Inner {
    store: Arc<dyn Driver>,
    metadata: Arc<dyn Metadata>,
    cache: Cache,
    belief: Belief,
    /// Of the view: all that most requests look at.
    mark: AtomicU64,
    view: RwLock<Arc<View>>,
    flights: Flights,
    /// Held by the one who learns.
    learning: tokio::sync::Mutex<()>,
    moved: watch::Sender<Stamp>,
    /// Tells this group's epochs from those of a group that had the store before.
    group: OnceLock<u32>,
}

impl Following {
    /// Nothing is known yet: an epoch begins before the first request.
    pub(crate) fn new(store: Arc<dyn Driver>, metadata: Arc<dyn Metadata>, cache: Cache) -> Self {
        let flights = Flights::default();
        Self(Arc::new(Inner {
            belief: Belief::new(Arc::clone(&metadata), cache.clone(), flights.clone()),
            store,
            metadata,
            cache,
            mark: AtomicU64::new(0),
            view: RwLock::default(),
            flights,
            learning: tokio::sync::Mutex::default(),
            moved: watch::Sender::default(),
            group: OnceLock::new(),
        }))
    }

    pub(crate) fn belief(&self) -> &Belief {
        &self.0.belief
    }

    pub(crate) fn view(&self) -> Arc<View> {
        let view = self.0.view.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&view)
    }

    /// The version that is known, and whether anything is in question in it.
    pub(crate) fn mark(&self) -> (u64, bool) {
        let mark = self.0.mark.load(Ordering::SeqCst);
        (mark >> 1, mark & 1 == 1)
    }

    /// These are named by a request until what is answered with is dropped. One that `is_writing` may write links to them.
    pub(crate) fn enter(&self, units: Arc<[Unit]>, is_writing: bool) -> InFlight {
        self.0.flights.enter(units, is_writing)
    }

    /// Learns where the collection stands now. Goes on also when nobody waits for it any more.
    pub(crate) async fn follow(&self) -> Result<(), Unavailable> {
        let this = self.clone();
        let following = tokio::spawn(async move {
            let known = Some(this.view().stamp);
            match this.0.metadata.collection(known, Duration::ZERO).await? {
                Some(collection) => this.learn(&collection).await,
                None => Ok(()),
            }
        });
        following.await.map_err(Unavailable::because)?
    }

    async fn learn(&self, collection: &Collection) -> Result<(), Unavailable> {
        let _alone = self.0.learning.lock().await;
        let before = self.view();
        let stamp = collection.stamp();
        if stamp <= before.stamp {
            return Ok(());
        }
        let now = self.show(View::of(collection));
        let dropped: HashSet<&Unit> = before.questioned.union(&now.questioned).collect();
        if dropped.len() > DROPPED_ONE_BY_ONE {
            self.0.cache.forget_all();
        } else {
            for unit in dropped {
                self.drop_cached(unit).await;
            }
        }
        self.0.moved.send_replace(stamp);
        Ok(())
    }

    fn show(&self, view: View) -> Arc<View> {
        let (view, mark) = (Arc::new(view), &self.0.mark);
        let mut shown = self.0.view.write().unwrap_or_else(PoisonError::into_inner);
        *shown = Arc::clone(&view);
        mark.store(view.mark(), Ordering::SeqCst);
        view
    }

    /// What is being learnt of it meanwhile is not believed either.
    async fn drop_cached(&self, unit: &Unit) {
        if let Some(key) = key(unit) {
            // What could not be cleared in Redis proves nothing any more.
            let _cleared = self.0.cache.removing(&key).await.end().await;
        }
    }

    /// Epochs are those of this group from now on.
    pub(crate) fn is_of(&self, group: u32) {
        let _at_most_once = self.0.group.set(group);
    }

    /// What the store calls an epoch. A group that is made anew counts from one again, and a node of the one before that was
    /// paused must not write under an epoch of the new one.
    pub(crate) fn in_store(&self, epoch: u64) -> u64 {
        match self.0.group.get() {
            Some(group) if epoch != ALONE => (u64::from(*group) << 32) ^ epoch,
            _ => epoch,
        }
    }

    /// Links and tags that leases wrote which are over appear no more.
    pub(crate) async fn end_epochs(&self) -> Result<(), Error> {
        let until_none_comes = self.0.store.end_epochs(&self.over().await?).await?;
        tokio::time::sleep(until_none_comes).await;
        Ok(())
    }

    /// The same, as far as it can be had without waiting for what a bucket may carry out yet.
    pub(crate) async fn end_epochs_at_once(&self) -> Result<(), Error> {
        let over = self.over().await?;
        if !over.is_empty() {
            self.0.store.end_epochs(&over).await?;
        }
        Ok(())
    }

    /// Epochs that the store keeps and that are over: listed first, and then the log is asked which are.
    async fn over(&self) -> Result<Vec<u64>, Error> {
        let mut begun = self.0.store.epochs().await?;
        if begun.is_empty() {
            return Ok(begun);
        }
        let nodes = self.0.metadata.fleet().await?.nodes;
        let is_live = |epoch: u64| {
            (epoch == ALONE && nodes.is_empty())
                || nodes
                    .values()
                    .any(|node| self.in_store(node.epoch) == epoch)
        };
        begun.retain(|epoch| !is_live(*epoch));
        Ok(begun)
    }

    /// Waits until nothing that is being reaped now is reaped any more; whether that came in time.
    pub(crate) async fn ended(&self, version: u64, within: Duration) -> bool {
        let mut moved = self.0.moved.subscribe();
        let is_past = |stamp: &Stamp| stamp.version > version || stamp.is_over;
        let waited = tokio::time::timeout(within, moved.wait_for(is_past)).await;
        waited.is_ok()
    }

    /// These are wanted, whatever is condemned.
    pub(crate) async fn rescue(
        &self,
        version: u64,
        units: &[Unit],
    ) -> Result<CollectOutcome, Unavailable> {
        for some in units.chunks(MAX_UNITS) {
            let units = some.to_vec();
            match self
                .propose(CollectCommand::Rescue { version, units })
                .await?
            {
                CollectOutcome::Rescued => {}
                other => return Ok(other),
            }
        }
        Ok(CollectOutcome::Rescued)
    }

    pub(crate) async fn propose(
        &self,
        command: CollectCommand,
    ) -> Result<CollectOutcome, Unavailable> {
        match self.0.metadata.propose(Command::Collect(command)).await? {
            Outcome::Collect(outcome) => Ok(outcome),
            other => Err(Unavailable::because(format!("it answered {other:?}"))),
        }
    }

    /// Follows the log and acknowledges what is condemned, until the end.
    pub(crate) async fn keep(
        &self,
        lease: Lease,
        metrics: CollectionMetrics,
        ended: CancellationToken,
    ) {
        let mut acknowledged = None;
        while !ended.is_cancelled() {
            let turn = async {
                let vetoes = self.acknowledge(&lease, &mut acknowledged).await?;
                metrics.vetoed(vetoes);
                let known = Some(self.view().stamp);
                if let Some(collection) = self.0.metadata.collection(known, WAIT).await? {
                    self.learn(&collection).await?;
                }
                Ok::<_, Unavailable>(())
            };
            if let Some(Err(error)) = ended.run_until_cancelled(turn).await {
                tracing::debug!(%error, "the collection is not followed");
                let pause = tokio::time::sleep(PAUSE);
                ended.run_until_cancelled(pause).await;
            }
        }
    }

    /// Tells the log that this node knows what is condemned, if it waits for that; what requests in flight name is to stay.
    /// Answers with how much that is.
    async fn acknowledge(
        &self,
        lease: &Lease,
        acknowledged: &mut Option<(u64, u64)>,
    ) -> Result<usize, Unavailable> {
        let view = self.view();
        let version = view.stamp.version;
        let Some(epoch) = lease.epoch().filter(|epoch| view.awaited.contains(epoch)) else {
            return Ok(0);
        };
        if *acknowledged == Some((epoch, version)) {
            return Ok(0);
        }
        // Whoever shows a view is not done before the caches have nothing of it.
        drop(self.0.learning.lock().await);
        let mut vetoes = self.0.flights.naming(|unit| view.questions(unit));
        let vetoed = vetoes.len();
        let last = vetoes.split_off(vetoes.len().saturating_sub(MAX_UNITS));
        self.rescue(version, &vetoes).await?;
        self.0.belief.vouch(epoch).await?;
        let vetoes = last;
        self.propose(CollectCommand::Acknowledge {
            epoch,
            version,
            vetoes,
        })
        .await?;
        *acknowledged = Some((epoch, version));
        Ok(vetoed)
    }

    /// How many requests are in flight.
    #[cfg(test)]
    pub(crate) fn in_flight(&self) -> usize {
        self.0.flights.count()
    }
}

#[async_trait]
impl Follows for Following {
    /// A new epoch begins with what is condemned now, and with empty caches.
    async fn begin(&self, epoch: u64) -> Result<(), Unavailable> {
        let this = self.clone();
        let beginning = tokio::spawn(async move {
            let begun = this.0.store.begin_epoch(this.in_store(epoch)).await;
            begun.map_err(Unavailable::because)?;
            // Only now: an epoch that ended before it was begun in the store would never be ended there.
            if epoch != ALONE {
                let nodes = this.0.metadata.fleet().await?.nodes;
                if !nodes.values().any(|node| node.epoch == epoch) {
                    return Err(Unavailable::because("the lease is over already"));
                }
            }
            if let Some(collection) = this.0.metadata.collection(None, Duration::ZERO).await? {
                this.learn(&collection).await?;
                this.0.cache.forget_all();
            }
            if epoch != ALONE {
                this.0.belief.begin(epoch).await?;
            }
            Ok(())
        });
        beginning.await.map_err(Unavailable::because)?
    }
}

impl fmt::Debug for Following {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Following")
            .field(&self.view().stamp)
            .finish()
    }
}
