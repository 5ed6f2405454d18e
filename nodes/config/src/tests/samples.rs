//! Sample configurations, and all that is read from them.

use std::path::PathBuf;
use std::time::Duration;

use super::warnings;
use crate::{
    CacheKind, Config, DebugServer, DriverKind, Formatter, Health, Http, Limits, Listen,
    ListenAddr, Log, LogLevel, ManifestUrls, Notifications, Platform, Platforms, Rhythm, Secret,
    Storage, UploadPurging, Validation,
};

pub(super) const V2_IMAGE: &str = include_str!("../../samples/v2-image.yml");
pub(super) const EVERY_KEY: &str = include_str!("../../samples/every-key.yml");
const V3_DEVELOPMENT: &str = include_str!("../../samples/v3-development.yml");

fn field(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

fn root() -> PathBuf {
    PathBuf::from("/var/lib/registry")
}

fn nosniff() -> Vec<(String, Vec<String>)> {
    vec![(
        "X-Content-Type-Options".to_owned(),
        vec!["nosniff".to_owned()],
    )]
}

/// What a file has that says nothing: the reference's defaults.
pub(super) fn plain() -> Config {
    Config {
        storage: Storage::at(root()),
        http: Http::default(),
        ..Config::default_for(root())
    }
}

/// What both images look at.
fn watched_storage() -> Health {
    let rhythm = Rhythm {
        interval: Duration::from_secs(10),
        threshold: 3,
    };
    Health {
        storage_driver: Some(rhythm),
        ..Health::default()
    }
}

/// What both images remember.
fn cached() -> CacheKind {
    CacheKind::InMemory { size: Some(10_000) }
}

#[test]
fn the_second_releases_image_starts_unchanged() {
    let loaded = Config::load(V2_IMAGE, []).unwrap();
    let expected = Config {
        log: Log {
            fields: vec![field("service", "registry")],
            ..Log::default()
        },
        http: Http {
            headers: nosniff(),
            ..Http::default()
        },
        storage: Storage {
            cache: Some(cached()),
            ..Storage::at(root())
        },
        health: watched_storage(),
        ..plain()
    };
    assert_eq!(loaded.config, expected);
    assert_eq!(warnings(&loaded), Vec::<String>::new());
}

#[test]
fn the_third_releases_development_configuration_starts_unchanged() {
    let loaded = Config::load(V3_DEVELOPMENT, []).unwrap();
    let expected = Config {
        log: Log {
            level: LogLevel::Debug,
            fields: vec![
                field("service", "registry"),
                field("environment", "development"),
            ],
            access_log_disabled: true,
            ..Log::default()
        },
        storage: Storage {
            delete_enabled: true,
            tag_concurrency: 5,
            cache: Some(cached()),
            upload_purging: UploadPurging {
                enabled: false,
                ..UploadPurging::default()
            },
            ..Storage::at(root())
        },
        http: Http {
            headers: nosniff(),
            drain_timeout: Duration::ZERO,
            debug: Some(DebugServer {
                addr: ":5001".parse().unwrap(),
                metrics_path: Some("/metrics".to_owned()),
            }),
            ..Http::default()
        },
        health: watched_storage(),
        notifications: Notifications {
            include_references: true,
            endpoints: Vec::new(),
        },
        ..plain()
    };
    assert_eq!(loaded.config, expected);
    assert_eq!(warnings(&loaded), Vec::<String>::new());
}

#[test]
fn every_key_that_is_read_has_its_effect() {
    let loaded = Config::load(EVERY_KEY, []).unwrap();
    assert_eq!(warnings(&loaded), Vec::<String>::new());
    assert_eq!(loaded.config.log, every_log());
    assert_eq!(loaded.config.storage, every_storage());
    assert_eq!(loaded.config.http, every_http());
    assert_eq!(loaded.config.validation, every_validation());
    assert_eq!(
        (loaded.config.catalog_max_entries, loaded.config.tags_max),
        (5000, 200)
    );
    let limits = Limits {
        manifest_size: 8 << 20,
        body_idle: Duration::from_secs(30),
    };
    assert_eq!(loaded.config.limits, limits);
    let cluster = loaded.config.cluster.unwrap();
    let tls = crate::ClusterTls {
        certificate: "/c.crt".into(),
        key: "/c.key".into(),
        ca: "/ca.crt".into(),
    };
    assert_eq!(cluster.proof, Some(crate::Proof::Tls(tls)));
    let member = loaded.config.metadata.unwrap();
    assert_eq!(member.addr.to_string(), "127.0.0.1:7001");
    assert_eq!(member.dir, std::path::Path::new("/var/lib/roadstead"));
}

fn every_log() -> Log {
    Log {
        level: LogLevel::Warn,
        formatter: Formatter::Logstash,
        fields: vec![field("service", "registry"), field("zone", "7")],
        access_log_disabled: true,
        report_caller: true,
        hooks: Vec::new(),
    }
}

fn every_storage() -> Storage {
    Storage {
        driver: DriverKind::Filesystem {
            root: PathBuf::from("/srv/registry"),
            max_threads: 64,
        },
        delete_enabled: true,
        read_only: true,
        redirect_disabled: true,
        upload_purging: UploadPurging {
            enabled: true,
            age: Duration::from_hours(36),
            interval: Duration::from_mins(90),
            dry_run: true,
        },
        tag_concurrency: 8,
        cache: None,
    }
}

fn every_http() -> Http {
    let headers = [
        ("Strict-Transport-Security", vec!["max-age=63072000"]),
        ("X-Zone", vec!["a", "b"]),
    ];
    let owned = |values: Vec<&str>| values.into_iter().map(str::to_owned).collect();
    Http {
        addr: Listen::Tcp(ListenAddr {
            host: Some("::1".to_owned()),
            port: 0,
        }),
        tls: None,
        host: Some("https://registry.example:8443".to_owned()),
        prefix: "/images/".to_owned(),
        secret: Some(Secret::from("0123".to_owned())),
        relative_urls: true,
        drain_timeout: Duration::from_millis(1500),
        headers: headers
            .map(|(name, values)| (name.to_owned(), owned(values)))
            .to_vec(),
        debug: None,
        http2_disabled: true,
        h2c_enabled: true,
    }
}

fn every_validation() -> Validation {
    let platform = |architecture: &str| Platform {
        architecture: architecture.to_owned(),
        os: "linux".to_owned(),
    };
    Validation {
        disabled: true,
        manifest_urls: ManifestUrls {
            allow: vec![r"^https?://([^/]+\.)*example\.com/".to_owned()],
            deny: vec![r"^https?://www\.example\.com/".to_owned()],
        },
        indexes: Platforms::List(vec![platform("amd64"), platform("arm64")]),
    }
}
