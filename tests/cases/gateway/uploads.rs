//! Uploads whose node is killed and comes back: they go on where they were acknowledged.

use std::io::Write as _;
use std::net::SocketAddr;

use roadstead_oci::{Algorithm, Digest};
use roadstead_tests::image::noise;
use roadstead_tests::{Gateway, Registry, wait_until};

use super::{SOON, node, path_of};
use crate::raw::Raw;

/// Short chunks, so that a transfer has many.
const CHUNKS: &str = "  limits: {chunk: 1048576, memory: 16777216}\n  timeouts: {patience: 1m}\n";

struct Set {
    registry: Registry,
    addr: SocketAddr,
    gateway: Gateway,
    bytes: Vec<u8>,
    digest: Digest,
}

fn set(bytes: usize) -> Set {
    let (registry, addr) = node();
    let gateway = Gateway::open(&[addr], CHUNKS);
    gateway.wait_until(addr, "up");
    let bytes = noise(3, bytes);
    let digest = Digest::of(Algorithm::Sha256, &bytes);
    Set {
        registry,
        addr,
        gateway,
        bytes,
        digest,
    }
}

impl Set {
    /// Sends a body in parts, and kills the node between them.
    fn send_while_it_dies(&mut self, head: &str, framed: impl Fn(&[u8]) -> Vec<u8>) -> Raw {
        let mut raw = Raw::at(self.gateway.addr()).say(head.as_bytes());
        let parts: Vec<Vec<u8>> = self
            .bytes
            .chunks(self.bytes.len() / 4 + 1)
            .map(<[u8]>::to_vec)
            .collect();
        for (nth, part) in parts.iter().enumerate() {
            if nth > 0 {
                self.registry.kill();
                self.registry.restart();
            }
            raw.stream()
                .write_all(&framed(part))
                .expect("the gateway takes it");
        }
        raw
    }

    fn assert_has_it(&self) {
        let held = self.registry.repository("up").blob(&self.digest);
        assert!(held.expect_status(200).body == self.bytes);
        let left = || self.gateway.figure("roadstead_gateway_held_bytes");
        wait_until("nothing was held", SOON, || left() < 0.5);
        self.gateway.wait_until(self.addr, "up");
    }
}

#[test]
fn a_chunk_of_unknown_length_goes_on_at_a_node_that_came_back() {
    let mut set = set(24 << 20);
    let session = set.gateway.repository("up").open_upload();
    let head = format!(
        "PATCH {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n",
        path_of(&session),
        set.gateway.addr()
    );
    let mut raw = set.send_while_it_dies(&head, |part| {
        let mut framed = format!("{:x}\r\n", part.len()).into_bytes();
        framed.extend_from_slice(part);
        framed.extend_from_slice(b"\r\n");
        framed
    });
    raw.stream()
        .write_all(b"0\r\n\r\n")
        .expect("its end is taken");
    let answer = raw.answer();
    assert_eq!(answer.status, 202, "{}", answer.head);
    let header = |name: &str| {
        let line = answer.head.lines().find_map(|line| line.strip_prefix(name));
        line.expect("a header").to_owned()
    };
    assert_eq!(header("Range: "), format!("0-{}", set.bytes.len() - 1));
    let location = header("Location: ");
    assert!(
        location.starts_with(&format!("http://{}/", set.gateway.addr())),
        "{location}"
    );
    let repository = set.gateway.repository("up");
    repository
        .close_upload(&location, b"", &set.digest)
        .expect_status(201);
    assert!(set.gateway.log().contains("resumed="));
    set.assert_has_it();
}

#[test]
fn a_whole_blob_in_one_request_goes_on_too() {
    let mut set = set(24 << 20);
    for put in [true, false] {
        let target = if put {
            let session = set.gateway.repository("up").open_upload();
            format!("PUT {}&digest={}", path_of(&session), set.digest)
        } else {
            set.registry
                .repository("up")
                .delete_blob(&set.digest)
                .expect_status(202);
            format!("POST /v2/up/blobs/uploads/?digest={}", set.digest)
        };
        let head = format!(
            "{target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
            set.bytes.len()
        );
        let answer = set.send_while_it_dies(&head, <[u8]>::to_vec).answer();
        assert_eq!(answer.status, 201, "{}", answer.head);
        assert!(
            answer
                .head
                .contains(&format!("Docker-Content-Digest: {}", set.digest))
        );
        set.assert_has_it();
    }
}

#[test]
fn short_bodies_and_ranges_pass_as_they_are() {
    let set = set(900_000);
    let repository = set.gateway.repository("up");
    let session = repository.open_upload();
    let (first, rest) = set.bytes.split_at(500_000);
    let ranged = |session: &str, chunk: &[u8], range: String| {
        let call = set.gateway.client().call("PATCH", session);
        call.header("content-range", &range).body(chunk).send()
    };
    let session = ranged(&session, first, "0-499999".to_owned())
        .expect_status(202)
        .location()
        .to_owned();
    let wrong = ranged(&session, rest, "7-399999".to_owned());
    wrong.expect_status(400);
    let wrong = ranged(&session, rest, "0-399999".to_owned()).expect_status(416);
    assert_eq!(wrong.expect_header("range"), "0-499999");
    let end = set.bytes.len() - 1;
    let session = ranged(&session, rest, format!("500000-{end}"))
        .expect_status(202)
        .location()
        .to_owned();
    repository
        .close_upload(&session, b"", &set.digest)
        .expect_status(201);
    set.assert_has_it();
}

#[test]
fn long_ranges_are_held_against_the_offset() {
    let set = set(5 << 20);
    let repository = set.gateway.repository("up");
    let session = repository.open_upload();
    let send = |range: String| {
        let call = set.gateway.client().call("PATCH", &session);
        call.header("content-range", &range)
            .body(set.bytes.as_slice())
            .send()
    };
    let end = set.bytes.len() - 1;
    send(format!("1-{}", end + 1)).expect_status(416);
    send(format!("0-{}", end - 1)).expect_status(400);
    let taken = send(format!("0-{end}")).expect_status(202);
    assert_eq!(taken.expect_header("range"), format!("0-{end}"));
    repository
        .close_upload(taken.location(), b"", &set.digest)
        .expect_status(201);
    set.assert_has_it();
}

#[test]
fn clients_that_break_off_are_not_the_nodes_fault() {
    let set = set(3 << 20);
    for framing in [
        "Content-Length: 9999999",
        "Content-Length: 99999",
        "Transfer-Encoding: chunked",
    ] {
        for target in ["PATCH", "PUT", "POST"] {
            let session = set.gateway.repository("up").open_upload();
            let path = match target {
                "PATCH" => path_of(&session).to_owned(),
                "PUT" => format!("{}&digest={}", path_of(&session), set.digest),
                _whole => format!("/v2/up/blobs/uploads/?digest={}", set.digest),
            };
            let head =
                format!("{target} {path} HTTP/1.1\r\nHost: x\r\n{framing}\r\n\r\n5\r\nhello\r\n");
            drop(Raw::at(set.gateway.addr()).say(head.as_bytes()));
        }
    }
    let broken_off = || set.gateway.log().matches("\" 499 ").count();
    wait_until("all were noticed", SOON, || broken_off() == 9);
    assert_eq!(set.gateway.standing(set.addr), "up");
    assert!(
        !set.gateway.log().contains("fails requests"),
        "{}",
        set.gateway.log()
    );
    let repository = set.gateway.repository("up");
    repository
        .push_blob(&set.bytes, &set.digest)
        .expect_status(201);
    set.assert_has_it();
}

#[test]
fn a_wrong_digest_is_the_clients_to_hear_of() {
    let set = set(5 << 20);
    let repository = set.gateway.repository("up");
    let session = repository.open_upload();
    let other = Digest::of(Algorithm::Sha256, b"other");
    let refused = repository
        .close_upload(&session, &set.bytes, &other)
        .expect_status(400);
    assert_eq!(refused.codes(), ["DIGEST_INVALID"]);
    let digest = Digest::of(Algorithm::Sha512, &set.bytes);
    let whole = format!("/v2/up/blobs/uploads/?digest={digest}");
    let call = set.gateway.client().call("POST", &whole);
    call.body(set.bytes.as_slice()).send().expect_status(201);
    assert!(repository.blob(&digest).expect_status(200).body == set.bytes);
}
