//! `redis`: where the cache of descriptors can be shared.
//!
//! The second release of the reference and the third name things differently; both are read, and where both stand, the
//! third's win. A zero is everywhere the default, since the reference's library cannot tell it from nothing.

use std::path::PathBuf;
use std::time::Duration;

use crate::reader::Reader;
use crate::scalar::{self, Unfit};
use crate::secret::Secret;

/// Settings under `redis`. Defaults are those of the reference's library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redis {
    /// Where it is, and how it is spread.
    pub servers: RedisServers,
    /// What connections call themselves: `clientname`.
    pub client_name: Option<String>,
    /// The database's number: `db`. Default: 0.
    pub db: u32,
    /// RESP's version, 2 or 3: `protocol`. Default: 3.
    pub protocol: u8,
    /// `username`.
    pub username: Option<String>,
    /// `password`.
    pub password: Option<Secret>,
    /// TLS with the servers: `tls`. Default: none.
    pub tls: Option<RedisTls>,
    /// When to give up, and to try again.
    pub patience: RedisPatience,
    /// How many connections there are.
    pub pool: RedisPool,
    /// Reads may go to replicas, of a cluster: `readonly`, `routebylatency`, `routerandomly`. Default: false.
    pub replicas: RedisReplicas,
    /// What the library tells of itself: `disableidentity`, else `identitysuffix`. Default: its name.
    pub identity: RedisIdentity,
    /// Answers of RESP 3 whose form may change: `unstableresp3`. Default: false.
    pub unstable_resp3: bool,
}

/// Where Redis is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedisServers {
    /// One server: one address in `addrs`, or `addr`.
    Single(String),
    /// A cluster, some of its nodes: two addresses or more.
    Cluster(Vec<String>),
    /// Sentinels, who know where the master of this name is: `mastername`.
    Sentinel {
        /// `mastername`.
        master: String,
        /// The sentinels' addresses. Never empty.
        sentinels: Vec<String>,
        /// `sentinelusername`.
        username: Option<String>,
        /// `sentinelpassword`.
        password: Option<Secret>,
    },
}

/// Settings under `redis.tls`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RedisTls {
    /// Our own certificate and its key: `certificate`, `key`. Default: none is shown.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// Who may have signed the servers' certificates: `rootcas`. Default: whom the system trusts.
    pub authorities: Vec<PathBuf>,
}

/// Times and attempts. `None` is for ever, or never again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisPatience {
    /// Attempts after the first: `maxretries`. Default: 3.
    pub retries: u32,
    /// Before the second attempt: `minretrybackoff`. Default: 8 ms.
    pub min_backoff: Duration,
    /// Before later attempts, at most: `maxretrybackoff`. Default: 512 ms.
    pub max_backoff: Duration,
    /// `dialtimeout`. Default: 5 s.
    pub dial: Duration,
    /// `readtimeout`. Default: 3 s.
    pub read: Option<Duration>,
    /// `writetimeout`. Default: as `read`.
    pub write: Option<Duration>,
    /// The deadline of a request counts, too: `contexttimeoutenabled`. Default: false.
    pub by_context: bool,
    /// Answers that name another node of a cluster, followed at most: `maxredirects`. Default: 3.
    pub redirects: u32,
}

/// Connections that are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisPool {
    /// The longest unused is taken first: `poolfifo`. Default: false.
    pub fifo: bool,
    /// At a time: `poolsize`, or `pool.maxactive`. Default, `None`: ten for each processor.
    pub size: Option<u32>,
    /// How long to wait for one: `pooltimeout`. Default: a second more than `readtimeout`.
    pub timeout: Duration,
    /// Kept, even unused: `minidleconns`. Default: 0.
    pub min_idle: u32,
    /// Kept unused, at most: `maxidleconns`, or `pool.maxidle`. Default, `None`: all.
    pub max_idle: Option<u32>,
    /// At a time, beyond the pool: `maxactiveconns`. Default, `None`: as many as are asked for.
    pub max_active: Option<u32>,
    /// Closed when unused for so long: `connmaxidletime`, or `pool.idletimeout`. Default: 30 min. `None`: never.
    pub idle_time: Option<Duration>,
    /// Closed when so old: `connmaxlifetime`. Default, `None`: never.
    pub lifetime: Option<Duration>,
}

/// Which nodes of a cluster are read from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RedisReplicas {
    /// `readonly`.
    pub read_only: bool,
    /// The nearest: `routebylatency`.
    pub by_latency: bool,
    /// Any: `routerandomly`.
    pub randomly: bool,
}

/// What Redis is told of its client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum RedisIdentity {
    /// The library's name and version.
    #[default]
    Plain,
    /// And this: `identitysuffix`.
    Suffix(String),
    /// Nothing: `disableidentity`.
    Hidden,
}

impl Redis {
    /// `None` without an address: then the reference has no Redis, too.
    pub(crate) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let redis = &mut reader.below("redis");
        let servers = servers(redis);
        let patience = RedisPatience::read(redis);
        let read = Self {
            client_name: redis.text("clientname"),
            db: redis.read("db", scalar::count).unwrap_or_default(),
            protocol: redis.read("protocol", protocol).unwrap_or(3),
            username: redis.text("username"),
            password: redis.secret("password"),
            tls: RedisTls::read(&mut redis.below("tls")),
            pool: RedisPool::read(redis, &patience),
            patience,
            replicas: RedisReplicas {
                read_only: flag(redis, "readonly"),
                by_latency: flag(redis, "routebylatency"),
                randomly: flag(redis, "routerandomly"),
            },
            identity: identity(redis),
            unstable_resp3: flag(redis, "unstableresp3"),
            servers: servers?,
        };
        Some(read)
    }
}

fn servers(redis: &mut Reader<'_>) -> Option<RedisServers> {
    let master = redis.text("mastername");
    let username = redis.text("sentinelusername");
    let password = redis.secret("sentinelpassword");
    let mut addrs = redis.list("addrs", address);
    let old = redis.read("addr", address);
    if addrs.is_empty() {
        addrs.extend(old);
    } else if old.is_some_and(|old| addrs != [old]) {
        redis.remark("addr", "not used, since redis.addrs is there");
    }
    if addrs.is_empty() {
        // An address that is wrong is a mistake already.
        let named = redis.below("addrs").is_set() || redis.below("addr").is_set();
        if redis.is_set() && !named {
            redis.remark("", "without redis.addrs nothing of this is used");
        }
        return None;
    }
    if let Some(master) = master {
        return Some(RedisServers::Sentinel {
            master,
            sentinels: addrs,
            username,
            password,
        });
    }
    match <[String; 1]>::try_from(addrs) {
        Ok([addr]) => Some(RedisServers::Single(addr)),
        Err(addrs) => Some(RedisServers::Cluster(addrs)),
    }
}

impl RedisTls {
    fn read(tls: &mut Reader<'_>) -> Option<Self> {
        let enabled = tls.read("enabled", scalar::boolean);
        let path = |text: &str| Ok(PathBuf::from(text));
        let mut authorities = tls.list("rootcas", path);
        // The third release's first name for it.
        authorities.extend(tls.list("clientcas", path));
        let identity = match (tls.path("certificate"), tls.path("key")) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            (Some(_), None) => {
                tls.missing("key", "write the path of the certificate's key");
                None
            }
            (None, Some(_)) => {
                tls.missing("certificate", "write the path of the key's certificate");
                None
            }
        };
        let named = identity.is_some() || !authorities.is_empty();
        if enabled == Some(false) && named {
            let reason = "is false, and beside it stand certificates; remove one or the other";
            tls.mistake("enabled", reason);
        }
        (enabled == Some(true) || named).then_some(Self {
            identity,
            authorities,
        })
    }
}

impl RedisPatience {
    fn read(redis: &mut Reader<'_>) -> Self {
        let read = setting(redis, "readtimeout", timeout, Some(Duration::from_secs(3)));
        Self {
            retries: setting(redis, "maxretries", attempts, 3),
            min_backoff: setting(redis, "minretrybackoff", pause, Duration::from_millis(8)),
            max_backoff: setting(redis, "maxretrybackoff", pause, Duration::from_millis(512)),
            dial: setting(redis, "dialtimeout", nonzero, Duration::from_secs(5)),
            read,
            write: setting(redis, "writetimeout", timeout, read),
            by_context: flag(redis, "contexttimeoutenabled"),
            redirects: setting(redis, "maxredirects", attempts, 3),
        }
    }
}

impl RedisPool {
    fn read(redis: &mut Reader<'_>, patience: &RedisPatience) -> Self {
        let second = Duration::from_secs(1);
        let timeout_default = patience.read.unwrap_or_default().saturating_add(second);
        let (max_active, max_idle) = (
            number(redis, "pool.maxactive"),
            number(redis, "pool.maxidle"),
        );
        let half_an_hour = Some(Duration::from_mins(30));
        let idle_time = setting(redis, "pool.idletimeout", timeout, half_an_hour);
        Self {
            fifo: flag(redis, "poolfifo"),
            size: number(redis, "poolsize").or(max_active),
            timeout: setting(redis, "pooltimeout", nonzero, timeout_default),
            min_idle: number(redis, "minidleconns").unwrap_or_default(),
            max_idle: number(redis, "maxidleconns").or(max_idle),
            max_active: number(redis, "maxactiveconns"),
            idle_time: setting(redis, "connmaxidletime", timeout, idle_time),
            lifetime: setting(redis, "connmaxlifetime", timeout, None),
        }
    }
}

fn identity(redis: &mut Reader<'_>) -> RedisIdentity {
    // The second is how the library itself once spelt it.
    let hidden = flag(redis, "disableidentity") | flag(redis, "disableindentity");
    match redis.text("identitysuffix") {
        _ if hidden => RedisIdentity::Hidden,
        Some(suffix) => RedisIdentity::Suffix(suffix),
        None => RedisIdentity::Plain,
    }
}

fn flag(redis: &mut Reader<'_>, key: &str) -> bool {
    redis.read(key, scalar::boolean).unwrap_or_default()
}

/// Zero is as good as absent.
fn number(redis: &mut Reader<'_>, key: &str) -> Option<u32> {
    redis.read(key, scalar::count).filter(|number| *number > 0)
}

/// What `parse` makes of a setting, told what zero means; that, too, when the setting is absent.
fn setting<T: Copy>(
    redis: &mut Reader<'_>,
    key: &str,
    parse: fn(&str, T) -> Result<T, Unfit>,
    default: T,
) -> T {
    let parsed = redis.read(key, |text| parse(text, default));
    parsed.unwrap_or(default)
}

fn nonzero(text: &str, default: Duration) -> Result<Duration, Unfit> {
    let duration = scalar::duration(text)?;
    Ok(if duration.is_zero() {
        default
    } else {
        duration
    })
}

/// -1 waits for nothing.
fn pause(text: &str, default: Duration) -> Result<Duration, Unfit> {
    match scalar::nanoseconds(text)? {
        -1 => Ok(Duration::ZERO),
        _ => nonzero(text, default),
    }
}

/// -1 and -2 wait for ever.
fn timeout(text: &str, default: Option<Duration>) -> Result<Option<Duration>, Unfit> {
    match scalar::nanoseconds(text)? {
        -2 | -1 => Ok(None),
        0 => Ok(default),
        _ => scalar::duration(text).map(Some),
    }
}

/// -1 is none.
fn attempts(text: &str, default: u32) -> Result<u32, Unfit> {
    match scalar::integer(text)? {
        -1 => Ok(0),
        0 => Ok(default),
        _ => scalar::count(text),
    }
}

fn protocol(text: &str) -> Result<u8, Unfit> {
    match scalar::count(text)? {
        0 | 3 => Ok(3),
        2 => Ok(2),
        _ => Err(Unfit::new(
            "is not a version of Redis' protocol; write 2 or 3",
        )),
    }
}

fn address(text: &str) -> Result<String, Unfit> {
    let names_port = text
        .rsplit_once(':')
        .is_some_and(|(_, port)| !port.is_empty() && port.parse::<u16>().is_ok());
    if names_port && !text.contains("://") {
        Ok(text.to_owned())
    } else {
        // It may be a URL with a password.
        Err(Unfit::new("is not an address; write for example redis.example:6379").hide())
    }
}

#[cfg(test)]
mod tests;
