//! A member that lost its disk, and cannot know that there is a group.

use roadstead_oci::{Algorithm, Digest};
use roadstead_tests::wait_until;

use super::nodes::{Cluster, DEADLINE, path_of};
use crate::metadata::group::Group;

/// It is configured with itself alone, and begins a group that knows nothing of what was acknowledged.
#[test]
fn nodes_do_not_follow_a_member_that_forgot_the_group() {
    let mut group = Group::new(1..=3);
    let all = group.peers.clone();
    group.peers.retain(|id, _| *id == 1);
    group.start_all();
    let mut cluster = Cluster::around(group, 0);
    cluster.group().peers = all;
    for id in [2, 3] {
        let group = cluster.group();
        group.start(id, &[]);
        let addr = group.peers[&id].clone();
        group.cluster(1, &["add", &id.to_string(), &addr]).ok();
    }
    // It is configured with all of them.
    cluster.add();
    let repository = cluster.node(0).repository("kept");
    let bytes = b"acknowledged before, and after".to_vec();
    let digest = Digest::of(Algorithm::Sha256, &bytes);
    let at = path_of(&repository.open_upload());
    let patched = repository.patch(&at, &bytes[..10]).expect_status(202);
    let mut at = path_of(patched.location());

    let group = cluster.group();
    group.kill(1);
    std::fs::remove_dir_all(group.dir(1)).expect("a directory");
    group.peers.retain(|id, _| *id == 1);
    group.start(1, &[]);
    assert_eq!(group.leader(1, None), 1, "of a group of its own");

    wait_until("the node goes on with the others", DEADLINE, || {
        let patched = repository.patch(&at, &bytes[10..20]);
        if patched.status == 202 {
            at = path_of(patched.location());
            return true;
        }
        assert_eq!(patched.status, 503, "and with nobody else");
        false
    });
    let closed = repository.close_upload(&at, &bytes[20..], &digest);
    closed.expect_status(201);
    assert_eq!(repository.blob(&digest).expect_status(200).body, bytes);

    let config = cluster.node_with("http:\n  addr: 127.0.0.1:0\n", None);
    let said = cluster.refused(&config);
    assert!(said.contains("in use by another roadstead"), "{said}");
    cluster.kill(0);
    let said = cluster.refused(&config);
    assert!(said.contains("remove roadstead/cluster"), "{said}");
}
