//! `cluster` and `metadata`: how the processes of a cluster find and prove each other. Roadstead's own.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::ListenAddr;
use crate::reader::Reader;
use crate::scalar::{self, Unfit};
use crate::secret::Secret;

/// Bytes of the secret at least: whoever reaches a port can try short ones out.
const SHORTEST_SECRET: usize = 16;

/// Members that a group begins with: an even number bears no more failures than the odd one below.
const SIZES: [usize; 3] = [1, 3, 5];

/// Settings under `cluster`: what all its processes have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// `host:port` of the members of the metadata service: `metadata`.
    pub metadata: Vec<String>,
    /// What processes prove themselves with: `secret` or `tls`. Default: nothing, and no process of a cluster starts.
    pub proof: Option<Proof>,
    /// `host:port` at which the gateway reaches this node: `advertise`. Default: this machine's name and the port.
    pub advertise: Option<String>,
}

/// What the processes of a cluster prove themselves with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// All know it, and nobody else: `secret`.
    Secret(Secret),
    /// Certificates of one authority: `tls`, which wins.
    Tls(ClusterTls),
}

/// Settings under `cluster.tls`. Nothing is read here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterTls {
    /// The certificate's chain in PEM, for the name that this process is reached by: `certificate`.
    pub certificate: PathBuf,
    /// Its key in PEM: `key`.
    pub key: PathBuf,
    /// Who signs everybody's certificates, in PEM: `ca`.
    pub ca: PathBuf,
}

/// Settings under `metadata`: a member of the metadata service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetadataMember {
    /// Which of `peers` this is: `id`.
    pub id: u64,
    /// Where it listens: `addr`. Default: the port that its peers reach it at, on every address.
    pub addr: ListenAddr,
    /// Where its log is: `dir`.
    pub dir: PathBuf,
    /// The members that the group begins with, `host:port` by id: `peers`.
    pub peers: BTreeMap<u64, String>,
    /// Where health and metrics are asked for, of whoever asks: `debug.addr`. Default: nowhere. Not `http.debug`, since a
    /// node may run on the same machine with the same file.
    pub debug: Option<ListenAddr>,
}

impl Cluster {
    pub(crate) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let mut reader = reader.below("cluster");
        if !reader.is_set() {
            return None;
        }
        let secret = reader.secret("secret");
        if secret
            .as_ref()
            .is_some_and(|secret| secret.expose().len() < SHORTEST_SECRET)
        {
            let reason = format!(
                "is too short; write at least {SHORTEST_SECRET} random characters, for example of openssl rand -base64 32"
            );
            reader.mistake("secret", reason);
        }
        let tls = ClusterTls::read(&mut reader);
        Some(Self {
            metadata: reader.list("metadata", host_and_port),
            proof: tls.map(Proof::Tls).or_else(|| secret.map(Proof::Secret)),
            advertise: reader.read("advertise", host_and_port),
        })
    }
}

impl ClusterTls {
    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let mut reader = reader.below("tls");
        if !reader.is_set() {
            return None;
        }
        let certificate = reader.required_path("certificate", "write a PEM file");
        let key = reader.required_path("key", "write a PEM file");
        let ca = reader.required_path(
            "ca",
            "write the PEM file of the authority that signs all certificates",
        );
        Some(Self {
            certificate: certificate?,
            key: key?,
            ca: ca?,
        })
    }
}

impl MetadataMember {
    pub(crate) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let mut reader = reader.below("metadata");
        // A server that stores in a bucket has a directory, and is no member.
        if !["id", "addr", "peers"]
            .iter()
            .any(|key| reader.below(key).is_set())
        {
            return None;
        }
        let id = reader.required(
            "id",
            "write this member's number among metadata.peers",
            |text| scalar::within(text, 1, u64::MAX),
        );
        let dir = reader.required_path("dir", "write a directory that only this member uses");
        let peers = read_peers(&mut reader);
        let addr = reader.read("addr", listen_addr);
        let debug = reader.read("debug.addr", listen_addr);
        let own = id.and_then(|id| peers.get(&id));
        if let (Some(id), None, false) = (id, own, peers.is_empty()) {
            reader.mistake(
                "peers",
                format!("has no entry for metadata.id, which is {id}"),
            );
        }
        let reached_at = own.and_then(|own| own.parse::<ListenAddr>().ok());
        let addr = addr.or_else(|| {
            reached_at.map(|reached| ListenAddr {
                host: None,
                port: reached.port,
            })
        });
        Some(Self {
            id: id?,
            addr: addr.unwrap_or_default(),
            dir: dir?,
            peers,
            debug,
        })
    }
}

fn read_peers(reader: &mut Reader<'_>) -> BTreeMap<u64, String> {
    let entries = reader.each_entry("peers", |name, reader| {
        let id = scalar::within(name, 1, u64::MAX);
        if id.is_err() {
            reader.mistake(
                "",
                "must have a number from 1 on as its key, as in 1: meta-1:7000",
            );
        }
        let addr = reader.read("", host_and_port);
        Some((id.ok()?, addr?))
    });
    let read = entries.len();
    let peers: BTreeMap<u64, String> = entries.into_iter().flatten().collect();
    if read == 0 {
        reader.missing(
            "peers",
            "write the members, as in {1: meta-1:7000, 2: meta-2:7000, 3: meta-3:7000}",
        );
    } else if !SIZES.contains(&read) {
        reader.mistake("peers", format!("has {read} members; write 1, 3 or 5"));
    } else if peers
        .values()
        .collect::<std::collections::BTreeSet<_>>()
        .len()
        < peers.len()
    {
        reader.mistake("peers", "has one address twice");
    }
    peers
}

/// An address that others connect to.
fn host_and_port(text: &str) -> Result<String, Unfit> {
    let parsed = text.parse::<ListenAddr>();
    let complete = parsed.is_ok_and(|addr| addr.host.is_some() && addr.port != 0);
    if !complete || text.is_empty() {
        return Err(Unfit::new(
            "is not an address to connect to; write for example meta-1:7000",
        ));
    }
    Ok(text.to_owned())
}

fn listen_addr(text: &str) -> Result<ListenAddr, Unfit> {
    text.parse::<ListenAddr>()
        .map_err(|error| Unfit::new(error.to_string()))
}

#[cfg(test)]
mod tests;
