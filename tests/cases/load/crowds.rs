//! Many clients at a time: those that rest, and those that download.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use roadstead_oci::{Algorithm, Digest};
use roadstead_tests::{Options, Registry, image::noise};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::{RESIDENT, peak, request, resident};

const RESTING: usize = 10_000;

/// What the process may take in memory for them: 33 KiB each in a debug build, much of it buffers of hyper's. The aim is 20.
const TAKEN: u64 = 400 << 20;

const DOWNLOADS: usize = 1000;

/// Files that connections take in the registry, and in this process what it has open besides.
const EACH: u64 = 2;
const BESIDES: u64 = 256;

/// As many connections as the system lets a process have, at most so many.
fn room_for(connections: usize) -> usize {
    let wanted = connections as u64 * EACH + BESIDES;
    let enough = Some(wanted);
    let limits = getrlimit(Resource::Nofile);
    if limits.current.is_some_and(|current| current < wanted) {
        let raised = Rlimit {
            current: enough,
            maximum: limits.maximum.map(|maximum| maximum.max(wanted)),
        };
        // Only root may raise it above what the system gives.
        let _as_it_is = setrlimit(Resource::Nofile, raised);
    }
    let current = getrlimit(Resource::Nofile).current.unwrap_or(wanted);
    let room = usize::try_from(current.saturating_sub(BESIDES) / EACH).expect("small");
    if room < connections {
        #[expect(clippy::print_stderr, reason = "fewer than the case speaks of")]
        {
            eprintln!(
                "{room} connections and not {connections}: the limit of open files (ulimit -Hn) is {current}"
            );
        }
    }
    room.min(connections)
}

/// Reads an answer's head and a body of that length, which is answered with.
fn answer(stream: &mut TcpStream, length: usize) -> Vec<u8> {
    let (mut came, mut buffer) = (Vec::new(), [0; 16 * 1024]);
    loop {
        let read = stream.read(&mut buffer).expect("an answer");
        assert!(
            read > 0,
            "the connection ended: {}",
            String::from_utf8_lossy(&came)
        );
        came.extend_from_slice(&buffer[..read]);
        let head = came
            .windows(4)
            .take(2048)
            .position(|end| end == b"\r\n\r\n");
        let Some(head) = head else { continue };
        if came.len() == head + 4 + length {
            assert!(came.starts_with(b"HTTP/1.1 200 OK\r\n"));
            return came.split_off(head + 4);
        }
    }
}

#[test]
fn ten_thousand_connections_that_rest_take_little_memory_and_hinder_nobody() {
    const GET: &str = "GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n";
    let resting = room_for(RESTING);
    let registry = Registry::roadstead(Options::default());
    let before = resident(registry.pid());
    let mut clients = Vec::with_capacity(resting);
    for _ in 0..resting {
        let mut client = request(registry.addr(), GET);
        assert_eq!(answer(&mut client, 2), b"{}");
        clients.push(client);
    }
    let took = resident(registry.pid()).saturating_sub(before);
    assert!(
        took < TAKEN,
        "{resting} connections take {} MiB",
        took >> 20
    );
    registry.client().get("/v2/").expect_status(200);
    for client in clients.iter_mut().step_by(100) {
        client.write_all(GET.as_bytes()).expect("it is still open");
        assert_eq!(answer(client, 2), b"{}");
    }
}

#[test]
fn a_thousand_downloads_at_once_are_whole_and_take_little_memory() {
    assert_eq!(room_for(DOWNLOADS), DOWNLOADS);
    let registry = Registry::roadstead(Options::default());
    let bytes = noise(7, 2 << 20);
    let digest = Digest::of(Algorithm::Sha256, &bytes);
    let repository = registry.repository("crowd");
    repository.push_blob(&bytes, &digest).expect_status(201);
    let get = format!("GET /v2/crowd/blobs/{digest} HTTP/1.1\r\nHost: x\r\n\r\n");
    let clients: Vec<TcpStream> = (0..DOWNLOADS)
        .map(|_| request(registry.addr(), &get))
        .collect();
    for mut client in clients {
        assert!(
            answer(&mut client, bytes.len()) == bytes,
            "all of it came, as it is"
        );
    }
    let took = peak(registry.pid());
    assert!(took < RESIDENT, "they took {} MiB", took >> 20);
}
