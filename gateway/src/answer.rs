//! Answers of the gateway's own.

use std::sync::Arc;

use axum::body::Body;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use http_body::Body as _;
use roadstead_oci::{ErrorCode, ErrorDocument, ErrorEntry};
use serde_json::json;

use crate::Gateway;
use crate::node::Standing;
use crate::pool::NoNode;

pub(crate) const API_VERSION: HeaderName =
    HeaderName::from_static("docker-distribution-api-version");

/// Seconds after which a client may try again.
const RETRY_AFTER: &str = "5";
/// The same where there was merely too much to do.
const RETRY_SOON: &str = "1";

pub(crate) fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

pub(crate) fn set(response: &mut Response<Body>, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

/// The answer to a `HEAD`: it says how long the body would be, if it does not say so already.
pub(crate) fn without_body(mut response: Response<Body>) -> Response<Body> {
    let length = response.body().size_hint().exact();
    let length = length.filter(|length| *length > 0);
    if let Some(length) = length {
        let headers = response.headers_mut().entry(header::CONTENT_LENGTH);
        headers.or_insert(length.into());
    }
    response.map(|_unsent| Body::empty())
}

fn document(status: StatusCode, document: &serde_json::Value) -> Response<Body> {
    let mut response = Response::new(Body::from(format!("{document}\n")));
    *response.status_mut() = status;
    set(&mut response, header::CONTENT_TYPE, "application/json");
    set(&mut response, header::CACHE_CONTROL, "no-cache");
    response
}

pub(crate) fn error(status: StatusCode, code: ErrorCode, detail: &str) -> Response<Body> {
    let errors = ErrorDocument {
        errors: vec![ErrorEntry::new(code, detail)],
    };
    let json = serde_json::to_value(&errors).unwrap_or_default();
    document(status, &json)
}

fn unavailable(detail: &str, retry_after: &str) -> Response<Body> {
    let mut response = error(
        StatusCode::SERVICE_UNAVAILABLE,
        ErrorCode::Unavailable,
        detail,
    );
    set(&mut response, header::RETRY_AFTER, retry_after);
    response
}

pub(crate) fn no_node(why: NoNode) -> Response<Body> {
    match why {
        NoNode::Well => unavailable("no registry node is available", RETRY_AFTER),
        NoNode::Free => unavailable("all registry nodes are busy", RETRY_SOON),
    }
}

/// Nothing more was tried: too often in vain, or too many are tried again.
pub(crate) fn given_up() -> Response<Body> {
    unavailable("no registry node could answer", RETRY_AFTER)
}

pub(crate) fn overloaded() -> Response<Body> {
    unavailable("too many requests at once", RETRY_SOON)
}

pub(crate) fn no_memory() -> Response<Body> {
    unavailable("too many uploads at once", RETRY_AFTER)
}

/// What a client that went away would be told.
pub(crate) fn client_closed() -> Response<Body> {
    let status = StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST);
    empty(status)
}

pub(crate) fn too_slow() -> Response<Body> {
    error(
        StatusCode::REQUEST_TIMEOUT,
        ErrorCode::BlobUploadInvalid,
        "the request's body stood still",
    )
}

pub(crate) fn plain(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    set(
        &mut response,
        header::CONTENT_TYPE,
        "text/plain; charset=utf-8",
    );
    response
}

/// What follows on the connection may not be what its sender means: it is closed.
pub(crate) fn no_host() -> Response<Body> {
    let mut response = plain(
        StatusCode::BAD_REQUEST,
        "400 Bad Request: one Host header is required\n",
    );
    set(&mut response, header::CONNECTION, "close");
    response
}

/// For balancers that know nothing but 200.
pub(crate) fn root() -> Response<Body> {
    let mut response = empty(StatusCode::OK);
    set(&mut response, header::CACHE_CONTROL, "no-cache");
    response
}

pub(crate) fn live() -> Response<Body> {
    document(StatusCode::OK, &json!({ "status": "live" }))
}

/// Whether this gateway should be sent requests.
pub(crate) fn ready(gateway: &Gateway) -> Response<Body> {
    let failing = if gateway.drain.is_cancelled() {
        "draining"
    } else if !gateway.pool.any_is_well() {
        "nodes"
    } else {
        return document(StatusCode::OK, &json!({ "status": "ready" }));
    };
    let failing = json!({ "status": "not ready", "failing": [failing] });
    document(StatusCode::SERVICE_UNAVAILABLE, &failing)
}

/// What operators see: metrics, and how the nodes stand.
pub fn debug_router(gateway: Arc<Gateway>) -> axum::Router {
    let answer = |path: String, gateway: &Gateway| match path.as_str() {
        "/metrics" => {
            gateway.count_now();
            let mut response = Response::new(Body::from(gateway.telling.metrics.render()));
            let text = roadstead_telemetry::metrics::CONTENT_TYPE;
            set(&mut response, header::CONTENT_TYPE, text);
            response
        }
        "/debug/nodes" => document(StatusCode::OK, &nodes(gateway)),
        _other => plain(StatusCode::NOT_FOUND, "404 page not found\n"),
    };
    axum::Router::new().fallback(move |request: axum::extract::Request| {
        let response = answer(request.uri().path().to_owned(), &gateway);
        std::future::ready(response)
    })
}

/// Answers plain HTTP with the same address over HTTPS, on this port.
pub fn redirect_router(port: u16) -> axum::Router {
    axum::Router::new().fallback(move |request: axum::extract::Request| {
        std::future::ready(redirect(&request, port))
    })
}

fn redirect(request: &axum::extract::Request, port: u16) -> Response<Body> {
    let authority = request.uri().authority().map(http::uri::Authority::as_str);
    let host = request.headers().get(header::HOST);
    let host = authority
        .or_else(|| host?.to_str().ok())
        .unwrap_or_default();
    let Ok(host) = host.parse::<http::uri::Authority>() else {
        return no_host();
    };
    let port = if port == 443 {
        String::new()
    } else {
        format!(":{port}")
    };
    let path = request
        .uri()
        .path_and_query()
        .map_or("/", http::uri::PathAndQuery::as_str);
    // Method and body stay: a push that begins here goes on there.
    let mut response = empty(StatusCode::PERMANENT_REDIRECT);
    set(
        &mut response,
        header::LOCATION,
        &format!("https://{}{port}{path}", host.host()),
    );
    response
}

fn nodes(gateway: &Gateway) -> serde_json::Value {
    let standing = |(name, standing, draining): (String, Standing, bool)| {
        let word = match standing {
            Standing::Up if draining => "draining",
            Standing::Up => "up",
            Standing::Suspect => "suspect",
            Standing::Down => "down",
        };
        (name, json!(word))
    };
    gateway
        .pool
        .standings()
        .into_iter()
        .map(standing)
        .collect::<serde_json::Map<_, _>>()
        .into()
}

impl Gateway {
    /// Brings those figures up to date that nobody keeps.
    fn count_now(&self) {
        for node in self.pool.all().iter() {
            let metrics = &self.telling.metrics;
            metrics.node_has(node.name(), node.in_flight());
        }
        self.telling.metrics.memory(self.memory.held());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_is_sent_to_https() {
        let location = |target: &str, host: &str, port| {
            let request = http::Request::get(target).header(header::HOST, host);
            let response = redirect(&request.body(Body::empty()).unwrap(), port);
            let location = response.headers().get(header::LOCATION);
            location.map(|location| location.to_str().unwrap().to_owned())
        };
        let expected = Some("https://a.example/v2/?x=y".to_owned());
        assert_eq!(location("/v2/?x=y", "a.example:80", 443), expected);
        let expected = Some("https://[::1]:8443/".to_owned());
        assert_eq!(location("/", "[::1]:8080", 8443), expected);
        assert_eq!(location("/", "", 443), None);
        assert_eq!(location("/", "a b", 443), None);
    }
}
