//! What requests cost at the store, counted on the way to it.

use roadstead_oci::{Algorithm, Digest};
use roadstead_tests::{Image, Link, Options, Registry, Repository, Seaweed, seaweed, wait_until};

use super::{SOON, pattern};

/// A registry whose way to the store is watched.
struct Bench {
    link: Link,
    registry: Registry,
    _seaweed: Seaweed,
}

impl Bench {
    fn new() -> Self {
        let seaweed = Seaweed::start();
        let link = Link::to(seaweed.addr());
        let storage = seaweed::storage(&link.addr().to_string(), "costs");
        // As small as S3 allows, so that little makes many parts.
        let parts = "    chunksize: 5242880\n    multipartcopychunksize: 5242880\n    multipartcopythresholdsize: 5242880\n";
        let storage = storage.replace("  delete:", &format!("{parts}  delete:"));
        let registry = Registry::roadstead(Options::default().storage(storage));
        // It answers when it has cleaned up after earlier runs.
        registry.client().get("/v2/").expect_status(200);
        Self {
            link,
            registry,
            _seaweed: seaweed,
        }
    }

    /// What `act` asks of the store before it is answered.
    fn asked(&self, act: impl FnOnce(&Repository)) -> Vec<String> {
        self.link.seen();
        act(&self.registry.repository("costs"));
        self.seen()
    }

    fn seen(&self) -> Vec<String> {
        let mut seen = self.link.seen();
        // The server keeps telling that it is there, and looks whether somebody asks it to collect.
        let goes_on = ["/costs/roadstead/server", "/costs/roadstead/collect/"];
        seen.retain(|asked| !goes_on.iter().any(|place| asked.contains(place)));
        seen
    }

    /// Places that were given up, in requests: after the answer, together.
    fn given_up(&self) -> usize {
        let mut deletes = 0;
        wait_until("the upload's places are given up", SOON, || {
            let seen = self.seen();
            assert!(
                seen.iter()
                    .all(|asked| asked.starts_with("DELETE") || asked.starts_with("POST")),
                "{seen:?}"
            );
            deletes += seen.len();
            deletes > 0
        });
        deletes
    }
}

fn count(asked: &[String], what: impl Fn(&str) -> bool) -> usize {
    asked.iter().filter(|asked| what(asked)).count()
}

fn docker_flow(repository: &Repository, bytes: &[u8]) {
    let digest = Digest::of(Algorithm::Sha256, bytes);
    let session = repository.open_upload();
    let patched = repository.patch(&session, bytes).expect_status(202);
    let closed = repository.close_upload(patched.location(), b"", &digest);
    closed.expect_status(201);
}

#[test]
fn a_push_costs_few_requests() {
    let bench = Bench::new();
    let small = bench.asked(|repository| docker_flow(repository, b"small"));
    assert_eq!(small.len(), 4, "put, head, copy, link: {small:?}");
    assert_eq!(bench.given_up(), 1);

    let large = pattern(11 << 20);
    let asked = bench.asked(|repository| docker_flow(repository, &large));
    let is_part = |asked: &str| asked.contains("partNumber=");
    assert_eq!(
        count(&asked, is_part),
        3 + 3,
        "parts, and copies of them: {asked:?}"
    );
    assert_eq!(
        count(&asked, |asked| !is_part(asked)),
        6,
        "create, complete, head, create, complete, link: {asked:?}"
    );
    assert_eq!(
        bench.given_up(),
        1,
        "what was given up goes after the answer"
    );

    let many = [b"one".as_slice(), b"two", b"three", b"four"];
    bench.asked(|repository| many.iter().for_each(|bytes| docker_flow(repository, bytes)));
    assert!(
        bench.given_up() < many.len(),
        "several uploads are given up together"
    );

    let bytes = b"monolithic";
    let digest = Digest::of(Algorithm::Sha256, bytes);
    let whole = bench.asked(|repository| {
        let target = repository.path(&format!("blobs/uploads/?digest={digest}"));
        let call = repository.client().call("POST", &target);
        let call = call.header("content-type", "application/octet-stream");
        call.body(bytes.as_slice()).send().expect_status(201);
    });
    assert_eq!(whole.len(), 4, "put, head, copy, link: {whole:?}");
    bench.given_up();

    let again = bench.asked(|repository| docker_flow(repository, b"small"));
    assert_eq!(again.len(), 3, "put, head, link: {again:?}");
    bench.given_up();
    everything_else(&bench, &digest);
}

fn everything_else(bench: &Bench, digest: &Digest) {
    let mount = bench.asked(|repository| {
        let to = repository.client().repository("mounted");
        let mount = to.path(&format!("blobs/uploads/?mount={digest}&from=costs"));
        to.client().post(&mount).expect_status(201);
    });
    assert_eq!(mount.len(), 3, "link, head, link: {mount:?}");
    let head = bench.asked(|repository| {
        let blob = repository.path(&format!("blobs/{digest}"));
        repository.client().head(&blob).expect_status(200);
    });
    assert_eq!(head.len(), 2, "link, head: {head:?}");
    let get = bench.asked(|repository| drop(repository.blob(digest).expect_status(200)));
    assert_eq!(get.len(), 3, "link, head, get: {get:?}");

    let image = Image::new(9).layers(2).build();
    bench.asked(|repository| {
        for blob in image.blobs() {
            let pushed = repository.push_blob(&blob.bytes, &blob.digest);
            pushed.expect_status(201);
        }
    });
    bench.given_up();
    let put = bench.asked(|repository| {
        let pushed = repository.push_manifest("v1", image.root());
        pushed.expect_status(201);
    });
    let blobs = image.blobs().len();
    assert_eq!(
        put.len(),
        2 * blobs + 4,
        "link and head of each blob; data, revision, the tag's index, and the tag: {put:?}"
    );
    let tag = bench.asked(|repository| drop(repository.manifest("v1").expect_status(200)));
    assert_eq!(
        tag.len(),
        2,
        "the tag and the revision; the bytes are remembered: {tag:?}"
    );
    let digest = image.root().digest.to_string();
    let by_digest = bench.asked(|repository| drop(repository.manifest(&digest)));
    assert_eq!(by_digest.len(), 1, "the revision: {by_digest:?}");
}
