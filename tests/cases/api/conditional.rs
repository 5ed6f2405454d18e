//! Parts of blobs, and requests with conditions (RFC 9110, sections 13 and 14).

use roadstead_tests::{Answer, Registry, image::noise};

use super::steps::{blob, has, has_no, put, refused, roadstead, sha256};

fn get(registry: &Registry, path: &str, headers: &[(&str, &str)]) -> Answer {
    let call = registry.client().call("GET", path);
    let call = headers
        .iter()
        .fold(call, |call, (name, value)| call.header(name, value));
    call.send()
}

/// O6
#[test]
fn a_part_of_a_blob_is_206() {
    let registry = roadstead();
    let bytes = noise(1, 1000);
    let digest = blob(&registry.repository("parts"), &bytes);
    let path = format!("/v2/parts/blobs/{digest}");
    for (range, first, last) in [
        ("bytes=0-0", 0, 0),
        ("bytes=0-999", 0, 999),
        ("bytes=10-19", 10, 19),
        ("bytes=990-", 990, 999),
        ("bytes=999-", 999, 999),
        ("bytes=-1", 999, 999),
        ("bytes=-5", 995, 999),
        ("bytes=-5000", 0, 999),
        ("bytes=500-18446744073709551615", 500, 999),
        ("bytes=0-999999", 0, 999),
    ] {
        let answer = get(&registry, &path, &[("range", range)]).expect_status(206);
        assert!(answer.body == bytes[first..=last], "{range}");
        has(
            &answer,
            "content-range",
            &format!("bytes {first}-{last}/1000"),
        );
        has(&answer, "content-length", &(last - first + 1).to_string());
        has(&answer, "docker-content-digest", &digest.to_string());
        has(&answer, "etag", &format!("\"{digest}\""));
        has(&answer, "accept-ranges", "bytes");
    }
}

/// O6
#[test]
fn a_part_that_is_not_there_is_416_with_the_size() {
    let registry = roadstead();
    let repository = registry.repository("outside");
    let some = blob(&repository, &[7; 1000]);
    let empty = blob(&repository, b"");
    for range in [
        "bytes=1000-",
        "bytes=-0",
        "bytes=5-2",
        "bytes=x-y",
        "bytes=",
        "bytes=-",
        "bytes=18446744073709551616-",
    ] {
        let path = repository.path(&format!("blobs/{some}"));
        let answer = get(&registry, &path, &[("range", range)]);
        let answer = refused(answer, 416, "RANGE_INVALID");
        has(&answer, "content-range", "bytes */1000");
    }
    for range in ["bytes=0-", "bytes=0-0", "bytes=-1"] {
        let path = repository.path(&format!("blobs/{empty}"));
        let answer = get(&registry, &path, &[("range", range)]);
        let answer = refused(answer, 416, "RANGE_INVALID");
        has(&answer, "content-range", "bytes */0");
    }
}

/// O6: several parts, and units that are none of ours, are no reason to fail: the whole is an answer.
#[test]
fn what_is_not_one_part_in_bytes_is_served_whole() {
    let registry = roadstead();
    let bytes = noise(1, 1000);
    let digest = blob(&registry.repository("whole"), &bytes);
    let path = format!("/v2/whole/blobs/{digest}");
    for range in ["bytes=0-1,5-6", "chapters=1-2", "0-5", "nonsense", ""] {
        let answer = get(&registry, &path, &[("range", range)]).expect_status(200);
        assert!(answer.body == bytes, "{range}");
        has_no(&answer, "content-range");
    }
    let call = registry.client().call("HEAD", &path);
    let head = call.header("range", "bytes=0-1").send().expect_status(200);
    has(&head, "content-length", "1000");
}

/// O6: a client that went away in the middle takes the rest, if it is the rest of the same.
#[test]
fn a_part_is_served_if_the_client_holds_the_rest_of_the_same() {
    let registry = roadstead();
    let bytes = noise(1, 1000);
    let digest = blob(&registry.repository("rest"), &bytes);
    let path = format!("/v2/rest/blobs/{digest}");
    let (same, other) = (format!("\"{digest}\""), format!("\"{}\"", sha256(b"x")));
    let weak = format!("W/{same}");
    for (held, status) in [
        (same.as_str(), 206),
        (other.as_str(), 200),
        (weak.as_str(), 200),
        ("Sat, 29 Oct 1994 19:43:31 GMT", 200),
        ("nonsense", 200),
    ] {
        let headers = [("range", "bytes=100-"), ("if-range", held)];
        let answer = get(&registry, &path, &headers).expect_status(status);
        let expected = if status == 206 { &bytes[100..] } else { &bytes };
        assert!(answer.body == expected, "{held}");
        // A part that cannot be had counts for those alone who hold the same.
        let headers = [("range", "bytes=1000-"), ("if-range", held)];
        let status = if status == 206 { 416 } else { 200 };
        get(&registry, &path, &headers).expect_status(status);
    }
}

/// O3, O6: whoever has it already is not sent it again.
#[test]
fn what_a_client_holds_is_304() {
    let registry = roadstead();
    let repository = registry.repository("held");
    let manifest = put(&repository, "tag").digest;
    let blob = blob(&repository, b"blob");
    for (path, digest) in [
        ("manifests/tag".to_owned(), &manifest),
        (format!("manifests/{manifest}"), &manifest),
        (format!("blobs/{blob}"), &blob),
    ] {
        let path = repository.path(&path);
        let (quoted, other) = (format!("\"{digest}\""), format!("\"{}\"", sha256(b"x")));
        let listed = format!("{other}, W/{quoted}");
        for held in [quoted.as_str(), &digest.to_string(), &listed, "*"] {
            for method in ["GET", "HEAD"] {
                let call = registry.client().call(method, &path);
                let answer = call.header("if-none-match", held).send();
                let answer = answer.expect_status(304);
                assert!(answer.body.is_empty());
                has(&answer, "etag", &quoted);
                has(&answer, "docker-content-digest", &digest.to_string());
            }
        }
        for held in [other.as_str(), "", ",,\"", "\"\"", digest.hex()] {
            get(&registry, &path, &[("if-none-match", held)]).expect_status(200);
        }
    }
    let absent = repository.path("manifests/absent");
    get(&registry, &absent, &[("if-none-match", "*")]).expect_status(404);
}

/// O6: a client that holds the whole wants no part of it.
#[test]
fn a_held_blob_is_304_also_where_a_part_is_asked_for() {
    let registry = roadstead();
    let digest = blob(&registry.repository("both"), b"blob");
    let path = format!("/v2/both/blobs/{digest}");
    let etag = format!("\"{digest}\"");
    let headers = [("range", "bytes=0-1"), ("if-none-match", etag.as_str())];
    get(&registry, &path, &headers).expect_status(304);
}

/// A tag that moved is another content.
#[test]
fn a_tag_that_moved_is_sent_again() {
    let registry = roadstead();
    let repository = registry.repository("moved");
    let before = put(&repository, "tag").digest;
    let fields = serde_json::json!({"annotations": {"version": "2"}});
    let after = super::steps::put_with(&repository, "tag", &fields);
    let path = repository.path("manifests/tag");
    let held = format!("\"{before}\"");
    let answer = get(&registry, &path, &[("if-none-match", &held)]);
    assert_eq!(answer.expect_status(200).body, after.bytes);
}
