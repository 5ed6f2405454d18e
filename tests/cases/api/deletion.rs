//! Deleting tags, manifests and blobs.

use roadstead_tests::{Options, Registry, Repository};
use serde_json::json;

use super::steps::{blob, has, image, index, put, put_with, refused, roadstead, sha256};

#[track_caller]
fn no_manifest(repository: &Repository, reference: &str) {
    refused(repository.manifest(reference), 404, "MANIFEST_UNKNOWN");
    let path = repository.path(&format!("manifests/{reference}"));
    repository.client().head(&path).expect_status(404);
}

/// O34, O41: the tag goes; its manifest and the other tags on it stay.
#[test]
fn a_tag_is_deleted() {
    let mut registry = roadstead();
    let repository = registry.repository("tags");
    let manifest = put(&repository, "one");
    put(&repository, "two");
    let answer = repository.delete_manifest("one").expect_status(202);
    assert!(answer.body.is_empty());
    for _ in 0..2 {
        let repository = registry.repository("tags");
        no_manifest(&repository, "one");
        assert_eq!(repository.tags(), ["two"]);
        for reference in ["two", &manifest.digest.to_string()] {
            repository.manifest(reference).expect_status(200);
        }
        let again = repository.delete_manifest("one");
        refused(again, 404, "MANIFEST_UNKNOWN");
        registry.restart();
    }
}

/// O34, O41: all its tags go with it; others stay, and so does what it names.
#[test]
fn a_manifest_is_deleted_with_its_tags() {
    let mut registry = roadstead();
    let repository = registry.repository("manifests");
    let gone = put(&repository, "a");
    let digest = gone.digest.to_string();
    for tag in ["b", "d", "z"] {
        put(&repository, tag);
    }
    let kept = put_with(&repository, "c", &json!({"annotations": {"is": "kept"}}));
    // One that pointed there once, and moved on.
    put(&repository, "moved");
    put_with(
        &repository,
        "moved",
        &json!({"annotations": {"is": "kept"}}),
    );
    repository.delete_manifest(&digest).expect_status(202);
    for _ in 0..2 {
        let repository = registry.repository("manifests");
        for reference in ["a", "b", "d", "z", &digest] {
            no_manifest(&repository, reference);
        }
        assert_eq!(repository.tags(), ["c", "moved"]);
        let pulled = repository.manifest("moved").expect_status(200);
        assert_eq!(pulled.body, kept.bytes);
        repository.blob(&sha256(b"{}")).expect_status(200);
        let again = repository.delete_manifest(&digest);
        refused(again, 404, "MANIFEST_UNKNOWN");
        registry.restart();
    }
}

/// O34: by any tag of the digest, also by one that a registry left behind which was cut off half way.
#[test]
fn a_tag_that_was_left_behind_leads_nowhere() {
    let registry = roadstead();
    let repository = registry.repository("left");
    let manifest = put(&repository, "tag");
    let revisions = "docker/registry/v2/repositories/left/_manifests/revisions/sha256";
    let revision = registry.root().join(revisions).join(manifest.digest.hex());
    std::fs::remove_dir_all(revision).expect("the manifest's link was there");
    no_manifest(&repository, "tag");
    no_manifest(&repository, &manifest.digest.to_string());
    repository.delete_manifest("tag").expect_status(202);
    assert!(repository.tags().is_empty());
    put(&repository, "tag");
    repository.manifest("tag").expect_status(200);
}

/// O34: it is deleted from one repository; another that has it keeps it.
#[test]
fn deletion_is_a_repositorys_own() {
    let registry = roadstead();
    let (one, two) = (registry.repository("one"), registry.repository("two"));
    let manifest = put(&one, "tag");
    put(&two, "tag");
    let config = sha256(b"{}");
    let digest = manifest.digest.to_string();
    one.delete_manifest(&digest).expect_status(202);
    one.delete_blob(&config).expect_status(202);
    no_manifest(&one, "tag");
    refused(one.blob(&config), 404, "BLOB_UNKNOWN");
    two.manifest("tag").expect_status(200);
    two.blob(&config).expect_status(200);
}

/// O34, O41
#[test]
fn a_blob_is_deleted() {
    let mut registry = roadstead();
    let repository = registry.repository("blobs");
    let digest = blob(&repository, b"blob");
    let answer = repository.delete_blob(&digest).expect_status(202);
    has(&answer, "content-length", "0");
    for _ in 0..2 {
        let repository = registry.repository("blobs");
        refused(repository.blob(&digest), 404, "BLOB_UNKNOWN");
        let path = repository.path(&format!("blobs/{digest}"));
        registry.client().head(&path).expect_status(404);
        refused(repository.delete_blob(&digest), 404, "BLOB_UNKNOWN");
        registry.restart();
    }
    let repository = registry.repository("blobs");
    blob(&repository, b"blob");
    repository.blob(&digest).expect_status(200);
}

/// O34: what was deleted can be pushed again, and is whole.
#[test]
fn what_was_deleted_is_pushed_again() {
    let registry = roadstead();
    let repository = registry.repository("again");
    for _ in 0..3 {
        let manifest = put(&repository, "tag");
        let digest = manifest.digest.to_string();
        assert_eq!(repository.tags(), ["tag"]);
        repository.delete_manifest(&digest).expect_status(202);
        repository.delete_blob(&sha256(b"{}")).expect_status(202);
        // Without its config it cannot come back.
        let pushed = repository.push_manifest("tag", &manifest);
        refused(pushed, 400, "MANIFEST_BLOB_UNKNOWN");
        assert!(repository.tags().is_empty());
    }
}

/// O34: an index goes without its children, a child without its index.
#[test]
fn an_index_and_its_children_are_deleted_one_by_one() {
    let registry = roadstead();
    let repository = registry.repository("index");
    let child = put(&repository, "child");
    let parent = index(&[child.descriptor()], &json!({}));
    repository
        .push_manifest("parent", &parent)
        .expect_status(201);
    let digest = child.digest.to_string();
    repository.delete_manifest(&digest).expect_status(202);
    let pulled = repository.manifest("parent").expect_status(200);
    assert_eq!(pulled.body, parent.bytes);
    put(&repository, "child");
    let digest = parent.digest.to_string();
    repository.delete_manifest(&digest).expect_status(202);
    repository.manifest("child").expect_status(200);
    assert_eq!(repository.tags(), ["child"]);
}

/// O34
#[test]
fn what_is_not_there_cannot_be_deleted() {
    let registry = roadstead();
    put(&registry.repository("there"), "tag");
    let absent = sha256(b"absent");
    for name in ["there", "not/there"] {
        let repository = registry.repository(name);
        for reference in ["absent", &absent.to_string()] {
            let deleted = repository.delete_manifest(reference);
            refused(deleted, 404, "MANIFEST_UNKNOWN");
        }
        refused(repository.delete_blob(&absent), 404, "BLOB_UNKNOWN");
    }
    let repository = registry.repository("there");
    let answer = repository.delete_manifest("sha256:nonsense");
    refused(answer, 400, "DIGEST_INVALID");
    let answer = registry.client().delete("/v2/there/blobs/nonsense");
    refused(answer, 400, "DIGEST_INVALID");
    repository.manifest("tag").expect_status(200);
}

/// O34: whoever does not say that things may be deleted keeps them; uploads can be cancelled all the same.
#[test]
fn deletion_that_is_off_is_405_and_deletes_nothing() {
    let variable = "REGISTRY_STORAGE_DELETE_ENABLED";
    let registry = Registry::roadstead(Options::default().env(variable, "false"));
    let repository = registry.repository("kept");
    let manifest = put(&repository, "tag");
    let config = sha256(b"{}");
    let digest = manifest.digest.to_string();
    for answer in [
        repository.delete_manifest("tag"),
        repository.delete_manifest(&digest),
        repository.delete_manifest("absent"),
        repository.delete_blob(&config),
        repository.delete_blob(&sha256(b"absent")),
    ] {
        refused(answer, 405, "UNSUPPORTED");
    }
    for reference in ["tag", &digest] {
        repository.manifest(reference).expect_status(200);
    }
    repository.blob(&config).expect_status(200);
    let session = repository.open_upload();
    registry.client().delete(&session).expect_status(204);
}

/// O34, O41: nobody who is told 202 sees it again, though many delete and push beside it.
#[test]
fn a_deletion_is_seen_at_once_among_many() {
    let registry = roadstead();
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let repository = registry.repository("busy");
            scope.spawn(move || {
                for round in 0..25 {
                    let tag = format!("w{worker}r{round}");
                    let fields = json!({"annotations": {"tag": tag}});
                    let manifest = image(&repository, &fields);
                    repository.push_manifest(&tag, &manifest).expect_status(201);
                    let digest = manifest.digest.to_string();
                    repository.delete_manifest(&digest).expect_status(202);
                    no_manifest(&repository, &tag);
                    no_manifest(&repository, &digest);
                    assert!(!repository.tags().contains(&tag));
                }
            });
        }
    });
    assert!(registry.repository("busy").tags().is_empty());
}
