//! `proxies` and `probes`, key by key.

use std::net::IpAddr;

use super::{Probe, Proxies};
use crate::Config;

fn load(yaml: &str) -> Config {
    let text = format!("version: 0.1\nstorage: inmemory\n{yaml}\n");
    Config::load(&text, []).unwrap().config
}

fn trusts(proxies: &Proxies, address: &str) -> bool {
    proxies.trusts(address.parse::<IpAddr>().unwrap())
}

#[test]
fn those_nearby_are_trusted_by_default() {
    for yaml in ["", "proxies: {}", "proxies: {trusted: ~}"] {
        let proxies = load(yaml).proxies;
        assert_eq!(proxies.trusted.len(), 9);
        for near in [
            "127.0.0.1",
            "10.1.2.3",
            "172.31.255.255",
            "192.168.0.1",
            "169.254.1.1",
            "100.64.0.1",
            "100.127.255.255",
            "::1",
            "fd00::1",
            "fe80::1",
            "::ffff:10.0.0.1",
        ] {
            assert!(trusts(&proxies, near), "{near}");
        }
        for far in [
            "8.8.8.8",
            "172.32.0.1",
            "100.128.0.1",
            "2001:db8::1",
            "::2",
            "11.0.0.1",
            "::ffff:8.8.8.8",
        ] {
            assert!(!trusts(&proxies, far), "{far}");
        }
    }
}

#[test]
fn an_empty_list_trusts_nobody() {
    assert_eq!(load("proxies: {trusted: []}").proxies.trusted, []);
}

#[test]
fn a_list_replaces_the_default() {
    let proxies = load("proxies: {trusted: [192.0.2.7, '2001:db8::1', 198.51.100.77/24]}").proxies;
    let texts: Vec<String> = proxies.trusted.iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        ["192.0.2.7/32", "2001:db8::1/128", "198.51.100.0/24"]
    );
    assert!(!trusts(&proxies, "127.0.0.1"));
}

#[test]
fn what_is_no_network_is_a_mistake() {
    for wrong in [
        "10.0.0.0/33",
        "a.example",
        "10.0.0",
        "10.0.0.1:80",
        "/8",
        "::/129",
    ] {
        let text = format!("version: 0.1\nstorage: inmemory\nproxies: {{trusted: ['{wrong}']}}\n");
        let told = Config::load(&text, []).unwrap_err().to_string();
        let expected =
            format!("proxies.trusted[0] (line 3): \"{wrong}\" is neither a network nor an address");
        assert!(told.starts_with(&expected), "{told}");
    }
}

#[test]
fn probes_always_answer_unless_told_otherwise() {
    let probes = load("").probes;
    assert_eq!(
        (probes.root, probes.requests),
        (Probe::Always, Probe::Always)
    );
    let probes = load("probes: {root: health}").probes;
    assert_eq!(
        (probes.root, probes.requests),
        (Probe::Health, Probe::Always)
    );
    let probes = load("probes: {root: always, requests: health}").probes;
    assert_eq!(
        (probes.root, probes.requests),
        (Probe::Always, Probe::Health)
    );
}
