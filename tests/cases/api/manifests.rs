//! Pushing a manifest: its bytes, its type, its digest, its size.

use roadstead_tests::{Document, image::noise};
use serde_json::json;

use super::steps::{
    INDEX, MANIFEST, blob, configured, has, has_no, image, index, put, refused, roadstead, sha256,
    sha512,
};
use crate::raw::Raw;

/// O22
#[test]
fn a_manifest_is_pushed_by_tag_and_by_digest() {
    let mut registry = roadstead();
    let repository = registry.repository("pushed");
    let manifest = image(&repository, &json!({}));
    let digest = manifest.digest.to_string();
    for reference in ["tag", &digest] {
        let pushed = repository.push_manifest(reference, &manifest);
        let pushed = pushed.expect_status(201);
        assert!(pushed.body.is_empty());
        has(&pushed, "content-length", "0");
        has(&pushed, "docker-content-digest", &digest);
        let place = repository.path(&format!("manifests/{digest}"));
        assert!(pushed.location().ends_with(&place));
        let pulled = registry.client().get(pushed.location());
        assert_eq!(pulled.expect_status(200).body, manifest.bytes);
        has_no(&pushed, "oci-subject");
        has_no(&pushed, "oci-tag");
    }
    registry.restart();
    let kept = registry.repository("pushed").manifest("tag");
    assert_eq!(kept.expect_status(200).body, manifest.bytes);
}

/// O22: one that is pushed by its digest has no tag.
#[test]
fn a_manifest_needs_no_tag() {
    let registry = roadstead();
    let repository = registry.repository("untagged");
    let manifest = image(&repository, &json!({}));
    let digest = manifest.digest.to_string();
    repository
        .push_manifest(&digest, &manifest)
        .expect_status(201);
    repository.manifest(&digest).expect_status(200);
    assert!(repository.tags().is_empty());
}

/// O22: a tag moves; what it stood for before stays, under its digest.
#[test]
fn a_tag_is_pushed_anew() {
    let registry = roadstead();
    let repository = registry.repository("moving");
    let old = put(&repository, "tag");
    let new = image(&repository, &json!({"annotations": {"version": "2"}}));
    repository.push_manifest("tag", &new).expect_status(201);
    let pulled = repository.manifest("tag").expect_status(200);
    assert_eq!(pulled.body, new.bytes);
    let pulled = repository.manifest(&old.digest.to_string());
    assert_eq!(pulled.expect_status(200).body, old.bytes);
    assert_eq!(repository.tags(), ["tag"]);
}

/// O10, O22
#[test]
fn a_manifest_under_a_digest_that_is_not_its_own_is_refused() {
    let registry = roadstead();
    let repository = registry.repository("wrong");
    let manifest = image(&repository, &json!({}));
    let (other, long) = (sha256(b"other").to_string(), sha512(b"other").to_string());
    for reference in [
        other.as_str(),
        long.as_str(),
        "sha256:nonsense",
        "sha256:",
        ":",
        "md5:d41d8cd98f00b204e9800998ecf8427e",
        &format!("sha256:{}", manifest.digest.hex().to_uppercase()),
    ] {
        let pushed = repository.push_manifest(reference, &manifest);
        refused(pushed, 400, "DIGEST_INVALID");
    }
    refused(repository.manifest(&other), 404, "MANIFEST_UNKNOWN");
    let unknown = registry.client().get(&repository.path("tags/list"));
    refused(unknown, 404, "NAME_UNKNOWN");
}

/// O5, O23
#[test]
fn parameters_of_the_content_type_are_dropped() {
    let registry = roadstead();
    let repository = registry.repository("parameters");
    let manifest = image(&repository, &json!({}));
    for (tag, parameters) in [
        ("a", "; charset=utf-8"),
        ("b", ";charset=\"utf-8\"; x=y"),
        ("c", " ;"),
        ("d", ""),
    ] {
        let media_type = format!("{MANIFEST}{parameters}");
        let sent = Document::new(&media_type, manifest.bytes.clone());
        repository.push_manifest(tag, &sent).expect_status(201);
        has(&repository.manifest(tag), "content-type", MANIFEST);
    }
}

/// O5: without a `Content-Type` the manifest says itself what it is; without a `mediaType` its fields do.
#[test]
fn a_manifest_that_is_declared_by_one_side_only_is_accepted() {
    let registry = roadstead();
    let repository = registry.repository("declared");
    let image = image(&repository, &json!({}));
    let index = index(&[], &json!({}));
    for (tag, document) in [("image", &image), ("index", &index)] {
        let path = repository.path(&format!("manifests/{tag}"));
        let call = registry.client().call("PUT", &path);
        call.body(document.bytes.clone()).send().expect_status(201);
        let pulled = repository.manifest(tag).expect_status(200);
        has(&pulled, "content-type", &document.media_type);
        let mut silent: serde_json::Value = serde_json::from_slice(&document.bytes).expect("JSON");
        silent.as_object_mut().expect("fields").remove("mediaType");
        let silent = Document::new(&document.media_type, silent.to_string());
        repository.push_manifest(tag, &silent).expect_status(201);
        let pulled = repository.manifest(tag).expect_status(200);
        has(&pulled, "content-type", &document.media_type);
        assert_eq!(pulled.body, silent.bytes);
    }
}

/// O5: a manifest that is another thing than was declared would be served as what it is not.
#[test]
fn a_manifest_must_be_what_it_is_declared_as() {
    let registry = roadstead();
    let repository = registry.repository("lies");
    let image = image(&repository, &json!({}));
    let index = index(&[], &json!({}));
    let docker = "application/vnd.docker.distribution.manifest.v2+json";
    for (media_type, document) in [
        (INDEX, &image),
        (docker, &image),
        (MANIFEST, &index),
        ("application/json", &image),
        ("text/plain", &image),
        ("application/octet-stream", &image),
        (
            "application/vnd.docker.distribution.manifest.v1+json",
            &image,
        ),
        ("nonsense", &image),
        (";;;", &index),
    ] {
        let lie = Document::new(media_type, document.bytes.clone());
        let pushed = repository.push_manifest("tag", &lie);
        if media_type == ";;;" {
            // Nothing is left of it without its parameters.
            pushed.expect_status(201);
        } else {
            refused(pushed, 400, "MANIFEST_INVALID");
        }
    }
}

/// A document of `size` bytes that is a manifest.
fn padded(manifest: &Document, size: usize) -> Document {
    let mut bytes = manifest.bytes.clone();
    bytes.resize(size, b' ');
    Document::new(MANIFEST, bytes)
}

const FOUR_MEBIBYTES: usize = 4 << 20;

/// O24
#[test]
fn a_manifest_of_four_mebibytes_is_accepted_and_a_larger_one_is_413() {
    let registry = roadstead();
    let repository = registry.repository("large");
    let manifest = image(&repository, &json!({}));
    let largest = padded(&manifest, FOUR_MEBIBYTES);
    repository
        .push_manifest("largest", &largest)
        .expect_status(201);
    let pulled = repository.manifest("largest").expect_status(200);
    assert!(pulled.body == largest.bytes);
    let larger = padded(&manifest, FOUR_MEBIBYTES + 1);
    let pushed = repository.push_manifest("larger", &larger);
    refused(pushed, 413, "MANIFEST_INVALID");
    refused(repository.manifest("larger"), 404, "MANIFEST_UNKNOWN");
    assert_eq!(repository.tags(), ["largest"]);
}

/// O24: nobody has to send it whole to be told, and nobody is believed who says that it is small.
#[test]
fn a_manifest_that_is_too_large_is_413_before_it_came() {
    let registry = roadstead();
    let head = |length: &str| {
        format!(
            "PUT /v2/large/manifests/tag HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{length}\r\n\r\n"
        )
    };
    let announced = head("Content-Length: 99999999999");
    let answer = Raw::to(&registry).say(announced.as_bytes()).answer();
    assert_eq!(answer.status, 413);
    let streamed = head("Transfer-Encoding: chunked");
    let bytes = noise(1, FOUR_MEBIBYTES + 1);
    let chunk = format!("{:x}\r\n", bytes.len());
    let answer = Raw::to(&registry)
        .say(streamed.as_bytes())
        .say(chunk.as_bytes())
        .say(&bytes)
        .say(b"\r\n0\r\n\r\n")
        .answer();
    assert_eq!(answer.status, 413);
    let text = String::from_utf8(answer.body).expect("text");
    assert!(text.contains("MANIFEST_INVALID"), "{text}");
}

/// O24: the operator decides.
#[test]
fn the_size_of_manifests_is_configured() {
    let registry = configured("limits: {manifestsize: 1000}");
    let repository = registry.repository("limit");
    let manifest = image(&repository, &json!({}));
    let small = padded(&manifest, 1000);
    repository.push_manifest("small", &small).expect_status(201);
    let large = padded(&manifest, 1001);
    let pushed = repository.push_manifest("large", &large);
    refused(pushed, 413, "MANIFEST_INVALID");
}

/// O22: the same bytes may be a manifest of many repositories, and a blob besides.
#[test]
fn one_manifest_in_many_repositories() {
    let registry = roadstead();
    for name in ["one", "two", "two/three"] {
        let repository = registry.repository(name);
        let manifest = put(&repository, "tag");
        blob(&repository, &manifest.bytes);
        repository.blob(&manifest.digest).expect_status(200);
        let pulled = repository.manifest(&manifest.digest.to_string());
        has(&pulled.expect_status(200), "content-type", MANIFEST);
    }
}
