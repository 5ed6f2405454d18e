//! The debug address (`http.debug.addr`): for operators alone, since it needs no login.
//!
//! ```text
//! GET  /debug/health              200 {} or 503 with what fails
//! POST /debug/health/down, /up    takes the node out by hand, and back
//! GET  /debug/vars                figures as JSON
//! GET  /debug/readonly            whether pushes and deletions are refused
//! POST /debug/readonly/on, /off   refuses them from now on, or takes them again
//! GET  /debug/collect             how far the garbage collection is
//! POST /debug/collect/start       asks for one; ?untagged=true
//! POST /debug/collect/cancel      ends it
//! GET  /metrics                   figures for Prometheus, at the configured path
//! ```

mod collecting;

use std::fmt;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::routing::{get, post};
use http::{HeaderValue, Method, Response, StatusCode, header};
use serde_json::{Value, json};

use super::answer::{json as json_answer, page_not_found, set};
use crate::Registry;
use crate::health::Health;

/// What the debug address serves.
#[derive(Clone)]
pub struct Debug {
    pub registry: Arc<Registry>,
    pub health: Health,
    /// The path of the metrics, and what makes their text.
    pub metrics: Option<(String, Text)>,
    pub vars: Vars,
}

/// Makes a text when somebody asks.
pub type Text = Arc<dyn Fn() -> String + Send + Sync>;

/// Makes a document when somebody asks.
pub type Vars = Arc<dyn Fn() -> Value + Send + Sync>;

impl fmt::Debug for Debug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Debug").finish_non_exhaustive()
    }
}

/// The debug address as a service.
pub fn debug_router(debug: Debug) -> axum::Router {
    axum::Router::new()
        .route("/debug/health", get(health))
        .route("/debug/health/down", post(down))
        .route("/debug/health/up", post(up))
        .route("/debug/vars", get(vars))
        .route("/debug/readonly", get(read_only))
        .route("/debug/readonly/on", post(read_only_on))
        .route("/debug/readonly/off", post(read_only_off))
        .route("/debug/collect", get(collecting::state))
        .route("/debug/collect/start", post(collecting::start))
        .route("/debug/collect/cancel", post(collecting::end))
        .fallback(metrics)
        .with_state(debug)
}

/// What a process tells that is no registry.
#[derive(Clone)]
pub struct Watched {
    /// The text of `/metrics`.
    pub metrics: Text,
    /// Why it serves nobody now, if that is so: `/readyz`.
    pub trouble: Trouble,
}

/// Says what is wrong when somebody asks.
pub type Trouble = Arc<dyn Fn() -> Option<String> + Send + Sync>;

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched").finish_non_exhaustive()
    }
}

/// `/metrics`, `/livez` and `/readyz` of a process that is no registry.
pub fn watched_router(watched: Watched) -> axum::Router {
    axum::Router::new()
        .route("/livez", get(|| async { Response::new(Body::empty()) }))
        .route("/readyz", get(ready))
        .route(
            "/metrics",
            get(|State(watched): State<Watched>| async move { exposition((watched.metrics)()) }),
        )
        .fallback(|| async { page_not_found() })
        .with_state(watched)
}

async fn ready(State(watched): State<Watched>) -> Response<Body> {
    let trouble = (watched.trouble)();
    let mut response = json_answer(&match &trouble {
        Some(trouble) => json!({ "metadata": trouble }),
        None => json!({}),
    });
    if trouble.is_some() {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    response
}

/// At whatever path the configuration says.
async fn metrics(State(debug): State<Debug>, request: Request) -> Response<Body> {
    match &debug.metrics {
        Some((path, text)) if path == request.uri().path() => match *request.method() {
            Method::GET | Method::HEAD => exposition(text()),
            _ => only_read(),
        },
        _ => page_not_found(),
    }
}

fn only_read() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
    let allowed = HeaderValue::from_static("GET,HEAD");
    response.headers_mut().insert(header::ALLOW, allowed);
    response
}

async fn health(State(debug): State<Debug>) -> Response<Body> {
    let failures = debug.health.failures();
    let mut response = json_answer(&failures);
    if !failures.is_empty() {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    response
}

async fn down(State(debug): State<Debug>) -> Response<Body> {
    tracing::warn!("taken out by hand (/debug/health/down)");
    debug.health.down();
    Response::new(Body::empty())
}

async fn up(State(debug): State<Debug>) -> Response<Body> {
    tracing::warn!("taken back by hand (/debug/health/up)");
    debug.health.up();
    Response::new(Body::empty())
}

async fn vars(State(debug): State<Debug>) -> Response<Body> {
    json_answer(&(debug.vars)())
}

async fn read_only(State(debug): State<Debug>) -> Response<Body> {
    json_answer(&json!({ "readonly": debug.registry.is_read_only() }))
}

async fn read_only_on(State(debug): State<Debug>) -> Response<Body> {
    tracing::warn!("read-only from now on (/debug/readonly/on)");
    debug.registry.set_read_only(true);
    read_only(State(debug)).await
}

async fn read_only_off(State(debug): State<Debug>) -> Response<Body> {
    if debug.registry.options().read_only {
        let why =
            "storage.maintenance.readonly opened the store read-only: change it and start again";
        let mut response = json_answer(&json!({ "readonly": true, "error": why }));
        *response.status_mut() = StatusCode::CONFLICT;
        return response;
    }
    tracing::warn!("pushes and deletions are taken again (/debug/readonly/off)");
    debug.registry.set_read_only(false);
    read_only(State(debug)).await
}

fn exposition(text: String) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    let media_type = "text/plain; version=0.0.4; charset=utf-8";
    set(&mut response, header::CONTENT_TYPE, media_type);
    response
}
