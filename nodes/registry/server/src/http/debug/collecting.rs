//! Starting, seeing and ending a collection, for the debug address.
//!
//! Only a process of this machine may start or end one: the address asks for no login, and what was collected is gone. What is
//! asked for goes through the store, so that any node takes it, and the one that leads answers.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use http::{Response, StatusCode, header};
use roadstead_metadata::{Collection, Run, Timestamp, Unavailable};
use roadstead_serve::OtherEnd;
use serde_json::{Value, json};

use super::super::answer::json as json_answer;
use super::super::query::Query;
use super::Debug;
use crate::collect::{AskError, Asking, cancel};

/// How far it is: what the log has.
pub(super) async fn state(State(debug): State<Debug>) -> Response<Body> {
    let registry = &debug.registry;
    let asked = async {
        let collection = registry.metadata.collection(None, Duration::ZERO).await?;
        let now = registry.metadata.now().await?;
        let collection = collection.unwrap_or_default();
        Ok::<_, Unavailable>(document(&collection, now))
    };
    match asked.await {
        Ok(document) => json_answer(&document),
        Err(error) => told(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
    }
}

fn document(collection: &Collection, now: Timestamp) -> Value {
    let phase = match collection.run() {
        None => "none",
        Some(run) if !run.reaping().is_empty() => "removes",
        Some(_) => "waits",
    };
    let left = |run: &Run| {
        let ripe = run.ripe()?;
        Some(ripe.0.saturating_sub(now.0).div_ceil(1000))
    };
    json!({
        "phase": phase,
        "condemned": collection.run().map_or(0, |run| run.condemned().len()),
        "removing": collection.run().map_or(0, |run| run.reaping().len()),
        "awaited_nodes": collection.run().map_or(0, |run| run.awaited().len()),
        "seconds_left": collection.run().and_then(left),
    })
}

/// `?untagged=true`: manifests that no tag leads to go as well.
pub(super) async fn start(State(debug): State<Debug>, request: Request) -> Response<Body> {
    if let Some(refused) = refused(&debug, &request) {
        return refused;
    }
    let query = Query::parse(request.uri().query().unwrap_or_default());
    let untagged = query.get("untagged") == Some("true");
    tracing::warn!(untagged, "a collection is asked for (/debug/collect/start)");
    let store = Arc::clone(&debug.registry.store);
    match Asking::begin(store, false, untagged).await {
        Ok(_asked) => told(StatusCode::ACCEPTED, "is asked for"),
        Err(error) => failed(&error),
    }
}

pub(super) async fn end(State(debug): State<Debug>, request: Request) -> Response<Body> {
    if let Some(refused) = refused(&debug, &request) {
        return refused;
    }
    tracing::warn!("the collection is to end (/debug/collect/cancel)");
    match cancel(&*debug.registry.store).await {
        Ok(()) => told(StatusCode::ACCEPTED, "is to end"),
        Err(error) => failed(&error),
    }
}

fn failed(error: &AskError) -> Response<Body> {
    let status = match error {
        AskError::Another => StatusCode::CONFLICT,
        AskError::Store(_) | AskError::Unheard | AskError::Left => StatusCode::SERVICE_UNAVAILABLE,
    };
    told(status, &error.to_string())
}

/// Unless it is a process of this machine that asks, and no browser.
fn refused(debug: &Debug, request: &Request) -> Option<Response<Body>> {
    let is_local = match request.extensions().get::<OtherEnd>() {
        Some(OtherEnd {
            address: Some(address),
            ..
        }) => address.ip().to_canonical().is_loopback(),
        Some(OtherEnd { address: None, .. }) => true,
        None => false,
    };
    if !is_local || request.headers().contains_key(header::ORIGIN) {
        let only = "is started and ended by processes of this machine alone";
        return Some(told(StatusCode::FORBIDDEN, only));
    }
    if debug.registry.options().read_only {
        return Some(told(StatusCode::CONFLICT, "the store is not written to"));
    }
    None
}

fn told(status: StatusCode, collection: &str) -> Response<Body> {
    let mut response = json_answer(&json!({ "collection": collection }));
    *response.status_mut() = status;
    response
}
