//! `gateway`, key by key.

use super::*;
use crate::Config;

fn gateway(yaml: &str) -> Result<Gateway, String> {
    let text = format!("version: 0.1\nstorage: inmemory\ngateway:\n{yaml}");
    let loaded = Config::load(&text, []).map_err(|mistakes| mistakes.to_string())?;
    assert_eq!(loaded.warnings, []);
    Ok(loaded.config.gateway.expect("a gateway"))
}

#[test]
fn little_is_needed() {
    let read = gateway("  upstreams: ['a:5000']\n").unwrap();
    let expected = Gateway {
        upstreams: vec![Upstream::parse("a:5000").unwrap()],
        ..Gateway::default()
    };
    assert_eq!(read, expected);
    let without = Config::load("version: 0.1\nstorage: inmemory\n", []).unwrap();
    assert_eq!(without.config.gateway, None);
}

#[test]
fn every_key_has_its_effect() {
    let read = gateway(
        "  addr: :443
  tls: {certificate: a.crt, key: a.key, more: [{certificate: b.crt, key: b.key}]}
  redirect: {addr: ':80'}
  debug: {addr: 'localhost:5001'}
  upstreams: ['node:5000', '[::1]:5000', 'dns://nodes:5000', 'srv://_registry._tcp.nodes']
  resolve: 5s
  upstreamtls: {ca: ca.crt, certificate: g.crt, key: g.key, name: nodes}
  proxyprotocol: {accept: true, send: v2}
  health: {expect: 200, interval: 3s, timeout: 4s, rise: 5, fall: 6, slowstart: 0}
  upstreamhttp2: true
  timeouts: {connect: 7s, answer: 8s, commit: 9s, idle: 10s, patience: 11s, lameduck: 18s, drain: 12s}
  retries: {tries: 13, percent: 14, reserve: 0}
  limits: {connections: 15, requests: 16, pernode: 17, chunk: 1048577, memory: 2097152}
  refuseancient: true
",
    )
    .unwrap();
    let seconds = Duration::from_secs;
    let upstreams: Vec<_> = read.upstreams.iter().map(ToString::to_string).collect();
    assert_eq!(
        upstreams,
        [
            "node:5000",
            "[::1]:5000",
            "dns://nodes:5000",
            "srv://_registry._tcp.nodes"
        ]
    );
    let tls = read.tls.clone().unwrap();
    let own = Certificate {
        certificate: "a.crt".into(),
        key: "a.key".into(),
    };
    assert_eq!(tls.identity, crate::Identity::Files(own));
    let more = Certificate {
        certificate: "b.crt".into(),
        key: "b.key".into(),
    };
    let nodes = UpstreamTls {
        ca: "ca.crt".into(),
        identity: Some(("g.crt".into(), "g.key".into())),
        name: Some("nodes".to_owned()),
    };
    assert_eq!(read.certificates, [more]);
    assert_eq!(read.upstream_tls, Some(nodes));
    assert_eq!(read.addr.to_string(), ":443");
    let other = |addr: &Option<ListenAddr>| addr.as_ref().map(ToString::to_string);
    assert_eq!(other(&read.redirect).as_deref(), Some(":80"));
    assert_eq!(other(&read.debug).as_deref(), Some("localhost:5001"));
    assert_eq!((read.resolve, read.refuse_ancient), (seconds(5), true));
    assert!(read.upstream_http2);
    let send = Some(ProxyVersion::V2);
    assert_eq!(read.proxy_protocol, ProxyProtocol { accept: true, send });
    assert_numbers(&read);
}

fn assert_numbers(read: &Gateway) {
    let seconds = Duration::from_secs;
    let health = GatewayHealth {
        expect: Expect::Ok,
        interval: seconds(3),
        timeout: seconds(4),
        rise: 5,
        fall: 6,
        slow_start: Duration::ZERO,
    };
    let timeouts = GatewayTimeouts {
        connect: seconds(7),
        answer: seconds(8),
        commit: seconds(9),
        idle: seconds(10),
        patience: seconds(11),
        lame_duck: seconds(18),
        drain: seconds(12),
    };
    let retries = GatewayRetries {
        tries: 13,
        percent: 14,
        reserve: 0,
    };
    let limits = GatewayLimits {
        connections: Some(15),
        requests: 16,
        per_node: 17,
        chunk: (1 << 20) + 1,
        memory: 2 << 20,
    };
    assert_eq!((read.health, read.timeouts), (health, timeouts));
    assert_eq!((read.retries, read.limits), (retries, limits));
}

#[test]
fn mistakes_are_named() {
    for (yaml, words) in [
        ("  upstreams: ['http://a:5000']", "must not have a scheme"),
        ("  upstreams: ['a']", "gateway.upstreams[0]"),
        ("  upstreams: [':5000']", "is no upstream"),
        ("  upstreams: ['srv://nodes']", "is no upstream"),
        ("  redirect: {addr: ':80'}", "nothing to redirect to"),
        ("  upstreamtls: {certificate: c}", "gateway.upstreamtls.ca"),
        ("  upstreamtls: {ca: c, key: k}", "go together"),
        ("  health: {expect: 204}", "is not one of auto, 401, 200"),
        ("  retries: {tries: 0}", "must be more than zero"),
        (
            "  limits: {chunk: 2097152, memory: 1048576}",
            "gateway.limits.chunk",
        ),
        ("  proxyprotocol: {send: v3}", "is not one of none, v1, v2"),
        ("  tls: {key: k}", "gateway.tls.certificate"),
    ] {
        let said = gateway(yaml).expect_err(yaml);
        assert!(said.contains(words), "{yaml}: {said}");
    }
}

#[test]
fn a_gateway_needs_no_storage() {
    let text = "version: 0.1\ngateway: {upstreams: ['a:1']}\n";
    assert!(Config::load(text, []).is_err());
    assert!(Config::load_for_gateway(text, []).is_ok());
    let mistake = Config::load_for_gateway("version: 0.1\nstorage: nowhere\n", []);
    assert!(mistake.is_err(), "what is there is read as by everybody");
}

#[test]
fn variables_reach_it() {
    let text = "version: 0.1\nstorage: inmemory\n";
    let variables = [
        ("REGISTRY_GATEWAY_UPSTREAMS", "[a:1, b:2]"),
        ("REGISTRY_GATEWAY_HEALTH_EXPECT", "200"),
    ];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let read = Config::load(text, variables)
        .unwrap()
        .config
        .gateway
        .unwrap();
    assert_eq!((read.upstreams.len(), read.health.expect), (2, Expect::Ok));
}
