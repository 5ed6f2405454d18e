//! `/`, `/livez`, `/readyz` and `/v2/`: is somebody there?

use axum::body::Body;
use http::{Response, StatusCode, header};
use serde_json::json;

use super::Api;
use super::answer::{empty, json, set};
use super::error::unwell;

/// For balancers that know nothing but 200.
pub(super) fn root(api: &Api) -> Response<Body> {
    let mut response = if api.surface.root_tells_health && !api.surface.health.is_well() {
        unwell()
    } else {
        empty(StatusCode::OK)
    };
    set(&mut response, header::CACHE_CONTROL, "no-cache");
    response
}

/// The process answers: restarting it would help nobody.
pub(super) fn live() -> Response<Body> {
    told(&json!({ "status": "live" }), StatusCode::OK)
}

/// Whether it should be sent requests. Names what fails, and no more: details are on the debug address.
pub(super) fn ready(api: &Api) -> Response<Body> {
    let mut failures: Vec<String> = api.surface.health.failures().into_keys().collect();
    if api.registry.lease().is_draining() {
        failures.push("draining".to_owned());
    }
    if failures.is_empty() {
        return told(&json!({ "status": "ready" }), StatusCode::OK);
    }
    let failing = json!({ "status": "not ready", "failing": failures });
    told(&failing, StatusCode::SERVICE_UNAVAILABLE)
}

fn told(document: &serde_json::Value, status: StatusCode) -> Response<Body> {
    let mut response = json(document);
    *response.status_mut() = status;
    set(&mut response, header::CACHE_CONTROL, "no-cache");
    response
}

/// Two bytes of JSON, without a newline, as the reference has it.
pub(super) fn base() -> Response<Body> {
    let mut response = Response::new(Body::from("{}"));
    set(&mut response, header::CONTENT_TYPE, "application/json");
    response
}
