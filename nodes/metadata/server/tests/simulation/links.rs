//! Links that nodes believe in and remove, as `registry/server/src/belief.rs` has it, in a store that all share.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use roadstead_machine::{
    Command, Invalidated, InvalidationCommand, InvalidationOutcome, Outcome, Unit,
};
use roadstead_metadata::{Follows, Lease, Metadata as _, Remote, Unavailable};
use roadstead_oci::{Algorithm, Digest};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::work::propose;
use super::{Mutant, chance, is, truth};

/// Few, so that nodes meet.
const LINKS: u64 = 3;

/// How long a removal waits until all know.
const PATIENCE: Duration = Duration::from_secs(20);

fn unit(link: u64) -> Unit {
    Unit::Layer {
        repository: "a/b".parse().expect("a name"),
        digest: Digest::of(Algorithm::Sha256, &link.to_le_bytes()),
    }
}

fn link(unit: &Unit) -> u64 {
    (0..LINKS)
        .find(|link| self::unit(*link) == *unit)
        .expect("one of them")
}

/// The store.
#[derive(Debug, Clone, Default)]
pub(super) struct Store(Arc<Mutex<Stored>>);

#[derive(Debug, Default)]
struct Stored {
    present: BTreeSet<u64>,
    /// How often each was pushed.
    pushed: BTreeMap<u64, u64>,
    /// Somebody was told that they are gone, and nobody has pushed them since.
    gone: BTreeSet<u64>,
}

impl Store {
    fn lock(&self) -> MutexGuard<'_, Stored> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has(&self, link: u64) -> bool {
        self.lock().present.contains(&link)
    }

    fn push(&self, link: u64) {
        let mut stored = self.lock();
        stored.present.insert(link);
        stored.gone.remove(&link);
        *stored.pushed.entry(link).or_default() += 1;
    }

    /// Answers with how often it had been pushed.
    fn remove(&self, link: u64) -> u64 {
        let mut stored = self.lock();
        stored.present.remove(&link);
        stored.pushed.get(&link).copied().unwrap_or_default()
    }

    fn is_answered(&self, link: u64, pushed: u64) {
        let mut stored = self.lock();
        if stored.pushed.get(&link).copied().unwrap_or_default() == pushed {
            stored.gone.insert(link);
        }
    }
}

/// What a node believes.
#[derive(Clone)]
pub(super) struct Believer(Arc<Inner>);

struct Inner {
    remote: Arc<Remote>,
    store: Store,
    known: Mutex<Known>,
    told: watch::Sender<Invalidated>,
}

#[derive(Default)]
struct Known {
    generation: u64,
    believed: BTreeSet<u64>,
    pending: BTreeSet<u64>,
    /// What the store is being asked for, and what it said.
    asking: Option<(u64, bool)>,
}

impl Known {
    fn forget(&mut self, link: u64) {
        self.believed.remove(&link);
        self.asking = self.asking.filter(|(asked, _)| *asked != link);
    }

    fn forget_all(&mut self) {
        self.believed.clear();
        self.asking = None;
    }
}

impl Believer {
    pub(super) fn new(remote: Arc<Remote>, store: Store) -> Self {
        Self(Arc::new(Inner {
            remote,
            store,
            known: Mutex::default(),
            told: watch::Sender::default(),
        }))
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nobody who holds its lease believes in what somebody was told is gone.
    pub(super) fn check(&self, name: &str) {
        let (known, stored) = (self.known(), self.0.store.lock());
        let is_silent = self.0.told.borrow().is_somebody_silent;
        if let Some(link) = known.believed.intersection(&stored.gone).next()
            && !is_silent
        {
            truth::violated(format_args!(
                "{name} believes in link {link}, which is gone"
            ));
        }
    }

    async fn tell(&self, command: InvalidationCommand) -> Option<InvalidationOutcome> {
        match propose(&self.0.remote, Command::Invalidation(command)).await {
            Some(Outcome::Invalidation(outcome)) => Some(outcome),
            _ => None,
        }
    }

    pub(super) async fn run(&self, lease: &Lease, ended: &CancellationToken) {
        let lives = async { tokio::join!(self.follow(lease), self.ask(lease), self.remove(lease)) };
        ended.run_until_cancelled(lives).await;
    }

    async fn follow(&self, lease: &Lease) {
        loop {
            let (told, generation) = (self.0.told.borrow().clone(), self.known().generation);
            if let Some(epoch) = lease.epoch().filter(|epoch| told.awaits(*epoch)) {
                let version = told.version;
                let acknowledge = InvalidationCommand::Acknowledge { epoch, version };
                self.tell(acknowledge).await;
            }
            let wait = chance::millis(100..1_000);
            let known = Some(told.version);
            match self.0.remote.invalidations(known, wait).await {
                Ok(Some(told)) => self.learn(generation, told),
                Ok(None) => {}
                Err(_unavailable) => sleep(Duration::from_millis(200)).await,
            }
        }
    }

    fn learn(&self, generation: u64, told: Invalidated) {
        let mut known = self.known();
        if known.generation != generation || told.version <= self.0.told.borrow().version {
            return;
        }
        match &told.settled {
            None => known.forget_all(),
            Some(settled) => settled.iter().for_each(|unit| known.forget(link(unit))),
        }
        known.pending = told.pending.values().flatten().map(link).collect();
        for link in known.pending.clone() {
            known.forget(link);
        }
        self.0.told.send_replace(told);
    }

    /// Learns what the store says, later.
    async fn ask(&self, lease: &Lease) {
        loop {
            sleep(chance::millis(5..200)).await;
            let link = chance::within(0..LINKS);
            self.known().asking = Some((link, self.0.store.has(link)));
            sleep(chance::millis(1..100)).await;
            let is_silent = self.0.told.borrow().is_somebody_silent;
            let mut known = self.known();
            if let Some((link, true)) = known.asking.take()
                && lease.is_held()
                && !is_silent
                && !known.pending.contains(&link)
            {
                known.believed.insert(link);
            }
        }
    }

    async fn remove(&self, lease: &Lease) {
        loop {
            sleep(chance::millis(500..5_000)).await;
            let link = chance::within(0..LINKS);
            if chance::one_in(2) {
                self.0.store.push(link);
                continue;
            }
            let Some(epoch) = lease.epoch() else {
                continue;
            };
            let id = chance::bytes();
            let invalidate = InvalidationCommand::Invalidate {
                epoch,
                id,
                units: vec![unit(link)],
            };
            let begun = self.tell(invalidate).await;
            let Some(InvalidationOutcome::Invalidated { version }) = begun else {
                continue;
            };
            if !self.all_know(version).await {
                self.tell(InvalidationCommand::Settle { id }).await;
                continue;
            }
            sleep(chance::millis(1..300)).await;
            let pushed = self.0.store.remove(link);
            let settled = self.tell(InvalidationCommand::Settle { id }).await;
            if settled == Some(InvalidationOutcome::Settled { was_pending: true }) {
                self.0.store.is_answered(link, pushed);
            }
        }
    }

    async fn all_know(&self, version: u64) -> bool {
        if is(Mutant::NobodyWaits) {
            return true;
        }
        let mut told = self.0.told.subscribe();
        let all = told.wait_for(|told| told.is_known_to_all(version));
        matches!(timeout(PATIENCE, all).await, Ok(Ok(_)))
    }
}

#[async_trait]
impl Follows for Believer {
    async fn begin(&self, epoch: u64) -> Result<(), Unavailable> {
        {
            let mut known = self.known();
            known.generation += 1;
            known.forget_all();
        }
        let announce = InvalidationCommand::Announce {
            epoch,
            believes: true,
            proof: None,
        };
        if self.tell(announce).await != Some(InvalidationOutcome::Announced) {
            return Err(Unavailable::because("it is not announced"));
        }
        let told = self.0.remote.invalidations(None, Duration::ZERO).await?;
        let told = told.unwrap_or_default();
        let mut known = self.known();
        known.generation += 1;
        known.forget_all();
        known.pending = told.pending.values().flatten().map(link).collect();
        self.0.told.send_replace(told);
        Ok(())
    }
}
