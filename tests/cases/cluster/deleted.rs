//! What one node deletes while all of them remember that it is there.

use roadstead_oci::{Algorithm, Digest};
use roadstead_tests::{Image, Link, Redis, Repository, Seaweed, seaweed, wait_until};
use rustix::process::Signal;
use tokio::time::Instant;

use super::nodes::{Cluster, DEADLINE};

const KEYS: &str = "http:\n  addr: 127.0.0.1:0\n";

const ROUNDS: usize = 120;

/// What a node says that has its lease: without one it says nothing that others would rely on.
fn head(repository: &Repository, digest: &Digest) -> u16 {
    let path = repository.path(&format!("blobs/{digest}"));
    let mut status = 503;
    wait_until("the node has its lease", DEADLINE, || {
        status = repository.client().head(&path).status;
        status != 503
    });
    status
}

fn warm(repository: &Repository, digest: &Digest) {
    for _ in 0..2 {
        assert_eq!(head(repository, digest), 200);
    }
}

/// Small numbers without a pattern, the same in each run.
fn dice() -> impl FnMut(usize) -> usize {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    move |sides| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % sides as u64).expect("few sides")
    }
}

/// One of them has a Redis of its own, two share one.
#[test]
fn what_is_deleted_anywhere_is_gone_everywhere_at_once() {
    let (shared, own) = (Redis::start(), Redis::start());
    let mut cluster = Cluster::start(0);
    for redis in [&shared, &shared, &own] {
        cluster.add_with_redis(&redis.addr());
    }
    cluster.add_cached(KEYS);
    let at = |n: usize| cluster.node(n).repository("rounds");
    let mut dice = dice();
    for round in 0..ROUNDS {
        let bytes = format!("content {}", round % 4).into_bytes();
        let digest = Digest::of(Algorithm::Sha256, &bytes);
        at(dice(4)).push_blob(&bytes, &digest).expect_status(201);
        for n in 0..4 {
            if dice(4) > 0 {
                warm(&at(n), &digest);
            }
        }
        at(dice(4)).delete_blob(&digest).expect_status(202);
        for n in 0..4 {
            assert_eq!(head(&at(n), &digest), 404, "round {round}, node {n}");
        }
    }
}

#[test]
fn a_manifest_that_is_deleted_is_gone_everywhere_at_once() {
    let mut cluster = Cluster::start(0);
    for _ in 0..3 {
        cluster.add_cached(KEYS);
    }
    let at = |n: usize| cluster.node(n).repository("manifests");
    let image = Image::new(1).build();
    for round in 0..12 {
        at(round % 3).push("latest", &image);
        let digest = &image.root().digest;
        for n in 0..3 {
            for _ in 0..2 {
                at(n).manifest(&digest.to_string()).expect_status(200);
            }
        }
        let deleted = at((round + 1) % 3).delete_manifest(&digest.to_string());
        deleted.expect_status(202);
        for n in 0..3 {
            at(n).manifest(&digest.to_string()).expect_status(404);
            at(n).manifest("latest").expect_status(404);
        }
    }
}

/// A node that is paused is waited for, for as long as it might believe what it knew; when it wakes up it does not.
#[test]
fn a_node_that_was_paused_meanwhile_serves_nothing_stale() {
    let mut cluster = Cluster::start(0);
    for _ in 0..3 {
        cluster.add_cached(KEYS);
    }
    let bytes = b"deleted while one is paused".to_vec();
    let digest = Digest::of(Algorithm::Sha256, &bytes);
    for round in 0..2 {
        let at = |cluster: &Cluster, n: usize| cluster.node(n).repository("paused");
        at(&cluster, 0)
            .push_blob(&bytes, &digest)
            .expect_status(201);
        for n in 0..3 {
            warm(&at(&cluster, n), &digest);
        }
        cluster.signal(2, Signal::STOP);
        let began = Instant::now();
        let deleted = at(&cluster, round).delete_blob(&digest);
        let took = began.elapsed();
        cluster.signal(2, Signal::CONT);
        deleted.expect_status(202);
        for n in [2, 0, 1] {
            // Also without a lease.
            let pulled = at(&cluster, n).blob(&digest).status;
            let asked = head(&at(&cluster, n), &digest);
            assert_eq!((pulled, asked), (404, 404), "round {round}, node {n}");
        }
        crate::failures::say(&format!(
            "a deletion beside a node that is paused: {took:?}"
        ));
        wait_until("it is back", DEADLINE, || cluster.nodes().len() == 3);
    }
}

/// What nobody can be told of is not believed past the lease, and deletions are refused.
#[test]
fn without_the_quorum_nothing_is_believed_past_the_lease() {
    let mut cluster = Cluster::start(0);
    cluster.add_cached(KEYS);
    let repository = cluster.node(0).repository("alone");
    let bytes = b"taken away by hand".to_vec();
    let digest = Digest::of(Algorithm::Sha256, &bytes);
    repository.push_blob(&bytes, &digest).expect_status(201);
    warm(&repository, &digest);
    let hex = digest.hex();
    let link = format!("docker/registry/v2/repositories/alone/_layers/sha256/{hex}");
    let link = cluster.root().join(link);
    let aside = cluster.root().join("aside");
    std::fs::rename(&link, &aside).expect("the link is there");
    assert_eq!(head(&repository, &digest), 200, "it believes what it knows");
    cluster.stop_metadata();
    wait_until("the lease has run out", DEADLINE, || {
        cluster.node(0).said("takes no pushes")
    });
    repository.blob(&digest).expect_status(404);
    std::fs::rename(&aside, &link).expect("nobody made another");
    repository.blob(&digest).expect_status(200);
    // It is sent, and not promised: whoever is told that it is there would not bring it.
    let path = repository.path(&format!("blobs/{digest}"));
    let asked = repository.client().head(&path).expect_status(503);
    assert!(asked.header("retry-after").is_some());
    let refused = repository.delete_blob(&digest).expect_status(503);
    assert!(refused.header("retry-after").is_some());
    cluster.start_metadata();
    wait_until("it deletes again", DEADLINE, || {
        repository.delete_blob(&digest).status == 202
    });
    assert_eq!(head(&repository, &digest), 404);
}

/// In a bucket, each question costs a request.
#[test]
fn a_warm_node_asks_the_bucket_nothing() {
    let seaweed = Seaweed::start();
    let link = Link::to(seaweed.addr());
    let mut cluster = Cluster::start(0);
    cluster.store_in(seaweed::storage(&link.addr().to_string(), "warm"));
    for _ in 0..2 {
        cluster.add_cached(KEYS);
    }
    let at = |n: usize| cluster.node(n).repository("warm");
    let image = Image::new(1).build();
    at(0).push("latest", &image);
    let manifest = image.root().digest.to_string();
    let bytes = b"a blob".to_vec();
    let blob = Digest::of(Algorithm::Sha256, &bytes);
    at(0).push_blob(&bytes, &blob).expect_status(201);
    for n in 0..2 {
        at(n).manifest(&manifest).expect_status(200);
        warm(&at(n), &blob);
    }
    let asked = |act: &dyn Fn()| -> Vec<String> {
        link.seen();
        act();
        let mut seen = link.seen();
        // The cluster keeps telling that it is there.
        seen.retain(|asked| !asked.contains("/roadstead/"));
        seen
    };
    for n in 0..2 {
        let seen = asked(&|| {
            at(n).manifest(&manifest).expect_status(200);
            assert_eq!(head(&at(n), &blob), 200);
        });
        assert_eq!(seen, [""; 0], "existence is known");
        let seen = asked(&|| {
            at(n).blob(&blob).expect_status(200);
        });
        let is_link = |asked: &String| asked.contains("/repositories/");
        assert!(!seen.is_empty() && !seen.iter().any(is_link), "{seen:?}");
    }
    at(1).delete_manifest(&manifest).expect_status(202);
    at(0).manifest(&manifest).expect_status(404);
}
