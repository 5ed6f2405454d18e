//! What a collector says of what it does: log lines and figures.

use std::collections::HashMap;
use std::time::Duration;

use roadstead_metadata::Unit;
use roadstead_telemetry::metrics::{CollectionMetrics, Phase};

use tokio::sync::mpsc::UnboundedSender;

use super::coordinator::Stop;
use super::mark::{Finding, Marked, Unneeded};

/// Findings that are logged one by one.
const FINDINGS: usize = 20;

#[derive(Debug)]
pub(super) struct Report {
    metrics: CollectionMetrics,
    /// Of the run.
    condemned: usize,
    reaped: usize,
    bytes: u64,
    /// Said last, so that it is said once.
    failure: Option<String>,
    /// Somebody who has asked for the collection.
    asked_by: Option<UnboundedSender<String>>,
}

impl Report {
    pub(super) fn new(metrics: CollectionMetrics) -> Self {
        Self {
            metrics,
            condemned: 0,
            reaped: 0,
            bytes: 0,
            failure: None,
            asked_by: None,
        }
    }

    pub(super) fn tell_to(&mut self, asked_by: Option<UnboundedSender<String>>) {
        self.asked_by = asked_by;
    }

    fn tell(&self, line: impl FnOnce() -> String) {
        if let Some(asked_by) = &self.asked_by {
            let _reader_gone = asked_by.send(line());
        }
    }

    pub(super) fn marks(&self) {
        self.metrics.is_in(Phase::Marking);
        tracing::debug!("garbage collection: looking for what nothing needs");
    }

    pub(super) fn marked(&mut self, marked: &Marked) {
        (self.condemned, self.reaped, self.bytes) = (0, 0, 0);
        for Finding { place, doubt, .. } in marked.findings.iter().take(FINDINGS) {
            tracing::warn!(%place, %doubt, "garbage collection: not as it should be");
        }
        self.list(marked);
        let (unneeded, named) = (marked.unneeded.len(), marked.named);
        tracing::debug!(unneeded, named, "garbage collection: looked");
    }

    /// In the reference's words.
    fn list(&self, marked: &Marked) {
        let (mut blobs, mut manifests) = (0, 0);
        for Unneeded { unit, reason, .. } in &marked.unneeded {
            match unit {
                Unit::Revision { .. } => manifests += 1,
                Unit::Data { .. } => blobs += 1,
                Unit::Layer { .. } => {}
            }
            self.tell(|| match unit {
                Unit::Revision { repository, digest } => {
                    format!("{repository}: manifest eligible for deletion: {digest} ({reason})")
                }
                Unit::Layer { repository, digest } => {
                    format!("{repository}: layer link eligible for deletion: {digest} ({reason})")
                }
                Unit::Data { digest } => format!("blob eligible for deletion: {digest} ({reason})"),
            });
        }
        let named = marked.named;
        self.tell(|| {
            format!("\n{named} blobs marked, {blobs} blobs and {manifests} manifests eligible for deletion")
        });
    }

    /// So many, and they can be removed after the wait.
    pub(super) fn condemned(&mut self, units: usize, wait: Duration) {
        self.tell(|| {
            format!(
                "waiting {} s: what is asked for meanwhile stays",
                wait.as_secs()
            )
        });
        self.condemned = units;
        self.failure = None;
        self.metrics.condemned(units);
        self.metrics.is_in(Phase::Waiting);
        tracing::info!(
            units,
            "garbage collection: what nothing needs is removed after the push window"
        );
    }

    /// Of so many that are still condemned, what nothing needs even now.
    pub(super) fn marked_again(&mut self, condemned: usize, marked: &Marked) {
        // A successor does not know how many there were.
        let before = self.condemned.max(condemned);
        let spared = before.saturating_sub(marked.unneeded.len());
        self.metrics.spared(spared);
        self.metrics.is_in(Phase::Removing);
        let unneeded = marked.unneeded.len();
        self.tell(|| format!("removing {unneeded}; {spared} are needed again"));
        tracing::info!(unneeded, spared, "garbage collection: removing");
    }

    pub(super) fn removed(&mut self, taken: &[Unit], unneeded: &[Unneeded]) {
        let bytes: HashMap<&Unit, u64> =
            unneeded.iter().map(|one| (&one.unit, one.bytes)).collect();
        let freed = taken.iter().filter_map(|unit| bytes.get(unit)).sum();
        self.reaped += taken.len();
        self.bytes += freed;
        self.metrics.reaped(taken.len(), freed);
    }

    pub(super) fn finished(&mut self) {
        self.failure = None;
        self.metrics.finished();
        self.metrics.is_in(Phase::Idle);
        let (removed, bytes) = (self.reaped, self.bytes);
        tracing::info!(removed, bytes, "garbage collection: the run is over");
        self.tell(|| format!("{removed} removed, {bytes} bytes freed"));
    }

    /// There is nothing to collect.
    pub(super) fn ended(&mut self) {
        self.failure = None;
        self.metrics.is_in(Phase::Idle);
        tracing::debug!("garbage collection: nothing is to be removed");
    }

    pub(super) fn cancelled(&mut self) {
        self.failure = None;
        self.metrics.is_in(Phase::Idle);
        tracing::info!("garbage collection: it was cancelled");
    }

    pub(super) fn fenced(&self) {
        self.metrics.is_in(Phase::Idle);
    }

    pub(super) fn failed(&mut self, stop: &Stop) {
        self.metrics.failed();
        self.metrics.is_in(Phase::Idle);
        let said = stop.to_string();
        if self.failure.as_ref() != Some(&said) {
            tracing::error!("garbage collection: {said}; it is tried again");
        }
        self.failure = Some(said);
    }
}
