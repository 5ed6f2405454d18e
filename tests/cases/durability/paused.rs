//! What another process wrote, and was stopped before it was synced, counts only once it is synced.

use roadstead_oci::Digest;
use roadstead_tests::{Content, Family, Image, image::noise};

use super::disk::Disk;
use super::{Notary, Promise, digest, is_kept};

/// As a process leaves it that was stopped between moving a file to its place and syncing the directory.
fn left_unsynced(disk: &Disk, path: &str, content: &[u8]) {
    let file = disk.root().join("docker/registry/v2").join(path);
    std::fs::create_dir_all(file.parent().expect("a directory")).expect("made");
    std::fs::write(file, content).expect("written");
}

fn data_path(digest: &Digest) -> String {
    let (shard, _) = digest.hex().split_at(2);
    format!("blobs/sha256/{shard}/{}/data", digest.hex())
}

fn link_path(repository: &str, kind: &str, digest: &Digest) -> String {
    format!(
        "repositories/{repository}/{kind}/sha256/{}/link",
        digest.hex()
    )
}

#[test]
fn what_a_paused_process_left_unsynced_is_synced_before_a_blob_relies_on_it() {
    let disk = Disk::mount();
    let registry = disk.registry();
    let notary = Notary::new(&disk, 1);
    for (seed, has_link) in [(1, false), (2, true)] {
        let (repository, bytes) = (format!("paused/{seed}"), noise(seed, 5_000));
        let digest = digest(&bytes);
        left_unsynced(&disk, &data_path(&digest), &bytes);
        if has_link {
            left_unsynced(
                &disk,
                &link_path(&repository, "_layers", &digest),
                digest.to_string().as_bytes(),
            );
        }
        registry
            .repository(&repository)
            .push_blob(&bytes, &digest)
            .expect_status(201);
        notary.promised(Promise::Blob { repository, bytes });
    }
    // Mounted from a repository whose link and data nobody has synced.
    let bytes = noise(3, 5_000);
    left_unsynced(&disk, &data_path(&digest(&bytes)), &bytes);
    left_unsynced(
        &disk,
        &link_path("paused/from", "_layers", &digest(&bytes)),
        digest(&bytes).to_string().as_bytes(),
    );
    let mount = format!(
        "/v2/paused/to/blobs/uploads/?mount={}&from=paused/from",
        digest(&bytes)
    );
    registry.client().post(&mount).expect_status(201);
    notary.promised(Promise::Blob {
        repository: "paused/to".to_owned(),
        bytes,
    });
    drop(registry);
    notary.moments().iter().for_each(is_kept);
}

#[test]
fn what_a_paused_process_left_unsynced_is_synced_before_a_manifest_relies_on_it() {
    let disk = Disk::mount();
    let registry = disk.registry();
    let notary = Notary::new(&disk, 1);
    // An index relies on an image, and the image on its blobs, of which none is known to be on the disk.
    let image = Image::new(4).layers(2).layer_size(3_000).build();
    let index = Content::index(Family::Oci, std::slice::from_ref(&image));
    for blob in image.blobs() {
        left_unsynced(&disk, &data_path(&blob.digest), &blob.bytes);
        left_unsynced(
            &disk,
            &link_path("paused/image", "_layers", &blob.digest),
            blob.digest.to_string().as_bytes(),
        );
    }
    let manifest = image.root();
    registry
        .repository("paused/image")
        .push_manifest("one", manifest)
        .expect_status(201);
    notary.promised(Promise::Image {
        repository: "paused/image".to_owned(),
        tag: "one".to_owned(),
        content: image,
    });
    registry
        .repository("paused/image")
        .push_manifest("all", index.root())
        .expect_status(201);
    notary.promised(Promise::Image {
        repository: "paused/image".to_owned(),
        tag: "all".to_owned(),
        content: index,
    });
    drop(registry);
    notary.moments().iter().for_each(is_kept);
}
