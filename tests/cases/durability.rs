//! What was acknowledged is there when the power comes back, and nothing half-written is in the layout.
//!
//! The registry runs on a disk that knows what was synced. At an acknowledgement the disk tells what a power cut would
//! leave: just what was synced, or some of the rest as well, in any order and torn. A registry started on that must serve
//! all that was acknowledged before.

mod disk;
mod layout;
mod paused;

use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use roadstead_oci::{Algorithm, Digest};
use roadstead_powercut::{Cut, Image as Remains};
use roadstead_tests::{Content, Family, Image, Options, Registry, image::noise, wait_until};

use crate::uploads::path_of;
use disk::Disk;

/// Something that a registry promised.
#[derive(Debug, Clone)]
enum Promise {
    Blob {
        repository: String,
        bytes: Vec<u8>,
    },
    Image {
        repository: String,
        tag: String,
        content: Content,
    },
    Gone {
        repository: String,
        digest: Digest,
    },
    /// An upload that stands at a byte, at least.
    Upload {
        session: String,
        offset: usize,
    },
}

/// All promises made before a cut, and what the cut left.
struct Moment {
    promises: Vec<Promise>,
    remains: Remains,
}

/// Collects promises, and cuts the power after some of them.
struct Notary<'a> {
    disk: &'a Disk,
    book: Mutex<(Vec<Promise>, Vec<Moment>)>,
    every: usize,
}

impl<'a> Notary<'a> {
    fn new(disk: &'a Disk, every: usize) -> Self {
        Self {
            disk,
            book: Mutex::default(),
            every,
        }
    }

    /// Called when the answer came. What others were promised meanwhile counts as well.
    fn promised(&self, promise: Promise) {
        let mut book = self.book.lock().expect("no other failed");
        book.0.push(promise);
        let made = book.0.len();
        if made.is_multiple_of(self.every) {
            let cut = if made.is_multiple_of(2 * self.every) {
                Cut::Some(made as u64)
            } else {
                Cut::Nothing
            };
            let moment = Moment {
                promises: book.0.clone(),
                remains: self.disk.power().image(cut),
            };
            book.1.push(moment);
        }
    }

    fn moments(self) -> Vec<Moment> {
        self.book.into_inner().expect("no other failed").1
    }
}

fn digest(bytes: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha256, bytes)
}

/// Starts a registry on what a cut left, and asks for all that was promised.
fn is_kept(moment: &Moment) {
    let scratch = roadstead_tests::scratch();
    let root = scratch.path().join("root");
    moment
        .remains
        .write_to(&root)
        .expect("what is left is a directory");
    layout::assert_whole(&root);
    let registry = Registry::roadstead(Options::default().root(&root));
    for promise in &moment.promises {
        match promise {
            Promise::Blob { repository, bytes } => {
                let blob = registry
                    .repository(repository)
                    .blob(&digest(bytes))
                    .expect_status(200);
                assert!(blob.body == *bytes, "the blob's bytes are all there");
            }
            Promise::Image {
                repository,
                tag,
                content,
            } => registry.repository(repository).assert_serves(tag, content),
            Promise::Gone { repository, digest } => {
                registry
                    .repository(repository)
                    .manifest(&digest.to_string())
                    .expect_status(404);
            }
            Promise::Upload { session, offset } => {
                let (path, _) = path_of(session).split_once('?').expect("a state");
                let standing = registry.client().get(path).expect_status(204);
                let last = standing
                    .expect_header("range")
                    .trim_start_matches("0-")
                    .parse::<usize>()
                    .expect("a number");
                assert!(
                    last + 1 >= *offset,
                    "the upload stands at {last}, {offset} were acknowledged"
                );
            }
        }
    }
    layout::assert_whole(&root);
}

/// Blobs that many push at the same time: whoever is told "created" must be able to rely on it, also when it was another
/// request that had just put it there.
#[test]
fn a_blob_that_another_request_has_just_published_is_as_durable_as_ones_own() {
    let disk = Disk::mount();
    let registry = disk.registry();
    let notary = Notary::new(&disk, 16);
    for round in 0..12 {
        let bytes = noise(round, 20_000);
        thread::scope(|scope| {
            for pusher in 0..8 {
                let (notary, registry, bytes) = (&notary, &registry, &bytes);
                scope.spawn(move || {
                    let repository = format!("same/{}", pusher % 2);
                    registry
                        .repository(&repository)
                        .push_blob(bytes, &digest(bytes))
                        .expect_status(201);
                    notary.promised(Promise::Blob {
                        repository,
                        bytes: bytes.clone(),
                    });
                });
            }
        });
    }
    drop(registry);
    notary.moments().iter().for_each(is_kept);
}

#[test]
fn images_pushed_by_many_survive_a_power_cut_at_any_acknowledgement() {
    let disk = Disk::mount();
    let registry = disk.registry();
    let notary = Notary::new(&disk, 3);
    thread::scope(|scope| {
        for pusher in 0..4_u64 {
            let (notary, registry) = (&notary, &registry);
            scope.spawn(move || {
                for n in 0..6 {
                    // Half of the layers are the same for all.
                    let seed = if n % 2 == 0 { n } else { 100 * pusher + n };
                    let children = [Image::new(seed).layers(2).layer_size(9_000).build()];
                    let content = if n % 3 == 0 {
                        Content::index(Family::Oci, &children)
                    } else {
                        children[0].clone()
                    };
                    let (repository, tag) =
                        (format!("images/{}", pusher % 2), format!("t{pusher}-{n}"));
                    registry.repository(&repository).push(&tag, &content);
                    notary.promised(Promise::Image {
                        repository,
                        tag,
                        content,
                    });
                }
            });
        }
    });
    drop(registry);
    let moments = notary.moments();
    assert!(moments.len() >= 8, "the power was cut often enough to tell");
    moments.iter().for_each(is_kept);
}

#[test]
fn a_tag_that_moves_always_leads_to_a_whole_image() {
    let disk = Disk::mount();
    let registry = disk.registry();
    let contents: Vec<Content> = (0..10)
        .map(|seed| Image::new(seed).layers(1).layer_size(3_000).build())
        .collect();
    let repository = registry.repository("moving");
    repository.push("tag", &contents[0]);
    // Cut within the next push, not only after it: a thread takes images all the while.
    let done = std::sync::atomic::AtomicBool::new(false);
    let images = thread::scope(|scope| {
        let cutter = scope.spawn(|| {
            let mut images = Vec::new();
            while !done.load(std::sync::atomic::Ordering::Acquire) && images.len() < 400 {
                let seed = images.len() as u64;
                images.push(disk.power().image(if seed.is_multiple_of(4) {
                    Cut::Nothing
                } else {
                    Cut::Some(seed)
                }));
            }
            images
        });
        for content in &contents[1..] {
            repository.push("tag", content);
        }
        done.store(true, std::sync::atomic::Ordering::Release);
        cutter.join().expect("no panic")
    });
    drop(repository);
    drop(registry);
    let step = (images.len() / 25).max(1);
    for remains in images.iter().step_by(step) {
        let scratch = roadstead_tests::scratch();
        let root = scratch.path().join("root");
        remains.write_to(&root).expect("a directory");
        layout::assert_whole(&root);
        let registry = Registry::roadstead(Options::default().root(&root));
        let manifest = registry
            .repository("moving")
            .manifest("tag")
            .expect_status(200);
        let content = contents
            .iter()
            .find(|content| content.root().bytes == manifest.body);
        registry
            .repository("moving")
            .assert_serves("tag", content.expect("one of those that were pushed"));
    }
}

#[test]
fn what_was_deleted_stays_deleted() {
    let disk = Disk::mount();
    let registry = disk.registry();
    let notary = Notary::new(&disk, 1);
    for seed in 0..6 {
        let content = Image::new(seed).layers(1).layer_size(2_000).build();
        let repository = registry.repository("deleted");
        repository.push(&format!("t{seed}"), &content);
        repository
            .delete_manifest(&content.root().digest.to_string())
            .expect_status(202);
        notary.promised(Promise::Gone {
            repository: "deleted".to_owned(),
            digest: content.root().digest.clone(),
        });
    }
    drop(registry);
    notary.moments().iter().for_each(is_kept);
}

#[test]
fn an_acknowledged_chunk_survives_and_the_upload_goes_on_there() {
    let disk = Disk::mount();
    let registry = disk.registry();
    let notary = Notary::new(&disk, 1);
    let repository = registry.repository("chunks");
    let (mut session, mut whole) = (repository.open_upload(), Vec::new());
    for n in 0..6 {
        let chunk = noise(n, 30_000);
        session = repository
            .patch(&session, &chunk)
            .expect_status(202)
            .location()
            .to_owned();
        whole.extend_from_slice(&chunk);
        notary.promised(Promise::Upload {
            session: session.clone(),
            offset: whole.len(),
        });
    }
    drop(repository);
    drop(registry);
    let moments = notary.moments();
    moments.iter().for_each(is_kept);
    let scratch = roadstead_tests::scratch();
    let root = scratch.path().join("root");
    moments
        .last()
        .expect("a moment")
        .remains
        .write_to(&root)
        .expect("a directory");
    let registry = Registry::roadstead(Options::default().root(&root));
    let repository = registry.repository("chunks");
    repository
        .close_upload(path_of(&session), &[], &digest(&whole))
        .expect_status(201);
    assert!(repository.blob(&digest(&whole)).expect_status(200).body == whole);
}

#[test]
fn a_killed_registry_loses_nothing_and_leaves_nothing_half_written() {
    let mut registry = Registry::roadstead(Options::default());
    for round in 0..8_u64 {
        let promises = Mutex::new(Vec::new());
        thread::scope(|scope| {
            for pusher in 0..4_u64 {
                let (promises, client) = (&promises, registry.client());
                scope.spawn(move || {
                    for n in 0.. {
                        let bytes = noise(round * 10_000 + pusher * 1000 + n, 60_000);
                        let Some(answer) = push_whole(&client, &bytes) else {
                            return;
                        };
                        answer.expect_status(201);
                        promises.lock().expect("no other failed").push(bytes);
                    }
                });
            }
            wait_until("some was acknowledged", Duration::from_secs(20), || {
                promises.lock().expect("fine").len() > 10
            });
            registry.kill();
        });
        layout::assert_whole(registry.root());
        registry.restart();
        for bytes in promises.into_inner().expect("no other failed") {
            let blob = registry
                .repository("killed")
                .blob(&digest(&bytes))
                .expect_status(200);
            assert!(blob.body == bytes);
        }
    }
}

/// A push that may be cut off at any point; nothing came back then.
fn push_whole(client: &roadstead_tests::Client, bytes: &[u8]) -> Option<roadstead_tests::Answer> {
    client
        .call(
            "POST",
            &format!("/v2/killed/blobs/uploads/?digest={}", digest(bytes)),
        )
        .body(bytes)
        .try_send()
}
