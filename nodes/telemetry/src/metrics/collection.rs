//! The garbage collection that runs while everyone pushes.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// What the collector of this process is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Nothing, or another node does it.
    Idle = 0,
    Marking = 1,
    /// For all nodes to have known for long enough what is condemned.
    Waiting = 2,
    Removing = 3,
}

/// What a collector counts. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct CollectionMetrics {
    runs: Counter,
    failures: Counter,
    cancelled: Counter,
    condemned: Counter,
    spared: Counter,
    reaped: Counter,
    bytes: Counter,
    vetoes: Counter,
    phase: Gauge,
}

impl CollectionMetrics {
    pub(crate) fn new(registry: &mut Registry) -> Self {
        let all = Self::default();
        for (name, help, counter) in [
            (
                "roadstead_collection_runs",
                "Runs of the garbage collection that this process brought to their end",
                &all.runs,
            ),
            (
                "roadstead_collection_failures",
                "Steps of the garbage collection that failed, and are tried again",
                &all.failures,
            ),
            (
                "roadstead_collection_cancelled",
                "Collections that were ended because somebody asked for it",
                &all.cancelled,
            ),
            (
                "roadstead_collection_condemned",
                "Links, manifests and blobs that this process condemned",
                &all.condemned,
            ),
            (
                "roadstead_collection_spared",
                "Of those, what was asked for, or named again, before it was removed",
                &all.spared,
            ),
            (
                "roadstead_collection_reaped",
                "Links, manifests and blobs that this process removed",
                &all.reaped,
            ),
            (
                "roadstead_collection_freed_bytes",
                "Bytes of the blobs and manifests that this process removed",
                &all.bytes,
            ),
            (
                "roadstead_collection_vetoes",
                "What was condemned while a request of this process named it, and stays",
                &all.vetoes,
            ),
        ] {
            registry.register(name, help, counter.clone());
        }
        registry.register(
            "roadstead_collection_phase",
            "0: this process collects nothing; 1: it marks; 2: it waits for the push window; 3: it removes",
            all.phase.clone(),
        );
        all
    }

    pub fn is_in(&self, phase: Phase) {
        self.phase.set(phase as i64);
    }

    pub fn failed(&self) {
        self.failures.inc();
    }

    pub fn cancelled(&self) {
        self.cancelled.inc();
    }

    pub fn condemned(&self, units: usize) {
        self.condemned.inc_by(units as u64);
    }

    pub fn vetoed(&self, units: usize) {
        self.vetoes.inc_by(units as u64);
    }

    pub fn spared(&self, units: usize) {
        self.spared.inc_by(units as u64);
    }

    pub fn reaped(&self, units: usize, bytes: u64) {
        self.reaped.inc_by(units as u64);
        self.bytes.inc_by(bytes);
    }

    pub fn finished(&self) {
        self.runs.inc();
    }
}
