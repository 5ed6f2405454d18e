//! Downloads whose nodes are killed: they go on, or they break visibly.

use std::io::Read as _;
use std::net::SocketAddr;

use roadstead_oci::{Algorithm, Digest};
use roadstead_tests::image::noise;
use roadstead_tests::{Gateway, Registry, wait_until};

use super::{SOON, node};
use crate::raw::Raw;

/// Two registries with the same blob.
fn twins(bytes: &[u8], digest: &Digest) -> [(Registry, SocketAddr); 2] {
    [(), ()].map(|()| {
        let (registry, addr) = node();
        let repository = registry.repository("big");
        repository.push_blob(bytes, digest).expect_status(201);
        (registry, addr)
    })
}

/// Begins a download, and reads its head. What comes of the body with it is the second part.
pub(super) fn begin(gateway: &Gateway, digest: &Digest, headers: &str) -> (Raw, String, Vec<u8>) {
    let get = format!(
        "GET /v2/big/blobs/{digest} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n"
    );
    let mut raw = Raw::at(gateway.addr()).say(get.as_bytes());
    let mut came = Vec::new();
    let end = loop {
        let mut byte = [0];
        raw.stream().read_exact(&mut byte).expect("a head");
        came.push(byte[0]);
        if came.ends_with(b"\r\n\r\n") {
            break came.len();
        }
    };
    let rest = came.split_off(end);
    (raw, String::from_utf8(came).expect("text"), rest)
}

/// The node that has the request.
pub(super) fn busy(gateway: &Gateway, nodes: &[SocketAddr]) -> Option<usize> {
    nodes.iter().position(|node| {
        gateway.figure(&format!(
            "roadstead_gateway_node_in_flight_requests{{node=\"{node}\"}}"
        )) > 0.5
    })
}

#[test]
fn a_download_survives_its_nodes() {
    let bytes = noise(7, 256 << 20);
    let digest = Digest::of(Algorithm::Sha256, &bytes);
    let mut twins = twins(&bytes, &digest);
    let addrs = [twins[0].1, twins[1].1];
    let gateway = Gateway::open(&addrs, "");
    for addr in addrs {
        gateway.wait_until(addr, "up");
    }
    let (mut raw, head, mut came) = begin(&gateway, &digest, "");
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    for killed in 1..=4 {
        // Far enough that what lies in buffers was sent.
        let mut part = vec![0; 40 << 20];
        raw.stream().read_exact(&mut part).expect("it goes on");
        came.extend_from_slice(&part);
        let at = busy(&gateway, &addrs).expect("a node has it");
        twins[at].0.kill();
        // The other must be there to go on.
        twins[at].0.restart();
        gateway.wait_until(addrs[at], "up");
        assert!(killed <= 4);
    }
    came.extend(raw.hear());
    assert_eq!(came.len(), bytes.len());
    assert!(came == bytes, "byte for byte");
    assert!(gateway.figure("roadstead_gateway_resumed_total") >= 1.0);
    assert!(gateway.log().contains("a download goes on"));
}

#[test]
fn a_part_goes_on_as_a_part() {
    let bytes = noise(8, 96 << 20);
    let digest = Digest::of(Algorithm::Sha256, &bytes);
    let mut twins = twins(&bytes, &digest);
    let addrs = [twins[0].1, twins[1].1];
    let gateway = Gateway::open(&addrs, "");
    for addr in addrs {
        gateway.wait_until(addr, "up");
    }
    let last = bytes.len() - 1001;
    let (mut raw, head, mut came) =
        begin(&gateway, &digest, &format!("Range: bytes=500-{last}\r\n"));
    assert!(head.starts_with("HTTP/1.1 206 "), "{head}");
    let mut part = vec![0; 8 << 20];
    raw.stream().read_exact(&mut part).expect("it goes on");
    came.extend_from_slice(&part);
    let at = busy(&gateway, &addrs).expect("a node has it");
    twins[at].0.kill();
    came.extend(raw.hear());
    assert!(came == bytes[500..=last], "{} bytes", came.len());
}

#[test]
fn a_download_that_cannot_go_on_breaks_visibly() {
    let bytes = noise(9, 64 << 20);
    let digest = Digest::of(Algorithm::Sha256, &bytes);
    let [(mut only, addr), (other, _)] = twins(&bytes, &digest);
    drop(other);
    let gateway = Gateway::open(&[addr], "  timeouts: {patience: 1s}\n");
    gateway.wait_until(addr, "up");
    let (mut raw, head, mut came) = begin(&gateway, &digest, "");
    let mut part = vec![0; 1 << 20];
    raw.stream().read_exact(&mut part).expect("it begins");
    came.extend_from_slice(&part);
    only.kill();
    came.extend(raw.hear());
    assert!(
        head.contains(&format!("Content-Length: {}\r\n", bytes.len())),
        "{head}"
    );
    assert!(came.len() < bytes.len(), "it is shorter than it said");
    assert!(bytes.starts_with(&came), "and nothing of it is wrong");
}

#[test]
fn a_node_with_other_content_does_not_go_on() {
    let bytes = noise(10, 64 << 20);
    let digest = Digest::of(Algorithm::Sha256, &bytes);
    let [(mut has_it, first), (second, other)] = twins(&bytes, &digest);
    // Other bytes of another length under the same name: what a damaged disk may have.
    let hex = digest.to_string().replace("sha256:", "");
    let data = format!(
        "docker/registry/v2/blobs/sha256/{}/{hex}/data",
        hex.get(..2).expect("a digest")
    );
    std::fs::write(second.root().join(data), noise(11, 32 << 20)).expect("damaged");
    let gateway = Gateway::open(&[first], "  timeouts: {patience: 1s}\n");
    gateway.wait_until(first, "up");
    let both = Gateway::open(&[first, other], "  timeouts: {patience: 1s}\n");
    both.wait_until(first, "up");
    both.wait_until(other, "up");
    let (mut raw, came) = loop {
        let (raw, head, came) = begin(&both, &digest, "");
        if head.contains(&format!("Content-Length: {}\r\n", bytes.len())) {
            break (raw, came);
        }
    };
    let mut came = came;
    let mut part = vec![0; 1 << 20];
    raw.stream().read_exact(&mut part).expect("it begins");
    came.extend_from_slice(&part);
    has_it.kill();
    came.extend(raw.hear());
    assert!(came.len() < bytes.len() && bytes.starts_with(&came));
    wait_until("it is told that the nodes differ", SOON, || {
        both.log().contains("a node has other bytes")
    });
}
