//! Pulling: manifests and blobs as they were pushed, and what is answered for those that are not there.

use roadstead_tests::{Answer, Document, Family, Image, image::noise};
use serde_json::json;

use super::steps::{
    BYTES, INDEX, MANIFEST, blob, configured, has, image, put, refused, roadstead, sha256,
};

#[track_caller]
fn is_manifest(answer: &Answer, expected: &Document) {
    let digest = expected.digest.to_string();
    assert_eq!(answer.status, 200, "{}", answer.request);
    has(answer, "content-type", &expected.media_type);
    has(answer, "content-length", &expected.bytes.len().to_string());
    has(answer, "docker-content-digest", &digest);
    has(answer, "etag", &format!("\"{digest}\""));
}

/// O3, O4, O5, O7
#[test]
fn a_manifest_is_served_as_it_was_pushed_by_tag_and_by_digest() {
    let mut registry = roadstead();
    // Order, white space and numbers that a parser would write in another way.
    let plain = image(&registry.repository("exact"), &json!({"x": 0}));
    let text = String::from_utf8(plain.bytes).expect("text");
    let odd = text.replace("\"x\":0", "\"x\" : [1.50e0, \"\\u00e4\\/\", {}]\t");
    let manifest = Document::new(MANIFEST, format!("\n {odd}\r\n"));
    let push = |registry: &roadstead_tests::Registry| {
        registry
            .repository("exact")
            .push_manifest("odd", &manifest)
            .expect_status(201)
    };
    push(&registry);
    for _ in 0..2 {
        let repository = registry.repository("exact");
        for reference in ["odd", &manifest.digest.to_string()] {
            let pulled = repository.manifest(reference);
            is_manifest(&pulled, &manifest);
            assert_eq!(pulled.body, manifest.bytes);
            let path = repository.path(&format!("manifests/{reference}"));
            let head = registry.client().head(&path);
            is_manifest(&head, &manifest);
            assert!(head.body.is_empty());
        }
        registry.restart();
    }
}

/// O3, O4
#[test]
fn a_manifest_is_found_by_its_digest_only_in_repositories_that_have_it() {
    let registry = roadstead();
    let manifest = put(&registry.repository("has"), "tag");
    let digest = manifest.digest.to_string();
    registry
        .repository("has")
        .manifest(&digest)
        .expect_status(200);
    let elsewhere = registry.repository("has/not").manifest(&digest);
    refused(elsewhere, 404, "MANIFEST_UNKNOWN");
}

/// O3, O7: a tag, a digest and a repository that do not exist, and what cannot be a tag.
#[test]
fn a_manifest_that_is_not_there_is_404() {
    let registry = roadstead();
    put(&registry.repository("there"), "tag");
    let digest = sha256(b"absent").to_string();
    for name in ["there", "not/there"] {
        let repository = registry.repository(name);
        for reference in ["absent", "Tag", digest.as_str(), ".no-tag", "-", "a+b"] {
            refused(repository.manifest(reference), 404, "MANIFEST_UNKNOWN");
            let path = repository.path(&format!("manifests/{reference}"));
            let head = registry.client().head(&path).expect_status(404);
            assert!(head.body.is_empty());
        }
    }
}

/// O5: what a client accepts does not change what was pushed: it gets that, or could not have used it anyway.
#[test]
fn the_type_that_was_pushed_is_served_whatever_is_accepted() {
    let registry = roadstead();
    let repository = registry.repository("accept");
    let content = Image::new(1).layers(1).layer_size(100).build();
    repository.push("oci", &content);
    let docker = Image::new(1).family(Family::Docker).layers(1).layer_size(9);
    repository.push("docker", &docker.build());
    for accept in [
        "",
        "*/*",
        "application/*",
        "text/html",
        MANIFEST,
        INDEX,
        "application/vnd.docker.distribution.manifest.v1+json",
        "a/b;q=0, */*;q=0.1",
        ",,,;;;==",
    ] {
        for (tag, media_type) in [
            ("oci", MANIFEST),
            (
                "docker",
                "application/vnd.docker.distribution.manifest.v2+json",
            ),
        ] {
            let path = repository.path(&format!("manifests/{tag}"));
            let call = registry.client().call("GET", &path);
            let answer = call.header("accept", accept).send().expect_status(200);
            has(&answer, "content-type", media_type);
        }
    }
    let without = registry.client().get(&repository.path("manifests/oci"));
    has(&without.expect_status(200), "content-type", MANIFEST);
}

/// O4, O6, O7
#[test]
fn a_blob_is_served_as_it_was_pushed() {
    let mut registry = roadstead();
    let bytes = noise(1, 700_001);
    let digest = blob(&registry.repository("blobs"), &bytes);
    for _ in 0..2 {
        let path = format!("/v2/blobs/blobs/{digest}");
        for method in ["GET", "HEAD"] {
            let answer = registry.client().call(method, &path).send();
            let answer = answer.expect_status(200);
            has(&answer, "content-type", BYTES);
            has(&answer, "content-length", "700001");
            has(&answer, "docker-content-digest", &digest.to_string());
            has(&answer, "etag", &format!("\"{digest}\""));
            has(&answer, "cache-control", "max-age=31536000");
            has(&answer, "accept-ranges", "bytes");
            let expected = if method == "GET" {
                bytes.as_slice()
            } else {
                b""
            };
            assert!(answer.body == expected, "{method}");
        }
        registry.restart();
    }
}

/// O6, O7: also where the registry has the bytes, but the repository does not.
#[test]
fn a_blob_that_is_not_there_is_404() {
    let registry = roadstead();
    let digest = blob(&registry.repository("has"), b"blob");
    let absent = sha256(b"absent");
    for (name, digest) in [("has", &absent), ("other", &absent), ("other", &digest)] {
        let path = format!("/v2/{name}/blobs/{digest}");
        refused(registry.client().get(&path), 404, "BLOB_UNKNOWN");
        let head = registry.client().head(&path).expect_status(404);
        assert!(head.body.is_empty());
    }
}

/// O3: manifests are not blobs to be pulled, but an index may name what was pushed as a blob.
#[test]
fn a_manifest_is_no_blob_of_its_repository() {
    let registry = configured("");
    let repository = registry.repository("kinds");
    let manifest = put(&repository, "tag");
    refused(repository.blob(&manifest.digest), 404, "BLOB_UNKNOWN");
    let digest = blob(&repository, b"just bytes");
    let answer = repository.manifest(&digest.to_string());
    refused(answer, 404, "MANIFEST_UNKNOWN");
}
