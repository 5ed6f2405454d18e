//! Samples about those who are told, asked and looked at.

use std::path::PathBuf;
use std::time::Duration;

use super::{in_memory, read};
use crate::{
    Endpoint, EventAction, FileCheck, Formatter, Health, HookLevel, HttpCheck, HttpUrl, Log,
    LogLevel, MailHook, Notifications, Proxy, ProxyCredentials, RepositoryClass, Rhythm, Secret,
    TcpCheck,
};

fn url(text: &str) -> HttpUrl {
    crate::url::parse(text).unwrap()
}

fn authorization(value: &str) -> Vec<(String, Vec<Secret>)> {
    let value = Secret::from(value.to_owned());
    vec![("Authorization".to_owned(), vec![value])]
}

fn rhythm(seconds: u64, threshold: u32) -> Rhythm {
    let interval = Duration::from_secs(seconds);
    Rhythm {
        interval,
        threshold,
    }
}

#[test]
fn notifications() {
    let (config, told) = read(include_str!("../../../samples/notifications.yml"));
    assert_eq!(told, Vec::<String>::new());
    let first = Endpoint {
        name: "alistener".to_owned(),
        url: url("https://my.listener.example/event"),
        headers: authorization("Bearer hunter2"),
        timeout: Duration::from_millis(500),
        threshold: 5,
        backoff: Duration::from_secs(2),
        ignored_media_types: vec![
            "application/octet-stream".to_owned(),
            "application/json".to_owned(),
        ],
        ignored_actions: vec![EventAction::Pull],
    };
    let second = Endpoint {
        name: "http://...@other.example/".to_owned(),
        url: url("http://me:hunter3@other.example/"),
        headers: Vec::new(),
        timeout: Duration::from_secs(1),
        threshold: 10,
        backoff: Duration::from_secs(1),
        ignored_media_types: Vec::new(),
        ignored_actions: Vec::new(),
    };
    let mut expected = in_memory();
    expected.notifications = Notifications {
        include_references: true,
        endpoints: vec![first, second],
    };
    assert_eq!(config, expected);
}

#[test]
fn health() {
    let (config, told) = read(include_str!("../../../samples/health.yml"));
    assert_eq!(told, Vec::<String>::new());
    let mut expected = in_memory();
    expected.health = Health {
        storage_driver: Some(rhythm(10, 3)),
        files: vec![FileCheck {
            file: PathBuf::from("/run/down"),
            rhythm: rhythm(5, 1),
        }],
        http: vec![
            HttpCheck {
                uri: url("https://server.example/ok"),
                headers: authorization("Basic hunter2"),
                status: 204,
                timeout: Duration::from_secs(3),
                rhythm: rhythm(20, 2),
            },
            HttpCheck {
                uri: url("http://other.example"),
                headers: Vec::new(),
                status: 200,
                timeout: Duration::from_secs(10),
                rhythm: rhythm(10, 1),
            },
        ],
        tcp: vec![TcpCheck {
            addr: "redis.example:6379".parse().unwrap(),
            timeout: Duration::from_secs(3),
            rhythm: rhythm(10, 3),
        }],
    };
    assert_eq!(config, expected);
}

#[test]
fn proxy() {
    let (config, told) = read(include_str!("../../../samples/proxy.yml"));
    let expected = [
        "proxy.remoteurl (line 5): mirroring another registry is not supported by this version yet; \
         refusing to serve without it",
        "warning: these settings have no effect in this version yet: proxy.username, proxy.password, \
         proxy.ttl, proxy.cachewritetimeout",
    ];
    assert_eq!(told, expected);
    let proxy = Proxy {
        remote_url: url("https://registry-1.docker.io"),
        credentials: ProxyCredentials::Password {
            username: "me".to_owned(),
            password: Secret::from("hunter2".to_owned()),
        },
        ttl: Some(Duration::from_hours(48)),
        cache_write_timeout: Duration::from_mins(1),
    };
    assert_eq!(config.proxy, Some(proxy));
}

#[test]
fn middleware() {
    let (config, told) = read(include_str!("../../../samples/middleware.yml"));
    let expected = [
        "warning: these settings have no effect in this version yet: middleware",
        "warning: middleware.storage[0] (line 6): clients are not sent to its baseurl for blobs; remove it, or write \
         disabled: true",
        "warning: middleware.storage[2] (line 20): the URLs that clients are redirected to are not rewritten; write \
         disabled: true, and storage.redirect.disable: true if clients do not reach the store by its own name",
    ];
    assert_eq!(told, expected);
    assert_eq!(config, in_memory());
}

#[test]
fn log() {
    let (config, told) = read(include_str!("../../../samples/log.yml"));
    assert_eq!(told, Vec::<String>::new());
    let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let log = Log {
        level: LogLevel::Debug,
        formatter: Formatter::Json,
        fields: vec![
            field("service", "registry"),
            field("environment", "staging"),
        ],
        access_log_disabled: true,
        report_caller: true,
        hooks: vec![MailHook {
            levels: vec![HookLevel::Panic, HookLevel::Warn],
            host: "mail.example".to_owned(),
            port: 25,
            username: Some("mailuser".to_owned()),
            password: Some(Secret::from("hunter2".to_owned())),
            insecure: true,
            from: "sender@example.com".to_owned(),
            to: vec!["errors@example.com".to_owned()],
        }],
    };
    assert_eq!(config.log, log);
}

#[test]
fn policy_and_what_older_releases_had() {
    let (config, told) = read(include_str!("../../../samples/policy.yml"));
    let expected = "warning: these settings have no effect in this version yet: policy, compatibility, reporting";
    assert_eq!(told, [expected]);
    let classes = [RepositoryClass::Image, RepositoryClass::Plugin];
    assert_eq!(config.repository_classes, classes);
}
