//! Downloads straight from files, and what happens to those files meanwhile.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use roadstead_oci::{Algorithm, Digest};
use roadstead_tests::{Options, Registry, image::noise};

use super::request;

/// More than sockets and buffers hold between a server and a client that does not read.
const LARGE: usize = 48 << 20;

fn pushed(registry: &Registry, bytes: &[u8]) -> (Digest, PathBuf) {
    let digest = Digest::of(Algorithm::Sha256, bytes);
    let repository = registry.repository("files");
    repository.push_blob(bytes, &digest).expect_status(201);
    let hex = digest.hex();
    let two: String = hex.chars().take(2).collect();
    let path = format!("docker/registry/v2/blobs/sha256/{two}/{hex}/data");
    (digest, registry.root().join(path))
}

/// A download that has begun, of which no more than the first bytes are taken.
fn begun(registry: &Registry, digest: &Digest) -> (TcpStream, Vec<u8>) {
    let get =
        format!("GET /v2/files/blobs/{digest} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let mut stream = request(registry.addr(), &get);
    let mut first = vec![0; 1024];
    stream.read_exact(&mut first).expect("the answer begins");
    (stream, first)
}

/// The body, from what came first and what comes.
fn rest(mut stream: TcpStream, mut came: Vec<u8>) -> Vec<u8> {
    // A connection that breaks is how a download that cannot go on ends.
    let _broken = stream.read_to_end(&mut came);
    let head = came.windows(4).position(|end| end == b"\r\n\r\n");
    came.split_off(head.expect("a head") + 4)
}

#[test]
fn a_file_that_is_truncated_breaks_its_downloads_and_nothing_else() {
    let registry = Registry::roadstead(Options::default());
    let bytes = noise(1, LARGE);
    let (digest, path) = pushed(&registry, &bytes);
    let (stream, came) = begun(&registry, &digest);
    let file = File::options().write(true).open(&path).expect("the file");
    file.set_len(1 << 20).expect("truncated");
    let body = rest(stream, came);
    assert!(body.len() < LARGE, "all of it came from half a file");
    assert!(body == bytes[..body.len()], "what came is what was there");
    registry.client().get("/v2/").expect_status(200);
}

#[test]
fn a_download_goes_on_when_its_file_is_replaced_and_removed() {
    let registry = Registry::roadstead(Options::default());
    let bytes = noise(2, LARGE);
    let (digest, path) = pushed(&registry, &bytes);
    let (one, came_of_one) = begun(&registry, &digest);
    let (other, came_of_other) = begun(&registry, &digest);
    let beside = path.with_file_name("other");
    std::fs::write(&beside, noise(3, LARGE)).expect("written");
    std::fs::rename(&beside, &path).expect("replaced");
    assert!(rest(one, came_of_one) == bytes);
    registry
        .repository("files")
        .delete_blob(&digest)
        .expect_status(202);
    std::fs::remove_file(&path).expect("removed");
    assert!(rest(other, came_of_other) == bytes);
}

#[test]
fn what_is_not_in_memory_comes_from_the_disk() {
    let registry = Registry::roadstead(Options::default());
    let bytes = noise(4, LARGE);
    let (digest, path) = pushed(&registry, &bytes);
    let file = File::open(&path).expect("the file");
    file.sync_all().expect("on the disk");
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).expect("let go");
    // Some of it is in memory again.
    file.read_exact_at(&mut [0; 4096], 5 << 20).expect("read");
    let (stream, came) = begun(&registry, &digest);
    assert!(rest(stream, came) == bytes);
}

#[test]
fn parts_of_files_and_small_answers_follow_each_other_on_one_connection() {
    let registry = Registry::roadstead(Options::default());
    let bytes = noise(5, 3_000_001);
    let (digest, _) = pushed(&registry, &bytes);
    let ranges = [
        (1, 70_000),
        (0, 3_000_000),
        (262_143, 262_144),
        (262_144, 1_000_000),
    ];
    let mut requests = String::new();
    for (first, last) in ranges {
        let pair = format!(
            "GET /v2/files/blobs/{digest} HTTP/1.1\r\nHost: x\r\nRange: bytes={first}-{last}\r\n\r\n\
             GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n"
        );
        requests.push_str(&pair);
    }
    requests += "GET /v2/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let mut stream = TcpStream::connect(registry.addr()).expect("connected");
    stream.write_all(requests.as_bytes()).expect("asked");
    let mut came = Vec::new();
    stream.read_to_end(&mut came).expect("answered");
    let mut left = came.as_slice();
    for (first, last) in ranges {
        assert_eq!(
            answer(&mut left, "206"),
            &bytes[first..=last],
            "{first}-{last}"
        );
        assert_eq!(answer(&mut left, "200"), b"{}");
    }
    assert_eq!(answer(&mut left, "200"), b"{}");
    assert!(left.is_empty());
}

/// Takes one answer off the front.
fn answer<'a>(left: &mut &'a [u8], status: &str) -> &'a [u8] {
    let end = left.windows(4).position(|end| end == b"\r\n\r\n");
    let (head, rest) = left.split_at(end.expect("a head") + 4);
    let head = String::from_utf8_lossy(head).to_lowercase();
    assert!(head.starts_with(&format!("http/1.1 {status}")), "{head}");
    let (_, length) = head.split_once("content-length: ").expect("a length");
    let length = length.lines().next().and_then(|length| length.parse().ok());
    let (body, rest) = rest.split_at(length.expect("a number"));
    *left = rest;
    body
}
