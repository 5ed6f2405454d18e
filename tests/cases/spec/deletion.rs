//! Deleting manifests, tags and blobs.

use roadstead_tests::{Image, Options, Registry};

use super::{is_refused, push, registry, sha256};

/// O34, O41: a manifest that was deleted is gone at once, by its digest and by every tag.
#[test]
fn a_deleted_manifest_takes_its_tags_along() {
    let registry = registry();
    let repository = registry.repository("deletion");
    let (one, other) = (Image::new(1).build(), Image::new(2).build());
    repository.push("a", &one);
    repository.push("b", &one);
    repository.push("c", &other);
    let digest = one.root().digest.to_string();
    assert_eq!(
        repository.delete_manifest(&digest).expect_status(202).body,
        b""
    );
    for reference in [digest.as_str(), "a", "b"] {
        is_refused(repository.manifest(reference), 404, "MANIFEST_UNKNOWN");
        is_refused(
            repository.delete_manifest(reference),
            404,
            "MANIFEST_UNKNOWN",
        );
    }
    assert_eq!(repository.tags(), ["c"]);
    repository.assert_serves("c", &other);
    // Pushed again, it does not bring back tags that it had.
    repository.push("d", &one);
    assert_eq!(repository.tags(), ["c", "d"]);
}

/// O34: a tag goes alone.
#[test]
fn a_deleted_tag_leaves_the_manifest_and_its_other_tags() {
    let registry = registry();
    let repository = registry.repository("tags");
    let image = Image::new(1).build();
    repository.push("a", &image);
    repository.push("b", &image);
    repository.delete_manifest("a").expect_status(202);
    is_refused(repository.manifest("a"), 404, "MANIFEST_UNKNOWN");
    repository.assert_serves("b", &image);
    repository.assert_serves(&image.root().digest.to_string(), &image);
    repository.delete_manifest("b").expect_status(202);
    assert_eq!(repository.tags(), [""; 0], "a repository may have no tags");
    repository.assert_serves(&image.root().digest.to_string(), &image);
}

/// O34: a blob goes from its repository, and stays in others.
#[test]
fn a_deleted_blob_is_gone_from_its_repository() {
    let registry = registry();
    let digest = push(&registry.repository("one"), b"bytes");
    push(&registry.repository("two"), b"bytes");
    assert_eq!(
        registry
            .repository("one")
            .delete_blob(&digest)
            .expect_status(202)
            .header("content-length"),
        Some("0")
    );
    is_refused(
        registry.repository("one").blob(&digest),
        404,
        "BLOB_UNKNOWN",
    );
    is_refused(
        registry.repository("one").delete_blob(&digest),
        404,
        "BLOB_UNKNOWN",
    );
    registry.repository("two").blob(&digest).expect_status(200);
    push(&registry.repository("one"), b"bytes");
    registry.repository("one").blob(&digest).expect_status(200);
}

/// O34: what was never there.
#[test]
fn nothing_is_deleted_twice_or_from_nowhere() {
    let registry = registry();
    let nowhere = registry.repository("no/where");
    is_refused(nowhere.delete_manifest("tag"), 404, "MANIFEST_UNKNOWN");
    is_refused(
        nowhere.delete_manifest(&sha256(b"x").to_string()),
        404,
        "MANIFEST_UNKNOWN",
    );
    is_refused(nowhere.delete_blob(&sha256(b"x")), 404, "BLOB_UNKNOWN");
}

/// O34: where deletion is off, nothing goes.
#[test]
fn deletion_can_be_off() {
    let registry =
        Registry::roadstead(Options::default().env("REGISTRY_STORAGE_DELETE_ENABLED", "false"));
    let repository = registry.repository("kept");
    let image = Image::new(1).build();
    repository.push("tag", &image);
    is_refused(repository.delete_manifest("tag"), 405, "UNSUPPORTED");
    is_refused(
        repository.delete_manifest(&image.root().digest.to_string()),
        405,
        "UNSUPPORTED",
    );
    is_refused(
        repository.delete_blob(&image.blobs()[0].digest),
        405,
        "UNSUPPORTED",
    );
    repository.assert_serves("tag", &image);
}
