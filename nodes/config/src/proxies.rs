//! `proxies` and `probes`: what is believed of those in front of the registry, and what they are told. Roadstead's own.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::node::Node;
use crate::reader::Reader;
use crate::scalar::{self, Unfit};

/// Settings under `proxies`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxies {
    /// Whose `Forwarded` and `X-Forwarded-*` are believed: `trusted`. Default: loopback, link-local and private
    /// networks, since that is where proxies are. Empty: nobody's.
    pub trusted: Vec<IpNet>,
}

/// RFC 1918, RFC 3927, RFC 4193, RFC 4291, RFC 6598.
const PRIVATE: [&str; 9] = [
    "127.0.0.0/8",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "169.254.0.0/16",
    "100.64.0.0/10",
    "::1/128",
    "fc00::/7",
    "fe80::/10",
];

impl Default for Proxies {
    fn default() -> Self {
        Self {
            trusted: PRIVATE.iter().filter_map(|net| net.parse().ok()).collect(),
        }
    }
}

impl Proxies {
    /// Whether what this peer says of others is believed. An IPv4 address may come as IPv6 has it (`::ffff:10.0.0.1`),
    /// as it does from a socket that takes both.
    pub fn trusts(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.trusted.iter().any(|net| net.contains(&peer))
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Self {
        let blank = reader.node("proxies.trusted").is_none_or(Node::is_blank);
        if blank {
            return Self::default();
        }
        Self {
            trusted: reader.list("proxies.trusted", network),
        }
    }
}

/// A network, or one address. Bits behind the mask are dropped.
fn network(text: &str) -> Result<IpNet, Unfit> {
    let address = || text.parse::<IpAddr>().map(IpNet::from);
    let parsed = text.parse::<IpNet>().or_else(|_not_a_network| address());
    parsed.map(|net| net.trunc()).map_err(|_neither| {
        Unfit::new("is neither a network nor an address; write for example 10.0.0.0/8 or 192.0.2.7")
    })
}

/// Settings under `probes`: which answers a failing health check turns into 503. The reference turns all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Probes {
    /// What `/` answers: `root`.
    pub root: Probe,
    /// What all other routes answer: `requests`.
    pub requests: Probe,
}

/// What a route answers while a health check fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Probe {
    /// What it can: a balancer that takes every registry out at once helps nobody.
    #[default]
    Always,
    /// 503.
    Health,
}

const PROBES: &[(&str, Probe)] = &[("always", Probe::Always), ("health", Probe::Health)];

impl Probes {
    pub(crate) fn read(reader: &mut Reader<'_>) -> Self {
        let probe = |text: &str| scalar::one_of(text, PROBES);
        Self {
            root: reader.read("probes.root", probe).unwrap_or_default(),
            requests: reader.read("probes.requests", probe).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests;
