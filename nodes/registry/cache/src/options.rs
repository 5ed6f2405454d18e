//! What a cache can be told.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::epoch::EpochSource;

/// What is remembered, and where. The default is what needs no configuration: manifests' bytes, and nothing else.
#[derive(Clone, Debug)]
pub struct Options {
    /// What is in which repository. `None`: nothing.
    pub descriptors: Option<Descriptors>,
    /// Bytes of memory for manifests. 0: none is kept.
    pub manifest_bytes: usize,
    /// Descriptors of blobs are shared there, too.
    pub redis: Option<RedisOptions>,
    /// This process knows of every deletion in the store: only then does it believe that something exists because it
    /// did a while ago. Can be changed while it runs.
    pub trusted: bool,
    /// Asked each time, besides.
    pub trusted_while: TrustedWhile,
    pub epoch: EpochSource,
}

/// Tells whether this process still has the store for itself, at once. What was learnt before it said no counts again when
/// it says yes; if somebody may have deleted meanwhile, `Cache::trust` is the way.
#[derive(Clone)]
pub struct TrustedWhile(Arc<dyn Fn() -> bool + Send + Sync>);

impl TrustedWhile {
    pub fn new(holds: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(holds))
    }

    pub(crate) fn holds(&self) -> bool {
        (self.0)()
    }
}

/// Always.
impl Default for TrustedWhile {
    fn default() -> Self {
        Self::new(|| true)
    }
}

impl fmt::Debug for TrustedWhile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TrustedWhile")
    }
}

/// Room for descriptors in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptors {
    pub bytes: usize,
    pub count: Option<usize>,
}

impl Default for Descriptors {
    fn default() -> Self {
        Self {
            // A hundred thousand of usual length.
            bytes: 32 << 20,
            count: None,
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            descriptors: None,
            // Some thousand manifests of usual size.
            manifest_bytes: 16 << 20,
            redis: None,
            trusted: true,
            trusted_while: TrustedWhile::default(),
            epoch: EpochSource::Own,
        }
    }
}

/// Where Redis is, and how it is talked to.
#[derive(Clone, Debug)]
pub struct RedisOptions {
    pub servers: Servers,
    pub credentials: Credentials,
    /// The database's number.
    pub db: u32,
    /// RESP's version: 2, or else 3.
    pub protocol: u8,
    pub tls: Option<Tls>,
    pub client_name: Option<String>,
    pub identity: Identity,
    pub patience: Patience,
    /// Reads may go to replicas, of a cluster.
    pub read_replicas: bool,
    /// Answers that name another node of a cluster, followed at most.
    pub redirects: u32,
}

/// Where Redis is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Servers {
    Single(Addr),
    /// A cluster, some of its nodes.
    Cluster(Vec<Addr>),
    Sentinel {
        /// The name under which the sentinels know the master.
        master: String,
        sentinels: Vec<Addr>,
        /// What the sentinels ask for.
        credentials: Credentials,
    },
}

/// Host and port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addr {
    pub host: String,
    pub port: u16,
}

impl Addr {
    /// `host:port`, `[::1]:port`, or `:port` for this machine.
    pub fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let host = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(host);
        let host = if host.is_empty() { "localhost" } else { host };
        Some(Self {
            host: host.to_owned(),
            port: port.parse().ok()?,
        })
    }
}

impl fmt::Display for Addr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// A user of Redis.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    pub username: Option<String>,
    pub password: Option<String>,
}

/// Without the password.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

/// TLS with the servers, and with sentinels.
#[derive(Clone, Default)]
pub struct Tls {
    /// Our certificate and its key, in PEM. `None`: none is shown.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
    /// Who may have signed the servers' certificates, in PEM. `None`: whom the system trusts.
    pub authorities: Option<Vec<u8>>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}

/// What Redis is told of its client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Identity {
    /// Name and version of the library.
    #[default]
    Plain,
    /// The library's name with this behind it.
    Suffix(String),
    Hidden,
}

/// How long Redis may take. Past that, things go on without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// For a connection. No request waits for it.
    pub dial: Duration,
    /// For an answer that a request waits for.
    pub read: Duration,
    /// For something written.
    pub write: Duration,
}

impl Patience {
    /// A store seldom takes longer: then it is as well to ask the store.
    const READ: Duration = Duration::from_millis(250);
    /// What a deletion waits for Redis.
    const WRITE: Duration = Duration::from_millis(500);

    /// What was configured, as far as requests can bear it.
    pub fn capped(dial: Duration, read: Option<Duration>, write: Option<Duration>) -> Self {
        Self {
            dial,
            read: read.unwrap_or(Self::READ).min(Self::READ),
            write: write.unwrap_or(Self::WRITE).min(Self::WRITE),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_they_are_written() {
        let addr = |text: &str| Addr::parse(text).map(|addr| addr.to_string());
        assert_eq!(addr("redis:6379").as_deref(), Some("redis:6379"));
        assert_eq!(addr("[::1]:6379").as_deref(), Some("[::1]:6379"));
        assert_eq!(addr(":6379").as_deref(), Some("localhost:6379"));
        assert_eq!((addr("redis"), addr("redis:x")), (None, None));
    }

    #[test]
    fn passwords_are_not_shown() {
        let credentials = Credentials {
            username: Some("registry".to_owned()),
            password: Some("hunter2".to_owned()),
        };
        let servers = Servers::Sentinel {
            master: "main".to_owned(),
            sentinels: Vec::new(),
            credentials,
        };
        let shown = format!("{servers:?}");
        assert!(
            shown.contains("registry") && !shown.contains("hunter2"),
            "{shown}"
        );
    }

    #[test]
    fn no_configuration_makes_requests_wait_for_long() {
        let minute = Duration::from_mins(1);
        let capped = Patience::capped(minute, None, Some(minute));
        assert!(capped.read + capped.write < Duration::from_secs(1));
        let short = Duration::from_millis(3);
        assert_eq!(Patience::capped(minute, Some(short), None).read, short);
    }
}
