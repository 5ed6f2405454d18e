//! `/` and `/v2/`.

use axum::body::Body;
use http::{Response, StatusCode, header};

use super::answer::{empty, set};

/// For balancers that know nothing but 200.
pub(super) fn root() -> Response<Body> {
    let mut response = empty(StatusCode::OK);
    set(&mut response, header::CACHE_CONTROL, "no-cache");
    response
}

/// Two bytes of JSON, without a newline, as the reference has it.
pub(super) fn base() -> Response<Body> {
    let mut response = Response::new(Body::from("{}"));
    set(&mut response, header::CONTENT_TYPE, "application/json");
    response
}
