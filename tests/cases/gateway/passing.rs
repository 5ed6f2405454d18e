//! What passes: everything, as it is.

use std::io::Read as _;

use roadstead_oci::{Algorithm, Digest};
use roadstead_tests::image::noise;
use roadstead_tests::tools::skopeo;
use roadstead_tests::{Gateway, Image, image::layout, scratch, wait_until};

use super::{SOON, node};
use crate::raw::Raw;

#[test]
fn images_are_pushed_and_pulled_and_clients_are_sent_to_the_gateway() {
    let (_registry, addr) = node();
    let gateway = Gateway::open(&[addr], "");
    gateway.wait_until(addr, "up");
    let image = Image::new(1).layers(3).build();
    let repository = gateway.repository("through/here");
    repository.push("v1", &image);
    repository.assert_serves("v1", &image);
    assert_eq!(repository.tags(), ["v1"]);
    let session = repository.open_upload();
    let own = format!("http://{}/v2/through/here/blobs/uploads/", gateway.addr());
    assert!(session.starts_with(&own), "{session}");
    let deleted = repository.delete_manifest("v1");
    deleted.expect_status(202);
    let unknown = repository.manifest("v1").expect_status(404);
    assert_eq!(unknown.codes(), ["MANIFEST_UNKNOWN"]);
    assert!(unknown.header("x-request-id").is_some());
}

/// Without TLS that is h2c.
#[test]
fn nodes_are_spoken_to_in_http2_where_that_is_wanted() {
    let (mut registry, addr) = node();
    let gateway = Gateway::open(&[addr], "  upstreamhttp2: true\n");
    gateway.wait_until(addr, "up");
    let repository = gateway.repository("through/http2");
    let image = Image::new(3).layers(3).build();
    repository.push("v1", &image);
    repository.assert_serves("v1", &image);
    // Longer than a window, and than a chunk.
    let bytes = noise(3, 40 << 20);
    let digest = Digest::of(Algorithm::Sha256, &bytes);
    let location = repository.open_upload();
    let patched = repository.patch(&location, &bytes).expect_status(202);
    let closed = repository.close_upload(patched.location(), b"", &digest);
    closed.expect_status(201);
    assert!(repository.blob(&digest).expect_status(200).body == bytes);
    // A client that waits to be told to send is told, or refused.
    let head = format!(
        "POST /v2/a/blobs/uploads/?digest={digest} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
         Expect: 100-continue\r\nContent-Length: {}\r\n\r\n",
        bytes.len()
    );
    let mut raw = Raw::at(gateway.addr()).say(head.as_bytes());
    let mut told = [0; 25];
    raw.stream().read_exact(&mut told).expect("it is told");
    assert_eq!(&told, b"HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(raw.say(&bytes).answer().status, 201);
    // A node that comes back is spoken to on a new connection.
    registry.kill();
    registry.restart();
    repository.assert_serves("v1", &image);
    // A request names its host in the target, as HTTP/2 has it.
    let named = format!("http.request.uri=\"http://{}/v2/through/", gateway.addr());
    wait_until("the target is logged", SOON, || {
        registry.log().contains(&named)
    });
}

#[test]
fn skopeo_copies_there_and_back() {
    let (_registry, addr) = node();
    let gateway = Gateway::open(&[addr], "");
    gateway.wait_until(addr, "up");
    let image = Image::new(2).layers(3).build();
    let (from, to) = (scratch(), scratch());
    layout::write(from.path(), "v1", &image);
    let [source, target] = [&from, &to].map(|dir| format!("oci:{}:v1", dir.path().display()));
    let registry = format!("docker://{}/skopeo/image:v1", gateway.addr());
    let copy = ["copy", "--all", "--preserve-digests"];
    skopeo(&[&copy[..], &["--dest-tls-verify=false", &source, &registry]].concat());
    skopeo(&[&copy[..], &["--src-tls-verify=false", &registry, &target]].concat());
    layout::assert_holds(to.path(), &image);
}

#[test]
fn without_nodes_it_says_so() {
    let (mut registry, addr) = node();
    registry.stop();
    let gateway = Gateway::open(&[addr], "");
    let client = gateway.client();
    client.get("/").expect_status(200);
    client.get("/livez").expect_status(200);
    let ready = client.get("/readyz").expect_status(503);
    assert_eq!(ready.json()["failing"][0], "nodes");
    let refused = client.get("/v2/").expect_status(503);
    assert_eq!(refused.codes(), ["UNAVAILABLE"]);
    refused.expect_header("retry-after");
    let version = refused.expect_header("docker-distribution-api-version");
    assert_eq!(version, "registry/2.0");
    registry.restart();
    gateway.wait_until(addr, "up");
    client.get("/readyz").expect_status(200);
    client.get("/v2/").expect_status(200);
}

#[test]
fn the_access_log_names_the_node_and_the_tries() {
    let (_registry, addr) = node();
    let gateway = Gateway::open(&[addr], "");
    gateway.wait_until(addr, "up");
    let answer = gateway
        .client()
        .call("GET", "/v2/")
        .header("x-request-id", "mine")
        .send()
        .expect_status(200);
    assert_eq!(
        answer.expect_header("x-request-id"),
        "mine",
        "a trusted proxy names it"
    );
    let expected = format!("id=mine upstream={addr} tries=1 resumed=0");
    wait_until("the line was written", SOON, || {
        gateway.log().contains(&expected)
    });
}

#[test]
fn old_clients_are_refused_where_that_is_wanted() {
    let (_registry, addr) = node();
    let strict = Gateway::open(&[addr], "  refuseancient: true\n");
    strict.wait_until(addr, "up");
    let ask = |gateway: &Gateway, agent: &str| {
        let call = gateway
            .client()
            .call("GET", "/v2/")
            .header("user-agent", agent);
        call.send().status
    };
    assert_eq!(ask(&strict, "docker/1.5.0 go/go1.4"), 404);
    assert_eq!(ask(&strict, "Go 1.1 package http"), 404);
    assert_eq!(ask(&strict, "docker/20.10.5"), 200);
    let lenient = Gateway::open(&[addr], "");
    lenient.wait_until(addr, "up");
    assert_eq!(ask(&lenient, "docker/1.5.0 go/go1.4"), 200);
}

#[test]
fn a_drain_finishes_what_is_under_way_and_takes_nothing_new() {
    let (registry, addr) = node();
    let mut gateway = Gateway::open(&[addr], "");
    gateway.wait_until(addr, "up");
    let bytes = noise(1, 64 << 20);
    let digest = Digest::of(Algorithm::Sha256, &bytes);
    registry
        .repository("drain")
        .push_blob(&bytes, &digest)
        .expect_status(201);
    let get =
        format!("GET /v2/drain/blobs/{digest} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let mut download = Raw::at(gateway.addr()).say(get.as_bytes());
    let mut first = vec![0; 1000];
    download.stream().read_exact(&mut first).expect("it begins");
    let own = gateway.addr();
    gateway.process().signal(rustix::process::Signal::TERM);
    wait_until("no connection is taken any more", SOON, || {
        std::net::TcpStream::connect(own).is_err()
    });
    let rest = download.hear();
    assert!(rest.ends_with(&bytes[bytes.len() - 1000..]));
    assert!(first.len() + rest.len() > bytes.len());
    assert_eq!(gateway.stop().code(), Some(0));
}
