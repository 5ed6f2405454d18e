//! What each endpoint came to: the reference's figures, for `/debug/vars` and metrics, and what was lost.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use http::StatusCode;
use serde::Serialize;

use crate::options::EndpointOptions;

/// An endpoint and its figures, with the reference's names at `/debug/vars`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct EndpointStats {
    /// As configured.
    #[serde(rename = "name")]
    pub name: String,
    /// Without password and query.
    #[serde(rename = "url")]
    pub url: String,
    /// The names of the static headers; in place of each value stands that there is one.
    pub headers: BTreeMap<String, Vec<&'static str>>,
    /// Nanoseconds.
    pub timeout: u64,
    /// Failures in a row before it backs off.
    pub threshold: u32,
    /// Nanoseconds.
    pub backoff: u64,
    /// In the reference, the older of two settings; here both are in `Ignore`.
    pub ignored_media_types: Vec<String>,
    /// What the endpoint does not want to be told.
    pub ignore: Ignore,
    /// Since the process started.
    pub metrics: Metrics,
}

/// What an endpoint does not want to be told.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Ignore {
    /// Of the target.
    pub media_types: Vec<String>,
    /// `push`, `pull`, `mount`, `delete`.
    pub actions: Vec<String>,
}

/// Figures since the process started; all but `pending` only grow.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Metrics {
    /// Events in the queue, also from before the start.
    pub pending: u64,
    /// Events that came into the queue.
    pub events: u64,
    /// Deliveries that were taken.
    pub successes: u64,
    /// Attempts answered with neither 2xx nor 3xx.
    pub failures: u64,
    /// Attempts that got no answer.
    pub errors: u64,
    /// Answers by status, as in `200 OK`.
    pub statuses: BTreeMap<String, u64>,
    /// Events that left the queue undelivered, because it was full. Not in the reference.
    pub dropped: u64,
    /// Events that never got into the queue: malformed, too large, or the disk failed. Not in the reference.
    pub lost: u64,
}

/// The live figures of an endpoint.
#[derive(Debug)]
pub(crate) struct Tally {
    name: String,
    metrics: Mutex<Metrics>,
}

impl Tally {
    pub(crate) fn new(name: String) -> Self {
        Self {
            name,
            metrics: Mutex::default(),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn update<T>(&self, change: impl FnOnce(&mut Metrics) -> T) -> T {
        change(&mut self.lock())
    }

    /// An answer; whether it means that the event was taken.
    pub(crate) fn answered(&self, status: StatusCode) -> bool {
        let taken = status.is_success() || status.is_redirection();
        let mut metrics = self.lock();
        *metrics.statuses.entry(label(status)).or_default() += 1;
        if taken {
            metrics.successes += 1;
        } else {
            metrics.failures += 1;
        }
        taken
    }

    pub(crate) fn snapshot(&self, endpoint: &EndpointOptions) -> EndpointStats {
        let nanoseconds =
            |time: std::time::Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let headers = endpoint.headers.iter();
        EndpointStats {
            name: endpoint.name.clone(),
            url: endpoint.safe_url(),
            headers: headers
                .map(|(name, values)| (name.clone(), vec!["[redacted]"; values.len()]))
                .collect(),
            timeout: nanoseconds(endpoint.timeout()),
            threshold: endpoint.threshold(),
            backoff: nanoseconds(endpoint.backoff()),
            ignored_media_types: Vec::new(),
            ignore: Ignore {
                media_types: endpoint.ignored_media_types.clone(),
                actions: endpoint.ignored_actions.clone(),
            },
            metrics: self.lock().clone(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Metrics> {
        self.metrics.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The status with its text, in Go's words, which are older in places.
fn label(status: StatusCode) -> String {
    let text = match status.as_u16() {
        203 => "Non-Authoritative Information",
        413 => "Request Entity Too Large",
        414 => "Request URI Too Long",
        416 => "Requested Range Not Satisfiable",
        _ => status.canonical_reason().unwrap_or_default(),
    };
    format!("{} {text}", status.as_u16())
}
