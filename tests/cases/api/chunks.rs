//! Pushing a blob in chunks: sessions, where they stand, and how they end.

use std::collections::BTreeSet;
use std::time::Duration;

use roadstead_tests::{Answer, Registry, Repository, image::noise, wait_until};

use super::steps::{BYTES, has, has_no, refused, roadstead, session_of, sha256};
use crate::raw::Raw;
use crate::uploads::path_of;

/// Sends a chunk that says where it belongs.
#[track_caller]
pub(super) fn send(
    repository: &Repository,
    method: &str,
    location: &str,
    range: &str,
    bytes: &[u8],
) -> Answer {
    let call = repository.client().call(method, location);
    call.header("content-range", range)
        .header("content-type", BYTES)
        .body(bytes)
        .send()
}

/// O18: what a session's address says of it.
#[track_caller]
pub(super) fn stands_at(repository: &Repository, location: &str, range: &str) -> Answer {
    let session = session_of(location);
    for method in ["HEAD", "GET"] {
        let answer = repository.client().call(method, session).send();
        let answer = answer.expect_status(204);
        has(&answer, "range", range);
        assert_eq!(session_of(answer.location()), session);
        let id = session.rsplit('/').next().expect("an id");
        has(&answer, "docker-upload-uuid", id);
    }
    repository.client().get(session).expect_status(204)
}

/// O11, O16, O18, O19
#[test]
fn chunks_in_their_order_make_a_blob() {
    let registry = roadstead();
    let repository = registry.repository("chunks");
    let bytes = noise(1, 3000);
    let opened = repository.open_upload();
    stands_at(&repository, &opened, "0-0");
    let first = send(&repository, "PATCH", &opened, "0-999", &bytes[..1000]);
    let first = first.expect_status(202);
    has(&first, "range", "0-999");
    has(&first, "content-length", "0");
    assert_eq!(session_of(first.location()), session_of(&opened));
    let asked = stands_at(&repository, &opened, "0-999");
    let (next, part) = (asked.location(), &bytes[1000..2000]);
    let second = send(&repository, "PATCH", next, "1000-1999", part).expect_status(202);
    has(&second, "range", "0-1999");
    let digest = sha256(&bytes);
    let close = format!("{}&digest={digest}", second.location());
    let closed = send(&repository, "PUT", &close, "2000-2999", &bytes[2000..]);
    has(
        &closed.expect_status(201),
        "docker-content-digest",
        &digest.to_string(),
    );
    assert!(repository.blob(&digest).expect_status(200).body == bytes);
    let over = registry.client().get(session_of(&opened));
    refused(over, 404, "BLOB_UPLOAD_UNKNOWN");
}

/// O11
#[test]
fn no_two_sessions_have_one_id() {
    let registry = roadstead();
    let repository = registry.repository("ids");
    let sessions: BTreeSet<String> = (0..200)
        .map(|_| session_of(&repository.open_upload()).to_owned())
        .collect();
    assert_eq!(sessions.len(), 200);
}

/// O19: everything in the last request, nothing in it, and no bytes at all.
#[test]
fn a_session_is_closed_with_and_without_a_last_chunk() {
    let registry = roadstead();
    let repository = registry.repository("last");
    for (chunks, last) in [
        (vec![], b"all".as_slice()),
        (vec![b"all".as_slice()], b"".as_slice()),
        (vec![b"a", b"bc"], b"d"),
        (vec![], b""),
    ] {
        let mut session = repository.open_upload();
        for chunk in &chunks {
            let answer = repository.patch(&session, chunk).expect_status(202);
            answer.location().clone_into(&mut session);
        }
        let whole = [chunks.concat(), last.to_vec()].concat();
        let digest = sha256(&whole);
        let closed = repository.close_upload(&session, last, &digest);
        let closed = closed.expect_status(201);
        let pulled = registry.client().get(closed.location());
        assert_eq!(pulled.expect_status(200).body, whole);
    }
}

/// O15: chunks of one byte, and requests without one.
#[test]
fn a_chunk_may_be_small() {
    let registry = roadstead();
    let repository = registry.repository("small");
    let mut session = repository.open_upload();
    for (n, byte) in b"bytes".iter().enumerate() {
        let range = format!("{n}-{n}");
        let answer = send(&repository, "PATCH", &session, &range, &[*byte]).expect_status(202);
        has(&answer, "range", &format!("0-{n}"));
        has_no(&answer, "oci-chunk-min-length");
        let nothing = repository.patch(answer.location(), b"").expect_status(202);
        has(&nothing, "range", &format!("0-{n}"));
        nothing.location().clone_into(&mut session);
    }
    let closed = repository.close_upload(&session, b"", &sha256(b"bytes"));
    closed.expect_status(201);
}

/// O20
#[test]
fn a_session_that_was_cancelled_is_over() {
    let registry = roadstead();
    let repository = registry.repository("cancelled");
    let fresh = repository.open_upload();
    let begun = repository.open_upload();
    let begun = repository.patch(&begun, b"bytes").expect_status(202);
    for session in [fresh.as_str(), begun.location()] {
        let cancelled = registry.client().delete(session).expect_status(204);
        assert!(cancelled.body.is_empty());
        cancelled.expect_header("docker-upload-uuid");
        let digest = sha256(b"bytes");
        for answer in [
            registry.client().delete(session),
            registry.client().get(session_of(session)),
            repository.patch(session, b"more"),
            repository.close_upload(session, b"bytes", &digest),
        ] {
            refused(answer, 404, "BLOB_UPLOAD_UNKNOWN");
        }
        refused(repository.blob(&digest), 404, "BLOB_UNKNOWN");
    }
}

/// O11: nobody can make up a session, carry one to another repository, or use one's state for another.
#[test]
fn a_session_is_good_only_for_what_it_was_opened_for() {
    let registry = roadstead();
    let repository = registry.repository("mine");
    let (one, two) = (repository.open_upload(), repository.open_upload());
    let elsewhere = one.replace("/v2/mine/", "/v2/theirs/");
    let answer = repository.patch(&elsewhere, b"x");
    refused(answer, 404, "BLOB_UPLOAD_UNKNOWN");
    let (address, state) = one.split_once('?').expect("a state");
    let (_, other) = two.split_once('?').expect("a state");
    let cut = state.get(..state.len() - 8).expect("a longer state");
    for query in [
        "",
        "_state=",
        "_state=AAAA",
        "_state=%00",
        "x=y",
        other,
        cut,
    ] {
        for method in ["PATCH", "PUT", "DELETE"] {
            let target = format!("{address}?{query}&digest={}", sha256(b"x"));
            let answer = registry.client().call(method, &target).body("x").send();
            refused(answer, 404, "BLOB_UPLOAD_INVALID");
        }
    }
    let digest = sha256(b"x");
    repository
        .close_upload(&one, b"x", &digest)
        .expect_status(201);
}

/// O18: the first half of a request, with the length of the whole, on a connection that then breaks.
fn cut_off(registry: &Registry, location: &str, headers: &str, bytes: &[u8]) {
    let length = bytes.len() * 2;
    let target = path_of(location);
    let head =
        format!("PATCH {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n{headers}\r\n");
    drop(Raw::to(registry).say(head.as_bytes()).say(bytes));
}

/// O18: docker sends a layer so; all that it can do when it was cut off is to ask how far it came.
#[test]
fn of_a_stream_that_broke_what_came_is_kept() {
    let registry = roadstead();
    let repository = registry.repository("broken/stream");
    let bytes = noise(1, 50_000);
    let session = repository.open_upload();
    cut_off(&registry, &session, "", &bytes);
    let path = session_of(&session);
    let deadline = Duration::from_secs(10);
    wait_until("what came was counted", deadline, || {
        registry.client().get(path).header("range") == Some("0-49999")
    });
    let standing = stands_at(&repository, &session, "0-49999");
    let whole = [bytes, noise(2, 100)].concat();
    let last = &whole[50_000..];
    let closed = repository.close_upload(standing.location(), last, &sha256(&whole));
    closed.expect_status(201);
}

/// O16, O18: who said which bytes it sends can send them again.
#[test]
fn of_a_chunk_with_a_range_that_broke_nothing_is_kept() {
    let registry = roadstead();
    let repository = registry.repository("broken/chunk");
    let session = repository.open_upload();
    let first = repository.patch(&session, b"0123456789").expect_status(202);
    let headers = "Content-Range: 10-2009\r\n";
    cut_off(&registry, first.location(), headers, &noise(1, 1000));
    stands_at(&repository, &session, "0-9");
    let whole = [b"0123456789".to_vec(), noise(1, 2000)].concat();
    let chunk = &whole[10..];
    let again = send(&repository, "PATCH", first.location(), "10-2009", chunk);
    let again = again.expect_status(202);
    let closed = repository.close_upload(again.location(), b"", &sha256(&whole));
    closed.expect_status(201);
}

/// O18: what was acknowledged is still there after a restart, and so are the addresses.
#[test]
fn a_session_goes_on_after_a_restart() {
    let mut registry = roadstead();
    let repository = registry.repository("restart");
    let session = repository.open_upload();
    let first = repository.patch(&session, b"first ").expect_status(202);
    let old = registry.url();
    registry.restart();
    let repository = registry.repository("restart");
    let location = first.location().replace(&old, &registry.url());
    let standing = stands_at(&repository, &location, "0-5");
    for session in [location.as_str(), standing.location()] {
        let digest = sha256(b"first second");
        let closed = repository.close_upload(session, b"second", &digest);
        closed.expect_status(201);
    }
}
