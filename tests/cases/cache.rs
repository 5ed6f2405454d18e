//! The cache of descriptors, from outside: what was deleted is gone at once whatever becomes of Redis, and what is pushed
//! again is whole.

mod failing;
mod shared;

use std::time::Duration;

use roadstead_oci::{Algorithm, Digest};
use roadstead_tests::{Image, Kind, Options, Redis, Registry, Repository, wait_until};

/// On a machine that compiles something else meanwhile.
const SOON: Duration = Duration::from_mins(1);

/// The reference's variables, in the spelling of its second release, which both read.
fn with_redis(redis: &Redis) -> Options {
    Options::default()
        .env("REGISTRY_STORAGE_CACHE_BLOBDESCRIPTOR", "redis")
        .env("REGISTRY_REDIS_ADDR", &redis.addr())
}

fn digest(bytes: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha256, bytes)
}

fn exists(repository: &Repository, digest: &Digest) -> bool {
    let path = repository.path(&format!("blobs/{digest}"));
    match repository.client().head(&path).status {
        404 => false,
        status => {
            assert_eq!(status, 200, "HEAD {path}");
            true
        }
    }
}

/// Pushes a blob, asks for it until a cache must know it, deletes it: gone. Pushes it again: there.
#[track_caller]
fn comes_and_goes(repository: &Repository, bytes: &[u8]) {
    let digest = digest(bytes);
    for _round in 0..2 {
        repository.push_blob(bytes, &digest).expect_status(201);
        for _again in 0..2 {
            assert!(exists(repository, &digest));
        }
        assert_eq!(repository.blob(&digest).expect_status(200).body, bytes);
        repository.delete_blob(&digest).expect_status(202);
        assert!(!exists(repository, &digest), "it was deleted");
        repository.blob(&digest).expect_status(404);
        repository.delete_blob(&digest).expect_status(404);
    }
}

/// A line may come a moment after what it tells of.
fn says(registry: &Registry, words: &str) {
    wait_until(&format!("the log says {words:?}"), SOON, || {
        registry.log().contains(words)
    });
}

/// A207: the sentences of the reference.
#[test]
fn a207_a_start_says_which_cache_is_used() {
    let registry = Registry::under_test(
        Options::default().env("REGISTRY_STORAGE_CACHE_BLOBDESCRIPTOR", "inmemory"),
    );
    for sentence in [
        "redis not configured",
        "using inmemory blob descriptor cache",
    ] {
        says(&registry, &format!("msg=\"{sentence}\""));
    }
    comes_and_goes(&registry.repository("cached"), b"a layer");

    let redis = Redis::start();
    let registry = Registry::under_test(with_redis(&redis));
    says(&registry, "msg=\"using redis blob descriptor cache\"");
    let log = registry.log();
    assert!(!log.contains("redis not configured"), "{log}");

    let registry = Registry::under_test(Options::default());
    says(&registry, "msg=\"redis not configured\"");
    assert!(!registry.log().contains("blob descriptor cache"));
}

#[test]
fn a_manifest_comes_and_goes() {
    let redis = Redis::start();
    let registry = Registry::under_test(with_redis(&redis));
    let repository = registry.repository("manifests");
    let image = Image::new(5_000).build();
    let digest = image.root().digest.to_string();
    for _round in 0..2 {
        repository.push("v1", &image);
        repository.assert_serves("v1", &image);
        repository.assert_serves("v1", &image);
        repository.delete_manifest(&digest).expect_status(202);
        for reference in ["v1", &digest] {
            repository.manifest(reference).expect_status(404);
        }
    }
    // A tag that moves is seen to move.
    let other = Image::new(5_001).build();
    for image in [&image, &other, &image] {
        repository.push("moves", image);
        repository.assert_serves("moves", image);
    }
}

/// A read-only process beside one that writes: it hears of no deletion, and so relies on nothing.
#[test]
fn a_process_that_only_reads_sees_what_another_deletes() {
    if Kind::under_test() == Kind::Reference {
        return; // Its cache in memory says that the blob exists.
    }
    let writer = Registry::roadstead(Options::default());
    let reader = Registry::roadstead(
        Options::default()
            .root(writer.root())
            .env("REGISTRY_STORAGE_CACHE_BLOBDESCRIPTOR", "inmemory")
            .env("REGISTRY_STORAGE_MAINTENANCE_READONLY_ENABLED", "true"),
    );
    let bytes = b"a layer";
    let repository = writer.repository("shared");
    repository
        .push_blob(bytes, &digest(bytes))
        .expect_status(201);
    let seen = reader.repository("shared");
    assert!(exists(&seen, &digest(bytes)) && exists(&seen, &digest(bytes)));
    repository.delete_blob(&digest(bytes)).expect_status(202);
    assert!(!exists(&seen, &digest(bytes)));
}

#[test]
fn what_the_cache_does_is_counted() {
    let redis = Redis::start();
    let mut registry = Registry::roadstead(
        with_redis(&redis)
            .env("REGISTRY_HTTP_DEBUG_ADDR", "127.0.0.1:0")
            .env("REGISTRY_HTTP_DEBUG_PROMETHEUS_ENABLED", "true"),
    );
    let debug = registry
        .process()
        .wait_for_log("its debug address listened", SOON, |log| {
            let (_, rest) = log.split_once("debug server listening ")?;
            rest.split('"').next().map(str::to_owned)
        });
    let debug = roadstead_tests::Client::new(&format!("http://{debug}"));
    let repository = registry.repository("counted");
    let bytes = b"a layer";
    repository
        .push_blob(bytes, &digest(bytes))
        .expect_status(201);
    assert!(exists(&repository, &digest(bytes)));
    assert!(!exists(&repository, &digest(b"another")));
    wait_until("the cache is counted", SOON, || {
        let text = debug.get("/metrics").expect_status(200).text();
        [
            "registry_storage_cache_requests_total 2",
            "registry_storage_cache_hits_total 1",
            "registry_storage_cache_redis_seconds_count{operation=\"Stat\"} 1",
            "registry_storage_cache_redis_seconds_count{operation=\"SetDescriptor\"} 1",
            "roadstead_cache_redis_up 1",
        ]
        .iter()
        .all(|line| text.lines().any(|said| said == *line))
    });
}
