//! Garbage collection while everyone pushes: what was acknowledged stays, no push is refused because of it, and what nothing
//! needs goes.
//!
//! `ROADSTEAD_SOAK=N` makes the load N times as long.

mod asked;
mod bucket;
mod soak;
mod writers;

use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use roadstead_tests::{Client, Content, Family, Image, Options, Registry, Seaweed, wait_until};
use rustix::process::Signal;

use crate::cluster::nodes::Cluster;
use crate::failures::soak;
use writers::{Shared, Writers};

/// No case waits longer for anything: a run takes the window, and the bytes of an index go in its third.
const DEADLINE: Duration = Duration::from_mins(4);

/// Of `gc`.
const WINDOW: Duration = Duration::from_secs(2);
const GC: &str = "gc: {interval: 1s, grace: 1s, window: 2s, untagged: true}\n";

/// Clients that do so.
const WRITERS: u64 = 3;

const CONDEMNED: &str = "garbage collection: what nothing needs";
const REMOVING: &str = "garbage collection: removing";
const OVER: &str = "garbage collection: the run is over";

/// Where the bytes of a registry lie.
#[derive(Clone, Copy)]
enum Place<'a> {
    Directory(&'a Path),
    /// And below which key.
    Bucket(&'a Seaweed, &'static str),
}

impl Place<'_> {
    /// The files with bytes in it, and the links to them.
    fn files(self) -> usize {
        match self {
            Self::Directory(root) => files(&root.join("docker/registry/v2"), &["data", "link"]),
            Self::Bucket(seaweed, root) => {
                let keys = seaweed.keys(&format!("{root}/docker/registry/v2/"));
                let is_one = |key: &&String| key.ends_with("/data") || key.ends_with("/link");
                keys.iter().filter(is_one).count()
            }
        }
    }
}

/// The files with bytes in a store.
fn blobs(root: &Path) -> usize {
    files(&root.join("docker/registry/v2/blobs"), &["data"])
}

fn files(directory: &Path, names: &[&str]) -> usize {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return 0;
    };
    let count = |entry: std::fs::DirEntry| {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            files(&entry.path(), names)
        } else {
            usize::from(names.iter().any(|name| entry.file_name() == *name))
        }
    };
    entries.filter_map(Result::ok).map(count).sum()
}

#[test]
fn what_nothing_needs_goes_and_can_be_pushed_again_at_once() {
    let registry = Registry::roadstead(Options::default().yaml(GC));
    let repository = registry.repository("kept/and/lost");
    let kept = Image::new(71).build();
    let lost = Content::index(Family::Oci, &[Image::new(72).build(), kept.clone()]);
    repository.push("kept", &kept);
    repository.push("lost", &lost);
    repository.delete_manifest("lost").expect_status(202);
    let is_gone = |digest: &roadstead_oci::Digest| repository.blob(digest).status == 404;
    wait_until("what only the index led to is gone", DEADLINE, || {
        blobs(registry.root()) == kept.documents().count()
    });
    repository.assert_serves("kept", &kept);
    for document in lost.documents() {
        let is_kept = kept.documents().any(|kept| kept.digest == document.digest);
        let is_blob = lost
            .blobs()
            .iter()
            .any(|blob| blob.digest == document.digest);
        if is_blob && !is_kept {
            assert!(is_gone(&document.digest), "{}", document.digest);
        }
    }
    repository.push("lost", &lost);
    repository.assert_serves("lost", &lost);
}

/// Without an interval, nothing is ever removed: the reference never does by itself.
#[test]
fn nothing_is_collected_unasked() {
    let gc = "gc: {grace: 0s, window: 0s, untagged: true}\n";
    let registry = Registry::roadstead(Options::default().yaml(gc));
    let repository = registry.repository("unasked");
    let lost = Image::new(73).build();
    repository.push("lost", &lost);
    repository.delete_manifest("lost").expect_status(202);
    // Another one that is asked for shows how long that would have taken.
    let asked = Registry::roadstead(Options::default().yaml(GC));
    let other = asked.repository("asked");
    other.push("lost", &lost);
    other.delete_manifest("lost").expect_status(202);
    wait_until("the other has collected", DEADLINE, || {
        blobs(asked.root()) == 0
    });
    assert_eq!(blobs(registry.root()), lost.documents().count());
    assert!(!registry.log().contains("garbage collection"));
}

fn overs(log: &str) -> usize {
    log.matches(OVER).count()
}

/// All that is left when all tags are deleted is nothing.
fn check_and_empty(clients: &[Client], kept: &[(String, String, Content)], place: Place<'_>) {
    for client in clients {
        for (name, tag, content) in kept {
            client.repository(name).assert_serves(tag, content);
        }
    }
    let client = &clients[0];
    for name in client.catalog() {
        let repository = client.repository(&name);
        for tag in repository.tags() {
            repository.delete_manifest(&tag).expect_status(202);
        }
    }
    wait_until("all that nothing needs is gone", DEADLINE, || {
        place.files() == 0
    });
    let again = Image::new(1).layer_size(4 << 10).build();
    let repository = client.repository("gc/0");
    repository.push("again", &again);
    repository.assert_serves("again", &again);
}

#[test]
fn a_registry_collects_while_everyone_pushes() {
    let registry = Registry::roadstead(Options::default().yaml(GC));
    let place = Place::Directory(registry.root());
    collects(&registry, WINDOW, 3 * times(), place);
}

/// So many runs, and then all that there is.
fn collects(registry: &Registry, window: Duration, runs: usize, place: Place<'_>) {
    let writers = Writers::start(&[registry.url()], WRITERS, window, 81);
    wait_until("it has collected several times", soaked(), || {
        overs(&registry.log()) >= runs || !writers.shared.is_well()
    });
    let pushed = writers.shared.counts().pushed.load(Ordering::Relaxed);
    let kept = writers.stop();
    assert!(pushed > 0 && !kept.is_empty());
    check_and_empty(&[registry.client()], &kept, place);
}

fn times() -> usize {
    usize::try_from(soak()).expect("a number")
}

fn soaked() -> Duration {
    DEADLINE * u32::try_from(soak()).expect("a number")
}

/// The nodes as clients find them.
fn urls(cluster: &Cluster) -> Vec<String> {
    (0..3).map(|n| cluster.node(n).url()).collect()
}

fn keys() -> String {
    node(GC)
}

fn node(gc: &str) -> String {
    format!("http:\n  addr: 127.0.0.1:0\n{gc}")
}

/// Runs that the nodes have brought to their end.
fn runs(cluster: &Cluster) -> usize {
    (0..3).map(|n| overs(&cluster.node(n).log())).sum()
}

/// Runs that they have begun.
fn condemned(cluster: &Cluster) -> usize {
    let of = |n| cluster.node(n).log().matches(CONDEMNED).count();
    (0..3).map(of).sum()
}

/// Whoever led last.
fn coordinator(cluster: &Cluster) -> usize {
    let led = (0..3).max_by_key(|n| cluster.node(*n).log().matches(CONDEMNED).count());
    led.expect("a node")
}

/// A node that sleeps across whole runs, and a coordinator that is killed while it removes.
#[test]
fn a_cluster_collects_while_everyone_pushes_and_nodes_fail() {
    let mut cluster = Cluster::start(0);
    for _ in 0..3 {
        cluster.add_with(&keys(), None);
    }
    let root = cluster.root();
    let writers = Writers::start(&urls(&cluster), WRITERS, WINDOW, 91);
    for _ in 0..soak() {
        fail(&mut cluster, &keys(), &writers.shared, 2);
    }
    let kept = writers.stop();
    check_and_empty(&clients(&cluster), &kept, Place::Directory(&root));
}

fn clients(cluster: &Cluster) -> Vec<Client> {
    (0..3).map(|n| cluster.node(n).client()).collect()
}

/// Once each; a node sleeps until so many runs of the others are over.
fn fail(cluster: &mut Cluster, keys: &str, shared: &Shared, asleep_for: usize) {
    wait_until("it collects", DEADLINE, || {
        condemned(cluster) > 0 || !shared.is_well()
    });
    let asleep = (coordinator(cluster) + 1) % 3;
    cluster.signal(asleep, Signal::STOP);
    let before = runs(cluster);
    wait_until("the others have collected without it", DEADLINE, || {
        runs(cluster) >= before + asleep_for || !shared.is_well()
    });
    cluster.signal(asleep, Signal::CONT);
    let leads = coordinator(cluster);
    let removals = |cluster: &Cluster| cluster.node(leads).log().matches(REMOVING).count();
    let before = removals(cluster);
    wait_until("the coordinator removes", DEADLINE, || {
        removals(cluster) > before || !shared.is_well()
    });
    cluster.kill(leads);
    let before = runs(cluster);
    wait_until("another goes on", DEADLINE, || {
        runs(cluster) > before || !shared.is_well()
    });
    cluster.restart_with(leads, keys);
    shared.serve_at(&urls(cluster));
    wait_until("all are members", DEADLINE, || cluster.nodes().len() == 3);
}
