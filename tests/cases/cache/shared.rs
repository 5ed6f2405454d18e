//! One Redis and one directory for Roadstead and the reference: the same keys, and nothing that is not so.

use std::collections::BTreeMap;

use roadstead_oci::Digest;
use roadstead_tests::{Image, Kind, Options, Redis, Registry, Run, scratch, wait_until};

use super::{SOON, comes_and_goes, digest, exists, with_redis};

const LAYER: &[u8] = b"a layer";

/// All that lies in Redis: each key with its content, fields in order.
fn content(redis: &Redis) -> BTreeMap<String, Vec<String>> {
    let keys = redis.says(&["KEYS", "*"]);
    let of = |key: &str| {
        let lines = |command: &[&str]| {
            redis
                .says(command)
                .lines()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        let mut entries = match redis.says(&["TYPE", key]).as_str() {
            "hash" => lines(&["HGETALL", key])
                .chunks(2)
                .map(|pair| pair.join("="))
                .collect(),
            "set" => lines(&["SMEMBERS", key]),
            other => vec![format!("a {other}")],
        };
        entries.sort_unstable();
        entries
    };
    keys.lines().map(|key| (key.to_owned(), of(key))).collect()
}

/// What a push of a layer leaves, when `kind` serves.
fn left_by(kind: Kind) -> BTreeMap<String, Vec<String>> {
    let redis = Redis::start();
    let registry = Registry::start(kind, with_redis(&redis));
    let repository = registry.repository("team/app");
    repository
        .push_blob(LAYER, &digest(LAYER))
        .expect_status(201);
    assert!(exists(&repository, &digest(LAYER)));
    wait_until("the layer is in redis", SOON, || content(&redis).len() == 3);
    content(&redis)
}

#[test]
fn the_keys_are_the_references_byte_for_byte() {
    let [mut ours, theirs] = [Kind::under_test(), Kind::Reference].map(left_by);
    for entries in ours.values_mut() {
        // The field that is ours.
        entries.retain(|entry| !entry.starts_with("roadstead="));
    }
    assert_eq!(ours, theirs);
}

/// The reference believes what it finds there; so its entries and ours must mean the same to it.
#[test]
fn the_reference_reads_what_roadstead_wrote_and_clears_it() {
    let (redis, root) = (Redis::start(), scratch());
    let mut registry = Registry::under_test(with_redis(&redis).root(root.path()));
    let layer = digest(LAYER);
    registry
        .repository("team/app")
        .push_blob(LAYER, &layer)
        .expect_status(201);
    wait_until("the layer is in redis", SOON, || content(&redis).len() == 3);
    registry.stop();

    let options = with_redis(&redis).root(root.path());
    let reference = Registry::start(Kind::Reference, options);
    // What Redis says is what it answers: here, a size that is not so.
    redis.says(&["HSET", &format!("blobs::{layer}"), "size", "12345"]);
    let path = format!("/v2/team/app/blobs/{layer}");
    let head = reference.client().head(&path).expect_status(200);
    assert_eq!(
        head.expect_header("content-length"),
        "12345",
        "it reads the entry"
    );
    let repository = reference.repository("team/app");
    repository.delete_blob(&layer).expect_status(202);
    let held = content(&redis);
    assert!(
        !held.contains_key(&format!("blobs::{layer}")),
        "it clears the entry"
    );
    drop(reference);
    registry.restart();
    assert!(
        !exists(&registry.repository("team/app"), &layer),
        "whatever it left"
    );
}

fn remove_blob(root: &std::path::Path, digest: &Digest) {
    let hex = digest.hex();
    let (first_two, _) = hex.split_at(2);
    let blob = format!("docker/registry/v2/blobs/sha256/{first_two}/{hex}");
    std::fs::remove_dir_all(root.join(blob)).expect("the blob is there");
}

/// C21: the reference's collector leaves its entries, and says that a layer exists which it removed. Roadstead on the
/// same Redis does not, and a push makes the image whole.
#[test]
fn c21_an_entry_of_the_reference_is_not_believed() {
    let (redis, root) = (Redis::start(), scratch());
    let mut reference = Registry::start(Kind::Reference, with_redis(&redis).root(root.path()));
    let image = Image::new(5_200).layers(2).build();
    let repository = reference.repository("team/app");
    repository.push("v1", &image);
    let layer = image.blobs().last().expect("a layer").digest.clone();
    assert!(exists(&repository, &layer));
    reference.stop();
    remove_blob(root.path(), &layer);
    let held = content(&redis);
    assert!(held.contains_key(&format!("blobs::{layer}")), "{held:?}");

    let registry = Registry::under_test(with_redis(&redis).root(root.path()));
    if registry.kind() == Kind::Reference {
        return; // It says that the layer exists.
    }
    let repository = registry.repository("team/app");
    assert!(!exists(&repository, &layer));
    repository.push("v1", &image);
    repository.assert_serves("v1", &image);
    comes_and_goes(&repository, LAYER);
}

/// C21, with our own collector, on the same Redis before and after.
#[test]
fn c21_what_was_collected_can_be_pushed_again() {
    if Kind::under_test() == Kind::Reference {
        return;
    }
    let redis = Redis::start();
    let mut registry = Registry::roadstead(with_redis(&redis));
    let image = Image::new(5_300).layers(2).build();
    let repository = registry.repository("team/app");
    repository.push("v1", &image);
    repository.assert_serves("v1", &image);
    let root = image.root().digest.to_string();
    repository.delete_manifest(&root).expect_status(202);
    wait_until("redis has all blobs", SOON, || {
        content(&redis).len() == 1 + 2 * image.blobs().len()
    });
    registry.stop();
    let collect = Run::new(roadstead_tests::registry::program());
    collect.arg("garbage-collect").arg(registry.config()).ok();
    registry.restart();
    let repository = registry.repository("team/app");
    for blob in image.blobs() {
        assert!(!exists(&repository, &blob.digest), "{}", blob.digest);
    }
    repository.push("v1", &image);
    repository.assert_serves("v1", &image);
}

/// A file of the third release, with its way to write addresses.
#[test]
fn the_third_releases_spelling_is_read() {
    if Kind::under_test() == Kind::Reference {
        return;
    }
    let redis = Redis::start();
    let options = Options::default()
        .env("REGISTRY_STORAGE_CACHE_BLOBDESCRIPTOR", "redis")
        .yaml(&format!("redis:\n  addrs: [{}]\n  db: 2\n", redis.addr()));
    let registry = Registry::roadstead(options);
    comes_and_goes(&registry.repository("team/app"), LAYER);
    let repository = registry.repository("team/app");
    repository
        .push_blob(LAYER, &digest(LAYER))
        .expect_status(201);
    wait_until("the layer is in database 2", SOON, || {
        redis.says(&["-n", "2", "DBSIZE"]) == "3"
    });
}
