//! Tokens that run out while what they were shown for is under way.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::time::Duration;

use roadstead_oci::{Algorithm, Digest};
use roadstead_tests::gateway::own_address;
use roadstead_tests::image::noise;
use roadstead_tests::tokens::{claims, now};
use roadstead_tests::{Client, Gateway, Options, Registry, Signer, TokenServer, wait_until};
use serde_json::json;

use super::downloads::{begin, busy};
use super::path_of;
use crate::raw::Raw;

const SECRET: &str = "cluster: {secret: hunter2hunter2hunter2}\n";
const HTTP_SECRET: &str = "of-all-nodes-and-gateways";
const BELOW: &str =
    "  health: {interval: 200ms, slowstart: 0}\n  limits: {chunk: 1048576, memory: 33554432}\n";

/// Seconds that a token is still good for, in which a transfer begins.
const GOOD_FOR: u64 = 10;

/// How far a registry lets clocks be apart.
const LEEWAY: u64 = 60;

const DEADLINE: Duration = Duration::from_mins(2);

struct Fleet {
    signer: Signer,
    server: TokenServer,
}

impl Fleet {
    fn new() -> Self {
        let signer = Signer::es256("key");
        Self {
            server: TokenServer::start(signer.clone()),
            signer,
        }
    }

    fn node(&self) -> (Registry, SocketAddr) {
        self.node_with(SECRET, Options::default())
    }

    fn node_with(&self, yaml: &str, options: Options) -> (Registry, SocketAddr) {
        let addr = own_address();
        let trusts = self
            .server
            .yaml(&format!("jwks: {}", self.server.jwks_url()));
        let options = options.at(addr).yaml(&format!("{trusts}{yaml}"));
        (Registry::roadstead(options), addr)
    }

    /// `Bearer …` for one repository.
    fn bearer(&self, good_for: u64) -> String {
        let mut claims = claims(now());
        claims["exp"] = json!(now() + good_for - LEEWAY);
        let access = json!({"type": "repository", "name": "big", "actions": ["pull", "push"]});
        claims["access"] = json!([access]);
        format!("Bearer {}", self.signer.token(&claims))
    }
}

fn status(addr: SocketAddr, bearer: &str, receipt: &str) -> u16 {
    let client = Client::new(&format!("http://{addr}"));
    let call = client.call("GET", "/v2/").header("authorization", bearer);
    call.header("x-roadstead-receipt", receipt).send().status
}

/// Waits until nobody lets it in who asks now.
fn runs_out(addr: SocketAddr, bearer: &str) {
    wait_until("the token has run out", DEADLINE, || {
        status(addr, bearer, "") == 401
    });
}

fn push(addr: SocketAddr, bearer: &str, bytes: &[u8], digest: &Digest) {
    let client = Client::new(&format!("http://{addr}"));
    let path = format!("/v2/big/blobs/uploads/?digest={digest}");
    let call = client.call("POST", &path).header("authorization", bearer);
    call.body(bytes).send().expect_status(201);
}

#[test]
fn a_download_goes_on_elsewhere_when_its_token_has_run_out() {
    let fleet = Fleet::new();
    let bytes = noise(31, 96 << 20);
    let digest = Digest::of(Algorithm::Sha256, &bytes);
    let mut twins = [fleet.node(), fleet.node()];
    let addrs = [twins[0].1, twins[1].1];
    for addr in addrs {
        push(addr, &fleet.bearer(LEEWAY + 300), &bytes, &digest);
    }
    let gateway = Gateway::start(&addrs, BELOW, SECRET);
    for addr in addrs {
        gateway.wait_until(addr, "up");
    }
    let bearer = fleet.bearer(GOOD_FOR);
    let shows = format!("Authorization: {bearer}\r\n");
    let (mut raw, head, mut came) = begin(&gateway, &digest, &shows);
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    let mut part = vec![0; 8 << 20];
    raw.stream().read_exact(&mut part).expect("it begins");
    came.extend_from_slice(&part);
    let at = busy(&gateway, &addrs).expect("a node has it");
    runs_out(addrs[1 - at], &bearer);
    twins[at].0.kill();
    came.extend(raw.hear());
    assert!(came == bytes, "{} bytes", came.len());
    // Whoever asks now is refused, whatever they say of themselves.
    let forged = format!("{}.{}.{}", now() - 100, now(), "0".repeat(64));
    for addr in [addrs[1 - at], gateway.addr()] {
        assert_eq!(status(addr, &bearer, &forged), 401);
        let good = fleet.bearer(LEEWAY + 300);
        assert_eq!(status(addr, &good, &forged), 200, "it is ignored");
    }
    assert!(!gateway.log().contains(&bearer));
}

/// Without a cluster's secret: `http.secret` is one that all have, where it is configured.
#[test]
fn an_upload_goes_on_when_its_token_has_run_out() {
    let fleet = Fleet::new();
    let secret = Options::default().env("REGISTRY_HTTP_SECRET", HTTP_SECRET);
    let (_node, addr) = fleet.node_with("", secret);
    let yaml = format!("http: {{secret: {HTTP_SECRET}}}\n");
    let gateway = Gateway::start(&[addr], BELOW, &yaml);
    gateway.wait_until(addr, "up");
    let bytes = noise(32, 8 << 20);
    let digest = Digest::of(Algorithm::Sha256, &bytes);
    let bearer = fleet.bearer(GOOD_FOR);
    let post = gateway.client().call("POST", "/v2/big/blobs/uploads/");
    let opened = post.header("authorization", &bearer).send();
    let opened = opened.expect_status(202);
    let head = format!(
        "PATCH {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nAuthorization: {bearer}\r\nContent-Length: {}\r\n\r\n",
        path_of(opened.location()),
        gateway.addr(),
        bytes.len()
    );
    // More than a chunk, so that a node has seen the token.
    let (first, rest) = bytes.split_at(3 << 20);
    let mut raw = Raw::at(gateway.addr()).say(head.as_bytes());
    raw.stream().write_all(first).expect("taken");
    runs_out(addr, &bearer);
    let answer = raw.say(rest).answer();
    assert_eq!(answer.status, 202, "{}", answer.head);
    let location = answer
        .head
        .lines()
        .find(|line| line.to_ascii_lowercase().starts_with("location: "))
        .and_then(|line| line.split_once(' '))
        .map(|(_, location)| location.trim());
    let path = format!("{}&digest={digest}", path_of(location.expect("a location")));
    let close = gateway.client().call("PUT", &path);
    let fresh = fleet.bearer(LEEWAY + 300);
    close
        .header("authorization", &fresh)
        .send()
        .expect_status(201);
}
