//! `http.tls.letsencrypt`, key by key.

use super::{Challenge, DIRECTORY, LetsEncrypt};
use crate::{Config, Identity};

fn load(yaml: &str, variables: &[(&str, &str)]) -> Result<LetsEncrypt, String> {
    let text = format!("version: 0.1\nstorage: inmemory\nhttp:\n  tls: {yaml}\n");
    let variables = variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let loaded = Config::load(&text, variables).map_err(|mistakes| mistakes.to_string())?;
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    match loaded.config.http.tls.map(|tls| tls.identity) {
        Some(Identity::LetsEncrypt(ordered)) => Ok(*ordered),
        other => panic!("{other:?}"),
    }
}

fn with(yaml: &str) -> Result<LetsEncrypt, String> {
    load(&format!("{{letsencrypt: {{{yaml}}}}}"), &[])
}

#[test]
fn the_variables_of_the_reference_are_enough() {
    let read = load(
        "",
        &[
            (
                "REGISTRY_HTTP_TLS_LETSENCRYPT_CACHEFILE",
                "/letsencrypt/cache",
            ),
            ("REGISTRY_HTTP_TLS_LETSENCRYPT_EMAIL", "me@example.com"),
            ("REGISTRY_HTTP_TLS_LETSENCRYPT_HOSTS_0", "hub.example.com"),
        ],
    )
    .unwrap();
    assert_eq!(read.cache, Some("/letsencrypt/cache".into()));
    assert_eq!(read.hosts, ["hub.example.com"]);
    assert_eq!(read.directory_url, DIRECTORY);
    assert_eq!(read.challenge, Challenge::TlsAlpn01);
}

#[test]
fn without_names_nothing_is_ordered() {
    for yaml in ["email: me@example.com", "cachefile: /c, hosts: []"] {
        let told = with(yaml).unwrap_err();
        assert!(
            told.contains("http.tls.letsencrypt.hosts") && told.contains("is missing; write the"),
            "{told}"
        );
    }
}

#[test]
fn what_cannot_be_proved_is_refused() {
    for host in [
        "*.example.com",
        "10.0.0.1",
        "https://a.b",
        "a.b:443",
        "-a.b",
        "a..b",
        "a b",
    ] {
        let told = with(&format!("hosts: ['{host}']")).unwrap_err();
        assert!(told.contains("http.tls.letsencrypt.hosts[0]"), "{told}");
    }
    let hosts = with("hosts: [B.example, a.example, b.example]")
        .unwrap()
        .hosts;
    assert_eq!(hosts, ["a.example", "b.example"]);
}

#[test]
fn other_mistakes_are_told() {
    let wrong = [
        ("email: nobody", "letsencrypt.email"),
        (
            "directoryurl: 'http://ca/directory'",
            "letsencrypt.directoryurl",
        ),
        ("challenge: dns-01", "letsencrypt.challenge"),
        ("encryptionkey: short", "letsencrypt.encryptionkey"),
        ("eab: {keyid: k}", "letsencrypt.eab"),
        ("eab: {key: abcd}", "letsencrypt.eab"),
        ("eab: {keyid: k, key: 'a+b/'}", "letsencrypt.eab.key"),
    ];
    for (yaml, key) in wrong {
        let told = with(&format!("hosts: [a.b], {yaml}")).unwrap_err();
        assert!(told.contains(key), "{told}");
    }
    let both = load("{certificate: /c, letsencrypt: {hosts: [a.b]}}", &[]).unwrap_err();
    assert!(both.contains("http.tls.certificate"), "{both}");
}
