//! `garbage-collect` on a storage that is served: those who serve it are asked, through a socket or through the store.

use std::path::Path;
use std::thread;

use roadstead_tests::registry::command;
use roadstead_tests::{
    Client, Content, Image, Options, Registry, Run, Seaweed, scratch, wait_until,
};

use super::{DEADLINE, Place, condemned, coordinator, node};
use crate::cluster::nodes::Cluster;
use crate::operations::observed;

/// Collected at once, as it were.
const GC: &str = "gc: {grace: 0s, window: 1s, requests: 100000, bytes: 1000000000}\n";

/// Long enough to end it, or the one who leads it.
const SLOW: &str = "gc: {grace: 0s, window: 20s}\n";

fn collect(config: &Path, more: &[&str]) -> Run {
    let command = command().arg("garbage-collect").args(more);
    command.arg(config).deadline(DEADLINE)
}

/// Somewhere else than the registry, which keeps things below the directory that it was started in.
fn said(config: &Path, more: &[&str]) -> String {
    let home = scratch();
    collect(config, more).dir(home.path()).ok().text()
}

/// An image that no tag leads to.
fn lose(client: &Client, seed: u64) -> Content {
    let repository = client.repository("asked");
    let lost = Image::new(seed).build();
    repository.push("lost", &lost);
    repository.delete_manifest("lost").expect_status(202);
    lost
}

/// What would go is told with the reason, then it goes, and can be pushed again.
fn is_collected(client: &Client, config: &Path, place: Place<'_>) {
    let lost = lose(client, 74);
    let before = place.files();
    let told = said(config, &["--dry-run", "-m"]);
    let manifest = lost.root().digest.to_string();
    let untagged = format!("asked: manifest eligible for deletion: {manifest} (no tag");
    assert!(told.contains(&untagged), "{told}");
    assert_eq!(place.files(), before, "{told}");
    let told = said(config, &[]);
    assert!(told.contains("0 blobs and 0 manifests eligible"), "{told}");
    let told = said(config, &["-m"]);
    assert!(told.contains("bytes freed"), "{told}");
    assert!(place.files().is_empty(), "{told}");
    assert_eq!(said(config, &["-q", "-m"]), "");
    let repository = client.repository("asked");
    repository.push("lost", &lost);
    repository.assert_serves("lost", &lost);
}

#[test]
fn a_registry_that_serves_is_asked_to_collect() {
    let registry = Registry::roadstead(Options::default().yaml(GC));
    let place = Place::Directory(registry.root());
    is_collected(&registry.client(), &registry.config(), place);
}

#[test]
fn a_registry_that_serves_a_bucket_is_asked_to_collect() {
    let seaweed = Seaweed::start();
    let storage = seaweed.storage("asked");
    let registry = Registry::roadstead(Options::default().storage(storage).yaml(GC));
    let place = Place::Bucket(&seaweed, "asked");
    is_collected(&registry.client(), &registry.config(), place);
}

#[test]
fn a_cluster_that_serves_is_asked_to_collect() {
    let mut cluster = Cluster::start(0);
    for _ in 0..3 {
        cluster.add_with(&node(GC), None);
    }
    let config = cluster.node_with(&node(GC), None);
    let root = cluster.root();
    let client = cluster.node(1).client();
    is_collected(&client, &config, Place::Directory(&root));
}

/// Ended by another command; and brought to its end by another node.
#[test]
fn what_a_cluster_is_asked_for_is_cancelled_and_outlives_the_node_that_leads() {
    let mut cluster = Cluster::start(0);
    for _ in 0..3 {
        cluster.add_with(&node(SLOW), None);
    }
    let config = cluster.node_with(&node(SLOW), None);
    let root = cluster.root();
    let place = Place::Directory(&root);
    lose(&cluster.node(0).client(), 75);
    let before = place.files();
    let asking = {
        let config = config.clone();
        thread::spawn(move || collect(&config, &["-m"]).fails().said())
    };
    wait_until("it waits", DEADLINE, || condemned(&cluster) == 1);
    let refused = collect(&config, &[]).fails().said();
    assert!(
        refused.contains("asked for another collection"),
        "{refused}"
    );
    assert_eq!(said(&config, &["--cancel"]), "");
    let told = asking.join().expect("it is told");
    assert!(told.contains("it was cancelled"), "{told}");
    assert_eq!(place.files(), before);

    let asking = thread::spawn(move || said(&config, &["-m"]));
    wait_until("it waits again", DEADLINE, || condemned(&cluster) == 2);
    cluster.kill(coordinator(&cluster));
    let told = asking.join().expect("another goes on");
    assert!(told.contains("bytes freed"), "{told}");
    assert!(place.files().is_empty(), "{told}");
}

/// At the debug address; whoever asked there hears the rest by the command.
#[test]
fn a_collection_is_started_seen_and_ended_at_the_debug_address() {
    let (registry, debug) = observed("gc: {grace: 0s, window: 1h}\n");
    let place = Place::Directory(registry.root());
    lose(&registry.client(), 77);
    let before = place.files();
    let phase = || debug.get("/debug/collect").expect_status(200).json()["phase"].clone();
    assert_eq!(phase(), "none");
    let start = "/debug/collect/start?untagged=true";
    let browser = debug.call("POST", start).header("origin", "http://evil");
    browser.send().expect_status(403);
    debug.post(start).expect_status(202);
    debug.post("/debug/collect/start").expect_status(409);
    wait_until("it waits", DEADLINE, || phase() == "waits");
    let state = debug.get("/debug/collect").json();
    assert!(state["condemned"].as_u64() > Some(0), "{state}");
    debug.post("/debug/collect/cancel").expect_status(202);
    wait_until("it is ended", DEADLINE, || phase() == "none");
    assert_eq!(place.files(), before);
    wait_until("it is counted", DEADLINE, || {
        let figures = debug.get("/metrics").expect_status(200).text();
        figures.contains("roadstead_collection_cancelled_total 1\n")
    });
}

/// Nobody serves it: there is nothing to end.
#[test]
fn nothing_is_cancelled_where_nobody_serves() {
    let mut registry = Registry::roadstead(Options::default());
    lose(&registry.client(), 76);
    registry.stop();
    let refused = collect(&registry.config(), &["--cancel"]).fails().said();
    assert!(refused.contains("nobody serves the storage"), "{refused}");
    assert!(said(&registry.config(), &["-m"]).contains("blob eligible"));
}
