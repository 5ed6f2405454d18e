//! A request, taken apart once.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use axum::body::Body;
use axum::extract::Request;
use futures::TryStreamExt as _;
use http::request::Parts;
use http::{HeaderMap, HeaderName, Method, Version, header};
use percent_encoding::percent_decode_str;

use roadstead_auth::{Granted, Wanted};
use roadstead_oci::Name;
use roadstead_serve::{OtherEnd, Received, Via};
use uuid::Builder;

use super::Api;
use super::account::Learnt;
use super::query::Query;
use crate::body::{Body as Incoming, BodyError};

/// All of a request but its body.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) method: Method,
    /// The request target as it came.
    pub(super) uri: String,
    pub(super) version: Version,
    /// Made for this request, and told to the client.
    pub(super) id: String,
    pub(super) learnt: Arc<Learnt>,
    /// Decoded, and below the configured prefix; that of the root is the same everywhere. Empty when it is not below it,
    /// or not text.
    pub(super) path: String,
    pub(super) query: Query,
    /// The query as it came, not decoded. `None` without a question mark.
    pub(super) query_text: Option<String>,
    pub(super) headers: HeaderMap,
    /// Scheme and host to send the client to: `http://host:port`. Empty when it did not say, or is not to be told.
    pub(super) base: String,
    /// The prefix that the routes lie under: `/`, or `/path/`.
    pub(super) prefix: String,
    pub(super) via: Via,
    pub(super) other_end: OtherEnd,
    /// When it came to a gateway of the cluster, if one vouches for that.
    pub(super) came: Option<SystemTime>,
    /// Who asks, and what they may do. Absent until it was found out, and where nobody needs to know.
    pub(super) granted: Option<Granted>,
}

impl Call {
    pub(super) fn parse(api: &Api, request: Request) -> (Self, Incoming) {
        let options = api.registry.options();
        let (parts, body) = request.into_parts();
        let path = path_below(&options.prefix, parts.uri.path());
        let authority = parts.uri.authority().map(http::uri::Authority::as_str);
        let host = parts
            .headers
            .get(header::HOST)
            .and_then(|host| host.to_str().ok());
        let peer = parts
            .extensions
            .get::<OtherEnd>()
            .copied()
            .unwrap_or_default();
        let via = Via::of(
            &parts.headers,
            authority.or(host),
            peer,
            &options.trusted_proxies,
        );
        let base = match (&options.host, &via.host) {
            (Some(configured), _) => configured.trim_end_matches('/').to_owned(),
            (None, Some(host)) if !options.relative_urls => format!("{}://{host}", via.scheme),
            (None, _) => String::new(),
        };
        let came = came(api, &parts);
        let learnt = Arc::<Learnt>::default();
        let call = Self {
            method: parts.method,
            uri: parts.uri.to_string(),
            version: parts.version,
            id: id(),
            learnt: Arc::clone(&learnt),
            path,
            query: Query::parse(parts.uri.query().unwrap_or_default()),
            query_text: parts.uri.query().map(str::to_owned),
            headers: parts.headers,
            base,
            prefix: options.prefix.clone(),
            via,
            other_end: peer,
            came,
            granted: None,
        };
        let body = incoming(&call, body, options.limits.body_idle, learnt);
        (call, body)
    }

    /// A header's text; one that is not text counts as absent.
    pub(super) fn header(&self, name: HeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The length that the request announces, if it does.
    pub(super) fn content_length(&self) -> Option<u64> {
        self.header(header::CONTENT_LENGTH)
            .and_then(|length| length.parse().ok())
    }

    /// Who asks, where that is known.
    pub(super) fn user(&self) -> Option<&str> {
        self.granted.as_ref().and_then(Granted::user)
    }

    /// The client's address, with the port where the connection is the client's own.
    pub(super) fn remote(&self) -> String {
        match (self.other_end.address, self.via.client) {
            (Some(address), Some(client)) if address.ip().to_canonical() == client => {
                SocketAddr::new(client, address.port()).to_string()
            }
            (_, Some(client)) => client.to_string(),
            (_, None) => String::new(),
        }
    }

    /// Whether the catalogue shows this repository to whoever asks.
    pub(super) fn lists(&self, name: &Name) -> bool {
        self.granted
            .as_ref()
            .is_some_and(|granted| granted.lists(name))
    }

    /// Whether whoever asks may pull from this repository or, where none is named, from every one.
    pub(super) fn may_pull(&self, name: Option<&Name>) -> bool {
        self.granted.as_ref().is_some_and(|granted| match name {
            Some(name) => granted.may(&Wanted::pull(name)),
            None => granted.may_everything(),
        })
    }

    pub(super) fn is_head(&self) -> bool {
        self.method == Method::HEAD
    }
}

/// A random UUID. It tells requests apart and is no secret: the kernel's randomness would cost one of the nine system calls
/// of a pulled manifest.
fn id() -> String {
    let random = fastrand::u128(..).to_le_bytes();
    Builder::from_random_bytes(random).into_uuid().to_string()
}

/// What a gateway of the cluster says.
fn came(api: &Api, parts: &Parts) -> Option<SystemTime> {
    let receipts = api.surface.receipts.as_ref()?;
    let request = Received {
        method: &parts.method,
        target: parts.uri.path_and_query()?.as_str(),
        headers: &parts.headers,
    };
    receipts.read(request, api.surface.telling.now())
}

/// The same everywhere, whatever the prefix.
const PROBES: [&str; 3] = ["/", "/livez", "/readyz"];

fn path_below(prefix: &str, path: &str) -> String {
    let Ok(path) = percent_decode_str(path).decode_utf8() else {
        return String::new();
    };
    if PROBES.contains(&&*path) {
        return path.into_owned();
    }
    path.strip_prefix(prefix.trim_end_matches('/'))
        .unwrap_or_default()
        .to_owned()
}

fn incoming(call: &Call, body: Body, idle: Duration, learnt: Arc<Learnt>) -> Incoming {
    let is_sending =
        !http_body::Body::is_end_stream(&body) && call.header(header::EXPECT).is_none();
    Incoming::new(
        body.into_data_stream()
            .inspect_ok(move |piece| {
                let length = piece.len() as u64;
                learnt.received.fetch_add(length, Ordering::Relaxed);
            })
            .map_err(|_cut_off| BodyError::Aborted),
        idle,
        is_sending,
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn requests_have_ids_of_their_own() {
        let ids: BTreeSet<String> = (0..1000).map(|_| id()).collect();
        assert_eq!(ids.len(), 1000);
        for id in ids {
            let parsed: uuid::Uuid = id.parse().unwrap();
            assert_eq!(parsed.get_version_num(), 4, "{id}");
        }
    }

    #[test]
    fn routes_lie_below_the_prefix_and_the_root_at_the_root() {
        assert_eq!(path_below("/", "/v2/a%2Fb"), "/v2/a/b");
        assert_eq!(path_below("/reg/", "/reg/v2/"), "/v2/");
        assert_eq!(path_below("/reg/", "/"), "/");
        for elsewhere in ["/v2/", "/other", "/%ff"] {
            assert_eq!(path_below("/reg/", elsewhere), "", "{elsewhere}");
        }
    }
}
