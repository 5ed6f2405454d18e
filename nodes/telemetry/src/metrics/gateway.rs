//! `roadstead_gateway_*`: what a gateway carries, and how its nodes stand.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::certificates::Certificates;
use super::exposition;
use super::http::DURATIONS;
use super::labels::{
    Escaped, Method, MethodLabels, NodeLabels, StatusOfMethodLabels, VersionLabels,
};
use super::process::Process;

/// What a gateway counts and measures. A handle, cheap to clone.
#[derive(Clone, Debug)]
pub struct GatewayMetrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    registry: Registry,
    certificates: Certificates,
    requests: Family<StatusOfMethodLabels, Counter>,
    durations: super::http::Histograms<MethodLabels>,
    retries: Counter,
    shed: Counter,
    resumed: Counter,
    resumed_bytes: Counter,
    memory: Gauge,
    up: Family<NodeLabels, Gauge>,
    in_flight: Family<NodeLabels, Gauge>,
}

impl GatewayMetrics {
    /// Metrics of a gateway of this version that was started at this time.
    pub fn new(version: &str, started: SystemTime) -> Self {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Process::new(started, Arc::default())));
        let build = Family::<VersionLabels, Gauge>::default();
        let version = Escaped::new(version);
        build.get_or_create(&VersionLabels { version }).set(1);
        registry.register(
            "roadstead_build_info",
            "1, with the version as a label",
            build,
        );
        let mut inner = Inner {
            certificates: Certificates::new(&mut registry),
            registry,
            requests: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(DURATIONS)),
            retries: Counter::default(),
            shed: Counter::default(),
            resumed: Counter::default(),
            resumed_bytes: Counter::default(),
            memory: Gauge::default(),
            up: Family::default(),
            in_flight: Family::default(),
        };
        inner.register();
        Self(Arc::new(inner))
    }

    /// A request was answered, or its client went away.
    pub fn finished(&self, method: &str, status: u16, took: Duration, resumed: u64) {
        let method = Method::of(method);
        let labels = StatusOfMethodLabels {
            code: status,
            method,
        };
        self.0.requests.get_or_create(&labels).inc();
        let labels = MethodLabels { method };
        let durations = self.0.durations.get_or_create(&labels);
        durations.observe(took.as_secs_f64());
        if resumed > 0 {
            self.0.resumed.inc();
            self.0.resumed_bytes.inc_by(resumed);
        }
    }

    /// A request is tried at another node.
    pub fn retried(&self) {
        self.0.retries.inc();
    }

    /// A request was turned away: too many, or no node.
    pub fn shed(&self) {
        self.0.shed.inc();
    }

    /// A node is well, or is not.
    pub fn node_up(&self, node: &str, up: bool) {
        self.0.up.get_or_create(&labels(node)).set(up.into());
    }

    /// A node has so many requests in flight.
    pub fn node_has(&self, node: &str, requests: usize) {
        let requests = i64::try_from(requests).unwrap_or(i64::MAX);
        self.0.in_flight.get_or_create(&labels(node)).set(requests);
    }

    /// It is no node any more.
    pub fn forget_node(&self, node: &str) {
        self.0.up.remove(&labels(node));
        self.0.in_flight.remove(&labels(node));
    }

    /// Bytes of uploads that are held.
    pub fn memory(&self, bytes: usize) {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        self.0.memory.set(bytes);
    }

    /// When a certificate expires. `name` is the configuration's: a file, or a host.
    pub fn certificate_expires(&self, name: &str, at: SystemTime) {
        self.0.certificates.expires(name, at);
    }

    /// This process has tried to have a certificate issued.
    pub fn certificate_ordered(&self, well: bool) {
        self.0.certificates.ordered(well);
    }

    /// All of it, as [`CONTENT_TYPE`](super::CONTENT_TYPE) says.
    pub fn render(&self) -> String {
        exposition::render(&self.0.registry)
    }
}

impl Inner {
    fn register(&mut self) {
        let registry = &mut self.registry;
        let all: [(&str, &str, &Counter); 4] = [
            (
                "roadstead_gateway_retries",
                "Tries of requests at another node",
                &self.retries,
            ),
            (
                "roadstead_gateway_shed",
                "Requests turned away: too many, or no node",
                &self.shed,
            ),
            (
                "roadstead_gateway_resumed",
                "Transfers that went on at another node",
                &self.resumed,
            ),
            (
                "roadstead_gateway_resumed_bytes",
                "Bytes that another node sent or was sent",
                &self.resumed_bytes,
            ),
        ];
        for (name, help, counter) in all {
            registry.register(name, help, counter.clone());
        }
        registry.register(
            "roadstead_gateway_requests",
            "Requests by method and status; 499 where the client went away",
            self.requests.clone(),
        );
        registry.register(
            "roadstead_gateway_request_duration_seconds",
            "From a request's head to the last byte of its answer",
            self.durations.clone(),
        );
        registry.register(
            "roadstead_gateway_held_bytes",
            "Bytes of uploads that no node has acknowledged yet",
            self.memory.clone(),
        );
        registry.register(
            "roadstead_gateway_node_up",
            "1 where a node is well",
            self.up.clone(),
        );
        registry.register(
            "roadstead_gateway_node_in_flight_requests",
            "Requests that a node has",
            self.in_flight.clone(),
        );
    }
}

fn labels(node: &str) -> NodeLabels {
    NodeLabels {
        node: Escaped::new(node),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happened_can_be_read() {
        let metrics = GatewayMetrics::new("1.2.3", std::time::UNIX_EPOCH);
        metrics.finished("GET", 206, Duration::from_millis(3), 7);
        metrics.finished("BREW", 499, Duration::from_secs(3), 0);
        metrics.retried();
        metrics.shed();
        metrics.memory(9);
        metrics.node_up("a:1", true);
        metrics.node_has("a:1", 2);
        metrics.node_up("b:1", false);
        metrics.forget_node("b:1");
        let text = metrics.render();
        for line in [
            "roadstead_gateway_requests_total{code=\"206\",method=\"get\"} 1",
            "roadstead_gateway_requests_total{code=\"499\",method=\"unknown\"} 1",
            "roadstead_gateway_request_duration_seconds_count{method=\"get\"} 1",
            "roadstead_gateway_retries_total 1",
            "roadstead_gateway_shed_total 1",
            "roadstead_gateway_resumed_total 1",
            "roadstead_gateway_resumed_bytes_total 7",
            "roadstead_gateway_held_bytes 9",
            "roadstead_gateway_node_up{node=\"a:1\"} 1",
            "roadstead_gateway_node_in_flight_requests{node=\"a:1\"} 2",
            "roadstead_build_info{version=\"1.2.3\"} 1",
        ] {
            assert!(text.lines().any(|said| said == line), "{line}\n{text}");
        }
        assert!(!text.contains("b:1"), "{text}");
    }
}
