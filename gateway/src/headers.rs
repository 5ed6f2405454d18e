//! Headers of a message that is passed on: what belongs to one connection stays there, and nodes are told of the client.

use std::net::IpAddr;

use http::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, FORWARDED, HOST, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION,
    TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue};
use roadstead_serve::{RECEIPT, Via};

pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// RFC 9110, section 7.6.1, and what older programs write.
const OF_ONE_CONNECTION: [HeaderName; 9] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// What a client says of itself that only the gateway may say.
const OURS: [HeaderName; 7] = [
    FORWARDED,
    FORWARDED_FOR,
    FORWARDED_HOST,
    FORWARDED_PROTO,
    REAL_IP,
    REQUEST_ID,
    RECEIPT,
];

/// Removes what belongs to one connection, and what `Connection` names besides.
pub(crate) fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        // Whoever lists these wants to hide them from us, or from the node.
        .filter(|name| !matches!(*name, CONTENT_LENGTH | HOST))
        .collect();
    for name in named.iter().chain(&OF_ONE_CONNECTION) {
        headers.remove(name);
    }
}

/// The headers of a client's request, as a node is to see them. Length and `Expect` are for each try to say.
pub(crate) fn for_node(
    client: &HeaderMap,
    host: Option<&HeaderValue>,
    via: &Via,
    id: &str,
) -> HeaderMap {
    let mut headers = client.clone();
    remove_hop_by_hop(&mut headers);
    for name in OURS.iter().chain(&[CONTENT_LENGTH, EXPECT]) {
        headers.remove(name);
    }
    if let Some(host) = host {
        headers.insert(HOST, host.clone());
    }
    let mut set = |name: HeaderName, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    };
    // One hop, the same in all: nodes believe none of them where they differ.
    let mut forwarded = String::new();
    if let Some(client) = via.client {
        set(FORWARDED_FOR, &client.to_string());
        set(REAL_IP, &client.to_string());
        forwarded = match client {
            IpAddr::V4(client) => format!("for={client};"),
            IpAddr::V6(client) => format!("for=\"[{client}]\";"),
        };
    }
    set(FORWARDED_PROTO, via.scheme);
    forwarded = format!("{forwarded}proto={}", via.scheme);
    if let Some(host) = &via.host {
        set(FORWARDED_HOST, host);
        forwarded = format!("{forwarded};host=\"{host}\"");
    }
    set(FORWARDED, &forwarded);
    set(REQUEST_ID, id);
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn what_belongs_to_a_connection_stays_there() {
        let mut headers = map(&[
            ("connection", "close, X-Secret"),
            ("connection", "content-length, host"),
            ("x-secret", "1"),
            ("keep-alive", "1"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("content-length", "1"),
            ("host", "a"),
            ("accept", "b"),
        ]);
        remove_hop_by_hop(&mut headers);
        assert_eq!(
            headers,
            map(&[("content-length", "1"), ("host", "a"), ("accept", "b")])
        );
    }

    #[test]
    fn a_node_is_told_of_the_client_and_not_by_it() {
        let client = map(&[
            ("x-forwarded-for", "6.6.6.6"),
            ("forwarded", "for=6.6.6.6"),
            ("x-real-ip", "6.6.6.6"),
            ("x-request-id", "theirs"),
            ("x-roadstead-receipt", "1.2.3"),
            ("expect", "100-continue"),
            ("authorization", "Basic x"),
        ]);
        let via = Via {
            scheme: "https",
            host: Some("registry.example:8443".to_owned()),
            client: Some("2001:db8::1".parse().unwrap()),
        };
        let host = HeaderValue::from_static("registry.example:8443");
        let told = for_node(&client, Some(&host), &via, "ours");
        let expected = map(&[
            ("authorization", "Basic x"),
            ("host", "registry.example:8443"),
            ("x-forwarded-for", "2001:db8::1"),
            ("x-real-ip", "2001:db8::1"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "registry.example:8443"),
            (
                "forwarded",
                "for=\"[2001:db8::1]\";proto=https;host=\"registry.example:8443\"",
            ),
            ("x-request-id", "ours"),
        ]);
        assert_eq!(told, expected);
    }
}
