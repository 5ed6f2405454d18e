//! `health`, key by key.

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
fn each_check_says_what_it_looks_at() {
    let expected = [
        "health.file[0].file (line 3): is missing; write the path of the file",
        "health.http[0].uri (line 3): is missing; write the URL to ask",
        "health.tcp[0].addr (line 3): is missing; write for example db.example:5432",
    ];
    assert_eq!(
        told("health: {file: [{interval: 1s}], http: [{}], tcp: [{}]}"),
        expected
    );
}

#[test]
fn values_out_of_range_are_mistakes() {
    for (yaml, reason) in [
        ("storagedriver: {interval: -1s}", "must not be negative"),
        ("storagedriver: {threshold: -1}", "must not be negative"),
        (
            "http: [{uri: 'http://a', statuscode: 42}]",
            "is not a status of HTTP",
        ),
        ("http: [{uri: a}]", "is not a URL"),
        ("tcp: [{addr: a}]", "has no port"),
        ("tcp: [{addr: 'a:0'}]", "names no port to connect to"),
    ] {
        let told = told(&format!("health: {{{yaml}}}"));
        assert!(told[0].contains(reason), "{told:?}");
    }
}

#[test]
fn a_zero_is_the_default() {
    let text = "version: 0.1\nstorage: inmemory\nhealth: {storagedriver: {enabled: true, interval: 0, threshold: 0}}\n";
    let driver = Config::load(text, []).unwrap().config.health.storage_driver;
    assert_eq!(driver, Some(super::Rhythm::default()));
}

#[test]
fn nothing_is_looked_at_unless_enabled() {
    let text = "version: 0.1\nstorage: inmemory\nhealth: {storagedriver: {interval: 5s}}\n";
    assert_eq!(
        Config::load(text, []).unwrap().config.health,
        super::Health::default()
    );
}

#[test]
fn the_old_names_of_variables_are_understood() {
    let variables = [
        ("REGISTRY_HEALTH_FILECHECKERS_0_FILE", "/down"),
        ("REGISTRY_HEALTH_HTTPCHECKERS_0_URI", "http://a.example"),
        ("REGISTRY_HEALTH_TCPCHECKERS_0_ADDR", "a.example:1"),
        ("REGISTRY_HEALTH_STORAGEDRIVER_ENABLED", "on"),
    ];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let health = Config::load("version: 0.1\nstorage: inmemory\n", variables)
        .unwrap()
        .config
        .health;
    assert_eq!(
        (health.files.len(), health.http.len(), health.tcp.len()),
        (1, 1, 1)
    );
    assert!(health.storage_driver.is_some());
}
