//! `registry_http_*`: requests by handler, method and status.

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use super::labels::{DurationLabels, Handler, HandlerLabels, Method, RequestLabels};

/// Seconds; the reference's.
pub(crate) const DURATIONS: [f64; 13] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 60.0,
];

/// A family of histograms with the same buckets.
pub(crate) type Histograms<Labels> = Family<Labels, Histogram, fn() -> Histogram>;

/// Bytes, 1 KiB to 2 GiB; the reference's.
fn sizes() -> Histogram {
    Histogram::new(exponential_buckets(1024.0, 2.0, 22))
}

fn durations() -> Histogram {
    Histogram::new(DURATIONS)
}

/// How a request was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finished {
    /// The status.
    pub status: u16,
    /// From the request's head to the last byte of the answer.
    pub took: Duration,
    /// Bytes that came.
    pub received: u64,
    /// Bytes that were sent.
    pub sent: u64,
}

/// Counts for as long as it lives.
#[derive(Debug)]
pub struct Counted(Gauge);

impl Counted {
    pub(crate) fn new(gauge: Gauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[derive(Debug)]
pub(crate) struct Http {
    in_flight: Family<HandlerLabels, Gauge>,
    durations: Histograms<DurationLabels>,
    received: Histograms<HandlerLabels>,
    requests: Family<RequestLabels, Counter>,
    sent: Histograms<HandlerLabels>,
}

impl Http {
    pub(crate) fn new(registry: &mut Registry) -> Self {
        let http = Self {
            in_flight: Family::default(),
            durations: Histograms::new_with_constructor(durations),
            received: Histograms::new_with_constructor(sizes),
            requests: Family::default(),
            sent: Histograms::new_with_constructor(sizes),
        };
        // There from the start, as in the reference, so that a rate begins at zero.
        for handler in Handler::ALL {
            drop(http.in_flight.get_or_create(&HandlerLabels { handler }));
        }
        registry.register(
            "registry_http_in_flight_requests",
            "The in-flight HTTP requests",
            http.in_flight.clone(),
        );
        registry.register(
            "registry_http_request_duration_seconds",
            "The HTTP request latencies in seconds.",
            http.durations.clone(),
        );
        registry.register(
            "registry_http_request_size_bytes",
            "The HTTP request sizes in bytes.",
            http.received.clone(),
        );
        registry.register(
            "registry_http_requests",
            "Total number of HTTP requests made.",
            http.requests.clone(),
        );
        registry.register(
            "registry_http_response_size_bytes",
            "The HTTP response sizes in bytes.",
            http.sent.clone(),
        );
        http
    }

    pub(crate) fn started(&self, handler: Handler) -> Counted {
        Counted::new(
            self.in_flight
                .get_or_create_owned(&HandlerLabels { handler }),
        )
    }

    pub(crate) fn finished(&self, handler: Handler, method: Method, finished: &Finished) {
        let code = finished.status;
        self.requests
            .get_or_create(&RequestLabels {
                code,
                handler,
                method,
            })
            .inc();
        self.durations
            .get_or_create(&DurationLabels { handler, method })
            .observe(finished.took.as_secs_f64());
        let labels = HandlerLabels { handler };
        let received = self.received.get_or_create(&labels);
        received.observe(bytes(finished.received));
        let sent = self.sent.get_or_create(&labels);
        sent.observe(bytes(finished.sent));
    }
}

/// Sizes are exact up to 8 PiB.
#[expect(clippy::cast_precision_loss, reason = "nothing larger is moved")]
fn bytes(count: u64) -> f64 {
    count as f64
}
