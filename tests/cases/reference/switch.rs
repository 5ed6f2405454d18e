//! An operator switches over; an operator switches back; and both again. Nothing is converted.

use roadstead_tests::{Image, Kind, Options, Registry, scratch};

use super::stock::Stock;

fn serve(root: &std::path::Path) -> Registry {
    Registry::under_test(Options::default().root(root))
}

#[test]
fn what_roadstead_wrote_the_reference_serves() {
    let root = scratch();
    let mut registry = serve(root.path());
    if registry.kind() == Kind::Reference {
        return; // Version 2 deletes no tags.
    }
    let mut stock = Stock::new(1_000);
    stock.push(&registry);

    // A tag moved from one image to another; a session left open.
    let moved = Image::new(1_100).build();
    registry.repository("library").push("latest", &moved);
    stock.add("library", "latest", moved);
    let unfinished = registry.repository("library");
    let session = unfinished.open_upload();
    unfinished
        .patch(&session, b"half a blob")
        .expect_status(202);

    // A tag deleted, with its manifest left; a manifest deleted, with its tags; a blob deleted.
    let gone = registry.repository("gone");
    let (untagged, deleted) = (Image::new(1_101).build(), Image::new(1_102).build());
    gone.push("kept", &untagged);
    gone.push("untagged", &untagged);
    for tag in ["deleted", "also-deleted"] {
        gone.push(tag, &deleted);
    }
    gone.delete_manifest("untagged").expect_status(202);
    let digest = deleted.root().digest.to_string();
    gone.delete_manifest(&digest).expect_status(202);
    let blob = &deleted.blobs()[1];
    gone.delete_blob(&blob.digest).expect_status(202);
    stock.add("gone", "kept", untagged);
    super::leave(&mut registry);

    let reference = Registry::reference(root.path());
    stock.assert_served_by(&reference);
    let gone = reference.repository("gone");
    for reference in ["untagged", "deleted", "also-deleted", &digest] {
        gone.manifest(reference).expect_status(404);
    }
    gone.blob(&blob.digest).expect_status(404);
}

#[test]
fn what_the_reference_wrote_roadstead_serves() {
    let root = scratch();
    let mut reference = Registry::reference(root.path());
    let mut stock = Stock::new(2_000);
    stock.push(&reference);
    let gone = reference.repository("gone");
    let (kept, deleted) = (Image::new(2_101).build(), Image::new(2_102).build());
    gone.push("kept", &kept);
    gone.push("deleted", &deleted);
    let digest = deleted.root().digest.to_string();
    gone.delete_manifest(&digest).expect_status(202);
    let blob = &deleted.blobs()[1];
    gone.delete_blob(&blob.digest).expect_status(202);
    stock.add("gone", "kept", kept);
    let session = gone.open_upload();
    gone.patch(&session, b"half a blob").expect_status(202);
    reference.stop();

    let registry = serve(root.path());
    stock.assert_served_by(&registry);
    stock.assert_referrers_are_found(&registry);
    let gone = registry.repository("gone");
    for reference in ["deleted", &digest] {
        gone.manifest(reference).expect_status(404);
    }
    gone.blob(&blob.digest).expect_status(404);
}

#[test]
fn both_take_turns_on_one_directory() {
    let root = scratch();
    let mut reference = Registry::reference(root.path());
    let mut stock = Stock::new(3_000);
    stock.push(&reference);
    reference.stop();

    // Roadstead pushes more, some of it over layers that the reference wrote; retags, deletes and refers.
    let mut registry = serve(root.path());
    let more = Image::new(3_000).layers(6).build();
    registry.repository("library").push("v2", &more);
    stock.add("library", "v2", more);
    let library = stock.get("library", "v1").clone();
    registry.repository("another/home").push("v1", &library);
    stock.add("another/home", "v1", library);
    let deleted = stock.remove("a.b/c_d/e__f/g--h/0", "V_1.0-x");
    let replaced = Image::new(3_100).build();
    let repository = registry.repository("a.b/c_d/e__f/g--h/0");
    repository.push("V_1.0-x", &replaced);
    let digest = deleted.root().digest.to_string();
    repository.delete_manifest(&digest).expect_status(202);
    stock.add("a.b/c_d/e__f/g--h/0", "V_1.0-x", replaced);
    super::leave(&mut registry);

    reference.restart();
    stock.assert_served_by(&reference);
    let repository = reference.repository("a.b/c_d/e__f/g--h/0");
    repository.manifest(&digest).expect_status(404);
    let last = Image::new(3_200).build();
    repository.push("last", &last);
    stock.add("a.b/c_d/e__f/g--h/0", "last", last);
    reference.stop();

    registry.restart();
    stock.assert_served_by(&registry);
    stock.assert_referrers_are_found(&registry);
}
