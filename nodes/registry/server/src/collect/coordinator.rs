//! The coordinator: a task of every node, of which one at a time leads a run.
//!
//! What to do next is what the log says, so that a successor goes on where another stopped: mark and condemn; wait until
//! all nodes have known it for long enough; end what leases that are over could still write; mark again; reap; remove,
//! and see that it is gone. Whatever it learns that it is fenced, it stops.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use roadstead_metadata::{
    ALONE, CollectCommand, CollectOutcome, Collection, MAX_UNITS, Metadata, Run, Stamp,
    Unavailable, Unit,
};
use roadstead_storage::{Driver, Error as StoreError};
use roadstead_telemetry::metrics::CollectionMetrics;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::doubt::{CollectError, Doubt};
use super::following::Following;
use super::mark::{Marked, Marker, Policy, Unneeded};
use super::reap::reap;
use super::report::Report;
use crate::Registry;
use crate::error::Error;

/// How often it is looked whether there is something to do.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How often it is looked whether somebody else leads, during the long wait.
const STILL_EVERY: Duration = Duration::from_secs(5);

/// How much longer than the push window everybody waits: an answer may be on its way when its request has ended here.
const MARGIN: Duration = Duration::from_secs(2);

/// Condemned of each kind in one run at most: nodes hold it in memory, and read it from the log.
const CONDEMNED: usize = 10_000;

/// How often what was removed is looked at before that is tried anew later.
const REMOVALS: usize = 10;
const REMOVE_AGAIN_AFTER: Duration = Duration::from_millis(200);

/// The first collection comes after so long at most, so that a process that is restarted often collects, too.
const FIRST_WITHIN: Duration = Duration::from_hours(1);

/// A mark that failed costs as much as one that did not.
const FAILED_AGAIN_AFTER: Duration = Duration::from_mins(1);

/// How, and when, is collected.
#[derive(Debug, Clone, Copy)]
pub struct Collecting {
    /// From one collection to the next; `None`: only when somebody asks for one.
    pub interval: Option<Duration>,
    /// What is younger stays.
    pub grace: Duration,
    /// For how long a client may rely on having been told that something exists.
    pub push_window: Duration,
    /// Manifests that nothing leads to go as well.
    pub untagged: bool,
}

/// A collection that somebody asks for.
#[derive(Debug)]
pub struct Demand {
    /// Only says what would go.
    pub dry_run: bool,
    /// Besides what is configured.
    pub untagged: bool,
    /// Told line by line; the last line says how it ended.
    pub tell: mpsc::UnboundedSender<String>,
}

/// The last line of what a demand is told, when all went well, and what it begins with when it did not.
pub const DONE: &str = "done";
pub const FAILED: &str = "failed: ";

/// Why a coordinator does not go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Stop {
    /// Another leads, or this node has no lease.
    #[error("another node leads the collection")]
    Fenced,
    #[error(transparent)]
    Metadata(#[from] Unavailable),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Collect(#[from] CollectError),
    #[error("{0} of what was removed are still there")]
    NotGone(usize),
}

/// What became of a step.
enum Step {
    Again,
    Wait(Duration),
    /// There is nothing to collect.
    Done,
}

/// Collects, when it is due and this node leads.
pub(super) struct Coordinator {
    store: Arc<dyn Driver>,
    metadata: Arc<dyn Metadata>,
    following: Following,
    how: Collecting,
    marker: Marker,
    report: Report,
}

impl Registry {
    /// Coordinates collections until the end, if it is this node's turn.
    pub async fn keep_collecting(
        &self,
        how: Collecting,
        mut demands: mpsc::Receiver<Demand>,
        metrics: CollectionMetrics,
        ended: CancellationToken,
    ) {
        let mut coordinator = Coordinator {
            store: Arc::clone(&self.store),
            metadata: Arc::clone(&self.metadata),
            following: self.following.clone(),
            how,
            marker: Marker::default(),
            report: Report::new(metrics),
        };
        let first = how.interval.map(|interval| interval.min(FIRST_WITHIN));
        let mut due = first.map(|first| Instant::now() + first);
        while let Some(demand) = ended.run_until_cancelled(asked(&mut demands)).await {
            let is_asked = demand.is_some();
            let is_due = is_asked || due.is_some_and(|due| due <= Instant::now());
            if !is_due && self.following.view().stamp.is_over {
                continue;
            }
            coordinator.how.untagged = how.untagged;
            let turn = async {
                match demand {
                    None => self.coordinate(&mut coordinator, is_due).await,
                    Some(demand) => self.answer(&mut coordinator, demand).await,
                }
            };
            match ended.run_until_cancelled(turn).await {
                None => return,
                Some(Ok(false)) => {}
                Some(Err(Stop::Fenced)) => coordinator.report.fenced(),
                Some(Ok(true)) => due = how.interval.map(|interval| Instant::now() + interval),
                Some(Err(stop)) => {
                    coordinator.report.failed(&stop);
                    ended.run_until_cancelled(sleep(STILL_EVERY)).await;
                    let wait = how
                        .interval
                        .map(|interval| interval.min(FAILED_AGAIN_AFTER));
                    due = wait.map(|wait| Instant::now() + wait);
                }
            }
        }
    }

    /// Follows the collection and what other nodes remove, and says what requests in flight name, until the end.
    pub async fn keep_following(&self, metrics: CollectionMetrics, ended: CancellationToken) {
        let lease = || self.lease.clone();
        let following = self.following.keep(lease(), metrics, ended.clone());
        if self.lease.is_unlimited() {
            following.await;
        } else {
            let belief = self.following.belief();
            tokio::join!(following, belief.keep(lease(), ended));
        }
    }

    /// Collects, or says what would go, for one who asks. Whether a collection is over.
    async fn answer(&self, coordinator: &mut Coordinator, demand: Demand) -> Result<bool, Stop> {
        let Demand {
            dry_run,
            untagged,
            tell,
        } = demand;
        coordinator.how.untagged |= untagged;
        coordinator.report.tell_to(Some(tell.clone()));
        let answered = if dry_run {
            coordinator.look().await
        } else {
            self.coordinate(coordinator, true).await
        };
        coordinator.report.tell_to(None);
        let last = match &answered {
            Ok(_over) => DONE.to_owned(),
            Err(stop) => format!("{FAILED}{stop}"),
        };
        let _reader_gone = tell.send(last);
        answered
    }

    /// Leads, if nobody else does and there is something to lead. Whether what was due is done, or somebody else's.
    async fn coordinate(&self, coordinator: &mut Coordinator, is_due: bool) -> Result<bool, Stop> {
        let Some(epoch) = self.lease.epoch() else {
            return Ok(false);
        };
        let is_under_way = !self.following.view().stamp.is_over;
        if !self.is_to_lead(epoch, is_under_way).await? {
            return Ok(is_due);
        }
        match self
            .following
            .propose(CollectCommand::Begin { epoch })
            .await?
        {
            CollectOutcome::Began { term } => {
                coordinator.lead(term, is_due).await?;
                Ok(is_due)
            }
            _busy_or_fenced => Err(Stop::Fenced),
        }
    }

    /// Whoever led last leads again as long as it has its lease: the log has it so. After that a run is for anybody to bring
    /// to its end, and a new one for the node that has been there for longest.
    async fn is_to_lead(&self, epoch: u64, is_under_way: bool) -> Result<bool, Stop> {
        if epoch == ALONE {
            return Ok(true);
        }
        let nodes = self.metadata.fleet().await?.nodes;
        let is_live = |holder: &u64| nodes.values().any(|node| node.epoch == *holder);
        let holder = self.following.view().holder.filter(is_live);
        Ok(match holder {
            Some(holder) => holder == epoch,
            None => is_under_way || nodes.values().all(|node| node.epoch >= epoch),
        })
    }
}

/// The next demand, or that it is time to look.
async fn asked(demands: &mut mpsc::Receiver<Demand>) -> Option<Demand> {
    match tokio::time::timeout(LOOK_EVERY, demands.recv()).await {
        // Nobody can ask any more.
        Ok(None) => {
            sleep(LOOK_EVERY).await;
            None
        }
        Ok(demand) => demand,
        Err(_elapsed) => None,
    }
}

impl Coordinator {
    /// Says what would be condemned now.
    async fn look(&mut self) -> Result<bool, Stop> {
        let marked = self.mark(None).await?;
        self.report.marked(&marked);
        Ok(false)
    }

    /// Until there is nothing more to collect: what nothing names any more once a manifest is gone is found by the mark
    /// after that. Where nothing is due, until the run that is under way is over.
    async fn lead(&mut self, term: u64, is_due: bool) -> Result<(), Stop> {
        loop {
            match self.step(term, is_due).await? {
                Step::Again => {}
                Step::Wait(wait) => sleep(wait).await,
                Step::Done => return Ok(()),
            }
        }
    }

    async fn step(&mut self, term: u64, is_due: bool) -> Result<Step, Stop> {
        let Some(collection) = self.metadata.collection(None, Duration::ZERO).await? else {
            return Err(Stop::Fenced);
        };
        if collection.term() != term {
            return Err(Stop::Fenced);
        }
        let Some(run) = collection.run() else {
            return if is_due {
                self.condemn(&collection).await
            } else {
                Ok(Step::Done)
            };
        };
        if !run.reaping().is_empty() {
            // Somebody before this one may have asked for a removal that is still on its way.
            self.end_epochs().await?;
            let units: Vec<Unit> = run.reaping().iter().cloned().collect();
            for some in units.chunks(MAX_UNITS) {
                self.remove(some, collection.stamp()).await?;
            }
            return self.finish(&collection).await;
        }
        let now = self.metadata.now().await?;
        match run.ripe() {
            None => Ok(Step::Wait(LOOK_EVERY)),
            Some(ripe) if now < ripe => {
                let left = Duration::from_millis(ripe.0.saturating_sub(now.0));
                self.wait(left, collection.stamp()).await?;
                Ok(Step::Again)
            }
            Some(_ripe) => self.reap(&collection, run).await,
        }
    }

    /// As long as this one leads.
    async fn wait(&self, left: Duration, stamp: Stamp) -> Result<(), Stop> {
        let until = Instant::now() + left;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            sleep(left.min(STILL_EVERY)).await;
            if !is_still(&*self.metadata, stamp).await {
                return Err(Stop::Fenced);
            }
        }
    }

    async fn condemn(&mut self, collection: &Collection) -> Result<Step, Stop> {
        self.store.prove_fences().await?;
        self.report.marks();
        let marked = match self.mark(None).await {
            // Nobody has pushed an image yet.
            Err(Stop::Collect(CollectError::Doubtful {
                doubt: Doubt::NoStore | Doubt::NoRepositories,
                ..
            })) => Marked::default(),
            marked => marked?,
        };
        self.report.marked(&marked);
        if marked.unneeded.is_empty() {
            self.report.ended();
            return Ok(Step::Done);
        }
        let units: Vec<Unit> = units_of(&marked.unneeded);
        let wait = self.how.push_window.max(self.how.grace) + MARGIN;
        let mut after = collection.version();
        for some in units.chunks(MAX_UNITS) {
            let condemn = CollectCommand::Condemn {
                term: collection.term(),
                after,
                units: some.to_vec(),
                wait,
            };
            match self.following.propose(condemn).await? {
                CollectOutcome::Condemned { version } => after = version,
                // What was not condemned is found again.
                CollectOutcome::TooMany => break,
                _fenced => return Err(Stop::Fenced),
            }
        }
        self.report.condemned(units.len(), wait);
        Ok(Step::Again)
    }

    async fn mark(&mut self, among: Option<&BTreeSet<Unit>>) -> Result<Marked, Stop> {
        let policy = Policy {
            untagged: self.how.untagged,
            grace: self.how.grace,
            now: SystemTime::from(self.metadata.now().await?),
            among,
            most: CONDEMNED,
        };
        Ok(self.marker.mark(&*self.store, &policy).await?)
    }

    /// What is condemned is ripe: of what nothing names even now, nothing exists from here on.
    async fn reap(&mut self, collection: &Collection, run: &Run) -> Result<Step, Stop> {
        self.end_epochs().await?;
        let marked = self.mark(Some(run.condemned())).await?;
        self.report.marked_again(run.condemned().len(), &marked);
        for some in marked.unneeded.chunks(MAX_UNITS) {
            let reap = CollectCommand::Reap {
                term: collection.term(),
                version: collection.version(),
                units: units_of(some),
            };
            let taken = match self.following.propose(reap).await? {
                CollectOutcome::Reaping { units } => units,
                CollectOutcome::Early => return Ok(Step::Wait(LOOK_EVERY)),
                _fenced => return Err(Stop::Fenced),
            };
            self.remove(&taken, collection.stamp()).await?;
            self.report.removed(&taken, some);
        }
        self.finish(collection).await
    }

    async fn finish(&mut self, collection: &Collection) -> Result<Step, Stop> {
        let finish = CollectCommand::Finish {
            term: collection.term(),
            version: collection.version(),
        };
        match self.following.propose(finish).await? {
            CollectOutcome::Finished => {
                self.report.finished();
                Ok(Step::Again)
            }
            _fenced => Err(Stop::Fenced),
        }
    }

    /// Links and tags that leases wrote which are over appear no more: listed first, and then the log is asked which are.
    async fn end_epochs(&self) -> Result<(), Stop> {
        let begun = self.store.epochs().await?;
        let nodes = self.metadata.fleet().await?.nodes;
        let is_live = |epoch: u64| {
            (epoch == ALONE && nodes.is_empty()) || nodes.values().any(|node| node.epoch == epoch)
        };
        let over: Vec<u64> = begun.into_iter().filter(|epoch| !is_live(*epoch)).collect();
        let until_none_comes = self.store.end_epochs(&over).await?;
        sleep(until_none_comes).await;
        Ok(())
    }

    /// Again and again until all of it is seen to be gone.
    async fn remove(&self, units: &[Unit], stamp: Stamp) -> Result<(), Stop> {
        let metadata = Arc::clone(&self.metadata);
        let still = move || {
            let metadata = Arc::clone(&metadata);
            let asking = async move { is_still(&*metadata, stamp).await };
            Box::pin(asking) as futures::future::BoxFuture<'static, bool>
        };
        let mut left = units.to_vec();
        for _ in 0..REMOVALS {
            left = match reap(&*self.store, &left, &still).await {
                Err(CollectError::Failed(Error::Store(StoreError::Fenced))) => {
                    return Err(Stop::Fenced);
                }
                left => left?,
            };
            if left.is_empty() {
                return Ok(());
            }
            sleep(REMOVE_AGAIN_AFTER).await;
        }
        Err(Stop::NotGone(left.len()))
    }
}

/// Whether a run is still where this stamp has it, in the same term.
async fn is_still(metadata: &dyn Metadata, stamp: Stamp) -> bool {
    let asked = metadata.collection(Some(stamp), Duration::ZERO).await;
    matches!(asked, Ok(None))
}

fn units_of(unneeded: &[Unneeded]) -> Vec<Unit> {
    unneeded.iter().map(|one| one.unit.clone()).collect()
}
