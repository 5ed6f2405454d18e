//! Where demands come in: a look is answered beside the collection that is under way, a collection waits for its end, and
//! who wants it to end is heard at once.

use std::sync::{Mutex, MutexGuard, PoisonError};

use roadstead_telemetry::metrics::CollectionMetrics;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::coordinator::{Collecting, Stop};
use crate::Registry;

/// Demands that wait for another to be met.
const WAITING: usize = 1;

/// What is said when a collection waits already.
const FULL: &str = "another collection that was asked for has not begun";

/// What somebody may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// Only to be told what would go.
    Look,
    Collect,
    /// That the collection that is under way ends: what is being removed is removed to its end, and nothing else is.
    Cancel,
}

/// A collection that somebody asks for.
#[derive(Debug)]
pub struct Demand {
    pub wish: Wish,
    /// Besides what is configured.
    pub untagged: bool,
    /// Told line by line; the last line says how it ended.
    pub tell: mpsc::UnboundedSender<String>,
}

/// The last line of what a demand is told, when all went well, and what it begins with when it did not.
pub const DONE: &str = "done";
pub const FAILED: &str = "failed: ";

impl Demand {
    /// Says how it ended.
    pub(super) fn end(self, stop: Option<&Stop>) {
        let last = match stop {
            None => DONE.to_owned(),
            Some(stop) => format!("{FAILED}{stop}"),
        };
        let _reader_gone = self.tell.send(last);
    }
}

/// What is under way, for who wants it to end.
#[derive(Debug, Default)]
pub(super) struct Switch(Mutex<CancellationToken>);

impl Switch {
    fn lock(&self) -> MutexGuard<'_, CancellationToken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For what begins. What was to end while nobody went about it, since that had failed, is ended now.
    pub(super) fn begin(&self, is_under_way: bool) -> CancellationToken {
        let mut present = self.lock();
        if !is_under_way {
            *present = CancellationToken::new();
        }
        present.clone()
    }

    pub(super) fn end(&self) {
        *self.lock() = CancellationToken::new();
    }

    pub(super) fn cancel(&self) {
        self.lock().cancel();
    }
}

pub(super) struct Desk<'a> {
    registry: &'a Registry,
    how: Collecting,
    metrics: CollectionMetrics,
    collect: mpsc::Sender<Demand>,
    switch: &'a Switch,
}

impl<'a> Desk<'a> {
    /// Answers with where those come who want a collection.
    pub(super) fn new(
        registry: &'a Registry,
        how: Collecting,
        metrics: CollectionMetrics,
        switch: &'a Switch,
    ) -> (Self, mpsc::Receiver<Demand>) {
        let (collect, collects) = mpsc::channel(WAITING);
        let desk = Self {
            registry,
            how,
            metrics,
            collect,
            switch,
        };
        (desk, collects)
    }

    /// Until the end, or nobody can ask any more.
    pub(super) async fn keep(self, mut demands: mpsc::Receiver<Demand>, ended: &CancellationToken) {
        let mut looks = tokio::task::JoinSet::new();
        while let Some(Some(demand)) = ended.run_until_cancelled(demands.recv()).await {
            // Those that are over.
            while looks.try_join_next().is_some() {}
            match demand.wish {
                Wish::Cancel => {
                    self.switch.cancel();
                    let _reader_gone = demand.tell.send(DONE.to_owned());
                }
                Wish::Collect => {
                    if let Err(full) = self.collect.try_send(demand) {
                        let tell = full.into_inner().tell;
                        let _reader_gone = tell.send(format!("{FAILED}{FULL}"));
                    }
                }
                // Each reads the whole store.
                Wish::Look if !looks.is_empty() => {
                    let busy = format!("{FAILED}somebody else looks at this moment");
                    let _reader_gone = demand.tell.send(busy);
                }
                Wish::Look => {
                    let mut looking = self.registry.coordinator(self.how, self.metrics.clone());
                    looks.spawn(async move {
                        let looked = looking.look(&demand).await;
                        demand.end(looked.as_ref().err());
                    });
                }
            }
        }
        looks.shutdown().await;
    }
}
