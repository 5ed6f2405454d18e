//! A request, taken apart once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use axum::body::Body;
use futures::TryStreamExt as _;
use http::header::{CONTENT_LENGTH, EXPECT, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Method, Request, Version};
use roadstead_serve::body::{Body as Incoming, BodyError};
use roadstead_serve::{OtherEnd, Via};
use uuid::{Builder, Uuid};

use crate::headers;
use crate::options::Options;
use crate::route::Route;

/// Longest request id that is taken over.
const LONGEST_ID: usize = 128;

/// All of a request but its body.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) method: Method,
    /// Path and query, as they came.
    pub(crate) target: String,
    pub(crate) version: Version,
    pub(crate) route: Route,
    pub(crate) id: HeaderValue,
    /// As a node is to see them: the client's, without what belongs to its connection, and what is said of it.
    pub(crate) headers: HeaderMap,
    pub(crate) via: Via,
    pub(crate) other_end: OtherEnd,
    /// When its head was here.
    pub(crate) came: SystemTime,
    pub(crate) learnt: Arc<Learnt>,
    /// The length that the client said its body has. None for a body of unknown length.
    pub(crate) length: Option<u64>,
    /// The client waits to be told to send the body.
    pub(crate) waits_to_send: bool,
}

/// What is found out on the way, for the log.
#[derive(Debug, Default)]
pub(crate) struct Learnt {
    upstream: Mutex<String>,
    pub(crate) tries: AtomicU32,
    /// Bytes that came from a second node, or went to one.
    pub(crate) resumed: AtomicU64,
    pub(crate) received: AtomicU64,
    client_broke_off: AtomicBool,
}

impl Learnt {
    pub(crate) fn tries_at(&self, node: &str) {
        self.tries.fetch_add(1, Ordering::Relaxed);
        let mut upstream = self.upstream.lock().unwrap_or_else(PoisonError::into_inner);
        node.clone_into(&mut upstream);
    }

    /// The node that was tried last.
    pub(crate) fn upstream(&self) -> String {
        let upstream = self.upstream.lock().unwrap_or_else(PoisonError::into_inner);
        upstream.clone()
    }

    /// Whether a node was asked before the one that is asked now.
    pub(crate) fn is_tried_again(&self) -> bool {
        self.tries.load(Ordering::Relaxed) > 1
    }

    /// Whether the client's body ended before its end.
    pub(crate) fn client_broke_off(&self) -> bool {
        self.client_broke_off.load(Ordering::Relaxed)
    }

    pub(crate) fn resumed(&self, bytes: u64) {
        self.resumed.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl Call {
    pub(crate) fn parse(options: &Options, request: Request<Body>) -> (Self, Incoming) {
        let (mut parts, body) = request.into_parts();
        let target = parts.uri.path_and_query();
        let target = target.map_or("/", http::uri::PathAndQuery::as_str);
        let route = Route::of(
            &parts.method,
            &options.prefix,
            parts.uri.path(),
            parts.uri.query(),
        );
        let peer = parts.extensions.get::<OtherEnd>();
        let other_end = peer.copied().unwrap_or_default();
        let authority = parts.uri.authority().map(http::uri::Authority::as_str);
        let host = match authority {
            Some(authority) => HeaderValue::from_str(authority).ok(),
            None => parts.headers.get(HOST).cloned(),
        };
        let asked = host.as_ref().and_then(|host| host.to_str().ok());
        let via = Via::of(&parts.headers, asked, other_end, &options.trusted_proxies);
        let id = request_id(options, &parts.headers, other_end);
        let length = length(&parts.headers, &body);
        let waits_to_send = waits_to_send(&parts.headers);
        headers::for_node(&mut parts.headers, host.as_ref(), &via, &id);
        let call = Self {
            target: target.to_owned(),
            method: parts.method,
            version: parts.version,
            route,
            id,
            headers: parts.headers,
            via,
            other_end,
            came: roadstead_telemetry::system_clock()(),
            learnt: Arc::default(),
            length,
            waits_to_send,
        };
        let body = call.incoming(options, body);
        (call, body)
    }

    pub(crate) fn id(&self) -> &str {
        self.id.to_str().unwrap_or_default()
    }

    fn incoming(&self, options: &Options, body: Body) -> Incoming {
        let (learnt, told) = (Arc::clone(&self.learnt), Arc::clone(&self.learnt));
        let is_sending = self.has_body() && !self.waits_to_send;
        Incoming::new(
            body.into_data_stream()
                .inspect_ok(move |piece| {
                    let length = piece.len() as u64;
                    learnt.received.fetch_add(length, Ordering::Relaxed);
                })
                .map_err(move |_cut_off| {
                    told.client_broke_off.store(true, Ordering::Relaxed);
                    BodyError::Aborted
                }),
            options.body_idle,
            is_sending,
        )
    }

    pub(crate) fn has_body(&self) -> bool {
        self.length != Some(0)
    }

    pub(crate) fn writes(&self) -> bool {
        !matches!(self.method, Method::GET | Method::HEAD | Method::OPTIONS)
    }

    /// The client's address, with the port where the connection is the client's own.
    pub(crate) fn remote(&self) -> String {
        match (self.other_end.address, self.via.client) {
            (Some(address), Some(client)) if address.ip().to_canonical() == client => {
                address.to_string()
            }
            (_, Some(client)) => client.to_string(),
            (_, None) => String::new(),
        }
    }
}

/// What a trusted proxy calls the request, else a name of our own.
fn request_id(options: &Options, headers: &HeaderMap, peer: OtherEnd) -> HeaderValue {
    let address = peer.address.map(|address| address.ip().to_canonical());
    let is_trusted = address.is_none_or(|address| {
        let mut trusted = options.trusted_proxies.iter();
        trusted.any(|range| range.contains(&address))
    });
    let said = headers
        .get(headers::REQUEST_ID)
        .filter(|id| is_trusted && !id.is_empty() && id.len() <= LONGEST_ID && id.to_str().is_ok());
    said.cloned().unwrap_or_else(|| {
        // To tell requests apart, and no secret: the system's randomness would cost a call to it for each.
        let id = Builder::from_random_bytes(fastrand::u128(..).to_be_bytes()).into_uuid();
        let mut text = Uuid::encode_buffer();
        let text = id.hyphenated().encode_lower(&mut text);
        HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("-"))
    })
}

fn length(headers: &HeaderMap, body: &Body) -> Option<u64> {
    if http_body::Body::is_end_stream(body) {
        return Some(0);
    }
    if headers.contains_key(TRANSFER_ENCODING) {
        return None;
    }
    let said = headers.get(CONTENT_LENGTH)?;
    said.to_str().ok()?.parse().ok()
}

fn waits_to_send(headers: &HeaderMap) -> bool {
    let expect = headers.get(EXPECT);
    expect.is_some_and(|expect| expect.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}
