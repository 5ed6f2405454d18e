//! `registry_storage_*`: the storage driver, and the cache of descriptors in front of it.

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::http::Histograms;
use super::labels::{ActionLabels, Cache, CacheEvent, KindLabels, OperationLabels};

/// Seconds; the defaults of Prometheus' client for Go, which the reference takes for what is not HTTP.
const DURATIONS: [f64; 11] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

fn durations() -> Histogram {
    Histogram::new(DURATIONS)
}

#[derive(Debug)]
pub(crate) struct Storage {
    actions: Histograms<ActionLabels>,
    /// As the reference counted until 2.8.
    asked: Family<KindLabels, Counter>,
    /// As it counts since 3.0.
    requests: Counter,
    hits: Counter,
    errors: Counter,
    redis: Histograms<OperationLabels>,
    memory: Histograms<OperationLabels>,
    redis_up: Gauge,
    held: Gauge,
    evicted: Gauge,
}

impl Storage {
    pub(crate) fn new(registry: &mut Registry) -> Self {
        let storage = Self {
            actions: Histograms::new_with_constructor(durations),
            asked: Family::default(),
            requests: Counter::default(),
            hits: Counter::default(),
            errors: Counter::default(),
            redis: Histograms::new_with_constructor(durations),
            memory: Histograms::new_with_constructor(durations),
            redis_up: Gauge::default(),
            held: Gauge::default(),
            evicted: Gauge::default(),
        };
        storage.register_own(registry);
        registry.register(
            "registry_storage_action_seconds",
            "The number of seconds that the storage action takes",
            storage.actions.clone(),
        );
        registry.register(
            "registry_storage_cache",
            "The number of cache request received",
            storage.asked.clone(),
        );
        for (name, help, counter) in [
            (
                "registry_storage_cache_requests",
                "The number of cache request received",
                &storage.requests,
            ),
            (
                "registry_storage_cache_hits",
                "The number of cache request received",
                &storage.hits,
            ),
            (
                "registry_storage_cache_errors",
                "The number of cache request errors",
                &storage.errors,
            ),
        ] {
            registry.register(name, help, counter.clone());
        }
        registry.register(
            "registry_storage_cache_redis_seconds",
            "Number of seconds taken by redis",
            storage.redis.clone(),
        );
        registry.register(
            "registry_storage_cache_memory_seconds",
            "Number of seconds taken by the cache in memory",
            storage.memory.clone(),
        );
        storage
    }

    /// What the reference does not have.
    fn register_own(&self, registry: &mut Registry) {
        for (name, help, gauge) in [
            (
                "roadstead_cache_redis_up",
                "1 while the redis of the cache is used, 0 while there is none or the breaker is open",
                &self.redis_up,
            ),
            (
                "roadstead_cache_bytes",
                "Bytes of memory that the cache holds",
                &self.held,
            ),
            (
                "roadstead_cache_evictions",
                "What the cache in memory has forgotten for want of room since the start",
                &self.evicted,
            ),
        ] {
            registry.register(name, help, gauge.clone());
        }
    }

    pub(crate) fn redis_up(&self, up: bool) {
        self.redis_up.set(i64::from(up));
    }

    pub(crate) fn held(&self, bytes: usize, evicted: u64) {
        self.held.set(i64::try_from(bytes).unwrap_or(i64::MAX));
        self.evicted.set(i64::try_from(evicted).unwrap_or(i64::MAX));
    }

    pub(crate) fn action(&self, driver: &'static str, action: &'static str, took: Duration) {
        self.actions
            .get_or_create(&ActionLabels { action, driver })
            .observe(took.as_secs_f64());
    }

    pub(crate) fn asked(&self, event: CacheEvent) {
        self.requests.inc();
        let name = match event {
            CacheEvent::Hit => {
                self.hits.inc();
                "Hit"
            }
            CacheEvent::Miss => "Miss",
            CacheEvent::Error => {
                self.errors.inc();
                "Error"
            }
        };
        for name in ["Request", name] {
            self.asked.get_or_create(&KindLabels { r#type: name }).inc();
        }
    }

    pub(crate) fn took(&self, cache: Cache, operation: &'static str, took: Duration) {
        let operations = match cache {
            Cache::Redis => &self.redis,
            Cache::Memory => &self.memory,
        };
        operations
            .get_or_create(&OperationLabels { operation })
            .observe(took.as_secs_f64());
    }
}
