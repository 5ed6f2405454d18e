//! `gateway`: what stands in front of the nodes. Roadstead's own.

use std::path::PathBuf;
use std::time::Duration;

use crate::listen::ListenAddr;
use crate::reader::Reader;
use crate::scalar::{self, Unfit};
use crate::tls::Tls;

mod upstream;

pub use upstream::{Upstream, UpstreamTls};

/// Settings under `gateway`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gateway {
    /// Where clients come in: `addr`. Default: `:5000`.
    pub addr: ListenAddr,
    /// The certificate, and who must show one in turn: `tls`. Default: plain HTTP.
    pub tls: Option<Tls>,
    /// Certificates for other names, each chosen by the name that a client asks for: `tls.more`.
    pub certificates: Vec<Certificate>,
    /// Where plain HTTP is answered with a redirect to HTTPS: `redirect.addr`. Default: nowhere.
    pub redirect: Option<ListenAddr>,
    /// Where figures are served: `debug.addr`. Default: nowhere.
    pub debug: Option<ListenAddr>,
    /// The nodes, beside those of a cluster: `upstreams`.
    pub upstreams: Vec<Upstream>,
    /// How often names are resolved again: `resolve`. Default: 10 s, since a name server may not say how long an answer
    /// is good.
    pub resolve: Duration,
    /// TLS to the nodes: `upstreamtls`. Default: plain HTTP.
    pub upstream_tls: Option<UpstreamTls>,
    /// Nodes are spoken to in HTTP/2: `upstreamhttp2`. Default: false, since HTTP/1.1 costs less for bytes.
    pub upstream_http2: bool,
    /// Who says where connections come from: `proxyprotocol`.
    pub proxy_protocol: ProxyProtocol,
    /// When a node is well: `health`.
    pub health: GatewayHealth,
    /// How long things may take: `timeouts`.
    pub timeouts: GatewayTimeouts,
    /// How often a request is tried: `retries`.
    pub retries: GatewayRetries,
    /// How much there may be at a time: `limits`.
    pub limits: GatewayLimits,
    /// Refuses Docker before 1.6 and bare Go programs, as nginx is often told to: `refuseancient`. Default: false.
    pub refuse_ancient: bool,
}

/// A certificate with its key, in files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The chain in PEM, leaf first: `certificate`.
    pub certificate: PathBuf,
    /// Its key in PEM: `key`.
    pub key: PathBuf,
}

/// Settings under `gateway.proxyprotocol`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProxyProtocol {
    /// Connections from `proxies.trusted` begin with it: `accept`. Default: false.
    pub accept: bool,
    /// Connections to nodes begin with it: `send`. Default: they do not.
    pub send: Option<ProxyVersion>,
}

/// A version of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyVersion {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

/// What a node without credentials must answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Expect {
    /// What the cluster says of its `auth`; 401 where nobody says anything.
    #[default]
    Auto,
    /// 401: a node that lets strangers in is taken out.
    Unauthorized,
    /// 200.
    Ok,
}

/// Settings under `gateway.health`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GatewayHealth {
    /// What the answer must be: `expect`.
    pub expect: Expect,
    /// From one check of a node to the next: `interval`. Default: 2 s.
    pub interval: Duration,
    /// How long an answer may take: `timeout`. Default: 2 s.
    pub timeout: Duration,
    /// Good answers in a row that bring a node back: `rise`. Default: 1, since its share grows slowly anyway.
    pub rise: u32,
    /// Bad ones that take it out: `fall`. Default: 2.
    pub fall: u32,
    /// How long the share of a node that came back grows: `slowstart`. Default: 10 s.
    pub slow_start: Duration,
}

/// Settings under `gateway.timeouts`. All are about progress: none bounds how long a transfer may take that moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GatewayTimeouts {
    /// To connect to a node: `connect`. Default: 2 s.
    pub connect: Duration,
    /// From the request to the head of an answer that is only read: `answer`. Default: 30 s.
    pub answer: Duration,
    /// The same for one that writes, which includes putting a blob in its place: `commit`. Default: 15 min.
    pub commit: Duration,
    /// How long a body may stand still: `idle`. Default: 1 min.
    pub idle: Duration,
    /// How long a request waits for a node where all are down: `patience`. Default: 10 s.
    pub patience: Duration,
    /// How long connections are still taken after the signal to stop, while `/readyz` says 503: `lameduck`. Default: 1 s,
    /// longer than balancers commonly take to check once where they check closely.
    pub lame_duck: Duration,
    /// How long what is under way then may take: `drain`. Default: 60 s.
    pub drain: Duration,
}

/// Settings under `gateway.retries`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GatewayRetries {
    /// Tries of one request in a row without progress: `tries`. Default: 8.
    pub tries: u32,
    /// Retries of all, in percent of requests: `percent`. Default: 20.
    pub percent: u32,
    /// Retries a second that are always allowed: `reserve`. Default: 20.
    pub reserve: u32,
}

/// Settings under `gateway.limits`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GatewayLimits {
    /// Connections from clients: `connections`. Default: as many as there are open files for.
    pub connections: Option<u32>,
    /// Requests at a time; more are answered with 503: `requests`. Default: 10000.
    pub requests: u32,
    /// Requests at a time at each node: `pernode`. Default: 2000.
    pub per_node: u32,
    /// Bytes of an upload that are held until a node has them: `chunk`. Default: 32 MiB,
    /// so that most layers are one.
    pub chunk: u64,
    /// Bytes of all uploads that are held: `memory`. Default: 256 MiB.
    pub memory: u64,
}

const EXPECTATIONS: &[(&str, Expect)] = &[
    ("auto", Expect::Auto),
    ("401", Expect::Unauthorized),
    ("200", Expect::Ok),
];

const VERSIONS: &[(&str, Option<ProxyVersion>)] = &[
    ("none", None),
    ("v1", Some(ProxyVersion::V1)),
    ("v2", Some(ProxyVersion::V2)),
];

/// What one write moves at a node; smaller chunks would cost a sync each.
const SMALLEST_CHUNK: u64 = 1 << 20;

impl Default for Gateway {
    fn default() -> Self {
        Self {
            addr: ListenAddr::default(),
            tls: None,
            certificates: Vec::new(),
            redirect: None,
            debug: None,
            upstreams: Vec::new(),
            resolve: Duration::from_secs(10),
            upstream_tls: None,
            upstream_http2: false,
            proxy_protocol: ProxyProtocol::default(),
            health: GatewayHealth::default(),
            timeouts: GatewayTimeouts::default(),
            retries: GatewayRetries::default(),
            limits: GatewayLimits::default(),
            refuse_ancient: false,
        }
    }
}

impl Default for GatewayHealth {
    fn default() -> Self {
        Self {
            expect: Expect::Auto,
            interval: Duration::from_secs(2),
            timeout: Duration::from_secs(2),
            rise: 1,
            fall: 2,
            slow_start: Duration::from_secs(10),
        }
    }
}

impl Default for GatewayTimeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(2),
            answer: Duration::from_secs(30),
            commit: Duration::from_mins(15),
            idle: Duration::from_mins(1),
            patience: Duration::from_secs(10),
            lame_duck: Duration::from_secs(1),
            drain: Duration::from_mins(1),
        }
    }
}

impl Default for GatewayRetries {
    fn default() -> Self {
        Self {
            tries: 8,
            percent: 20,
            reserve: 20,
        }
    }
}

impl Default for GatewayLimits {
    fn default() -> Self {
        Self {
            connections: None,
            requests: 10_000,
            per_node: 2000,
            chunk: 32 << 20,
            memory: 256 << 20,
        }
    }
}

impl Gateway {
    /// None where nothing is said of a gateway.
    pub(crate) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let gateway = &mut reader.below("gateway");
        if !gateway.is_set() {
            return None;
        }
        let default = Self::default();
        let read = Self {
            addr: gateway.read("addr", address).unwrap_or(default.addr),
            tls: Tls::read(&mut gateway.below("tls")),
            certificates: gateway.each("tls.more", Certificate::read),
            redirect: gateway.read("redirect.addr", address),
            debug: gateway.read("debug.addr", address),
            upstreams: gateway.list("upstreams", Upstream::parse),
            resolve: gateway
                .read("resolve", scalar::positive_duration)
                .unwrap_or(default.resolve),
            upstream_tls: UpstreamTls::read(&mut gateway.below("upstreamtls")),
            upstream_http2: gateway
                .read("upstreamhttp2", scalar::boolean)
                .unwrap_or(default.upstream_http2),
            proxy_protocol: ProxyProtocol::read(&mut gateway.below("proxyprotocol")),
            health: GatewayHealth::read(&mut gateway.below("health")),
            timeouts: GatewayTimeouts::read(&mut gateway.below("timeouts")),
            retries: GatewayRetries::read(&mut gateway.below("retries")),
            limits: GatewayLimits::read(&mut gateway.below("limits")),
            refuse_ancient: gateway
                .read("refuseancient", scalar::boolean)
                .unwrap_or(default.refuse_ancient),
        };
        if read.redirect.is_some() && read.tls.is_none() {
            let reason = "there is nothing to redirect to without gateway.tls";
            gateway.mistake("redirect.addr", reason);
        }
        Some(read)
    }
}

impl Certificate {
    pub(crate) fn read(item: &mut Reader<'_>) -> Option<Self> {
        let certificate = item.required_path("certificate", "write the path of the chain in PEM");
        let key = item.required_path("key", "write the path of the certificate's key in PEM");
        Some(Self {
            certificate: certificate?,
            key: key?,
        })
    }
}

impl ProxyProtocol {
    fn read(reader: &mut Reader<'_>) -> Self {
        let send = reader.read("send", |text| scalar::one_of(text, VERSIONS));
        Self {
            accept: reader.read("accept", scalar::boolean).unwrap_or_default(),
            send: send.flatten(),
        }
    }
}

impl GatewayHealth {
    fn read(reader: &mut Reader<'_>) -> Self {
        let default = Self::default();
        let expect = reader.read("expect", |text| scalar::one_of(text, EXPECTATIONS));
        Self {
            expect: expect.unwrap_or(default.expect),
            interval: time(reader, "interval", default.interval),
            timeout: time(reader, "timeout", default.timeout),
            rise: number(reader, "rise", default.rise),
            fall: number(reader, "fall", default.fall),
            slow_start: reader
                .read("slowstart", scalar::duration)
                .unwrap_or(default.slow_start),
        }
    }
}

impl GatewayTimeouts {
    fn read(reader: &mut Reader<'_>) -> Self {
        let default = Self::default();
        Self {
            connect: time(reader, "connect", default.connect),
            answer: time(reader, "answer", default.answer),
            commit: time(reader, "commit", default.commit),
            idle: time(reader, "idle", default.idle),
            patience: reader
                .read("patience", scalar::duration)
                .unwrap_or(default.patience),
            lame_duck: reader
                .read("lameduck", scalar::duration)
                .unwrap_or(default.lame_duck),
            drain: reader
                .read("drain", scalar::duration)
                .unwrap_or(default.drain),
        }
    }
}

impl GatewayRetries {
    fn read(reader: &mut Reader<'_>) -> Self {
        let default = Self::default();
        let zero_too = |reader: &mut Reader<'_>, key: &str, default| {
            reader.read(key, scalar::count).unwrap_or(default)
        };
        Self {
            tries: number(reader, "tries", default.tries),
            percent: zero_too(reader, "percent", default.percent),
            reserve: zero_too(reader, "reserve", default.reserve),
        }
    }
}

impl GatewayLimits {
    fn read(reader: &mut Reader<'_>) -> Self {
        let default = Self::default();
        let chunk = reader.read("chunk", |text| {
            scalar::within(text, SMALLEST_CHUNK, 1 << 30)
        });
        let chunk = chunk.unwrap_or(default.chunk);
        let memory = reader.read("memory", |text| {
            scalar::within(text, SMALLEST_CHUNK, 1 << 40)
        });
        let memory = memory.unwrap_or(default.memory);
        if chunk > memory {
            reader.mistake("chunk", "is more than limits.memory has room for");
        }
        Self {
            connections: reader.read("connections", positive),
            requests: number(reader, "requests", default.requests),
            per_node: number(reader, "pernode", default.per_node),
            chunk,
            memory,
        }
    }
}

fn address(text: &str) -> Result<ListenAddr, Unfit> {
    text.parse().map_err(|error| Unfit::new(format!("{error}")))
}

fn time(reader: &mut Reader<'_>, key: &str, default: Duration) -> Duration {
    let read = reader.read(key, scalar::positive_duration);
    read.unwrap_or(default)
}

fn number(reader: &mut Reader<'_>, key: &str, default: u32) -> u32 {
    reader.read(key, positive).unwrap_or(default)
}

fn positive(text: &str) -> Result<u32, Unfit> {
    match scalar::count(text)? {
        0 => Err(Unfit::new("must be more than zero")),
        count => Ok(count),
    }
}

#[cfg(test)]
mod tests;
