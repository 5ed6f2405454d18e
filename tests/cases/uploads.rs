//! Upload sessions: any byte that was acknowledged stays, and bytes of two writers never mix.

use std::io::Write as _;
use std::net::TcpStream;
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use roadstead_oci::{Algorithm, Digest};
use roadstead_tests::{Answer, Image, Options, Registry, Repository, image::noise, wait_until};

const ROUNDS: u64 = 200;

fn digest(bytes: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha256, bytes)
}

/// The path and query of a `Location`, good for whatever port the registry has now.
pub(crate) fn path_of(location: &str) -> &str {
    let host = location.find("/v2/").expect("a path of the API");
    location.split_at(host).1
}

/// The upload's status: how many bytes were acknowledged, and where to go on.
fn status(repository: &Repository, location: &str) -> Answer {
    let (path, _) = path_of(location).split_once('?').expect("a state");
    repository.client().get(path)
}

/// Two requests at once, each with bytes of its own; both answers.
fn race<A: Send, B: Send>(
    one: impl FnOnce() -> A + Send,
    two: impl FnOnce() -> B + Send,
) -> (A, B) {
    let start = Barrier::new(2);
    thread::scope(|scope| {
        let first = scope.spawn(|| {
            start.wait();
            one()
        });
        start.wait();
        let second = two();
        (first.join().expect("no panic"), second)
    })
}

#[test]
fn of_two_chunks_for_one_place_one_is_taken_and_the_other_told_where_the_upload_stands() {
    let registry = Registry::roadstead(Options::default());
    let repository = registry.repository("race/chunks");
    for round in 0..ROUNDS {
        let session = repository.open_upload();
        let (a, b) = (noise(round, 40_000), noise(round + 1_000_000, 50_000));
        let (one, two) = race(
            || repository.patch(&session, &a),
            || repository.patch(&session, &b),
        );
        let (won, lost, bytes) = if one.status == 202 {
            (one, two, a)
        } else {
            (two, one, b)
        };
        won.clone().expect_status(202);
        lost.clone().expect_status(416);
        let range = format!("0-{}", bytes.len() - 1);
        assert_eq!(
            lost.header("range"),
            Some(range.as_str()),
            "the loser is told where the upload stands"
        );
        let wrong = noise(round + 2_000_000, 10);
        let whole = [bytes, wrong.clone()].concat();
        // The loser can go on from there: both hold the same state now.
        repository
            .close_upload(lost.location(), &wrong, &digest(&whole))
            .expect_status(201);
        assert_eq!(
            repository.blob(&digest(&whole)).expect_status(200).body,
            whole
        );
    }
}

#[test]
fn of_two_closings_with_other_bytes_at_least_one_is_refused_and_what_is_taken_is_whole() {
    let registry = Registry::roadstead(Options::default());
    let repository = registry.repository("race/closings");
    for round in 0..ROUNDS {
        let session = repository.open_upload();
        let first = noise(round, 30_000);
        let session = repository
            .patch(&session, &first)
            .expect_status(202)
            .location()
            .to_owned();
        let wholes = [1, 2].map(|n| [first.clone(), noise(round + n * 1_000_000, 30_000)].concat());
        let close =
            |whole: &[u8]| repository.close_upload(&session, &whole[30_000..], &digest(whole));
        let (one, two) = race(|| close(&wholes[0]), || close(&wholes[1]));
        let taken = [&one, &two]
            .iter()
            .filter(|answer| answer.status == 201)
            .count();
        assert_eq!(taken, 1, "{} and {}", one.status, two.status);
        for (answer, whole) in [one, two].into_iter().zip(&wholes) {
            let blob = repository.blob(&digest(whole));
            match answer.status {
                201 => assert_eq!(&blob.expect_status(200).body, whole),
                404 | 416 => drop(blob.expect_status(404)),
                status => panic!("{status}: {}", answer.text()),
            }
        }
    }
}

#[test]
fn the_same_blob_pushed_by_many_at_once_is_one_blob() {
    let registry = Registry::roadstead(Options::default());
    for round in 0..30 {
        let bytes = noise(round, 100_000);
        thread::scope(|scope| {
            for n in 0..8 {
                let (repository, bytes) =
                    (registry.repository(&format!("race/same{}", n % 3)), &bytes);
                scope.spawn(move || {
                    repository
                        .push_blob(bytes, &digest(bytes))
                        .expect_status(201);
                    assert_eq!(
                        &repository.blob(&digest(bytes)).expect_status(200).body,
                        bytes
                    );
                });
            }
        });
    }
}

#[test]
fn of_a_closing_and_a_cancelling_one_wins() {
    let registry = Registry::roadstead(Options::default());
    let repository = registry.repository("race/cancel");
    for round in 0..ROUNDS {
        let bytes = noise(round, 20_000);
        let session = repository.open_upload();
        let session = repository
            .patch(&session, &bytes)
            .expect_status(202)
            .location()
            .to_owned();
        let (closed, cancelled) = race(
            || repository.close_upload(&session, &[], &digest(&bytes)),
            || repository.client().delete(&session),
        );
        match (closed.status, cancelled.status) {
            (201, 404) => drop(repository.blob(&digest(&bytes)).expect_status(200)),
            (404, 204) => drop(repository.blob(&digest(&bytes)).expect_status(404)),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn an_upload_that_was_closed_can_be_closed_again_by_a_client_that_missed_the_answer() {
    let mut registry = Registry::roadstead(Options::default());
    let bytes = noise(1, 70_000);
    let session = registry.repository("again").open_upload();
    let close = |registry: &Registry| {
        registry
            .repository("again")
            .close_upload(path_of(&session), &bytes, &digest(&bytes))
    };
    close(&registry).expect_status(201);
    close(&registry).expect_status(201);
    registry.kill();
    registry.restart();
    close(&registry).expect_status(201);
    let other =
        registry
            .repository("again")
            .close_upload(path_of(&session), b"other", &digest(b"other"));
    other.expect_status(404);
}

#[test]
fn a_killed_registry_goes_on_with_an_upload_at_the_acknowledged_byte_without_reading_it_again() {
    const CHUNK: usize = 48 << 20;
    let mut registry = Registry::roadstead(Options::default());
    let (first, second) = (noise(1, CHUNK), noise(2, 100_000));
    let session = registry.repository("restart").open_upload();
    let session = registry
        .repository("restart")
        .patch(&session, &first)
        .expect_status(202)
        .location()
        .to_owned();
    registry.kill();
    registry.restart();
    let repository = registry.repository("restart");
    let standing = status(&repository, &session).expect_status(204);
    assert_eq!(
        standing.header("range"),
        Some(format!("0-{}", CHUNK - 1).as_str())
    );
    // Both the state that the client held and the fresh one are good.
    let session = repository
        .patch(path_of(&session), &second)
        .expect_status(202)
        .location()
        .to_owned();
    let read = bytes_read(registry.pid());
    assert!(
        read < CHUNK as u64 / 2,
        "{read} bytes were read, as if to hash them again"
    );
    let whole = [first, second].concat();
    repository
        .close_upload(&session, &[], &digest(&whole))
        .expect_status(201);
    assert!(repository.blob(&digest(&whole)).expect_status(200).body == whole);
}

/// What a process read since it started, from files, pipes and sockets.
fn bytes_read(pid: u32) -> u64 {
    let io = std::fs::read_to_string(format!("/proc/{pid}/io")).expect("the process runs");
    let read = io
        .lines()
        .find_map(|line| line.strip_prefix("rchar: "))
        .expect("a count of bytes");
    read.parse().expect("a number")
}

#[test]
fn bytes_that_were_never_acknowledged_leave_nothing_behind() {
    let mut registry = Registry::roadstead(Options::default());
    let uploads = registry.root().join("roadstead/uploads");
    let left = || {
        std::fs::read_dir(&uploads)
            .expect("the directory of uploads")
            .count()
    };
    let session = registry.repository("gone").open_upload();
    let mut stream = TcpStream::connect(registry.addr()).expect("connected");
    let path = path_of(&session);
    let head = format!(
        "PUT {path}&digest={} HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n\r\n",
        digest(b"")
    );
    stream.write_all(head.as_bytes()).expect("sent");
    stream.write_all(&noise(1, 2_000_000)).expect("sent");
    wait_until("the bytes arrived", Duration::from_secs(10), || left() == 1);
    drop(stream);
    wait_until(
        "an aborted request gave up its bytes",
        Duration::from_secs(10),
        || left() == 0,
    );
    // Killed in the middle, it cleans up when it starts again.
    let mut stream = TcpStream::connect(registry.addr()).expect("connected");
    stream.write_all(head.as_bytes()).expect("sent");
    stream.write_all(&noise(1, 2_000_000)).expect("sent");
    wait_until("the bytes arrived", Duration::from_secs(10), || left() == 1);
    registry.kill();
    registry.restart();
    wait_until(
        "a restart gave up what was half done",
        Duration::from_secs(10),
        || left() == 0,
    );
    registry
        .repository("gone")
        .close_upload(path, b"x", &digest(b"x"))
        .expect_status(201);
}

#[test]
fn a_tag_that_was_acknowledged_while_its_manifest_was_deleted_is_gone_or_leads_to_it() {
    let registry = Registry::roadstead(Options::default());
    let repository = registry.repository("race/tags");
    let image = Image::new(1).layers(1).build();
    let digest = image.root().digest.to_string();
    for round in 0..ROUNDS {
        repository.push(&digest, &image);
        let tag = format!("t{round}");
        let (pushed, deleted) = race(
            || repository.push_manifest(&tag, image.root()),
            || repository.delete_manifest(&digest),
        );
        pushed.expect_status(201);
        deleted.expect_status(202);
        let leads = repository.manifest(&tag).status == 200;
        assert_eq!(
            repository.tags().contains(&tag),
            leads,
            "a tag is listed if it leads somewhere"
        );
        if leads {
            repository.assert_serves(&tag, &image);
        }
    }
}

/// The end of a session is recorded after the answer: until then, closing it again publishes what it holds once more.
/// Either way the answer tells the truth, and once the end is recorded it is 404.
#[test]
fn a_blob_that_was_deleted_is_not_said_to_be_there_by_an_upload_that_was_closed_before() {
    let registry = Registry::roadstead(Options::default());
    let repository = registry.repository("closed");
    let session = repository.open_upload();
    let close = || repository.close_upload(&session, b"x", &digest(b"x"));
    close().expect_status(201);
    let recorded = "the end of the upload is recorded";
    wait_until(recorded, Duration::from_secs(10), || {
        repository.delete_blob(&digest(b"x")).expect_status(202);
        let closed = close();
        if closed.status == 404 {
            return true;
        }
        closed.expect_status(201);
        repository.blob(&digest(b"x")).expect_status(200);
        false
    });
    repository.push_blob(b"x", &digest(b"x")).expect_status(201);
}
