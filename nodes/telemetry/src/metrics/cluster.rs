//! What a registry decides in the metadata service, and its place in the cluster.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::http::Histograms;
use super::labels::{CommandLabels, ProposalLabels};
use super::process::write;

/// Seconds: from a sync on a good disk to the budget of a proposal.
const DURATIONS: [f64; 11] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0,
];

fn durations() -> Histogram {
    Histogram::new(DURATIONS)
}

/// A node's place in the cluster, as it is now.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Place {
    /// It holds a lease, so it takes pushes.
    pub is_held: bool,
    pub epoch: u64,
    /// Since the question to which the last lease was the answer; `None` before the first.
    pub renewed: Option<Duration>,
    pub is_draining: bool,
    /// Calls to the metadata service that were made again, since the start.
    pub retries: u64,
    /// How often another member was found to lead, since the start.
    pub leader_changes: u64,
}

/// `None` for a registry on its own, which then has no such series.
type Known = Arc<Mutex<Option<Place>>>;

#[derive(Debug)]
pub(crate) struct Cluster {
    proposals: Histograms<ProposalLabels>,
    sessions: Family<CommandLabels, Counter>,
    place: Known,
}

impl Cluster {
    pub(crate) fn new(registry: &mut Registry) -> Self {
        let cluster = Self {
            proposals: Histograms::new_with_constructor(durations),
            sessions: Family::default(),
            place: Known::default(),
        };
        registry.register(
            "roadstead_metadata_proposal_seconds",
            "Seconds until a decision about uploads or the cluster was made, retries included",
            cluster.proposals.clone(),
        );
        registry.register(
            "roadstead_upload_sessions_decided",
            "Upload sessions that a decision of this process moved or ended",
            cluster.sessions.clone(),
        );
        registry.register_collector(Box::new(Told(Arc::clone(&cluster.place))));
        cluster
    }

    pub(crate) fn proposed(&self, command: &'static str, outcome: &'static str, took: Duration) {
        self.proposals
            .get_or_create(&ProposalLabels { command, outcome })
            .observe(took.as_secs_f64());
    }

    pub(crate) fn decided(&self, command: &'static str, sessions: usize) {
        if sessions > 0 {
            self.sessions
                .get_or_create(&CommandLabels { command })
                .inc_by(sessions as u64);
        }
    }

    pub(crate) fn stands(&self, place: Place) {
        *self.place.lock().unwrap_or_else(PoisonError::into_inner) = Some(place);
    }
}

/// The place as it was told last.
#[derive(Debug)]
struct Told(Known);

impl Collector for Told {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let place = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(place) = place else {
            return Ok(());
        };
        let out = &mut encoder;
        let whole = |number: u64| ConstGauge::new(i64::try_from(number).unwrap_or(i64::MAX));
        let help = "1 while this node holds its lease and takes pushes";
        write(
            out,
            "roadstead_lease_held",
            help,
            &whole(place.is_held.into()),
        )?;
        let help = "The epoch of the lease: another one whenever the node joined anew";
        write(out, "roadstead_lease_epoch", help, &whole(place.epoch))?;
        let help = "1 while an operator wants this node to get no new work";
        let draining = whole(place.is_draining.into());
        write(out, "roadstead_lease_draining", help, &draining)?;
        if let Some(renewed) = place.renewed {
            let help = "Seconds since the lease was renewed; it is good for 8";
            let renewed = ConstGauge::new(renewed.as_secs_f64());
            write(out, "roadstead_lease_age_seconds", help, &renewed)?;
        }
        let help = "Calls to the metadata service that had to be made again";
        let retries = ConstCounter::new(place.retries);
        write(out, "roadstead_metadata_retries", help, &retries)?;
        let help = "How often another member of the metadata service was found to lead";
        let changes = ConstCounter::new(place.leader_changes);
        write(out, "roadstead_metadata_leader_changes", help, &changes)
    }
}
