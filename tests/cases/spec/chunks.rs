//! Upload sessions: chunks, streams, where one stands, and how it ends.

use roadstead_tests::{Answer, Repository, image::noise};

use super::{is_refused, registry, sha256};

fn chunk(
    repository: &Repository,
    method: &str,
    location: &str,
    range: &str,
    bytes: &[u8],
) -> Answer {
    let call = repository.client().call(method, location);
    call.header("content-range", range)
        .header("content-type", "application/octet-stream")
        .body(bytes)
        .send()
}

fn status_path(location: &str) -> &str {
    location.split_once('?').expect("a state").0
}

/// O11, O16, O18, O19: chunks in their order, with the last one in the closing request.
#[test]
fn chunks_in_order_make_a_blob() {
    let registry = registry();
    let repository = registry.repository("chunks");
    let bytes = noise(1, 3000);
    let opened = registry
        .client()
        .post("/v2/chunks/blobs/uploads/")
        .expect_status(202);
    assert_eq!(opened.header("range"), Some("0-0"));
    assert_eq!(opened.header("content-length"), Some("0"));
    let id = opened.expect_header("docker-upload-uuid").to_owned();
    assert!(opened.location().contains(&id));
    let first = chunk(
        &repository,
        "PATCH",
        opened.location(),
        "0-999",
        &bytes[..1000],
    )
    .expect_status(202);
    assert_eq!(first.header("range"), Some("0-999"));
    assert_eq!(first.header("docker-upload-uuid"), Some(id.as_str()));
    let standing = registry
        .client()
        .get(status_path(first.location()))
        .expect_status(204);
    assert_eq!(standing.header("range"), Some("0-999"));
    let second = chunk(
        &repository,
        "PATCH",
        standing.location(),
        "1000-1999",
        &bytes[1000..2000],
    )
    .expect_status(202);
    let close = format!("{}&digest={}", second.location(), sha256(&bytes));
    chunk(&repository, "PUT", &close, "2000-2999", &bytes[2000..]).expect_status(201);
    assert!(repository.blob(&sha256(&bytes)).expect_status(200).body == bytes);
    is_refused(
        registry.client().get(status_path(first.location())),
        404,
        "BLOB_UPLOAD_UNKNOWN",
    );
}

/// O11: every session has an id of its own.
#[test]
fn sessions_are_told_apart() {
    let registry = registry();
    let ids: std::collections::BTreeSet<String> = (0..50)
        .map(|_| {
            registry
                .client()
                .post("/v2/ids/blobs/uploads/")
                .expect_header("docker-upload-uuid")
                .to_owned()
        })
        .collect();
    assert_eq!(ids.len(), 50);
}

/// O17, O18: a chunk out of its place is refused, told where the upload stands, and nothing is lost.
#[test]
fn a_chunk_out_of_place_is_416_and_the_upload_goes_on() {
    let registry = registry();
    let repository = registry.repository("order");
    let bytes = noise(1, 2000);
    let session = repository.open_upload();
    is_refused(
        chunk(&repository, "PATCH", &session, "1000-1999", &bytes[1000..]),
        416,
        "RANGE_INVALID",
    );
    let first = chunk(&repository, "PATCH", &session, "0-999", &bytes[..1000]).expect_status(202);
    for (range, length) in [
        ("0-999", 1000),
        ("500-1499", 1000),
        ("1001-2000", 1000),
        ("nonsense", 10),
    ] {
        let refused = is_refused(
            chunk(
                &repository,
                "PATCH",
                first.location(),
                range,
                &bytes[..length],
            ),
            416,
            "RANGE_INVALID",
        );
        assert_eq!(refused.header("range"), Some("0-999"), "{range}");
        let close = format!("{}&digest={}", first.location(), sha256(&bytes));
        let refused = is_refused(
            chunk(&repository, "PUT", &close, range, &bytes[..length]),
            416,
            "RANGE_INVALID",
        );
        assert_eq!(refused.header("range"), Some("0-999"), "{range}");
        let standing = registry
            .client()
            .get(status_path(refused.location()))
            .expect_status(204);
        assert_eq!(standing.header("range"), Some("0-999"));
    }
    // An old state is out of place as well.
    is_refused(repository.patch(&session, b"x"), 416, "RANGE_INVALID");
    let close = format!("{}&digest={}", first.location(), sha256(&bytes));
    chunk(&repository, "PUT", &close, "1000-1999", &bytes[1000..]).expect_status(201);
}

/// O16: a chunk of another length than it says is no chunk.
#[test]
fn a_chunk_must_be_as_long_as_it_says() {
    let registry = registry();
    let repository = registry.repository("length");
    let session = repository.open_upload();
    for range in ["0-8", "0-10", "0-0"] {
        is_refused(
            chunk(&repository, "PATCH", &session, range, &[0; 10]),
            400,
            "SIZE_INVALID",
        );
    }
    is_refused(
        chunk(&repository, "PATCH", &session, "0-9", b""),
        400,
        "SIZE_INVALID",
    );
    chunk(&repository, "PATCH", &session, "0-9", &[0; 10]).expect_status(202);
}

/// O19: closing with everything, with nothing left, and with nothing at all.
#[test]
fn a_session_is_closed_with_or_without_a_last_chunk() {
    let registry = registry();
    let repository = registry.repository("closing");
    for (chunks, last) in [
        (vec![], b"whole".as_slice()),
        (vec![b"all".as_slice()], b""),
        (vec![b"a", b"b"], b"c"),
        (vec![], b""),
    ] {
        let mut session = repository.open_upload();
        for chunk in &chunks {
            session = repository
                .patch(&session, chunk)
                .expect_status(202)
                .location()
                .to_owned();
        }
        let whole = [chunks.concat(), last.to_vec()].concat();
        let closed = repository
            .close_upload(&session, last, &sha256(&whole))
            .expect_status(201);
        assert_eq!(
            closed.header("docker-content-digest"),
            Some(sha256(&whole).to_string().as_str())
        );
        assert_eq!(
            registry
                .client()
                .get(closed.location())
                .expect_status(200)
                .body,
            whole
        );
    }
}

/// O20: cancelling, at any point of a session's life.
#[test]
fn a_session_that_was_cancelled_is_gone() {
    let registry = registry();
    let repository = registry.repository("cancel");
    let fresh = repository.open_upload();
    let moved = repository.open_upload();
    let moved = repository
        .patch(&moved, b"bytes")
        .expect_status(202)
        .location()
        .to_owned();
    for session in [fresh, moved] {
        let cancelled = registry.client().delete(&session).expect_status(204);
        assert!(cancelled.header("docker-upload-uuid").is_some());
        is_refused(
            registry.client().delete(&session),
            404,
            "BLOB_UPLOAD_UNKNOWN",
        );
        is_refused(
            registry.client().get(status_path(&session)),
            404,
            "BLOB_UPLOAD_UNKNOWN",
        );
        is_refused(repository.patch(&session, b"x"), 404, "BLOB_UPLOAD_UNKNOWN");
        is_refused(
            repository.close_upload(&session, b"x", &sha256(b"x")),
            404,
            "BLOB_UPLOAD_UNKNOWN",
        );
    }
}

/// A session belongs to its repository, and its state to the session.
#[test]
fn sessions_and_states_cannot_be_made_up_or_swapped() {
    let registry = registry();
    let repository = registry.repository("mine");
    let (one, two) = (repository.open_upload(), repository.open_upload());
    let elsewhere = one.replace("/v2/mine/", "/v2/theirs/");
    is_refused(
        repository.patch(&elsewhere, b"x"),
        404,
        "BLOB_UPLOAD_UNKNOWN",
    );
    let (path, _) = one.split_once('?').expect("a state");
    let (_, state) = two.split_once('?').expect("a state");
    is_refused(
        repository.patch(&format!("{path}?{state}"), b"x"),
        404,
        "BLOB_UPLOAD_INVALID",
    );
    for state in ["", "?_state=", "?_state=AAAA", "?_state=%00"] {
        is_refused(
            repository.patch(&format!("{path}{state}"), b"x"),
            404,
            "BLOB_UPLOAD_INVALID",
        );
    }
    for id in [
        "x",
        "00000000-0000-0000-0000-000000000000",
        "0192a8d0-1234-8abc-8def-0123456789ab",
        "..",
        "%2e%2e",
    ] {
        let answer = registry
            .client()
            .get(&format!("/v2/mine/blobs/uploads/{id}"));
        is_refused(answer, 404, "BLOB_UPLOAD_UNKNOWN");
    }
    repository
        .close_upload(&one, b"x", &sha256(b"x"))
        .expect_status(201);
}
