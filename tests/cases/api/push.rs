//! Pushing a blob in one request, or in two.

use roadstead_oci::Digest;
use roadstead_tests::{Answer, Repository, image::noise};

use super::steps::{blob, has, refused, roadstead, session_of, sha256};

/// `POST` with the blob in it.
#[track_caller]
fn post_whole(repository: &Repository, bytes: &[u8], digest: &str) -> Answer {
    let path = repository.path(&format!("blobs/uploads/?digest={digest}"));
    let call = repository.client().call("POST", &path);
    call.header("content-type", "application/octet-stream")
        .body(bytes)
        .send()
}

/// A blob that was made, and that can be pulled from where the answer says.
#[track_caller]
fn made(repository: &Repository, answer: &Answer, bytes: &[u8], digest: &Digest) {
    assert_eq!(answer.status, 201, "{}", answer.text());
    assert!(answer.body.is_empty());
    has(answer, "content-length", "0");
    has(answer, "docker-content-digest", &digest.to_string());
    let expected = repository.path(&format!("blobs/{digest}"));
    assert!(
        answer.location().ends_with(&expected),
        "{}",
        answer.location()
    );
    let pulled = repository
        .client()
        .get(answer.location())
        .expect_status(200);
    assert!(pulled.body == bytes);
}

/// O11: where the upload goes on, how far it is, and its id.
#[test]
fn an_upload_is_opened() {
    let registry = roadstead();
    let opened = registry.client().post("/v2/a/b/blobs/uploads/");
    let opened = opened.expect_status(202);
    assert!(opened.body.is_empty());
    has(&opened, "content-length", "0");
    has(&opened, "range", "0-0");
    let id = opened.expect_header("docker-upload-uuid");
    let session = session_of(opened.location());
    assert_eq!(
        session,
        format!("{}/v2/a/b/blobs/uploads/{id}", registry.url())
    );
}

/// O12, O19
#[test]
fn a_blob_is_pushed_in_two_requests() {
    let registry = roadstead();
    let repository = registry.repository("two");
    for size in [1, 100, 700_001] {
        let bytes = noise(1, size);
        let digest = sha256(&bytes);
        let session = repository.open_upload();
        let answer = repository.close_upload(&session, &bytes, &digest);
        made(&repository, &answer, &bytes, &digest);
        let over = registry.client().get(session_of(&session));
        refused(over, 404, "BLOB_UPLOAD_UNKNOWN");
    }
}

/// O13
#[test]
fn a_blob_is_pushed_in_one_request() {
    let mut registry = roadstead();
    let bytes = noise(1, 700_001);
    let digest = sha256(&bytes);
    let repository = registry.repository("one/request");
    let answer = post_whole(&repository, &bytes, &digest.to_string());
    made(&repository, &answer, &bytes, &digest);
    let encoded = digest.to_string().replace(':', "%3A");
    let again = post_whole(&repository, &bytes, &encoded);
    made(&repository, &again, &bytes, &digest);
    registry.restart();
    let kept = registry.repository("one/request").blob(&digest);
    assert!(kept.expect_status(200).body == bytes);
}

/// O12, O13, O42
#[test]
fn the_empty_blob_is_a_blob() {
    let registry = roadstead();
    let repository = registry.repository("empty");
    let digest = sha256(b"");
    let two = repository.push_blob(b"", &digest);
    made(&repository, &two, b"", &digest);
    let repository = registry.repository("empty/one");
    let one = post_whole(&repository, b"", &digest.to_string());
    made(&repository, &one, b"", &digest);
    has(&repository.blob(&digest), "content-length", "0");
}

/// O10, O12: the content decides. A session with other content than was said is over.
#[test]
fn content_of_another_digest_is_refused_and_nothing_is_stored() {
    let registry = roadstead();
    let repository = registry.repository("other");
    let said = sha256(b"said");
    let whole = post_whole(&repository, b"sent", &said.to_string());
    refused(whole, 400, "DIGEST_INVALID");
    let session = repository.open_upload();
    let closed = repository.close_upload(&session, b"sent", &said);
    refused(closed, 400, "DIGEST_INVALID");
    let again = repository.close_upload(&session, b"said", &said);
    refused(again, 404, "BLOB_UPLOAD_UNKNOWN");
    for digest in [&said, &sha256(b"sent")] {
        refused(repository.blob(digest), 404, "BLOB_UNKNOWN");
    }
}

/// O10: what is no digest of a known algorithm is refused before a byte is stored, and the session goes on.
#[test]
fn a_digest_that_is_none_is_refused_and_the_session_can_still_be_closed() {
    let registry = roadstead();
    let repository = registry.repository("none");
    let session = repository.open_upload();
    let session = repository.patch(&session, b"first").expect_status(202);
    let hex = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    for digest in [
        "",
        "sha256",
        "sha256:",
        hex,
        "md5:d41d8cd98f00b204e9800998ecf8427e",
        &format!("sha384:{}", "e".repeat(96)),
        &format!("sha256+b64:{hex}"),
        &format!("SHA256:{hex}"),
        &format!("sha256:{}", hex.to_uppercase()),
        &format!("sha256:{hex}0"),
        &format!("sha512:{hex}"),
    ] {
        let path = format!("{}&digest={digest}", session.location());
        let closed = registry.client().call("PUT", &path).body("more").send();
        refused(closed, 400, "DIGEST_INVALID");
        let whole = post_whole(&repository, b"first", digest);
        refused(whole, 400, "DIGEST_INVALID");
    }
    let without = registry.client().call("PUT", session.location()).send();
    refused(without, 400, "DIGEST_INVALID");
    let digest = sha256(b"first");
    let closed = repository.close_upload(session.location(), b"", &digest);
    made(&repository, &closed, b"first", &digest);
}

/// O12: a blob that is there already is pushed again like any other.
#[test]
fn a_blob_is_pushed_twice() {
    let registry = roadstead();
    let repository = registry.repository("twice");
    for _ in 0..2 {
        let answer = repository.push_blob(b"again", &sha256(b"again"));
        made(&repository, &answer, b"again", &sha256(b"again"));
    }
}

/// A client that did not hear the answer asks again, and hears it; it cannot make the session into another blob.
#[test]
fn closing_is_answered_again_for_the_same_digest_alone() {
    let registry = roadstead();
    let repository = registry.repository("retry");
    let session = repository.open_upload();
    let digest = sha256(b"blob");
    for _ in 0..3 {
        let closed = repository.close_upload(&session, b"blob", &digest);
        made(&repository, &closed, b"blob", &digest);
    }
    let other = repository.close_upload(&session, b"other", &sha256(b"other"));
    refused(other, 404, "BLOB_UPLOAD_UNKNOWN");
}

/// Clients that read the bytes from a pipe do not know how many there are.
#[test]
fn a_body_needs_no_length() {
    let registry = roadstead();
    let repository = registry.repository("streamed");
    let file = tempfile::NamedTempFile::new().expect("a file");
    let bytes = noise(1, 300_000);
    std::fs::write(file.path(), &bytes).expect("written");
    let path = file.path().display().to_string();
    let digest = sha256(&bytes);
    let url = format!(
        "{}{}?digest={digest}",
        registry.url(),
        repository.path("blobs/uploads")
    );
    let chunked = "Transfer-Encoding: chunked";
    let sent = roadstead_tests::tools::curl(&["-X", "POST", "-T", &path, "-H", chunked, &url]);
    made(&repository, &sent.answer, &bytes, &digest);
}

/// Repositories are made by pushing to them, at any depth; what was pushed to one is not in the others.
#[test]
fn repositories_do_not_mix() {
    let registry = roadstead();
    for name in ["a", "a/b", "a/b/c", "a-b", "a.b/c__d/e--f"] {
        let repository = registry.repository(name);
        let digest = blob(&repository, name.as_bytes());
        repository.blob(&digest).expect_status(200);
        let elsewhere = registry.repository("x").blob(&digest);
        refused(elsewhere, 404, "BLOB_UNKNOWN");
    }
}
