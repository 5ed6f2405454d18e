//! `storage.cache` and `redis`.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use roadstead_cache::{
    Addr, Answer, Cache, Credentials, Descriptors, EpochSource, Identity, Options, Patience,
    RedisOptions, Seen, Servers, Tier, Tls, TrustedWhile, Watch,
};
use roadstead_config::{CacheKind, Config, Redis, RedisIdentity, RedisServers, RedisTls, Secret};
use roadstead_storage::claim::Lease;
use roadstead_telemetry::metrics::{Cache as CacheLabel, CacheEvent, Metrics};
use roadstead_telemetry::startup;

use crate::serve::Role;

/// The cache that a configuration asks for, and the one for manifests that needs no asking.
/// With a claim's lease, what exists is said from memory while the lease is held: otherwise another server may delete.
pub(crate) async fn build(
    config: &Config,
    metrics: Metrics,
    lease: Option<Lease>,
    role: Role,
) -> Result<Cache> {
    let mut options = options(config)?;
    // Who gives the number that entries in Redis prove something by.
    options.epoch = match role {
        Role::Alone => EpochSource::Own,
        Role::Node => EpochSource::Given,
    };
    if let Some(lease) = lease {
        options.trusted_while = TrustedWhile::new(move || lease.is_held());
    }
    match config.storage.cache {
        Some(CacheKind::InMemory { .. }) => startup::descriptor_cache("inmemory"),
        Some(CacheKind::Redis) => startup::descriptor_cache("redis"),
        None => {}
    }
    Ok(Cache::build(options, watch(metrics)).await)
}

fn options(config: &Config) -> Result<Options> {
    let default = Options {
        // A process that only reads does not keep others from deleting.
        trusted: !config.storage.read_only,
        ..Options::default()
    };
    Ok(match (config.storage.cache, &config.redis) {
        (None, _) => default,
        (Some(CacheKind::InMemory { size }), _) => Options {
            descriptors: Some(Descriptors {
                count: size.map(usize::try_from).transpose()?,
                ..Descriptors::default()
            }),
            ..default
        },
        (Some(CacheKind::Redis), redis) => Options {
            descriptors: Some(Descriptors::default()),
            redis: redis.as_ref().map(of_redis).transpose()?,
            ..default
        },
    })
}

fn of_redis(redis: &Redis) -> Result<RedisOptions> {
    let replicas = redis.replicas;
    let patience = &redis.patience;
    Ok(RedisOptions {
        servers: servers(&redis.servers)?,
        credentials: credentials(redis.username.as_ref(), redis.password.as_ref()),
        db: redis.db,
        protocol: redis.protocol,
        tls: redis.tls.as_ref().map(tls).transpose()?,
        client_name: redis.client_name.clone(),
        identity: match &redis.identity {
            RedisIdentity::Plain => Identity::Plain,
            RedisIdentity::Suffix(suffix) => Identity::Suffix(suffix.clone()),
            RedisIdentity::Hidden => Identity::Hidden,
        },
        patience: Patience::capped(patience.dial, patience.read, patience.write),
        read_replicas: replicas.read_only || replicas.by_latency || replicas.randomly,
        redirects: patience.redirects,
    })
}

fn servers(servers: &RedisServers) -> Result<Servers> {
    let addr = |text: &String| {
        // The configuration has seen that it is one.
        Addr::parse(text).context("redis.addrs: not an address")
    };
    let addrs = |texts: &[String]| texts.iter().map(addr).collect::<Result<Vec<_>>>();
    Ok(match servers {
        RedisServers::Single(text) => Servers::Single(addr(text)?),
        RedisServers::Cluster(texts) => Servers::Cluster(addrs(texts)?),
        RedisServers::Sentinel {
            master,
            sentinels,
            username,
            password,
        } => Servers::Sentinel {
            master: master.clone(),
            sentinels: addrs(sentinels)?,
            credentials: credentials(username.as_ref(), password.as_ref()),
        },
    })
}

fn credentials(username: Option<&String>, password: Option<&Secret>) -> Credentials {
    Credentials {
        username: username.cloned(),
        password: password.map(|password| password.expose().to_owned()),
    }
}

fn tls(tls: &RedisTls) -> Result<Tls> {
    let identity = match &tls.identity {
        Some((certificate, key)) => Some((
            read(certificate, "redis.tls.certificate")?,
            read(key, "redis.tls.key")?,
        )),
        None => None,
    };
    Ok(Tls {
        identity,
        authorities: authorities(&tls.authorities)?,
    })
}

/// All of them as one file.
fn authorities(paths: &[PathBuf]) -> Result<Option<Vec<u8>>> {
    if paths.is_empty() {
        return Ok(None);
    }
    let mut all = Vec::new();
    for path in paths {
        all.extend(read(path, "redis.tls.rootcas")?);
        all.push(b'\n');
    }
    Ok(Some(all))
}

fn read(path: &Path, key: &str) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("{key}: {}", path.display()))
}

fn watch(metrics: Metrics) -> Watch {
    Watch::new(move |seen| match seen {
        Seen::Asked(answer) => metrics.cache_asked(match answer {
            Answer::Hit => CacheEvent::Hit,
            Answer::Miss => CacheEvent::Miss,
            Answer::Error => CacheEvent::Error,
        }),
        Seen::Took(tier, operation, took) => {
            let cache = match tier {
                Tier::Memory => CacheLabel::Memory,
                Tier::Redis => CacheLabel::Redis,
            };
            metrics.cache_took(cache, operation, took);
        }
        Seen::Redis { up } => metrics.cache_redis_up(up),
        Seen::Doubt => {}
    })
}
