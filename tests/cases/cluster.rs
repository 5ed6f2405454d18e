//! Several nodes as one registry: any request may reach any of them, and any of them may end at any time.

mod alone;
mod balanced;
mod bucket;
mod deleted;
mod figures;
mod first;
mod forgotten;
pub(crate) mod nodes;

use roadstead_oci::{Algorithm, Digest};
use roadstead_tests::{Answer, Redis, Repository, wait_until};

use nodes::{Cluster, DEADLINE, path_of};

/// U1: what one node acknowledged, another goes on with; and what one wrote, all serve.
#[test]
fn an_upload_goes_on_at_any_node() {
    let cluster = Cluster::start(3);
    let bytes: Vec<u8> = (0..750_000_u32).flat_map(u32::to_le_bytes).collect();
    let digest = Digest::of(Algorithm::Sha256, &bytes);
    let parts = [&bytes[..1_000_000], &bytes[1_000_000..2_500_000]];
    let mut at = path_of(&cluster.node(0).repository("any").open_upload());
    for (n, part) in parts.into_iter().enumerate() {
        let node = cluster.node(n + 1).repository("any");
        at = path_of(node.patch(&at, part).expect_status(202).location());
    }
    let rest = &bytes[2_500_000..];
    let first = cluster.node(0).repository("any");
    first.close_upload(&at, rest, &digest).expect_status(201);
    for n in 0..3 {
        let got = cluster.node(n).repository("any").blob(&digest);
        assert!(got.expect_status(200).body == bytes, "node {n}");
    }
}

/// A node that is killed takes nothing along, and its lease ends.
#[test]
fn a_node_that_is_killed_is_gone_after_its_lease() {
    let mut cluster = Cluster::start(2);
    let bytes = b"acknowledged".to_vec();
    let digest = Digest::of(Algorithm::Sha256, &bytes);
    let first = cluster.node(0).repository("kill");
    let at = path_of(&first.open_upload());
    let at = path_of(first.patch(&at, &bytes).expect_status(202).location());
    cluster.kill(0);
    let second = cluster.node(1).repository("kill");
    second.close_upload(&at, b"", &digest).expect_status(201);
    wait_until("its lease has ended", DEADLINE, || {
        cluster.nodes().len() == 1
    });
    cluster.restart(0);
    wait_until("it is back", DEADLINE, || cluster.nodes().len() == 2);
    let got = cluster.node(0).repository("kill").blob(&digest);
    assert_eq!(got.expect_status(200).body, bytes);
}

/// What all must share is compared, and named.
#[test]
fn a_node_that_is_configured_otherwise_is_refused() {
    let cluster = Cluster::start(1);
    let other = cluster.node_with("http:\n  secret: another\n  addr: 127.0.0.1:0\n", None);
    let said = cluster.refused(&other);
    assert!(said.contains("http.secret must be the same"), "{said}");
    let elsewhere = roadstead_tests::scratch();
    let other = cluster.node_with("http:\n  addr: 127.0.0.1:0\n", Some(elsewhere.path()));
    let said = cluster.refused(&other);
    assert!(said.contains("storage"), "{said}");
}

/// With a cache, too: another node may have deleted what this one remembers.
#[test]
fn what_one_node_deletes_is_gone_at_the_others() {
    let mut cluster = Cluster::start(0);
    let keys = "http:\n  addr: 127.0.0.1:0\n";
    for _ in 0..2 {
        cluster.add_cached(keys);
    }
    let digest = Digest::of(Algorithm::Sha256, b"deleted");
    let (one, other) = (
        cluster.node(0).repository("gone"),
        cluster.node(1).repository("gone"),
    );
    for _ in 0..3 {
        one.push_blob(b"deleted", &digest).expect_status(201);
        other.blob(&digest).expect_status(200);
        other.blob(&digest).expect_status(200);
        one.delete_blob(&digest).expect_status(202);
        other.blob(&digest).expect_status(404);
        one.blob(&digest).expect_status(404);
    }
}

/// Told to drain, a node says that it wants no new work, and serves what comes nevertheless.
#[test]
fn a_node_is_drained_and_taken_back() {
    let cluster = Cluster::start(1);
    let address = cluster.nodes()[0]["addr"]
        .as_str()
        .expect("text")
        .to_owned();
    for (arguments, status) in [
        (vec!["drain", &address], 503),
        (vec!["drain", "--undo", &address], 200),
    ] {
        cluster.command(&arguments).ok();
        wait_until("it knows", DEADLINE, || {
            cluster.node(0).client().get("/readyz").status == status
        });
    }
    cluster.command(&["drain", "nowhere:1"]).fails();
    let status = cluster.command(&["status"]).ok().text();
    assert!(status.contains("serving"), "{status}");
}

/// Without the quorum, pulls go on and pushes are told to come back.
#[test]
fn pulls_outlive_the_metadata_service() {
    let mut cluster = Cluster::start(1);
    let repository = cluster.node(0).repository("pull");
    let digest = Digest::of(Algorithm::Sha256, b"blob");
    repository.push_blob(b"blob", &digest).expect_status(201);
    cluster.stop_metadata();
    let again = Digest::of(Algorithm::Sha256, b"other");
    let open = || cluster_post(&repository);
    // To begin costs nothing; what would have to be remembered is refused.
    let opened = repository.open_upload();
    let refused = repository.close_upload(&opened, b"other", &again);
    let refused = refused.expect_status(503);
    assert!(refused.header("retry-after").is_some());
    wait_until("the lease has run out", DEADLINE, || {
        cluster.node(0).said("takes no pushes")
    });
    let refused = open().expect_status(503);
    assert!(refused.header("retry-after").is_some());
    repository.blob(&digest).expect_status(200);
    cluster.start_metadata();
    wait_until("it takes pushes again", DEADLINE, || open().status == 202);
    repository.push_blob(b"other", &again).expect_status(201);
}

fn cluster_post(repository: &Repository) -> Answer {
    repository.client().post(&repository.path("blobs/uploads/"))
}

/// What was signed with the secret before is accepted by all nodes, those that come later too.
#[test]
fn the_secret_is_replaced_while_uploads_go_on() {
    let mut cluster = Cluster::start(2);
    let bytes = b"begun before, ended after";
    let digest = Digest::of(Algorithm::Sha256, bytes);
    let (first, second) = (
        cluster.node(0).repository("turn"),
        cluster.node(1).repository("turn"),
    );
    let at = path_of(&first.open_upload());
    let patched = second.patch(&at, &bytes[..5]);
    let at = path_of(patched.expect_status(202).location());
    cluster.command(&["rotate-secret"]).ok();
    cluster.add();
    let third = cluster.node(2).repository("turn");
    let at = path_of(third.patch(&at, &bytes[5..9]).expect_status(202).location());
    let mut count = 0;
    wait_until("all have heard", DEADLINE, || {
        count += 1;
        let bytes = format!("pushed while they hear of it: {count}").into_bytes();
        let digest = Digest::of(Algorithm::Sha256, &bytes);
        for (opens, ends) in [(0, 1), (1, 2), (2, 0)] {
            let at = path_of(&cluster.node(opens).repository("turn").open_upload());
            let ends = cluster.node(ends).repository("turn");
            ends.close_upload(&at, &bytes, &digest).expect_status(201);
        }
        [0, 1]
            .iter()
            .all(|n| cluster.node(*n).said("another secret"))
    });
    first
        .close_upload(&at, &bytes[9..], &digest)
        .expect_status(201);
    let got = second.blob(&digest);
    assert_eq!(got.expect_status(200).body, bytes);
}

#[test]
fn a_secret_that_the_cluster_does_not_keep_is_not_replaced() {
    let cluster = Cluster::start(0);
    let said = cluster.command(&["rotate-secret"]).fails();
    let said = said.said();
    assert!(said.contains("keeps no secret"), "{said}");
}

/// Another Redis costs time and nothing else: it is told, by the setting's name.
#[test]
fn a_node_with_another_redis_is_told() {
    let (one, other) = (Redis::start(), Redis::start());
    let mut cluster = Cluster::start(0);
    for redis in [&one, &one, &other] {
        cluster.add_with_redis(&redis.addr());
    }
    let told = |n: usize| {
        cluster
            .node(n)
            .said("other nodes of the cluster have another value")
    };
    assert_eq!([0, 1, 2].map(told), [false, false, true]);
    let bytes = b"pushed at one, pulled at all";
    let digest = Digest::of(Algorithm::Sha256, bytes);
    let pushed = cluster.node(0).repository("two").push_blob(bytes, &digest);
    pushed.expect_status(201);
    for n in 0..3 {
        let repository = cluster.node(n).repository("two");
        assert_eq!(repository.blob(&digest).expect_status(200).body, bytes);
    }
    let deleted = cluster.node(2).repository("two").delete_blob(&digest);
    deleted.expect_status(202);
    for n in 0..3 {
        cluster
            .node(n)
            .repository("two")
            .blob(&digest)
            .expect_status(404);
    }
}
