//! Errors: each code with its status, and the document that carries it.

use roadstead_oci::Digest;
use roadstead_tests::{Answer, Registry};
use serde_json::json;

use super::steps::{
    LAYER, blob, descriptor, has, image, is_error, put, put_with, refused, roadstead, sha256,
};

/// The fourteen codes of the specification, and those that the reference has besides.
const SPECIFIED: [&str; 14] = [
    "BLOB_UNKNOWN",
    "BLOB_UPLOAD_INVALID",
    "BLOB_UPLOAD_UNKNOWN",
    "DENIED",
    "DIGEST_INVALID",
    "MANIFEST_BLOB_UNKNOWN",
    "MANIFEST_INVALID",
    "MANIFEST_UNKNOWN",
    "NAME_INVALID",
    "NAME_UNKNOWN",
    "SIZE_INVALID",
    "TOOMANYREQUESTS",
    "UNAUTHORIZED",
    "UNSUPPORTED",
];
const BESIDES: [&str; 4] = [
    "PAGINATION_NUMBER_INVALID",
    "RANGE_INVALID",
    "TAG_INVALID",
    "UNAVAILABLE",
];

fn refusals(registry: &Registry) -> Vec<(Answer, u16, &'static str)> {
    let repository = registry.repository("errors");
    let client = registry.client();
    let manifest = put(&repository, "tag");
    let absent = sha256(b"absent");
    let session = repository.open_upload();
    repository.patch(&session, b"x").expect_status(202);
    let other = repository.open_upload();
    let (address, _) = other.split_once('?').expect("a state");
    let sized = client.call("PATCH", &other).header("content-range", "0-9");
    let missing = image(
        &repository,
        &json!({"layers": [descriptor(LAYER, b"absent")]}),
    );
    let nonsense = roadstead_tests::Document::new(&manifest.media_type, "nonsense");
    vec![
        (repository.blob(&absent), 404, "BLOB_UNKNOWN"),
        (
            client.delete(&format!("{address}?_state=x")),
            404,
            "BLOB_UPLOAD_INVALID",
        ),
        (
            client.get(&repository.path("blobs/uploads/x")),
            404,
            "BLOB_UPLOAD_UNKNOWN",
        ),
        (
            repository.push_blob(b"sent", &absent),
            400,
            "DIGEST_INVALID",
        ),
        (
            client.get(&repository.path("blobs/x")),
            400,
            "DIGEST_INVALID",
        ),
        (
            repository.push_manifest("t", &missing),
            400,
            "MANIFEST_BLOB_UNKNOWN",
        ),
        (
            repository.push_manifest("t", &nonsense),
            400,
            "MANIFEST_INVALID",
        ),
        (repository.manifest("absent"), 404, "MANIFEST_UNKNOWN"),
        (client.get("/v2/NO/tags/list"), 400, "NAME_INVALID"),
        (client.get("/v2/no/tags/list"), 404, "NAME_UNKNOWN"),
        (
            client.get("/v2/_catalog?n=x"),
            400,
            "PAGINATION_NUMBER_INVALID",
        ),
        (repository.patch(&session, b"x"), 416, "RANGE_INVALID"),
        (sized.body("x").send(), 400, "SIZE_INVALID"),
        (repository.push_manifest(".", &manifest), 400, "TAG_INVALID"),
        (client.post("/v2/_catalog"), 405, "UNSUPPORTED"),
    ]
}

/// O37
#[test]
fn each_code_comes_with_its_status_and_a_document() {
    let registry = roadstead();
    for (answer, status, code) in refusals(&registry) {
        assert!(
            SPECIFIED.contains(&code) || BESIDES.contains(&code),
            "{code}"
        );
        let answer = refused(answer, status, code);
        assert!(answer.body.ends_with(b"}\n"), "{}", answer.text());
    }
}

/// O37: what went wrong, in words that help: the name, the digest, the place.
#[test]
fn details_say_what_it_was_about() {
    let registry = roadstead();
    let repository = registry.repository("details");
    let absent = sha256(b"absent");
    let detail = |answer: &Answer| answer.json()["errors"][0]["detail"].clone();
    let name = registry.client().get("/v2/un/known/tags/list");
    assert_eq!(detail(&name), json!({"name": "un/known"}));
    let name = registry.client().get("/v2/Up/tags/list");
    assert_eq!(detail(&name), json!({"name": "Up"}));
    let blob = repository.blob(&absent);
    assert!(detail(&blob).to_string().contains(&absent.to_string()));
    let pushed = repository.push_blob(b"sent", &absent);
    let text = detail(&pushed).to_string();
    assert!(text.contains(&sha256(b"sent").to_string()), "{text}");
    assert!(text.contains(&absent.to_string()), "{text}");
    let manifest = repository.manifest("absent");
    assert!(detail(&manifest).to_string().contains("absent"));
}

/// O37: `HEAD` is answered with the status and the length of what `GET` would say.
#[test]
fn a_refused_head_has_no_body() {
    let registry = roadstead();
    let repository = registry.repository("heads");
    for (rest, status) in [
        ("manifests/absent".to_owned(), 404),
        ("manifests/sha256:x".to_owned(), 400),
        (format!("blobs/{}", sha256(b"absent")), 404),
        ("blobs/x".to_owned(), 400),
        ("tags/list".to_owned(), 404),
        ("blobs/uploads/x".to_owned(), 404),
        ("referrers/x".to_owned(), 400),
    ] {
        let path = repository.path(&rest);
        let head = registry.client().head(&path).expect_status(status);
        assert!(head.body.is_empty(), "{rest}");
        has(&head, "content-type", "application/json");
        let get = registry.client().get(&path).expect_status(status);
        assert_eq!(head.header("content-length"), get.header("content-length"));
    }
}

fn data_of(registry: &Registry, digest: &Digest) -> std::path::PathBuf {
    let hex = digest.hex();
    let (shard, _) = hex.split_at(2);
    let below = format!("docker/registry/v2/blobs/sha256/{shard}/{hex}/data");
    registry.root().join(below)
}

/// O37, O38: a storage that fails is no fault of the client's: 503, to be tried again, not 404 and not 500.
#[test]
fn a_storage_that_fails_is_503() {
    let mut registry = roadstead();
    let repository = registry.repository("broken");
    let manifest = put(&repository, "tag");
    let digest = blob(&repository, b"blob");
    for digest in [&manifest.digest, &digest] {
        let data = data_of(&registry, digest);
        std::fs::remove_file(&data).expect("the content was there");
        std::os::unix::fs::symlink(&data, &data).expect("a link that leads to itself");
    }
    // It has the manifest in memory.
    registry.restart();
    let repository = registry.repository("broken");
    for answer in [repository.manifest("tag"), repository.blob(&digest)] {
        let answer = refused(answer, 503, "UNAVAILABLE");
        answer.expect_header("retry-after");
        assert!(!answer.text().contains("docker/registry"), "a path is told");
    }
    registry.client().get("/v2/").expect_status(200);
}

/// O37: content that is gone from the storage is not there.
#[test]
fn content_that_was_lost_is_404() {
    let mut registry = roadstead();
    let repository = registry.repository("lost");
    let manifest = put_with(&repository, "tag", &json!({"annotations": {"a": "b"}}));
    let digest = blob(&repository, b"blob");
    for digest in [&manifest.digest, &digest] {
        std::fs::remove_file(data_of(&registry, digest)).expect("the content was there");
    }
    // It has the manifest in memory.
    registry.restart();
    let repository = registry.repository("lost");
    refused(repository.manifest("tag"), 404, "MANIFEST_UNKNOWN");
    refused(repository.blob(&digest), 404, "BLOB_UNKNOWN");
    let again = put_with(&repository, "tag", &json!({"annotations": {"a": "b"}}));
    assert_eq!(again.digest, manifest.digest);
    repository.manifest("tag").expect_status(200);
    blob(&repository, b"blob");
    repository.blob(&digest).expect_status(200);
}

/// A link that was cut off half way counts as absent, and is mended by the next push.
#[test]
fn a_link_that_is_torn_is_404() {
    let registry = roadstead();
    let repository = registry.repository("torn");
    put(&repository, "tag");
    let link = "docker/registry/v2/repositories/torn/_manifests/tags/tag/current/link";
    let link = registry.root().join(link);
    for torn in [
        b"".as_slice(),
        b"sha256:",
        b"\xff\xfe",
        b"sha256:../../../etc",
    ] {
        std::fs::write(&link, torn).expect("written");
        refused(repository.manifest("tag"), 404, "MANIFEST_UNKNOWN");
        put(&repository, "tag");
        repository.manifest("tag").expect_status(200);
    }
    is_error(repository.manifest("other").expect_status(404));
}
