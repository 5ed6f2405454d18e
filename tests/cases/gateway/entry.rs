//! How clients come in, and how nodes are reached: TLS by name, redirects, the PROXY protocol, certificates on both sides.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use roadstead_tests::gateway::own_address;
use roadstead_tests::{Gateway, Options, Registry, Run, scratch, wait_until};

use super::wire::{PLAIN, Recorder};
use super::{SOON, node};
use crate::raw::Raw;

const OPEN: &str = "  health: {expect: 200, interval: 200ms, slowstart: 0}\n";

/// `NAME.pem` and `NAME.key`, signed by `ca.pem`, which lies beside them.
fn certificates(dir: &Path, names: &[&str]) {
    let mut params = CertificateParams::new(Vec::new()).expect("parameters");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    // Not the name that the certificates have: they would pass for signed by themselves.
    params
        .distinguished_name
        .push(DnType::CommonName, "authority");
    let key = KeyPair::generate().expect("a key");
    let ca = CertifiedIssuer::self_signed(params, key).expect("an authority");
    fs::write(dir.join("ca.pem"), ca.pem()).expect("written");
    for name in names {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec![(*name).to_owned()]).expect("parameters");
        let signed = params.signed_by(&key, &ca).expect("a certificate");
        fs::write(dir.join(format!("{name}.pem")), signed.pem()).expect("written");
        fs::write(dir.join(format!("{name}.key")), key.serialize_pem()).expect("written");
    }
}

/// Whether somebody who trusts this authority is served under this name.
fn is_served(gateway: &Gateway, dir: &Path, name: &str) -> bool {
    let port = gateway.addr().port();
    let out = Run::new("curl")
        .args([
            "--silent",
            "--disable",
            "--output",
            "/dev/null",
            "--write-out",
            "%{http_code}",
        ])
        .arg("--cacert")
        .arg(dir.join("ca.pem"))
        .args([
            "--resolve",
            &format!("{name}:{port}:127.0.0.1"),
            &format!("https://{name}:{port}/v2/"),
        ])
        .env("HOME", dir.display().to_string())
        .output();
    out.text() == "200"
}

#[test]
fn certificates_are_chosen_by_name_and_read_again() {
    let (_registry, addr) = node();
    let dir = scratch();
    certificates(dir.path(), &["a.example", "b.example"]);
    let file = |name: &str| dir.path().join(name).display().to_string();
    let tls = format!(
        "{OPEN}  redirect: {{addr: '127.0.0.1:0'}}\n  tls:\n    certificate: {}\n    key: {}\n    more: [{{certificate: {}, key: {}}}]\n",
        file("a.example.pem"),
        file("a.example.key"),
        file("b.example.pem"),
        file("b.example.key")
    );
    let mut gateway = Gateway::start(&[addr], &tls, "");
    gateway.wait_until(addr, "up");
    for name in ["a.example", "b.example"] {
        assert!(is_served(&gateway, dir.path(), name), "{name}");
    }
    assert!(
        !is_served(&gateway, dir.path(), "c.example"),
        "nobody vouches for it"
    );
    let elsewhere = scratch();
    certificates(elsewhere.path(), &["a.example", "b.example"]);
    assert!(!is_served(&gateway, elsewhere.path(), "b.example"));
    for name in ["b.example.pem", "b.example.key"] {
        fs::copy(elsewhere.path().join(name), dir.path().join(name)).expect("renewed");
    }
    gateway.process().signal(rustix::process::Signal::HUP);
    wait_until("the renewed one was served", SOON, || {
        is_served(&gateway, elsewhere.path(), "b.example")
    });
    assert!(
        is_served(&gateway, dir.path(), "a.example"),
        "the other stays"
    );
    redirects(&gateway);
}

fn redirects(gateway: &Gateway) {
    let log = gateway.log();
    let (_, rest) = log
        .split_once("gateway.redirect.addr: serving ")
        .expect("announced");
    let plain = rest
        .split('"')
        .next()
        .and_then(|rest| rest.split_whitespace().next());
    let plain: SocketAddr = plain.expect("an address").parse().expect("an address");
    let request = "POST /v2/a/blobs/uploads/?x=y HTTP/1.1\r\nHost: registry.example:80\r\nConnection: close\r\n\r\n";
    let answer = Raw::at(plain).say(request.as_bytes()).answer();
    assert_eq!(answer.status, 308, "the method stays");
    let port = gateway.addr().port();
    let expected = format!("Location: https://registry.example:{port}/v2/a/blobs/uploads/?x=y");
    assert!(answer.head.contains(&expected), "{}", answer.head);
}

/// A node that is `nodes.internal`, and believes who shows a certificate of the same authority.
fn asks_for_certificates(dir: &Path) -> (Registry, SocketAddr) {
    certificates(dir, &["nodes.internal", "gateway.internal"]);
    let file = |name: &str| dir.join(name).display().to_string();
    let addr = own_address();
    let authorities = format!("[{}]", file("ca.pem"));
    let options = Options::default()
        .at(addr)
        .env("REGISTRY_HTTP_TLS_CERTIFICATE", &file("nodes.internal.pem"))
        .env("REGISTRY_HTTP_TLS_KEY", &file("nodes.internal.key"))
        .env("REGISTRY_HTTP_TLS_CLIENTCAS", &authorities);
    (Registry::roadstead(options), addr)
}

#[test]
fn nodes_prove_themselves_and_the_gateway_to_them() {
    let dir = scratch();
    let (_registry, addr) = asks_for_certificates(dir.path());
    let file = |name: &str| dir.path().join(name).display().to_string();
    let upstream = |name: &str, shown: &str| {
        format!(
            "{OPEN}  upstreamtls: {{ca: {}, name: {name}{shown}}}\n",
            file("ca.pem")
        )
    };
    let shown = format!(
        ", certificate: {}, key: {}",
        file("gateway.internal.pem"),
        file("gateway.internal.key")
    );
    let gateway = Gateway::start(&[addr], &upstream("nodes.internal", &shown), "");
    gateway.wait_until(addr, "up");
    let image = roadstead_tests::Image::new(5).layers(2).build();
    gateway.repository("secure").push("v1", &image);
    gateway.repository("secure").assert_serves("v1", &image);
    // Over HTTP/2 they do so as well.
    let http2 = format!(
        "{}  upstreamhttp2: true\n",
        upstream("nodes.internal", &shown)
    );
    let gateway = Gateway::start(&[addr], &http2, "");
    gateway.wait_until(addr, "up");
    gateway.repository("secure").assert_serves("v1", &image);
    for refused in [
        upstream("other.internal", &shown),
        upstream("nodes.internal", ""),
    ] {
        let gateway = Gateway::start(&[addr], &refused, "");
        wait_until("it was refused", SOON, || {
            gateway.log().contains("a node is not well")
        });
        assert_eq!(gateway.standing(addr), "down", "{refused}");
    }
}

/// What the gateway shows runs out, and is replaced under its hands.
#[test]
fn what_the_gateway_shows_to_nodes_is_read_again() {
    let dir = scratch();
    let (_registry, addr) = asks_for_certificates(dir.path());
    let file = |name: &str| dir.path().join(name).display().to_string();
    // At first it shows one that signs itself, which no node believes.
    let shown = [dir.path().join("shown.pem"), dir.path().join("shown.key")];
    roadstead_tests::proxy::certificate(dir.path());
    let put = |chain: &str, key: &str| {
        for (from, to) in [(key, &shown[1]), (chain, &shown[0])] {
            fs::copy(dir.path().join(from), to).expect("a file");
        }
    };
    put("certificate.pem", "key.pem");
    let below = format!(
        "{OPEN}  upstreamtls: {{ca: {}, name: nodes.internal, certificate: {}, key: {}}}\n",
        file("ca.pem"),
        shown[0].display(),
        shown[1].display()
    );
    let gateway = Gateway::start(&[addr], &below, "");
    wait_until("it was refused", SOON, || {
        gateway.log().contains("a node is not well")
    });
    put("gateway.internal.pem", "gateway.internal.key");
    gateway.wait_until(addr, "up");
}

#[test]
fn a_proxy_that_passes_bytes_on_names_the_client() {
    let recorder = Recorder::answering(PLAIN);
    let below = format!("{OPEN}  proxyprotocol: {{accept: true, send: v1}}\n");
    let gateway = Gateway::start(&[recorder.addr], &below, "");
    gateway.wait_until(recorder.addr, "up");
    let request = "PROXY TCP4 203.0.113.7 127.0.0.1 4711 80\r\nGET /v2/x/tags/list HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    assert_eq!(
        Raw::at(gateway.addr())
            .say(request.as_bytes())
            .answer()
            .status,
        200
    );
    let heard = recorder.heard();
    assert!(
        heard.starts_with("PROXY TCP4 203.0.113.7 127.0.0.1 4711 "),
        "{heard}"
    );
    assert!(
        heard
            .to_ascii_lowercase()
            .contains("x-forwarded-for: 203.0.113.7\r\n"),
        "{heard}"
    );
    let without = "GET /v2/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    assert_eq!(Raw::at(gateway.addr()).say(without.as_bytes()).hear(), b"");
    wait_until("it was logged", SOON, || {
        gateway.log().contains("without a PROXY header")
    });
}
