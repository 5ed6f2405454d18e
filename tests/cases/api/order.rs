//! Chunks that do not fit: out of their order, of another length, or with a range that is none.

use roadstead_tests::image::noise;

use super::chunks::{send, stands_at};
use super::steps::{has, refused, roadstead, session_of, sha256};

/// O17, O18: refused, told where the upload stands and how to go on, and nothing is lost.
#[test]
fn a_chunk_out_of_its_order_is_416_and_the_upload_goes_on() {
    let registry = roadstead();
    let repository = registry.repository("order");
    let bytes = noise(1, 2000);
    let digest = sha256(&bytes);
    let opened = repository.open_upload();
    let early = send(&repository, "PATCH", &opened, "1000-1999", &bytes[1000..]);
    let early = refused(early, 416, "RANGE_INVALID");
    has(&early, "range", "0-0");
    let first = send(
        &repository,
        "PATCH",
        early.location(),
        "0-999",
        &bytes[..1000],
    );
    let mut session = first.expect_status(202).location().to_owned();
    for range in ["0-999", "500-1499", "1001-2000", "2000-2999"] {
        for (method, more) in [
            ("PATCH", String::new()),
            ("PUT", format!("&digest={digest}")),
        ] {
            let target = format!("{session}{more}");
            let answer = send(&repository, method, &target, range, &bytes[1000..]);
            let answer = refused(answer, 416, "RANGE_INVALID");
            has(&answer, "range", "0-999");
            assert_eq!(session_of(answer.location()), session_of(&opened));
            answer.expect_header("docker-upload-uuid");
            stands_at(&repository, &opened, "0-999");
            answer.location().clone_into(&mut session);
        }
    }
    let close = format!("{session}&digest={digest}");
    let closed = send(&repository, "PUT", &close, "1000-1999", &bytes[1000..]);
    closed.expect_status(201);
    assert!(repository.blob(&digest).expect_status(200).body == bytes);
}

/// O17: a client that sends a chunk twice, without saying which it is, is found out by the state that it holds.
#[test]
fn a_state_that_is_behind_or_ahead_is_416() {
    let registry = roadstead();
    let repository = registry.repository("states");
    let opened = repository.open_upload();
    let first = repository.patch(&opened, b"first").expect_status(202);
    let digest = sha256(b"first");
    for answer in [
        repository.patch(&opened, b"first"),
        repository.close_upload(&opened, b"", &digest),
        repository.close_upload(&opened, b"first", &digest),
    ] {
        let answer = refused(answer, 416, "RANGE_INVALID");
        has(&answer, "range", "0-4");
        stands_at(&repository, &opened, "0-4");
    }
    let closed = repository.close_upload(first.location(), b"", &digest);
    closed.expect_status(201);
}

/// O16: bounds in digits with one dash between them, as the specification's expression has it.
#[test]
fn a_content_range_that_is_none_is_416() {
    let registry = roadstead();
    let repository = registry.repository("ranges");
    let session = repository.open_upload();
    for range in [
        "",
        "-",
        "0-",
        "-9",
        "9-0",
        "0 - 9",
        "0-9-",
        "0--9",
        "+0-9",
        "0x0-0x9",
        "a-j",
        "0-9,10-19",
        "0-18446744073709551616",
        "0-99999999999999999999999999999999",
        "bytes */10",
        "chapters 0-9",
    ] {
        let answer = send(&repository, "PATCH", &session, range, b"0123456789");
        let answer = refused(answer, 416, "RANGE_INVALID");
        has(&answer, "range", "0-0");
    }
    for range in ["0-9", "bytes 0-9/10", "bytes=0-9", "bytes 0-9/*"] {
        let session = repository.open_upload();
        let answer = send(&repository, "PATCH", &session, range, b"0123456789");
        has(&answer.expect_status(202), "range", "0-9");
    }
}

/// O16: a length that does not agree with the range is no chunk; nothing of it is kept.
#[test]
fn a_chunk_is_as_long_as_it_says() {
    let registry = roadstead();
    let repository = registry.repository("length");
    let session = repository.open_upload();
    let close = format!("{session}&digest={}", sha256(b"0123456789"));
    for range in ["0-8", "0-10", "0-0", "0-18446744073709551615"] {
        let answer = send(&repository, "PATCH", &session, range, b"0123456789");
        refused(answer, 400, "SIZE_INVALID");
        let answer = send(&repository, "PUT", &close, range, b"0123456789");
        refused(answer, 400, "SIZE_INVALID");
    }
    let answer = send(&repository, "PATCH", &session, "0-9", b"");
    refused(answer, 400, "SIZE_INVALID");
    stands_at(&repository, &session, "0-0");
    let closed = send(&repository, "PUT", &close, "0-9", b"0123456789");
    closed.expect_status(201);
}

/// O16: without a length the body itself is counted.
#[test]
fn a_streamed_chunk_is_as_long_as_it_says() {
    let registry = roadstead();
    let repository = registry.repository("streamed");
    let session = repository.open_upload();
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), noise(1, 5000)).expect("written");
    let body = file.path().display().to_string();
    let patch = |range: &str| {
        let range = format!("Content-Range: {range}");
        let chunked = "Transfer-Encoding: chunked";
        let args = [
            "-X", "PATCH", "-T", &body, "-H", chunked, "-H", &range, &session,
        ];
        roadstead_tests::tools::curl(&args).answer
    };
    for range in ["0-4998", "0-5000", "0-0"] {
        refused(patch(range), 400, "SIZE_INVALID");
        stands_at(&repository, &session, "0-0");
    }
    has(&patch("0-4999").expect_status(202), "range", "0-4999");
}
