//! `redis`, key by key.

use crate::Config;

/// What a configuration with a cache in Redis and this map says: the mistakes, or else the warnings.
fn told(yaml: &str) -> Vec<String> {
    told_of("{inmemory: ~, cache: {blobdescriptor: redis}}", yaml)
}

fn told_of(storage: &str, yaml: &str) -> Vec<String> {
    let text = format!("version: 0.1\nstorage: {storage}\n{yaml}\n");
    match Config::load(&text, []) {
        Ok(loaded) => loaded.warnings.iter().map(ToString::to_string).collect(),
        Err(refused) => refused.to_string().lines().map(str::to_owned).collect(),
    }
}

#[test]
fn without_an_address_there_is_none() {
    let expected = "redis (line 3): without redis.addrs nothing of this is used";
    assert_eq!(told_of("inmemory", "redis: {db: 1}"), [expected]);
}

#[test]
fn one_that_is_not_used_is_told() {
    let expected = "redis (line 3): is not used: it is for storage.cache.blobdescriptor: redis, which is not set";
    let yaml = "redis: {addrs: ['a:1']}";
    for storage in [
        "inmemory",
        "{inmemory: ~, cache: {blobdescriptor: inmemory}}",
    ] {
        assert_eq!(told_of(storage, yaml), [expected]);
    }
    assert_eq!(told(yaml), Vec::<String>::new());
}

#[test]
fn the_newer_name_of_the_address_wins() {
    let expected = "redis.addr (line 3): not used, since redis.addrs is there";
    assert_eq!(told("redis: {addr: 'a:1', addrs: ['b:1']}"), [expected]);
    assert_eq!(told("redis: {addr: 'a:1', addrs: ['a:1']}").len(), 0);
}

#[test]
fn every_release_can_name_addresses_by_variables() {
    for (name, value) in [
        ("REGISTRY_REDIS_ADDR", "a:6379"),
        ("REGISTRY_REDIS_ADDRS", "['a:6379']"),
        ("REGISTRY_REDIS_ADDRS_0", "a:6379"),
        ("REGISTRY_REDIS_OPTIONS_ADDRS", "[a:6379]"),
        ("REGISTRY_REDIS_OPTIONS_ADDRS_0", "a:6379"),
    ] {
        let variable = (name.to_owned(), value.to_owned());
        let config = Config::load("version: 0.1\nstorage: inmemory\n", [variable])
            .unwrap()
            .config;
        let servers = config.redis.unwrap().servers;
        assert_eq!(
            servers,
            super::RedisServers::Single("a:6379".to_owned()),
            "{name}"
        );
    }
}

#[test]
fn an_address_is_a_host_and_a_port_and_never_repeated() {
    for wrong in ["a", "redis://me:hunter2@a:1", "a:", "a:http", "a:65536"] {
        let told = told(&format!("redis: {{addrs: ['{wrong}']}}"));
        assert_eq!(
            told[0],
            "redis.addrs[0] (line 3): is not an address; write for example redis.example:6379"
        );
    }
}

#[test]
fn values_out_of_range_are_mistakes() {
    for (yaml, reason) in [
        ("protocol: 4", "write 2 or 3"),
        ("db: -1", "must not be negative"),
        ("readtimeout: -3", "must not be negative"),
        ("dialtimeout: -1", "must not be negative"),
        ("maxretries: -2", "must not be negative"),
        ("poolsize: many", "is not a whole number"),
        ("addrs: 'a:1'", "where a list belongs"),
    ] {
        let told = told(&format!("redis: {{{yaml}}}"));
        assert!(told[0].contains(reason), "{told:?}");
    }
}

#[test]
fn a_certificate_and_its_key_belong_together() {
    for (yaml, key) in [("certificate: /c", "key"), ("key: /k", "certificate")] {
        let told = told(&format!("redis: {{tls: {{{yaml}}}}}"));
        assert!(
            told[0].starts_with(&format!("redis.tls.{key} (line 3): is missing")),
            "{told:?}"
        );
    }
    let told = told("redis: {tls: {enabled: false, rootcas: [/ca]}}");
    assert!(
        told[0].starts_with("redis.tls.enabled (line 3): is false, and"),
        "{told:?}"
    );
}
