//! The debug address: health, figures, read-only mode.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use roadstead_cache::Cache;
use roadstead_config::{DebugServer, ListenAddr};
use roadstead_events::{EndpointStats, Events};
use roadstead_listen::Listener;
use roadstead_metadata_server::Telling;
use roadstead_registry::Registry;
use roadstead_registry::health::Health;
use roadstead_registry::http::{self, Debug, Watched};
use roadstead_serve as http_server;
use roadstead_telemetry::metrics::{Metrics, Place};
use roadstead_telemetry::startup;
use tokio_util::sync::CancellationToken;

use crate::wiring::entry;

/// Whoever asks the debug address asks for little, and takes it at once.
const PATIENCE: Duration = Duration::from_secs(10);
const CONNECTIONS: usize = 64;

/// What it tells of.
pub(crate) struct Subject {
    pub(crate) registry: Arc<Registry>,
    pub(crate) health: Health,
    pub(crate) metrics: Metrics,
    pub(crate) events: Events,
    pub(crate) cache: Cache,
    /// Its place in its cluster, if it has one.
    pub(crate) place: Option<TellPlace>,
}

/// Says where a node stands when somebody asks.
pub(crate) type TellPlace = Box<dyn Fn() -> Place + Send + Sync>;

/// Serves in the background until the drain.
pub(crate) async fn serve(
    debug: &DebugServer,
    subject: Subject,
    drain: CancellationToken,
) -> Result<()> {
    let listeners = listen("http.debug.addr", &debug.addr).await?;
    let Subject {
        registry,
        health,
        metrics,
        events,
        cache,
        place,
    } = subject;
    let told = events.clone();
    let metrics = debug.metrics_path.clone().map(|path| {
        startup::metrics_on(&path);
        (path, exposition(metrics, events, cache, place))
    });
    let service = http::debug_router(Debug {
        registry,
        health,
        metrics,
        vars: Arc::new(move || vars(&told)),
    });
    tokio::spawn(http_server::serve(
        listeners,
        None,
        service,
        options(),
        drain,
    ));
    Ok(())
}

/// Serves what a member of the metadata service tells, in the background until it has ended.
pub(crate) async fn serve_member(
    addr: &ListenAddr,
    telling: Telling,
    ended: CancellationToken,
) -> Result<()> {
    let listeners = listen("metadata.debug.addr", addr).await?;
    let of_trouble = telling.clone();
    let service = http::watched_router(Watched {
        metrics: Arc::new(move || telling.metrics()),
        trouble: Arc::new(move || of_trouble.trouble()),
    });
    tokio::spawn(http_server::serve(
        listeners,
        None,
        service,
        options(),
        ended,
    ));
    Ok(())
}

async fn listen(setting: &'static str, addr: &ListenAddr) -> Result<Vec<Listener>> {
    let listeners = entry::listeners_on(setting, addr, None).await?;
    for listener in &listeners {
        startup::debug_listening(listener);
    }
    Ok(listeners)
}

fn options() -> http_server::Options {
    http_server::Options {
        stalled_after: PATIENCE,
        lame_duck: Duration::ZERO,
        drain_within: PATIENCE,
        http2: true,
        connections: CONNECTIONS,
        proxy_protocol: None,
        metrics: None,
        workers: None,
    }
}

/// The reference's document.
fn vars(events: &Events) -> serde_json::Value {
    let endpoints = serde_json::to_value(events.stats()).unwrap_or_default();
    serde_json::json!({ "registry": { "notifications": { "endpoints": endpoints } } })
}

/// The text of the metrics, brought up to date whenever somebody asks.
fn exposition(
    metrics: Metrics,
    events: Events,
    cache: Cache,
    place: Option<TellPlace>,
) -> http::Text {
    let told: Mutex<HashMap<String, EndpointStats>> = Mutex::default();
    Arc::new(move || {
        let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
        for now in events.stats() {
            let before = told.get(&now.name);
            count(&metrics, before, &now);
            told.insert(now.name.clone(), now);
        }
        if let Some(place) = &place {
            metrics.stands(place());
        }
        drop(told);
        let held = cache.stats();
        metrics.cache_holds(held.descriptor_bytes + held.manifest_bytes, held.evictions);
        metrics.render()
    })
}

/// Adds what came since the last time.
fn count(metrics: &Metrics, before: Option<&EndpointStats>, now: &EndpointStats) {
    let endpoint = metrics.endpoint(&now.name);
    let since = |of: fn(&EndpointStats) -> u64| {
        let before = before.map(of).unwrap_or_default();
        of(now).saturating_sub(before)
    };
    for _ in 0..since(|stats| stats.metrics.events) {
        endpoint.event();
    }
    for _ in 0..since(|stats| stats.metrics.errors) {
        endpoint.failed();
    }
    for (status, count) in &now.metrics.statuses {
        let before = before.and_then(|stats| stats.metrics.statuses.get(status));
        let code = status.split(' ').next().and_then(|code| code.parse().ok());
        for _ in 0..count.saturating_sub(before.copied().unwrap_or_default()) {
            if let Some(code) = code {
                endpoint.answered(code);
            }
        }
    }
    endpoint.pending(usize::try_from(now.metrics.pending).unwrap_or(usize::MAX));
}
