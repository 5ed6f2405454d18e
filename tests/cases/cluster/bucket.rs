//! Nodes over a bucket: with the configurations that are shipped; and a registry that served one alone, there and back.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use roadstead_oci::{Algorithm, Digest};
use roadstead_tests::image::{layout, noise};
use roadstead_tests::process::Process;
use roadstead_tests::registry::built;
use roadstead_tests::tools::skopeo;
use roadstead_tests::{Client, Image, Options, Redis, Registry, Seaweed, scratch, seaweed};

use super::nodes::{Cluster, DEADLINE, path_of};
use crate::metadata::group::{Group, SECRET};

const MEMBER: &str = include_str!("../../../deploy/samples/cluster-member.yml");
const NODE: &str = include_str!("../../../deploy/samples/cluster-node-s3.yml");

/// Writes a sample, with other addresses of the members in it and another directory, and prepares to run it.
fn shipped(sample: &str, command: &str, group: &Group, dir: &Path) -> Command {
    let mut text = sample.to_owned();
    for (id, addr) in &group.peers {
        let name = format!("meta-{id}:7000");
        assert!(text.contains(&name), "{name} in {text}");
        text = text.replace(&name, addr);
    }
    let file = dir.join("config.yml");
    std::fs::write(&file, text).expect("a configuration");
    let mut prepared = Command::new(built("roadstead"));
    prepared
        .arg(command)
        .arg(file)
        .current_dir(dir)
        .env_clear()
        .env("REGISTRY_CLUSTER_SECRET", SECRET)
        .env("REGISTRY_METADATA_DIR", dir);
    prepared
}

fn listening(process: &mut Process) -> SocketAddr {
    process.wait_for_log("it joined", DEADLINE, |log| {
        log.contains("joined the cluster").then_some(())
    });
    process.wait_for_log("it listens", DEADLINE, |log| {
        let (_, rest) = log.split_once("listening on ")?;
        rest.split([',', ' ', '\n', '"']).next()?.parse().ok()
    })
}

#[test]
fn the_shipped_configurations_serve_a_bucket() {
    let (seaweed, redis) = (Seaweed::start(), Redis::start());
    let mut group = Group::new([1, 2, 3]);
    for (id, addr) in group.peers.clone() {
        let dir = group.dir(id);
        std::fs::create_dir_all(&dir).expect("a directory");
        let mut member = shipped(MEMBER, "metadata", &group, &dir);
        member
            .env("REGISTRY_METADATA_ID", id.to_string())
            .env("REGISTRY_METADATA_ADDR", addr)
            .env("REGISTRY_METADATA_DEBUG_ADDR", "127.0.0.1:0");
        let process = Process::start(member, &dir.join("log"));
        group.running.insert(id, process);
    }
    group.leader(1, None);
    let (key, secret) = seaweed::ADMIN;
    let homes = [scratch(), scratch()];
    let mut nodes = homes.each_ref().map(|home| {
        let mut node = shipped(NODE, "registry", &group, home.path());
        node.env("REGISTRY_STORAGE_S3_ACCESSKEY", key)
            .env("REGISTRY_STORAGE_S3_SECRETKEY", secret)
            .env(
                "REGISTRY_STORAGE_S3_REGIONENDPOINT",
                format!("http://{}", seaweed.addr()),
            )
            .env("REGISTRY_REDIS_ADDRS", format!("[{}]", redis.addr()))
            .env("REGISTRY_HTTP_ADDR", "127.0.0.1:0")
            .env("REGISTRY_HTTP_DEBUG_ADDR", "127.0.0.1:0");
        Process::start(node, &home.path().join("log"))
    });
    let addrs = nodes.each_mut().map(listening);
    let told = group.cluster(1, &["status"]).ok().text();
    assert_eq!(told.matches("serving").count(), 2, "{told}");
    it_is_one_registry(&addrs, &seaweed);
    goes_on_without(&mut nodes[0], &addrs);
}

/// What is pushed to one is pulled from the other, by way of the bucket.
fn it_is_one_registry(addrs: &[SocketAddr; 2], seaweed: &Seaweed) {
    let image = Image::new(78).layers(3).build();
    let (from, to) = (scratch(), scratch());
    layout::write(from.path(), "v1", &image);
    let [source, target] = [&from, &to].map(|dir| format!("oci:{}:v1", dir.path().display()));
    let [pushed, pulled] = addrs.map(|addr| format!("docker://{addr}/shop/app:v1"));
    let copy = ["copy", "--all", "--preserve-digests"];
    skopeo(&[&copy[..], &["--dest-tls-verify=false", &source, &pushed]].concat());
    skopeo(&[&copy[..], &["--src-tls-verify=false", &pulled, &target]].concat());
    layout::assert_holds(to.path(), &image);
    let layer = image.root().digest.clone();
    let manifest = format!("/v2/shop/app/manifests/{layer}");
    let client = Client::new(&format!("http://{}", addrs[1]));
    let manifest = client.get(&manifest).expect_status(200).json();
    let layer = manifest["layers"][0]["digest"].as_str().expect("a digest");
    let sent = client.get(&format!("/v2/shop/app/blobs/{layer}"));
    let place = sent.expect_status(307).location().to_owned();
    assert!(place.contains(&seaweed.addr().to_string()), "{place}");
}

/// An upload whose node is killed goes on at the other.
fn goes_on_without(killed: &mut Process, addrs: &[SocketAddr; 2]) {
    let bytes = noise(79, 9_000_000);
    let digest = Digest::of(Algorithm::Sha256, &bytes);
    let [first, second] =
        addrs.map(|addr| Client::new(&format!("http://{addr}")).repository("shop/app"));
    let (one, other) = bytes.split_at(6_000_000);
    let at = path_of(&first.open_upload());
    let at = path_of(first.patch(&at, one).expect_status(202).location());
    killed.kill();
    let at = path_of(second.patch(&at, other).expect_status(202).location());
    second.close_upload(&at, b"", &digest).expect_status(201);
    let got = second.path(&format!("blobs/{digest}"));
    second.client().get(&got).expect_status(307);
}

/// The sessions come along; on the way back they are left.
#[test]
fn a_registry_on_a_bucket_becomes_a_cluster_and_goes_back() {
    let seaweed = Seaweed::start();
    let (storage, kept) = (seaweed.storage("alone"), scratch());
    let options = || {
        let kept = format!("metadata: {{dir: {}}}", kept.path().display());
        Options::default().storage(storage.clone()).yaml(&kept)
    };
    let mut alone = Registry::roadstead(options());
    let content = Image::new(80).layers(2).layer_size(50_000).build();
    alone.repository("shop/app").push("v1", &content);
    let bytes = noise(81, 12_000_000);
    let digest = Digest::of(Algorithm::Sha256, &bytes);
    let (before, after) = bytes.split_at(7_000_000);
    let upload = alone.repository("shop/app");
    let at = path_of(&upload.open_upload());
    let at = path_of(upload.patch(&at, before).expect_status(202).location());
    alone.stop();

    let mut group = Group::new([1]);
    let sessions = kept.path().join("sessions.redb");
    group.start(1, &["--import", &sessions.display().to_string()]);
    let mut cluster = Cluster::around(group, 0);
    for _ in 0..2 {
        cluster.add_on(&storage);
    }
    let node = cluster.node(1).repository("shop/app");
    let at = path_of(node.patch(&at, after).expect_status(202).location());
    let other = cluster.node(0).repository("shop/app");
    other.close_upload(&at, b"", &digest).expect_status(201);
    node.assert_serves("v1", &content);
    let open = path_of(&node.open_upload());
    let open = path_of(node.patch(&open, before).expect_status(202).location());
    let refused = seaweed_is_served(&cluster, &storage);
    assert!(
        refused.contains("in use by another roadstead on cluster"),
        "{refused}"
    );

    for n in 0..2 {
        cluster.stop(n);
    }
    cluster.stop_metadata();
    std::fs::remove_file(&sessions).expect("the sessions of long ago");
    // It waits until it is certain that no node is left.
    let again = Registry::roadstead(options().starts_within(DEADLINE));
    let repository = again.repository("shop/app");
    repository.assert_serves("v1", &content);
    assert!(repository.blob(&digest).expect_status(200).body == bytes);
    repository.patch(&open, after).expect_status(404);
    repository.push("v2", &content);
}

/// What a registry says that is to serve it alone meanwhile.
fn seaweed_is_served(cluster: &Cluster, storage: &str) -> String {
    let file = cluster.root().with_file_name("alone.yml");
    let yaml = format!("version: 0.1\nstorage:\n{storage}http: {{addr: '127.0.0.1:0'}}\n");
    std::fs::write(&file, yaml).expect("a configuration");
    let run = roadstead_tests::registry::command().arg("serve").arg(file);
    run.dir(cluster.root().parent().expect("a directory"))
        .deadline(DEADLINE)
        .fails()
        .said()
}
