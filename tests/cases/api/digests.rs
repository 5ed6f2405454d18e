//! Both algorithms, wherever a digest stands.

use roadstead_oci::Digest;
use roadstead_tests::{Document, image::noise};
use serde_json::json;

use super::steps::{CONFIG, INDEX, MANIFEST, has, refused, roadstead, session_of, sha256, sha512};

fn blob(seed: u64) -> (Vec<u8>, Digest) {
    let bytes = noise(seed, 5000);
    let digest = sha512(&bytes);
    (bytes, digest)
}

/// O13, O14, O41
#[test]
fn a_blob_by_sha512_in_every_way_of_pushing() {
    let mut registry = roadstead();
    let repository = registry.repository("sha512");
    let client = registry.client();
    let (bytes, whole) = blob(1);
    let path = repository.path(&format!("blobs/uploads/?digest={whole}"));
    let pushed = client.call("POST", &path).body(bytes).send();
    has(
        &pushed.expect_status(201),
        "docker-content-digest",
        &whole.to_string(),
    );
    let (bytes, two) = blob(2);
    repository.push_blob(&bytes, &two).expect_status(201);
    // Said at the beginning, or only at the end.
    for (seed, query) in [
        (3, "?digest-algorithm=sha512"),
        (4, ""),
        (5, "?digest-algorithm=sha256"),
    ] {
        let (bytes, digest) = blob(seed);
        let path = repository.path(&format!("blobs/uploads/{query}"));
        let opened = client.post(&path).expect_status(202);
        let first = repository.patch(opened.location(), &bytes[..1000]);
        let second = repository.patch(first.location(), &bytes[1000..3000]);
        let rest = &bytes[3000..];
        let closed = repository.close_upload(second.location(), rest, &digest);
        closed.expect_status(201);
    }
    registry.restart();
    let repository = registry.repository("sha512");
    for seed in 1..=5 {
        let (bytes, digest) = blob(seed);
        let pulled = repository.blob(&digest).expect_status(200);
        has(&pulled, "docker-content-digest", &digest.to_string());
        has(&pulled, "etag", &format!("\"{digest}\""));
        assert!(pulled.body == bytes);
        refused(repository.blob(&sha256(&bytes)), 404, "BLOB_UNKNOWN");
    }
}

/// O14: an announced algorithm is not a promise: the digest at the end counts, of whichever algorithm.
#[test]
fn an_upload_that_announced_sha512_may_be_closed_with_sha256() {
    let registry = roadstead();
    let repository = registry.repository("announced");
    let path = repository.path("blobs/uploads/?digest-algorithm=sha512");
    let opened = registry.client().post(&path).expect_status(202);
    let first = repository.patch(opened.location(), b"first ");
    let asked = registry.client().get(session_of(first.location()));
    let digest = sha256(b"first last");
    let closed = repository.close_upload(asked.location(), b"last", &digest);
    closed.expect_status(201);
}

/// O10, O14
#[test]
fn an_algorithm_that_is_not_known_is_refused() {
    let registry = roadstead();
    for algorithm in ["md5", "sha384", "SHA512", "sha512 ", "sha512,sha256", "%00"] {
        let path = format!("/v2/unknown/blobs/uploads/?digest-algorithm={algorithm}");
        let opened = registry.client().post(&path.replace(' ', "%20"));
        refused(opened, 400, "DIGEST_INVALID");
    }
}

/// O10: one wrong byte, with either algorithm, wherever the hash was computed.
#[test]
fn content_of_another_sha512_is_refused() {
    let registry = roadstead();
    let repository = registry.repository("wrong");
    for query in ["?digest-algorithm=sha512", ""] {
        let path = repository.path(&format!("blobs/uploads/{query}"));
        let opened = registry.client().post(&path).expect_status(202);
        let first = repository.patch(opened.location(), b"firsT ");
        let digest = sha512(b"first last");
        let closed = repository.close_upload(first.location(), b"last", &digest);
        refused(closed, 400, "DIGEST_INVALID");
        refused(repository.blob(&digest), 404, "BLOB_UNKNOWN");
    }
}

/// O14, O21
#[test]
fn a_blob_by_sha512_is_mounted_and_deleted() {
    let registry = roadstead();
    let (bytes, digest) = blob(1);
    let from = registry.repository("from");
    from.push_blob(&bytes, &digest).expect_status(201);
    for (to, query) in [("named", "&from=from"), ("anywhere", "")] {
        let path = format!("/v2/{to}/blobs/uploads/?mount={digest}{query}");
        let mounted = registry.client().post(&path).expect_status(201);
        let pulled = registry.client().get(mounted.location());
        assert!(pulled.expect_status(200).body == bytes);
    }
    from.delete_blob(&digest).expect_status(202);
    refused(from.blob(&digest), 404, "BLOB_UNKNOWN");
    registry
        .repository("named")
        .blob(&digest)
        .expect_status(200);
}

/// O14, O22, O25, O41: the digest that the client chose is the one that it is told, under its tags as well.
#[test]
fn a_manifest_by_sha512_with_what_it_names_by_sha512() {
    let mut registry = roadstead();
    let repository = registry.repository("manifests");
    let (bytes, layer) = blob(1);
    repository.push_blob(&bytes, &layer).expect_status(201);
    let config = sha512(b"{}");
    repository.push_blob(b"{}", &config).expect_status(201);
    let named = |media_type: &str, digest: &Digest, size: usize| {
        let digest = digest.to_string();
        json!({"mediaType": media_type, "digest": digest, "size": size})
    };
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": named(CONFIG, &config, 2),
        "layers": [named("application/vnd.example.layer", &layer, bytes.len())],
    });
    let manifest = Document::new(MANIFEST, manifest.to_string());
    let digest = sha512(&manifest.bytes);
    let pushed = repository.push_manifest(&format!("{digest}?tag=long"), &manifest);
    let pushed = pushed.expect_status(201);
    has(&pushed, "docker-content-digest", &digest.to_string());
    has(&pushed, "oci-tag", "long");
    assert!(pushed.location().ends_with(&digest.to_string()));
    let children = [named(MANIFEST, &digest, manifest.bytes.len())];
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": children});
    let index = Document::new(INDEX, index.to_string());
    repository.push_manifest("index", &index).expect_status(201);
    registry.restart();
    let repository = registry.repository("manifests");
    for reference in ["long", &digest.to_string()] {
        let pulled = repository.manifest(reference).expect_status(200);
        assert_eq!(pulled.body, manifest.bytes);
        has(&pulled, "docker-content-digest", &digest.to_string());
        has(&pulled, "etag", &format!("\"{digest}\""));
    }
    let other = repository.manifest(&manifest.digest.to_string());
    refused(other, 404, "MANIFEST_UNKNOWN");
    let deleted = repository.delete_manifest(&digest.to_string());
    deleted.expect_status(202);
    refused(repository.manifest("long"), 404, "MANIFEST_UNKNOWN");
    assert_eq!(repository.tags(), ["index"]);
}

/// O14, O30: a subject by either algorithm, and a referrer that is known by sha512.
#[test]
fn referrers_of_a_sha512_subject() {
    let registry = roadstead();
    let repository = registry.repository("referrers");
    let subject = sha512(b"the subject");
    let fields =
        json!({"subject": {"mediaType": MANIFEST, "digest": subject.to_string(), "size": 11}});
    let referrer = super::steps::image(&repository, &fields);
    let digest = sha512(&referrer.bytes);
    let pushed = repository.push_manifest(&digest.to_string(), &referrer);
    has(
        &pushed.expect_status(201),
        "oci-subject",
        &subject.to_string(),
    );
    let listed = repository.referrers(&subject);
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0]["digest"], digest.to_string().as_str());
    assert!(repository.referrers(&sha256(b"the subject")).is_empty());
}
