//! `gateway.upstreams` and `gateway.upstreamtls`: which nodes there are, and how they are spoken to.

use std::fmt;
use std::path::PathBuf;

use crate::listen::ListenAddr;
use crate::reader::Reader;
use crate::scalar::Unfit;

/// Where a node is, or where it is written which there are.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Upstream {
    /// `node-a:5000`: one node, whatever its name resolves to.
    Node {
        /// A name or an IP address, without brackets.
        host: String,
        /// Never 0.
        port: u16,
    },
    /// `dns://nodes.internal:5000`: a node at each address of the name.
    Addresses {
        /// The name.
        host: String,
        /// Never 0.
        port: u16,
    },
    /// `srv://_registry._tcp.nodes.internal`: a node at each target of the name's SRV records.
    Services(String),
}

impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Node { host, port } => write!(f, "{host}:{port}"),
            Self::Addresses { host, port } => write!(f, "dns://{host}:{port}"),
            Self::Services(name) => write!(f, "srv://{name}"),
        }
    }
}

impl Upstream {
    pub(super) fn parse(text: &str) -> Result<Self, Unfit> {
        let forms = || {
            Unfit::new(
                "is no upstream; write node-a:5000, dns://nodes.internal:5000 or srv://_registry._tcp.nodes.internal",
            )
        };
        let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
        if scheme.eq_ignore_ascii_case("srv") {
            let labels = rest.split('.').filter(|label| label.starts_with('_'));
            if labels.count() < 2 || rest.contains([':', '/']) {
                return Err(forms());
            }
            return Ok(Self::Services(rest.to_owned()));
        }
        if matches!(scheme, "http" | "https") {
            return Err(Unfit::new(
                "must not have a scheme: gateway.upstreamtls says how nodes are spoken to",
            ));
        }
        let addr: ListenAddr = rest.parse().map_err(|_malformed| forms())?;
        match (scheme, addr.host, addr.port) {
            (_, _, 0) | (_, None, _) => Err(forms()),
            ("", Some(host), port) => Ok(Self::Node { host, port }),
            ("dns", Some(host), port) => Ok(Self::Addresses { host, port }),
            _other => Err(forms()),
        }
    }
}

/// Settings under `gateway.upstreamtls`. Nothing is read here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamTls {
    /// Who signs the nodes' certificates, in PEM: `ca`.
    pub ca: PathBuf,
    /// What the gateway shows, chain and key: `certificate`, `key`. Default: nothing.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// The name in the nodes' certificates: `name`. Default: the one that each node is reached by.
    pub name: Option<String>,
}

impl UpstreamTls {
    /// Set in part is set: to speak plain text because a path is missing would be a surprise.
    pub(super) fn read(tls: &mut Reader<'_>) -> Option<Self> {
        if !tls.is_set() {
            return None;
        }
        let ca = tls.required_path("ca", "write the path of the authority's certificate in PEM");
        let (certificate, key) = (tls.path("certificate"), tls.path("key"));
        if certificate.is_some() != key.is_some() {
            tls.mistake("", "certificate and key go together; write both or neither");
        }
        Some(Self {
            ca: ca?,
            identity: certificate.zip(key),
            name: tls.text("name"),
        })
    }
}
