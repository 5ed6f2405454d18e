//! What an upload costs in entries of the metadata group's log, which are what every member has to sync.

use roadstead_tests::image::noise;
use roadstead_tests::{Content, Image, Repository};

use super::fleet::{Fleet, Front, Store};
use super::upload::path_of;

/// Uploads in a row, so that an election's own entry is seen to be none of theirs.
const UPLOADS: u64 = 8;

fn entries_of(fleet: &Fleet, mut upload: impl FnMut(u64)) -> u64 {
    let before = fleet.last_log();
    for n in 0..UPLOADS {
        upload(n);
    }
    fleet.last_log() - before
}

fn in_chunks(repository: &Repository, bytes: &[u8], chunks: usize) {
    let mut at = path_of(&repository.open_upload());
    for chunk in bytes.chunks(bytes.len().div_ceil(chunks)) {
        at = path_of(repository.patch(&at, chunk).expect_status(202).location());
    }
    repository
        .close_upload(&at, b"", &super::digest(bytes))
        .expect_status(201);
}

/// Each upload ends with two that nobody waits for together: the seal, and in its own time the note that it is over.
#[test]
fn an_upload_costs_its_appends_and_its_end() {
    let fleet = Fleet::start(Store::Filesystem, Front::Dumb(30));
    let repository = fleet.client().repository("cost");
    let idle = entries_of(&fleet, |_| {
        drop(repository.client().get("/v2/").expect_status(200));
    });
    assert_eq!(idle, 0, "leases are not logged");
    let at_once = entries_of(&fleet, |n| {
        let bytes = noise(n, 3_000);
        let digest = super::digest(&bytes);
        let path = repository.path(&format!("blobs/uploads/?digest={digest}"));
        let call = repository.client().call("POST", &path).body(bytes);
        call.send().expect_status(201);
    });
    assert_eq!(at_once, 0, "one request has no session");
    let images: Vec<Content> = (0..UPLOADS).map(|n| Image::new(n).build()).collect();
    let whole = entries_of(&fleet, |n| {
        let bytes = noise(1_000 + n, 3_000);
        repository
            .push_blob(&bytes, &super::digest(&bytes))
            .expect_status(201);
    });
    let dockers = entries_of(&fleet, |n| {
        in_chunks(&repository, &noise(2_000 + n, 3_000), 1);
    });
    let chunks = entries_of(&fleet, |n| {
        in_chunks(&repository, &noise(3_000 + n, 4_000), 4);
    });
    super::say(&format!(
        "log entries of {UPLOADS} uploads: whole {whole}, PATCH and PUT {dockers}, four chunks {chunks}"
    ));
    // The note may come after the count, and be counted with the next ones; those that come together share an entry.
    let between = |entries: u64, each: u64| {
        let range = UPLOADS * each..=UPLOADS * (each + 1) + 1;
        assert!(range.contains(&entries), "{entries} is not in {range:?}");
    };
    between(whole, 1);
    between(dockers, 2);
    between(chunks, 5);
    for image in &images {
        for blob in image.blobs() {
            repository
                .push_blob(&blob.bytes, &blob.digest)
                .expect_status(201);
        }
    }
    let tags = entries_of(&fleet, |n| {
        let image = &images[usize::try_from(n).expect("a small number")];
        repository
            .push_manifest("latest", image.root())
            .expect_status(201);
        let layer = &image.blobs()[1].digest;
        let mount = format!("/v2/cost/mounted/blobs/uploads/?mount={layer}&from=cost");
        repository.client().post(&mount).expect_status(201);
        repository.manifest("latest").expect_status(200);
    });
    // The ends of the last uploads, at most.
    assert!(tags <= 3, "{tags} entries for manifests, mounts and pulls");
}
