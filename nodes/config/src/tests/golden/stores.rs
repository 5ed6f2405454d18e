//! Samples about where content is kept, and what is remembered of it.

use std::path::PathBuf;
use std::time::Duration;

use super::{in_memory, plain, read};
use crate::{
    CacheKind, DriverKind, Http, Redis, RedisIdentity, RedisPatience, RedisPool, RedisReplicas,
    RedisServers, RedisTls, S3, S3Credentials, S3Encryption, S3LogLevel, S3Parts, S3Variants,
    Secret, Storage, UploadPurging,
};

fn secret(text: &str) -> Secret {
    Secret::from(text.to_owned())
}

fn milliseconds(count: u64) -> Duration {
    Duration::from_millis(count)
}

#[test]
fn filesystem() {
    let (config, told) = read(include_str!("../../../samples/filesystem.yml"));
    assert_eq!(told, Vec::<String>::new());
    let mut expected = plain();
    expected.storage = Storage {
        driver: DriverKind::Filesystem {
            root: PathBuf::from("/srv/images"),
            max_threads: 50,
        },
        delete_enabled: true,
        redirect_disabled: true,
        tag_concurrency: 3,
        upload_purging: UploadPurging {
            age: Duration::from_hours(72),
            interval: Duration::from_hours(12),
            ..UploadPurging::default()
        },
        ..plain().storage
    };
    assert_eq!(config, expected);
}

#[test]
fn inmemory() {
    let (config, told) = read(include_str!("../../../samples/inmemory.yml"));
    assert_eq!(told, Vec::<String>::new());
    let mut expected = in_memory();
    expected.http = Http {
        addr: crate::Listen::Tcp("127.0.0.1:5000".parse().unwrap()),
        ..Http::default()
    };
    assert_eq!(config, expected);
}

#[test]
fn s3() {
    let (config, told) = read(include_str!("../../../samples/s3.yml"));
    let expected =
        "warning: these settings have no effect in this version yet: storage.s3.loglevel";
    assert_eq!(told, [expected]);
    let s3 = S3 {
        bucket: "images".to_owned(),
        region: Some("eu-central-1".to_owned()),
        endpoint: Some("https://objects.example".to_owned()),
        force_path_style: true,
        root: "registry".to_owned(),
        credentials: Some(S3Credentials {
            access_key: secret("AKIAEXAMPLE"),
            secret_key: secret("hunter2"),
            session_token: Some(secret("hunter3")),
        }),
        skip_verify: false,
        encryption: S3Encryption::Kms("key-1".to_owned()),
        storage_class: Some("STANDARD_IA".to_owned()),
        object_acl: "bucket-owner-full-control".to_owned(),
        parts: S3Parts {
            chunk: 5 << 20,
            copy_chunk: 32 << 20,
            copy_concurrency: 50,
            copy_threshold: 32 << 20,
        },
        variants: S3Variants {
            dual_stack: true,
            accelerate: false,
            fips: true,
        },
        redirect_endpoint: Some("https://downloads.example".to_owned()),
        user_agent: Some("images".to_owned()),
        log_level: S3LogLevel::DebugWithSigning,
    };
    assert_eq!(config.storage.driver, DriverKind::S3(Box::new(s3)));
}

const OBJECTS: &str = "this storage driver is not supported by this version yet; write filesystem or s3, and \
     copy what lies under docker/registry/v2 there";

#[test]
fn gcs() {
    let (_, told) = read(include_str!("../../../samples/gcs.yml"));
    assert_eq!(told, [format!("storage.gcs (line 4): {OBJECTS}")]);
}

#[test]
fn azure() {
    let (_, told) = read(include_str!("../../../samples/azure.yml"));
    assert_eq!(told, [format!("storage.azure (line 4): {OBJECTS}")]);
}

/// One server with everything at its default.
fn redis(servers: RedisServers) -> Redis {
    Redis {
        servers,
        client_name: None,
        db: 0,
        protocol: 3,
        username: None,
        password: None,
        tls: None,
        patience: RedisPatience {
            retries: 3,
            min_backoff: milliseconds(8),
            max_backoff: milliseconds(512),
            dial: milliseconds(5000),
            read: Some(milliseconds(3000)),
            write: Some(milliseconds(3000)),
            by_context: false,
            redirects: 3,
        },
        pool: RedisPool {
            fifo: false,
            size: None,
            timeout: milliseconds(4000),
            min_idle: 0,
            max_idle: None,
            max_active: None,
            idle_time: Some(Duration::from_mins(30)),
            lifetime: None,
        },
        replicas: RedisReplicas::default(),
        identity: RedisIdentity::Plain,
        unstable_resp3: false,
    }
}

#[test]
fn redis_of_the_third_release() {
    let (config, told) = read(include_str!("../../../samples/redis-v3.yml"));
    assert_eq!(told, Vec::<String>::new());
    assert_eq!(config.storage.cache, Some(CacheKind::Redis));
    let expected = Redis {
        client_name: Some("registry".to_owned()),
        db: 2,
        protocol: 2,
        username: Some("registry".to_owned()),
        password: Some(secret("hunter2")),
        tls: Some(RedisTls {
            identity: Some(("/tls/client.pem".into(), "/tls/client.key".into())),
            authorities: vec!["/tls/ca.pem".into()],
        }),
        patience: RedisPatience {
            retries: 5,
            min_backoff: milliseconds(10),
            max_backoff: milliseconds(1000),
            dial: milliseconds(10),
            read: Some(milliseconds(20)),
            write: Some(milliseconds(30)),
            by_context: true,
            redirects: 4,
        },
        pool: RedisPool {
            fifo: true,
            size: Some(64),
            timeout: milliseconds(2000),
            min_idle: 4,
            max_idle: Some(16),
            max_active: Some(128),
            idle_time: Some(Duration::from_mins(5)),
            lifetime: Some(Duration::from_hours(1)),
        },
        replicas: RedisReplicas {
            read_only: true,
            by_latency: true,
            randomly: true,
        },
        identity: RedisIdentity::Suffix("x".to_owned()),
        unstable_resp3: true,
        ..redis(RedisServers::Single("redis.example:6379".to_owned()))
    };
    assert_eq!(config.redis, Some(expected));
}

#[test]
fn redis_of_the_second_release() {
    let (config, told) = read(include_str!("../../../samples/redis-v2.yml"));
    assert_eq!(told, Vec::<String>::new());
    let plain = redis(RedisServers::Single("localhost:6379".to_owned()));
    let expected = Redis {
        password: Some(secret("hunter2")),
        tls: Some(RedisTls::default()),
        patience: RedisPatience {
            dial: milliseconds(10),
            read: Some(milliseconds(10)),
            write: Some(milliseconds(10)),
            ..plain.patience
        },
        pool: RedisPool {
            size: Some(64),
            timeout: milliseconds(1010),
            max_idle: Some(16),
            idle_time: Some(Duration::from_mins(5)),
            ..plain.pool
        },
        ..redis(RedisServers::Single("localhost:6379".to_owned()))
    };
    assert_eq!(config.redis, Some(expected));
}

#[test]
fn redis_in_a_cluster() {
    let (config, told) = read(include_str!("../../../samples/redis-cluster.yml"));
    assert_eq!(told, Vec::<String>::new());
    let nodes = ["a:6379", "b:6379", "c:6379"].map(str::to_owned).to_vec();
    let plain = redis(RedisServers::Cluster(nodes.clone()));
    let expected = Redis {
        patience: RedisPatience {
            retries: 0,
            read: None,
            write: None,
            ..plain.patience
        },
        pool: RedisPool {
            timeout: milliseconds(1000),
            idle_time: None,
            ..plain.pool
        },
        identity: RedisIdentity::Hidden,
        ..redis(RedisServers::Cluster(nodes))
    };
    assert_eq!(config.redis, Some(expected));
}

#[test]
fn redis_behind_sentinels() {
    let (config, told) = read(include_str!("../../../samples/redis-sentinel.yml"));
    assert_eq!(told, Vec::<String>::new());
    let expected = redis(RedisServers::Sentinel {
        master: "main".to_owned(),
        sentinels: vec!["a:26379".to_owned()],
        username: Some("watcher".to_owned()),
        password: Some(secret("hunter2")),
    });
    assert_eq!(config.redis, Some(expected));
}
