//! The reference's own collector, run on a directory that Roadstead wrote and left.

use std::path::Path;

use roadstead_oci::Digest;
use roadstead_tests::{Image, Options, Registry, Run, scratch};

use super::stock::Stock;

#[test]
fn the_references_collector_keeps_what_is_tagged() {
    let root = scratch();
    let mut registry = Registry::under_test(Options::default().root(root.path()));
    let mut stock = Stock::new(5_000);
    stock.push(&registry);
    let repository = registry.repository("collected");
    let (kept, deleted) = (Image::new(5_100).build(), Image::new(5_101).build());
    repository.push("kept", &kept);
    repository.push("deleted", &deleted);
    let digest = deleted.root().digest.to_string();
    repository.delete_manifest(&digest).expect_status(202);
    stock.add("collected", "kept", kept);
    super::leave(&mut registry);
    for document in deleted.documents() {
        assert!(
            data(root.path(), &document.digest),
            "{} before",
            document.digest
        );
    }

    Run::new("docker-registry")
        .arg("garbage-collect")
        .arg(registry.config())
        .ok();
    for document in deleted.documents() {
        assert!(
            !data(root.path(), &document.digest),
            "{} after",
            document.digest
        );
    }

    let mut reference = Registry::reference(root.path());
    stock.assert_served_by(&reference);
    reference.stop();
    registry.restart();
    stock.assert_served_by(&registry);

    // What was collected can be pushed again.
    registry.repository("collected").push("deleted", &deleted);
    stock.add("collected", "deleted", deleted);
    stock.assert_served_by(&registry);
}

/// Whether the bytes of `digest` are in the store.
fn data(root: &Path, digest: &Digest) -> bool {
    let hex = digest.hex();
    let first: String = hex.chars().take(2).collect();
    root.join("docker/registry/v2/blobs/sha256")
        .join(first)
        .join(hex)
        .join("data")
        .is_file()
}
