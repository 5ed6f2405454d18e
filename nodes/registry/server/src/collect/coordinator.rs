//! The coordinator: a task of every node, of which one at a time leads a run.
//!
//! What to do next is what the log says, so that a successor goes on where another stopped: mark and condemn; wait until
//! all nodes have known it for long enough; end what leases that are over could still write; mark again; reap; remove,
//! and see that it is gone. Whatever it learns that it is fenced, it stops.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use roadstead_metadata::{
    ALONE, CollectCommand, CollectOutcome, Collection, Lease, MAX_UNITS, Metadata, Run, Stamp,
    Unavailable, Unit,
};
use roadstead_storage::{Driver, Error as StoreError, Pace, Paced, Under, layout};
use roadstead_telemetry::metrics::CollectionMetrics;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::desk::{Demand, Desk, Switch};
use super::doubt::{CollectError, Doubt};
use super::following::Following;
use super::mark::{Finding, Marked, Marker, Policy, Unneeded};
use super::removal::is_still;
use super::report::{Audience, Report};
use crate::Registry;
use crate::error::Error;
use crate::link::pointed_to;

/// How often it is looked whether there is something to do.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How often it is looked whether somebody else leads, during the long wait.
const STILL_EVERY: Duration = Duration::from_secs(5);

/// How much longer than the push window everybody waits: an answer may be on its way when its request has ended here.
const MARGIN: Duration = Duration::from_secs(2);

/// Condemned of each of three kinds in one run at most: together less than the machine takes.
const CONDEMNED: usize = 30_000;

/// Removed together: while they are, who pushes one of them waits.
const REAPED: usize = 256;

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
    /// How fast the store is asked.
    pub pace: Pace,
}

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
    #[error(transparent)]
    Ends(#[from] Error),
    #[error("{0} of what was removed are still there")]
    NotGone(usize),
    #[error("it was cancelled")]
    Cancelled,
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
    pub(super) store: Arc<dyn Driver>,
    pub(super) metadata: Arc<dyn Metadata>,
    pub(super) following: Following,
    lease: Lease,
    how: Collecting,
    marker: Marker,
    pub(super) report: Report,
    /// Of what it does now.
    cancelled: CancellationToken,
}

impl Registry {
    /// Coordinates collections until the end, if it is this node's turn.
    pub async fn keep_collecting(
        &self,
        how: Collecting,
        demands: mpsc::Receiver<Demand>,
        audience: Audience,
        ended: CancellationToken,
    ) {
        let coordinator = self.coordinator(how, audience.clone());
        let switch = Switch::default();
        let (desk, collects) = Desk::new(self, how, audience, &switch);
        let collecting = self.collect_in_turn(coordinator, collects, &switch, &ended);
        tokio::join!(desk.keep(demands, &ended), collecting);
    }

    pub(super) fn coordinator(&self, how: Collecting, audience: Audience) -> Coordinator {
        let store: Arc<dyn Driver> = match how.pace {
            Pace {
                requests: None,
                bytes: None,
            } => Arc::clone(&self.store),
            pace => Arc::new(Paced::new(Arc::clone(&self.store), pace)),
        };
        Coordinator {
            store,
            metadata: Arc::clone(&self.metadata),
            following: self.following.clone(),
            lease: self.lease.clone(),
            how,
            marker: Marker::default(),
            report: Report::new(audience),
            cancelled: CancellationToken::new(),
        }
    }

    async fn collect_in_turn(
        &self,
        mut coordinator: Coordinator,
        mut collects: mpsc::Receiver<Demand>,
        switch: &Switch,
        ended: &CancellationToken,
    ) {
        let how = coordinator.how;
        let first = how.interval.map(|interval| interval.min(FIRST_WITHIN));
        let mut due = first.map(|first| Instant::now() + first);
        while let Some(demand) = ended.run_until_cancelled(asked(&mut collects)).await {
            let is_due = demand.is_some() || due.is_some_and(|due| due <= Instant::now());
            let is_under_way = !self.following.view().stamp.is_over;
            if !is_due && !is_under_way {
                continue;
            }
            coordinator.how.untagged = how.untagged;
            coordinator.cancelled = switch.begin(is_under_way);
            let turn = async {
                match demand {
                    None => self.coordinate(&mut coordinator, is_due).await,
                    Some(demand) => self.answer(&mut coordinator, demand).await,
                }
            };
            let turned = ended.run_until_cancelled(turn).await;
            switch.end();
            match turned {
                None => return,
                Some(Ok(false)) => {}
                Some(Err(Stop::Fenced)) => coordinator.report.fenced(),
                Some(Ok(true) | Err(Stop::Cancelled)) => {
                    due = how.interval.map(|interval| Instant::now() + interval);
                }
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

    /// Collects for one who asks. Whether a collection is over.
    async fn answer(&self, coordinator: &mut Coordinator, demand: Demand) -> Result<bool, Stop> {
        coordinator.how.untagged |= demand.untagged;
        coordinator.report.tell_to(Some(demand.tell.clone()));
        let answered = match self.lease.epoch() {
            Some(epoch) if self.is_to_lead(epoch).await? => {
                self.coordinate(coordinator, true).await
            }
            _ => Err(Stop::Fenced),
        };
        coordinator.report.tell_to(None);
        demand.end(answered.as_ref().err());
        answered
    }

    /// Leads, if nobody else does and there is something to lead. Whether what was due is done, or somebody else's.
    async fn coordinate(&self, coordinator: &mut Coordinator, is_due: bool) -> Result<bool, Stop> {
        let Some(epoch) = self.lease.epoch() else {
            return Ok(false);
        };
        if !self.is_to_lead(epoch).await? {
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
    pub(super) async fn is_to_lead(&self, epoch: u64) -> Result<bool, Stop> {
        if epoch == ALONE {
            return Ok(true);
        }
        let nodes = self.metadata.fleet().await?.nodes;
        let is_live = |holder: &u64| nodes.values().any(|node| node.epoch == *holder);
        let holder = self.following.view().holder.filter(is_live);
        let is_under_way = !self.following.view().stamp.is_over;
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
    pub(super) async fn look(&mut self, demand: &Demand) -> Result<(), Stop> {
        self.how.untagged |= demand.untagged;
        self.report.tell_to(Some(demand.tell.clone()));
        let marked = self.mark(None).await?;
        self.report.marked(&marked);
        Ok(())
    }

    /// Until there is nothing more to collect: what nothing names any more once a manifest is gone is found by the mark
    /// after that. Where nothing is due, until the run that is under way is over.
    async fn lead(&mut self, term: u64, is_due: bool) -> Result<(), Stop> {
        let cancelled = self.cancelled.clone();
        loop {
            let step = if cancelled.is_cancelled() {
                Err(Stop::Cancelled)
            } else {
                self.step(term, is_due).await
            };
            match step {
                Ok(Step::Again) => {}
                Ok(Step::Wait(wait)) => {
                    cancelled.run_until_cancelled(sleep(wait)).await;
                }
                Ok(Step::Done) => return Ok(()),
                Err(Stop::Cancelled) => {
                    self.abandon(term).await?;
                    return Err(Stop::Cancelled);
                }
                Err(stop) => return Err(stop),
            }
        }
    }

    /// Ends a run without removing more of it than what is being removed already.
    async fn abandon(&mut self, term: u64) -> Result<(), Stop> {
        let collection = self.metadata.collection(None, Duration::ZERO).await?;
        let collection = collection.filter(|collection| collection.term() == term);
        let collection = collection.ok_or(Stop::Fenced)?;
        if let Some(run) = collection.run() {
            self.clear(&collection, run).await?;
            self.finish(&collection).await?;
        }
        self.report.cancelled();
        Ok(())
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
            self.clear(&collection, run).await?;
            return Ok(Step::Again);
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
            let pause = sleep(left.min(STILL_EVERY));
            if self.cancelled.run_until_cancelled(pause).await.is_none() {
                return Err(Stop::Cancelled);
            }
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
        self.mend(&marked.findings).await?;
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

    /// Writes what can only have stood there: a manifest of the repository names the blob, and that is there. A link that is
    /// mended or deleted meanwhile is left so.
    async fn mend(&self, findings: &[Finding]) -> Result<(), Stop> {
        let Some(epoch) = self.lease.epoch() else {
            return Err(Stop::Fenced);
        };
        let is_held = || self.lease.epoch() == Some(epoch);
        let under = Under {
            epoch: self.following.in_store(epoch),
            is_held: &is_held,
        };
        for put in findings.iter().filter_map(|finding| finding.mend.as_ref()) {
            match self.store.get(&put.path, layout::LINK_LIMIT).await {
                Ok(content) if pointed_to(&content).is_none() => {}
                Err(StoreError::TooLarge { .. }) => {}
                Ok(_) | Err(StoreError::NotFound(_)) => continue,
                Err(error) => return Err(error.into()),
            }
            self.store.put_under(under, vec![put.clone()]).await?;
            tracing::warn!(link = %put.path, "garbage collection: a torn link was mended");
        }
        Ok(())
    }

    async fn mark(&mut self, among: Option<&BTreeSet<Unit>>) -> Result<Marked, Stop> {
        let policy = Policy {
            untagged: self.how.untagged,
            grace: self.how.grace,
            now: SystemTime::from(self.metadata.now().await?),
            among,
            most: CONDEMNED,
        };
        let marking = self.marker.mark(&*self.store, &policy);
        if let Some(marked) = self.cancelled.run_until_cancelled(marking).await {
            return Ok(marked?);
        }
        // Half of what it learnt is of no use.
        self.marker = Marker::default();
        Err(Stop::Cancelled)
    }

    /// What is condemned is ripe: of what nothing names even now, nothing exists from here on.
    async fn reap(&mut self, collection: &Collection, run: &Run) -> Result<Step, Stop> {
        self.following.end_epochs().await?;
        let marked = self.mark(Some(run.condemned())).await?;
        self.report.marked_again(run.condemned().len(), &marked);
        for some in marked.unneeded.chunks(REAPED) {
            if self.cancelled.is_cancelled() {
                return Err(Stop::Cancelled);
            }
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
            self.remove(&taken, collection).await?;
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
}

fn units_of(unneeded: &[Unneeded]) -> Vec<Unit> {
    unneeded.iter().map(|one| one.unit.clone()).collect()
}
