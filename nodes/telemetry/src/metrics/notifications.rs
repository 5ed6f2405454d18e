//! `registry_notifications_*`: what goes out to each endpoint.

use ::http::StatusCode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::labels::{EndpointLabels, Escaped, EventLabels, StatusLabels};

#[derive(Debug)]
pub(crate) struct Notifications {
    events: Family<EventLabels, Counter>,
    pending: Family<EndpointLabels, Gauge>,
    statuses: Family<StatusLabels, Counter>,
}

impl Notifications {
    pub(crate) fn new(registry: &mut Registry) -> Self {
        let notifications = Self {
            events: Family::default(),
            pending: Family::default(),
            statuses: Family::default(),
        };
        registry.register(
            "registry_notifications_events",
            "The number of total events",
            notifications.events.clone(),
        );
        registry.register(
            "registry_notifications_pending_total",
            "The gauge of pending events in queue",
            notifications.pending.clone(),
        );
        registry.register(
            "registry_notifications_status",
            "The number of status code",
            notifications.statuses.clone(),
        );
        notifications
    }

    pub(crate) fn endpoint(&self, name: &str) -> EndpointMetrics {
        let endpoint = Escaped::new(name);
        let events = |kind| {
            self.events.get_or_create_owned(&EventLabels {
                endpoint: endpoint.clone(),
                r#type: kind,
            })
        };
        EndpointMetrics {
            events: events("Events"),
            successes: events("Successes"),
            failures: events("Failures"),
            errors: events("Errors"),
            pending: self.pending.get_or_create_owned(&EndpointLabels {
                endpoint: endpoint.clone(),
            }),
            statuses: self.statuses.clone(),
            endpoint,
        }
    }
}

/// What is counted for one endpoint. Cheap to clone.
#[derive(Clone, Debug)]
pub struct EndpointMetrics {
    events: Counter,
    successes: Counter,
    failures: Counter,
    errors: Counter,
    pending: Gauge,
    statuses: Family<StatusLabels, Counter>,
    endpoint: Escaped,
}

impl EndpointMetrics {
    /// An event is to be sent.
    pub fn event(&self) {
        self.events.inc();
    }

    /// How many events wait. Told, not counted: some wait since before the start.
    pub fn pending(&self, count: usize) {
        self.pending.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// The endpoint answered. It has the event if the status is 2xx or 3xx.
    pub fn answered(&self, status: StatusCode) {
        let reason = status.canonical_reason().unwrap_or_default();
        self.statuses
            .get_or_create(&StatusLabels {
                code: format!("{} {reason}", status.as_u16()),
                endpoint: self.endpoint.clone(),
            })
            .inc();
        if status.is_success() || status.is_redirection() {
            self.successes.inc();
        } else {
            self.failures.inc();
        }
    }

    /// The endpoint could not be reached, or did not answer.
    pub fn failed(&self) {
        self.errors.inc();
    }
}
