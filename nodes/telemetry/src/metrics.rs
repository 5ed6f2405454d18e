//! Metrics, in Prometheus' text format: the reference's names, and our own under `roadstead_`.
//!
//! [`Metrics`] is a handle, cheap to clone; there is no registry but its own. Each label has a closed set of values: names
//! in the program, names in the configuration, and for what a stranger chooses (the method) a list with `unknown` beside
//! it. So the series are bounded whatever comes in.

mod certificates;
mod cluster;
mod collection;
mod exposition;
mod gateway;
mod http;
mod labels;
mod member;
mod notifications;
mod process;
mod proxy;
mod storage;

use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::access::AccessLog;
use labels::{Escaped, Method, VersionLabels};
use process::Process;

pub use self::http::{Counted, Finished};
pub use cluster::Place;
pub use collection::{CollectionMetrics, Phase};
pub use exposition::CONTENT_TYPE;
pub use gateway::GatewayMetrics;
pub use labels::{Cache, CacheEvent, Handler, Proxied};
pub use member::{MemberMetrics, Role, Standing};
pub use notifications::EndpointMetrics;

/// What a process counts and measures.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    registry: Registry,
    cluster: cluster::Cluster,
    collection: CollectionMetrics,
    http: http::Http,
    storage: storage::Storage,
    notifications: notifications::Notifications,
    proxy: proxy::Proxy,
    connections: Gauge,
    upload_sessions: Gauge,
    certificates: certificates::Certificates,
    access_log: Arc<OnceLock<AccessLog>>,
}

impl Metrics {
    /// Metrics of a process of this version that was started at this time.
    pub fn new(version: &str, started: SystemTime) -> Self {
        let mut registry = Registry::default();
        let access_log = Arc::<OnceLock<AccessLog>>::default();
        let process = Process::new(started, Arc::clone(&access_log));
        registry.register_collector(Box::new(process));
        let build = Family::<VersionLabels, Gauge>::default();
        let version = Escaped::new(version);
        build.get_or_create(&VersionLabels { version }).set(1);
        registry.register(
            "roadstead_build_info",
            "1, with the version as a label",
            build,
        );

        let connections = Gauge::default();
        registry.register(
            "roadstead_open_connections",
            "Connections from clients that are open",
            connections.clone(),
        );
        let upload_sessions = Gauge::default();
        registry.register(
            "roadstead_upload_sessions",
            "Uploads that were begun, and neither completed nor given up",
            upload_sessions.clone(),
        );
        Self(Arc::new(Inner {
            cluster: cluster::Cluster::new(&mut registry),
            collection: CollectionMetrics::new(&mut registry),
            http: http::Http::new(&mut registry),
            storage: storage::Storage::new(&mut registry),
            notifications: notifications::Notifications::new(&mut registry),
            proxy: proxy::Proxy::new(&mut registry),
            connections,
            upload_sessions,
            certificates: certificates::Certificates::new(&mut registry),
            access_log,
            registry,
        }))
    }

    /// A request came to `handler`, and is in flight until the guard goes.
    pub fn http_started(&self, handler: Handler) -> Counted {
        self.0.http.started(handler)
    }

    /// A request was answered. `method` is what came; other than the known ones are counted as one.
    pub fn http_finished(&self, handler: Handler, method: &str, finished: &Finished) {
        self.0.http.finished(handler, Method::of(method), finished);
    }

    /// The storage was asked for something. `action` is one of the reference's names, such as `GetContent`.
    pub fn storage_action(&self, driver: &'static str, action: &'static str, took: Duration) {
        self.0.storage.action(driver, action, took);
    }

    /// The cache of descriptors was asked.
    pub fn cache_asked(&self, event: CacheEvent) {
        self.0.storage.asked(event);
    }

    /// A cache of descriptors took its time. `operation` is one of the reference's names, such as `Stat`.
    pub fn cache_took(&self, cache: Cache, operation: &'static str, took: Duration) {
        self.0.storage.took(cache, operation, took);
    }

    /// The Redis of the cache is used from now on, or is not.
    pub fn cache_redis_up(&self, up: bool) {
        self.0.storage.redis_up(up);
    }

    /// What the cache holds in memory, and how often something had to make room since the start.
    pub fn cache_holds(&self, bytes: usize, evicted: u64) {
        self.0.storage.held(bytes, evicted);
    }

    /// What is counted for an endpoint of notifications, under its configured name.
    pub fn endpoint(&self, name: &str) -> EndpointMetrics {
        self.0.notifications.endpoint(name)
    }

    /// The mirror took bytes from upstream, since it did not have them.
    pub fn proxy_pulled(&self, what: Proxied, bytes: u64) {
        self.0.proxy.pulled(what, bytes);
    }

    /// The mirror answered a client, from what it had (`hit`) or with what it pulled.
    pub fn proxy_pushed(&self, what: Proxied, bytes: u64, hit: bool) {
        self.0.proxy.pushed(what, bytes, hit);
    }

    /// A client connected, and stays until the guard goes.
    pub fn connected(&self) -> Counted {
        Counted::new(self.0.connections.clone())
    }

    /// So many upload sessions moved or ended by a command.
    pub fn decided(&self, command: &'static str, sessions: usize) {
        self.0.cluster.decided(command, sessions);
    }

    /// Something was proposed to the metadata service, under the names of the command and of what it came to.
    pub fn proposed(&self, command: &'static str, outcome: &'static str, took: Duration) {
        self.0.cluster.proposed(command, outcome, took);
    }

    /// This node's place in its cluster now; a registry on its own has none.
    pub fn stands(&self, place: Place) {
        self.0.cluster.stands(place);
    }

    /// What the garbage collection of this process counts.
    pub fn collection(&self) -> CollectionMetrics {
        self.0.collection.clone()
    }

    /// How many upload sessions there are.
    pub fn upload_sessions(&self, count: usize) {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        self.0.upload_sessions.set(count);
    }

    /// When a certificate expires. `name` is the configuration's: a file, or a host.
    pub fn certificate_expires(&self, name: &str, at: SystemTime) {
        self.0.certificates.expires(name, at);
    }

    /// This process has tried to have a certificate issued.
    pub fn certificate_ordered(&self, well: bool) {
        self.0.certificates.ordered(well);
    }

    /// Shows the lines that this access log leaves out. The first log that is handed in stays.
    pub fn watch_access_log(&self, log: &AccessLog) {
        let _another_is_watched = self.0.access_log.set(log.clone());
    }

    /// All of it, as [`CONTENT_TYPE`] says. Reads `/proc`, whose answers come at once but from a file system: with very
    /// many open files, some milliseconds.
    pub fn render(&self) -> String {
        exposition::render(&self.0.registry)
    }
}

#[cfg(test)]
mod tests;
