//! How a request reached us: from whom, and by which name and scheme. What proxies say of it (`Forwarded`, RFC 7239, and
//! the older `X-Forwarded-*`, `X-Real-IP`) counts only from those that are trusted: anybody can write a header.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use http::{HeaderMap, HeaderName, header};
use ipnet::IpNet;

const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// Hops that are looked at: nobody chains more, and each costs time.
const HOPS: usize = 64;

/// The other end of a connection.
#[derive(Debug, Clone, Copy, Default)]
pub struct OtherEnd {
    /// Absent for a unix socket, where whoever may connect is trusted.
    pub address: Option<SocketAddr>,
    pub is_tls: bool,
}

/// How a request reached us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Via {
    /// `http` or `https`, as the client sees it.
    pub(super) scheme: &'static str,
    /// The host that the client asked for, with its port if it said one. Absent when it cannot be one.
    pub(super) host: Option<String>,
    /// The client: the nearest hop that is not a trusted proxy.
    pub(super) client: Option<IpAddr>,
}

impl Via {
    /// `asked` is the host that the request names.
    pub(super) fn of(
        headers: &HeaderMap,
        asked: Option<&str>,
        peer: OtherEnd,
        trusted: &[IpNet],
    ) -> Self {
        let address = peer.address.map(|address| address.ip().to_canonical());
        let own = Self {
            scheme: if peer.is_tls { "https" } else { "http" },
            host: asked.filter(|host| is_host(host)).map(str::to_owned),
            client: address,
        };
        let is_trusted = |address: &IpAddr| trusted.iter().any(|range| range.contains(address));
        if address.is_some_and(|address| !is_trusted(&address)) {
            return own;
        }
        let said = Said::of(headers);
        Self {
            client: said.client(own.client, is_trusted),
            scheme: said.scheme.unwrap_or(own.scheme),
            host: said.host.or(own.host),
        }
    }
}

/// What the proxies said.
#[derive(Debug, Default)]
struct Said {
    scheme: Option<&'static str>,
    host: Option<String>,
    /// By each header that names any, from the client to us; a proxy may not say, or say something that is no address.
    forwarded: Vec<Option<IpAddr>>,
    forwarded_for: Vec<Option<IpAddr>>,
    /// One at most.
    real_ip: Vec<Option<IpAddr>>,
}

impl Said {
    fn of(headers: &HeaderMap) -> Self {
        let forwarded = all(headers, &header::FORWARDED);
        let mut said = if forwarded.is_empty() {
            Self::default()
        } else {
            Self::forwarded(&forwarded)
        };
        let first = |name: &HeaderName| {
            let values = all(headers, name);
            values
                .split(',')
                .next()
                .map(|first| first.trim().to_owned())
        };
        let scheme = || first(&FORWARDED_PROTO).as_deref().and_then(scheme);
        said.scheme = said.scheme.or_else(scheme);
        let host = || first(&FORWARDED_HOST).filter(|host| is_host(host));
        said.host = said.host.or_else(host);
        said.forwarded_for = addresses(&all(headers, &FORWARDED_FOR));
        said.real_ip = addresses(&all(headers, &REAL_IP));
        said.real_ip.truncate(1);
        said
    }

    /// The nearest hop that is not trusted, where all headers agree on it. A proxy writes one of them, and most let the others
    /// pass as the client wrote them: where they differ, nobody knows which that is, and it was the peer who asked.
    fn client(&self, peer: Option<IpAddr>, is_trusted: impl Fn(&IpAddr) -> bool) -> Option<IpAddr> {
        let nearest = |hops: &[Option<IpAddr>]| {
            let mut client = peer;
            // From us outwards, until somebody whom we have no reason to believe, or whom we do not know.
            for hop in hops.iter().rev() {
                let Some(hop) = hop else { break };
                client = Some(*hop);
                if !is_trusted(hop) {
                    break;
                }
            }
            client
        };
        let lists = [&self.forwarded[..], &self.forwarded_for];
        let has_list = lists.iter().any(|hops| !hops.is_empty());
        // One proxy behind another writes the other one there.
        let is_inner = has_list && self.real_ip.iter().flatten().any(&is_trusted);
        let real_ip = if is_inner { &[] } else { &self.real_ip[..] };
        let named = lists.into_iter().chain([real_ip]);
        let mut clients = named.filter(|hops| !hops.is_empty()).map(nearest);
        let client = clients.next().unwrap_or(peer);
        if clients.all(|other| other == client) {
            client
        } else {
            peer
        }
    }

    /// `for=192.0.2.60;proto=https;host=example.com, for="[2001:db8::1]:4711"`: the first element is the client's side.
    fn forwarded(header: &str) -> Self {
        let mut said = Self::default();
        let elements = split_quoted(header, ',');
        // The nearest are those that we can judge; the first is the client's.
        let passed_over = 1..elements.len().saturating_sub(HOPS);
        for (nth, element) in elements.into_iter().enumerate() {
            if passed_over.contains(&nth) {
                continue;
            }
            for pair in split_quoted(element, ';') {
                let Some((name, value)) = pair.split_once('=') else {
                    continue;
                };
                let value = unquoted(value.trim());
                match name.trim().to_ascii_lowercase().as_str() {
                    "for" => said.forwarded.push(address(&value)),
                    "proto" if nth == 0 => said.scheme = scheme(&value),
                    "host" if nth == 0 => said.host = Some(value).filter(|host| is_host(host)),
                    _ => {}
                }
            }
        }
        said
    }
}

/// All values of a header, as one list.
fn all(headers: &HeaderMap, name: &HeaderName) -> String {
    let values = headers.get_all(name).iter();
    let texts: Vec<&str> = values.filter_map(|value| value.to_str().ok()).collect();
    texts.join(",")
}

fn addresses(list: &str) -> Vec<Option<IpAddr>> {
    let said = list
        .split(',')
        .map(str::trim)
        .filter(|text| !text.is_empty());
    let mut hops: Vec<Option<IpAddr>> = said.map(address).collect();
    // The nearest are those that we can judge.
    hops.drain(..hops.len().saturating_sub(HOPS));
    hops
}

/// An address with or without a port and brackets.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    let parsed = bare.parse::<IpAddr>().ok();
    parsed
        .or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
        .map(|address| address.to_canonical())
}

fn scheme(text: &str) -> Option<&'static str> {
    ["http", "https"]
        .into_iter()
        .find(|scheme| text.eq_ignore_ascii_case(scheme))
}

/// Splits where the separator does not stand in quotes.
fn split_quoted(text: &str, separator: char) -> Vec<&str> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(move |c: char| {
        if escaped {
            escaped = false;
        } else if c == '"' {
            quoted = !quoted;
        } else if c == '\\' && quoted {
            escaped = true;
        }
        c == separator && !quoted
    })
    .collect()
}

fn unquoted(text: &str) -> String {
    let inner = text
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'));
    inner.map_or_else(|| text.to_owned(), |inner| inner.replace('\\', ""))
}

/// Whether a text can stand as the host of a URL, with its port or without.
fn is_host(host: &str) -> bool {
    let (is_name, port) = match host.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, "")) => (address.parse::<Ipv6Addr>().is_ok(), None),
            Some((address, port)) => match port.strip_prefix(':') {
                Some(port) => (address.parse::<Ipv6Addr>().is_ok(), Some(port)),
                None => return false,
            },
            None => return false,
        },
        None => match host.split_once(':') {
            Some((name, port)) => (is_name(name), Some(port)),
            None => (is_name(host), None),
        },
    };
    is_name && port.is_none_or(is_port)
}

fn is_name(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    !name.is_empty() && name.bytes().all(allowed)
}

fn is_port(port: &str) -> bool {
    port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    fn via(peer: &str, pairs: &[(&'static str, &str)]) -> Via {
        let trusted = [
            "10.0.0.0/8".parse().unwrap(),
            "127.0.0.0/8".parse().unwrap(),
        ];
        let peer = OtherEnd {
            address: Some(peer.parse().unwrap()),
            is_tls: false,
        };
        Via::of(&headers(pairs), Some("asked:5000"), peer, &trusted)
    }

    fn expect(via: &Via, scheme: &str, host: &str, client: &str) {
        assert_eq!((via.scheme, via.host.as_deref()), (scheme, Some(host)));
        assert_eq!(via.client, Some(client.parse().unwrap()));
    }

    #[test]
    fn a_stranger_is_not_believed() {
        let said = [
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "evil.example"),
            ("x-forwarded-for", "1.1.1.1"),
            ("forwarded", "for=1.1.1.1;proto=https;host=evil.example"),
        ];
        expect(
            &via("192.0.2.1:9", &said),
            "http",
            "asked:5000",
            "192.0.2.1",
        );
    }

    #[test]
    fn a_trusted_proxy_is_believed() {
        let said = [
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "registry.example:8443, inner"),
            ("x-forwarded-for", "192.0.2.7"),
        ];
        let right = ("https", "registry.example:8443", "192.0.2.7");
        expect(&via("10.1.1.1:9", &said), right.0, right.1, right.2);
        expect(
            &via("[::ffff:10.1.1.1]:9", &said),
            right.0,
            right.1,
            right.2,
        );
        let real_ip = [("x-real-ip", "192.0.2.8")];
        expect(
            &via("127.0.0.1:9", &real_ip),
            "http",
            "asked:5000",
            "192.0.2.8",
        );
    }

    #[test]
    fn the_client_is_the_nearest_hop_that_is_not_trusted() {
        let made_up = [
            ("x-forwarded-for", "1.1.1.1, 192.0.2.7, 10.0.0.2"),
            ("x-forwarded-for", "10.0.0.3"),
        ];
        expect(
            &via("10.0.0.1:9", &made_up),
            "http",
            "asked:5000",
            "192.0.2.7",
        );
        let inside = [("x-forwarded-for", "10.0.0.9, 10.0.0.2")];
        expect(
            &via("10.0.0.1:9", &inside),
            "http",
            "asked:5000",
            "10.0.0.9",
        );
    }

    #[test]
    fn beyond_a_hop_that_is_not_known_nobody_is_believed() {
        for nearest in ["unknown", "_hidden", "999.1.1.1", "10.0.0.1 x"] {
            let said = format!("192.0.2.7, {nearest}, 10.0.0.2");
            let via = via("10.0.0.1:9", &[("x-forwarded-for", &said)]);
            assert_eq!(via.client, Some("10.0.0.2".parse().unwrap()), "{nearest}");
        }
    }

    #[test]
    fn the_standard_header_comes_before_the_older_ones() {
        let said = [
            (
                "forwarded",
                r#"For="[2001:db8::1]:4711";proto=HTTPS;host="a.example:1", for=10.0.0.2;proto=http;host=inner"#,
            ),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-host", "other"),
        ];
        expect(
            &via("10.0.0.1:9", &said),
            "https",
            "a.example:1",
            "2001:db8::1",
        );
        let partly = [
            ("forwarded", "for=unknown;proto=ftp"),
            ("x-forwarded-proto", "https"),
        ];
        expect(
            &via("10.0.0.1:9", &partly),
            "https",
            "asked:5000",
            "10.0.0.1",
        );
    }

    /// Who is limited by their address would write another one into the header that the proxy does not know.
    #[test]
    fn headers_that_do_not_agree_are_not_believed() {
        let client = |pairs: &[(&'static str, &str)]| via("10.0.0.1:9", pairs).client.unwrap();
        let (list, standard, real) = ("x-forwarded-for", "forwarded", "x-real-ip");
        for pairs in [
            [(list, "192.0.2.7"), (standard, "for=1.1.1.1")],
            [(standard, "for=192.0.2.7"), (list, "1.1.1.1")],
            [(real, "192.0.2.7"), (list, "1.1.1.1")],
            [(real, "192.0.2.7"), (standard, "for=1.1.1.1")],
            [(list, "192.0.2.7"), (standard, "for=unknown")],
        ] {
            assert_eq!(client(&pairs).to_string(), "10.0.0.1", "{pairs:?}");
        }
        for pairs in [
            [(list, "1.1.1.1, 192.0.2.7"), (standard, "for=192.0.2.7")],
            [(list, "1.1.1.1, 192.0.2.7"), (real, "192.0.2.7")],
            // Two proxies, of which the inner one writes both.
            [(list, "192.0.2.7, 10.0.0.2"), (real, "10.0.0.2")],
            [(list, "192.0.2.7"), (standard, "proto=https")],
        ] {
            assert_eq!(client(&pairs).to_string(), "192.0.2.7", "{pairs:?}");
        }
    }

    #[test]
    fn many_hops_do_not_push_out_the_nearest() {
        for name in ["x-forwarded-for", "forwarded"] {
            let hop = |address| match name {
                "forwarded" => format!("for={address}"),
                _ => address,
            };
            let mut hops: Vec<String> = (0..200).map(|n| hop(format!("1.1.1.{n}"))).collect();
            hops.push(hop("192.0.2.7".to_owned()));
            let via = via("10.0.0.1:9", &[(name, &hops.join(", "))]);
            assert_eq!(via.client, Some("192.0.2.7".parse().unwrap()), "{name}");
        }
    }

    #[test]
    fn what_a_host_can_be() {
        for host in [
            "localhost",
            "a_b.example",
            "h:65535",
            "[::1]",
            "[2001:db8::1]:5000",
            "192.0.2.1:5000",
        ] {
            assert!(is_host(host), "{host}");
        }
    }

    #[test]
    fn hosts_that_are_none_lead_nowhere() {
        for host in [
            "a/b",
            "a b",
            "a\"b",
            "<script>",
            "a@b",
            "",
            "a:b:c][",
            "h:999999",
            "h:",
            "h:+1",
            ":80",
            "::1",
            "[::1",
            "[::1]5000",
            "[h]",
            "a[b",
        ] {
            let said = [("x-forwarded-host", host), ("forwarded", "host=\"a/b\"")];
            expect(&via("10.0.0.1:9", &said), "http", "asked:5000", "10.0.0.1");
        }
    }

    proptest! {
        #[test]
        fn any_header_is_read_without_a_panic(forwarded in "\\PC*", list in "[0-9a-f:.,\\[\\] \"]{0,80}") {
            let mut headers = HeaderMap::new();
            for (name, value) in [("forwarded", &forwarded), ("x-forwarded-for", &list), ("x-real-ip", &list)] {
                if let Ok(value) = value.parse() {
                    headers.append(name, value);
                }
            }
            let via = Via::of(&headers, Some(&forwarded), OtherEnd::default(), &[]);
            prop_assert!(via.host.is_none_or(|host| is_host(&host)));
        }
    }
}
