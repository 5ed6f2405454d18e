//! The cache with real Redis servers: started by each test, killed, paused, filled up, replaced.

#![expect(clippy::panic, reason = "tests fail where they stand")]

mod entries;
mod failing;
mod server;
mod several;
mod strangers;

use std::time::Duration;

use roadstead_cache::{
    Addr, Cache, Credentials, Descriptor, Descriptors, EpochSource, Identity, Key, Options,
    Patience, RedisOptions, Servers, Watch,
};
use roadstead_oci::{Algorithm, Digest};

use server::wait_for;

/// As long as a machine that compiles something else may need for an answer.
const PATIENT: Patience = Patience {
    dial: Duration::from_secs(10),
    read: Duration::from_secs(10),
    write: Duration::from_secs(10),
};

/// What a hanging server costs in these tests.
const IMPATIENT: Patience = Patience {
    dial: Duration::from_secs(10),
    read: Duration::from_millis(200),
    write: Duration::from_millis(200),
};

fn redis(servers: Servers) -> RedisOptions {
    RedisOptions {
        servers,
        credentials: Credentials::default(),
        db: 0,
        protocol: 3,
        tls: None,
        client_name: None,
        identity: Identity::Plain,
        patience: PATIENT,
        read_replicas: false,
        redirects: 3,
    }
}

fn at(port: u16) -> Servers {
    Servers::Single(addr(port))
}

fn addr(port: u16) -> Addr {
    Addr {
        host: "127.0.0.1".to_owned(),
        port,
    }
}

/// Without room in memory: what it knows, it knows from Redis.
async fn cache(redis: RedisOptions, epoch: EpochSource) -> Cache {
    let options = Options {
        descriptors: Some(Descriptors {
            bytes: 0,
            count: None,
        }),
        manifest_bytes: 0,
        redis: Some(redis),
        epoch,
        ..Options::default()
    };
    Cache::build(options, Watch::default()).await
}

/// One of several processes that share an epoch.
async fn node(redis: RedisOptions, epoch: u64) -> Cache {
    let cache = cache(redis, EpochSource::Given).await;
    up(&cache).await;
    cache.begin_epoch(epoch, cache.doubts());
    cache
}

async fn up(cache: &Cache) {
    wait_for("redis is used", || async {
        cache.redis_is_up().filter(|up| *up)
    })
    .await;
}

async fn down(cache: &Cache) {
    wait_for("redis is given up", || async {
        cache.redis_is_up().filter(|up| !up)
    })
    .await;
}

fn key(blob: &str) -> Key {
    let name = "team/app".parse().expect("a name");
    Key::blob(&name, &Digest::of(Algorithm::CANONICAL, blob.as_bytes()))
}

fn seven() -> Descriptor {
    Descriptor::of_blob(7)
}

/// Learnt, and found again: Redis has it.
async fn learn(cache: &Cache, key: &Key) {
    cache.learn(cache.begin(), key, &seven());
    wait_for("redis tells what it was told", || {
        cache.find(cache.begin(), key)
    })
    .await;
}
