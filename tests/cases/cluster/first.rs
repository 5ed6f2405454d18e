//! A registry that served alone becomes the first node of a cluster.

use roadstead_oci::{Algorithm, Digest};
use roadstead_tests::{Image, Options, Registry, scratch};

use super::nodes::{Cluster, path_of};
use crate::metadata::group::Group;

#[test]
fn images_and_an_open_upload_survive_the_first_step_to_a_cluster() {
    let home = scratch();
    let mut alone = Registry::roadstead(Options::default().root(home.path()));
    let content = Image::new(5).layers(2).layer_size(50_000).build();
    alone.repository("shop/app").push("v1", &content);
    let bytes: Vec<u8> = (0..500_000_u32).flat_map(u32::to_le_bytes).collect();
    let (before, after) = bytes.split_at(1_200_000);
    let upload = alone.repository("shop/app");
    let at = path_of(&upload.open_upload());
    let at = path_of(upload.patch(&at, before).expect_status(202).location());
    alone.stop();

    let mut group = Group::new([1]);
    let sessions = home.path().join("roadstead/sessions.redb");
    group.start(1, &["--import", &sessions.display().to_string()]);
    let mut cluster = Cluster::around(group, 0);
    for _ in 0..2 {
        cluster.add_with("http:\n  addr: 127.0.0.1:0\n", Some(home.path()));
    }
    let digest = Digest::of(Algorithm::Sha256, &bytes);
    let node = cluster.node(1).repository("shop/app");
    let at = path_of(node.patch(&at, after).expect_status(202).location());
    let other = cluster.node(0).repository("shop/app");
    other.close_upload(&at, b"", &digest).expect_status(201);
    for n in 0..2 {
        let node = cluster.node(n).repository("shop/app");
        node.assert_serves("v1", &content);
        assert!(
            node.blob(&digest).expect_status(200).body == bytes,
            "node {n}"
        );
    }
}
