//! `proxy`, key by key.

use crate::Config;

/// What a configuration in memory with this map says: the mistakes, or else the warnings.
fn told(yaml: &str) -> Vec<String> {
    let text = format!("version: 0.1\nstorage: inmemory\n{yaml}\n");
    match Config::load(&text, []) {
        Ok(loaded) => loaded.warnings.iter().map(ToString::to_string).collect(),
        Err(refused) => refused.to_string().lines().map(str::to_owned).collect(),
    }
}

#[test]
fn half_a_login_is_a_mistake() {
    let half = |yaml: &str| told(&format!("proxy: {{{yaml}}}"))[0].clone();
    let expected = "proxy.password (line 3): is missing; a username alone is no one";
    assert_eq!(half("username: me"), expected);
    let expected = "proxy.username (line 3): is missing; a password alone is no one's";
    assert_eq!(half("password: hunter2"), expected);
    let expected = "proxy.exec (line 3): stands beside a username; only one of them can be used";
    assert_eq!(
        half("username: me, password: p, exec: {command: /c}"),
        expected
    );
}

#[test]
fn it_is_refused_as_long_as_it_does_not_work() {
    let told = told("proxy: {remoteurl: 'https://me:hunter2@a.example'}");
    assert!(
        told[0].starts_with("proxy.remoteurl (line 3): mirroring"),
        "{told:?}"
    );
    assert!(!told.concat().contains("hunter2"));
}

#[test]
fn zero_keeps_content_for_ever() {
    use crate::mistake::{Findings, Origin};
    let text =
        "proxy: {remoteurl: 'https://a.example', ttl: 0, exec: {command: /helper, lifetime: 1h}}";
    let tree = crate::node::parse(text, &Origin::Line).unwrap().root;
    let mut findings = Findings::default();
    let read = super::Proxy::read(&mut crate::Reader::new(&tree, &mut findings)).unwrap();
    assert_eq!(read.ttl, None);
    let lifetime = Some(std::time::Duration::from_hours(1));
    let command = "/helper".into();
    assert_eq!(
        read.credentials,
        super::ProxyCredentials::Exec { command, lifetime }
    );
}
