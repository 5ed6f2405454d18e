//! Answers that do not come from a use case, and what all answers are made with.

use axum::body::Body;
use http::{HeaderName, HeaderValue, Method, Response, StatusCode, header};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::Serialize;

use super::request::Call;

/// What cannot stand in the path of a URL as it is.
const PATH: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'\\')
    .add(b'`')
    .add(b'{')
    .add(b'}');

/// An answer of this status, without a body.
pub(super) fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// 200 with a JSON document.
pub(super) fn json(document: &impl Serialize) -> Response<Body> {
    let mut response = Response::new(Body::from(written(document)));
    set(&mut response, header::CONTENT_TYPE, "application/json");
    response
}

/// A JSON document, with the newline that the reference ends its documents with.
pub(super) fn written(document: &impl Serialize) -> Vec<u8> {
    let mut bytes = serde_json::to_vec(document).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}

/// Sets a header; a value that cannot be one is left out (none of ours holds control characters).
pub(super) fn set(response: &mut Response<Body>, name: HeaderName, value: impl AsRef<str>) {
    if let Ok(value) = HeaderValue::from_str(value.as_ref()) {
        response.headers_mut().insert(name, value);
    }
}

pub(super) fn page_not_found() -> Response<Body> {
    plain(StatusCode::NOT_FOUND, "404 page not found\n")
}

/// What follows on the connection may not be what its sender means: it is closed.
pub(super) fn no_host() -> Response<Body> {
    let mut response = plain(
        StatusCode::BAD_REQUEST,
        "400 Bad Request: one Host header is required\n",
    );
    set(&mut response, header::CONNECTION, "close");
    response
}

fn plain(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    set(
        &mut response,
        header::CONTENT_TYPE,
        "text/plain; charset=utf-8",
    );
    response
}

pub(super) fn moved(call: &Call, path: &str) -> Response<Body> {
    let mut response = empty(StatusCode::MOVED_PERMANENTLY);
    let prefix = call.prefix.trim_end_matches('/');
    let path = utf8_percent_encode(path, PATH);
    let mut location = format!("{prefix}{path}");
    if let Some(query) = &call.query_text {
        location.push('?');
        location.extend(utf8_percent_encode(query, CONTROLS));
    }
    set(&mut response, header::LOCATION, location);
    response
}

pub(super) fn options(allowed: &[Method]) -> Response<Body> {
    let mut response = empty(StatusCode::OK);
    set(&mut response, header::ALLOW, listed(allowed));
    response
}

pub(super) fn method_not_allowed(allowed: &[Method]) -> Response<Body> {
    let mut response = super::error::unsupported("this path does not know the method");
    set(&mut response, header::ALLOW, listed(allowed));
    response
}

fn listed(methods: &[Method]) -> String {
    methods
        .iter()
        .map(Method::as_str)
        .collect::<Vec<_>>()
        .join(", ")
}
