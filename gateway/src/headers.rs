//! Headers of a message that is passed on: what belongs to one connection stays there, and nodes are told of the client.

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

/// What only the gateway may say, of the client and of its request.
const NOT_THE_CLIENTS: [HeaderName; 9] = [
    FORWARDED,
    FORWARDED_FOR,
    FORWARDED_HOST,
    FORWARDED_PROTO,
    REAL_IP,
    REQUEST_ID,
    RECEIPT,
    CONTENT_LENGTH,
    EXPECT,
];

/// Removes what belongs to one connection, and what `Connection` names besides.
pub(crate) fn remove_hop_by_hop(headers: &mut HeaderMap) {
    remove_named(headers);
    remove_all(headers, &OF_ONE_CONNECTION);
}

fn remove_named(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        // Whoever lists these wants to hide them from us, or from the node.
        .filter(|name| !matches!(*name, CONTENT_LENGTH | HOST))
        .collect();
    for name in &named {
        headers.remove(name);
    }
}

/// Messages carry few headers, and hardly one of these: looking at each costs less than looking for all.
fn remove_all(headers: &mut HeaderMap, names: &[HeaderName]) {
    while let Some(name) = headers.keys().find(|name| names.contains(name)) {
        let name = name.clone();
        headers.remove(name);
    }
}

/// Makes the headers of a client's request what a node is to see. Length and `Expect` are for each try to say.
pub(crate) fn for_node(
    headers: &mut HeaderMap,
    host: Option<&HeaderValue>,
    via: &Via,
    id: &HeaderValue,
) {
    remove_hop_by_hop(headers);
    remove_all(headers, &NOT_THE_CLIENTS);
    headers.reserve(NOT_THE_CLIENTS.len());
    if let Some(host) = host {
        headers.insert(HOST, host.clone());
    }
    // One hop, the same in all: nodes believe none of them where they differ.
    let mut forwarded = String::with_capacity(64);
    if let Some(client) = via.client {
        let client = client.to_string();
        let (start, end) = if via.client.is_some_and(|client| client.is_ipv6()) {
            ("for=\"[", "]\";")
        } else {
            ("for=", ";")
        };
        forwarded.extend([start, &client, end]);
        if let Ok(client) = HeaderValue::try_from(client) {
            headers.insert(FORWARDED_FOR, client.clone());
            headers.insert(REAL_IP, client);
        }
    }
    headers.insert(FORWARDED_PROTO, HeaderValue::from_static(via.scheme));
    forwarded.extend(["proto=", via.scheme]);
    if let Some(said) = &via.host {
        forwarded.extend([";host=\"", said, "\""]);
        let same = host.filter(|host| host.as_bytes() == said.as_bytes());
        let said = same.cloned().or_else(|| HeaderValue::from_str(said).ok());
        if let Some(said) = said {
            headers.insert(FORWARDED_HOST, said);
        }
    }
    if let Ok(forwarded) = HeaderValue::try_from(forwarded) {
        headers.insert(FORWARDED, forwarded);
    }
    headers.insert(REQUEST_ID, id.clone());
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
        let mut told = map(&[
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
        for_node(
            &mut told,
            Some(&host),
            &via,
            &HeaderValue::from_static("ours"),
        );
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
