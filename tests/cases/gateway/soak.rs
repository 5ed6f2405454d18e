//! docker and skopeo push and pull large layers while nodes are killed, one every two seconds: neither sees an error.
//!
//! `ROADSTEAD_SOAK=N`: N times as many images, with layers of 1 GiB, which are cleared away one by one.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use roadstead_tests::gateway::own_address;
use roadstead_tests::image::{layout, noise};
use roadstead_tests::tools::skopeo;
use roadstead_tests::{Docker, Gateway, Image, Seaweed, scratch};

use crate::cluster::nodes::Cluster;
use crate::failures::session::pause;
use crate::failures::soak;

const NODES: usize = 3;
const KILLED_EVERY: Duration = Duration::from_secs(2);

/// Images that each client pushes and pulls. skopeo compresses nothing: of large layers it does four while docker does one.
const IMAGES: u64 = 2;
const BY_SKOPEO: u64 = 4;

/// Where the registry's part of the bucket begins.
const IN_BUCKET: &str = "soak";

const BELOW: &str = "  health: {interval: 200ms, slowstart: 1s}\n";

/// Where the layers lie.
enum Store {
    Directory(PathBuf),
    Bucket(Seaweed),
}

#[test]
fn docker_and_skopeo_do_not_notice_on_a_directory() {
    let cluster = Cluster::start(0);
    let store = Store::Directory(cluster.root());
    go_on(cluster, &store);
}

#[test]
fn docker_and_skopeo_do_not_notice_in_a_bucket() {
    let seaweed = Seaweed::start();
    let mut cluster = Cluster::start(0);
    cluster.store_in(seaweed.storage(IN_BUCKET));
    go_on(cluster, &Store::Bucket(seaweed));
}

/// Bytes of a layer: more than a gateway holds of an upload.
fn layer_size() -> usize {
    if soak() > 1 { 1 << 30 } else { 64 << 20 }
}

fn go_on(mut cluster: Cluster, store: &Store) {
    let addrs: Vec<SocketAddr> = (0..NODES).map(|_| own_address()).collect();
    let keys = |addr: SocketAddr| format!("  advertise: '{addr}'\nhttp:\n  addr: '{addr}'\n");
    for addr in &addrs {
        cluster.add_with(&keys(*addr), None);
    }
    let gateway = Gateway::start(&[], BELOW, &cluster.found_by());
    for addr in &addrs {
        gateway.wait_until(*addr, "up");
    }
    let done = AtomicUsize::new(0);
    let mut killed = 0;
    thread::scope(|scope| {
        let clients = [
            scope.spawn(|| with_skopeo(&gateway, store, &done)),
            scope.spawn(|| with_docker(&gateway, store, &done)),
        ];
        for n in (0..NODES).cycle() {
            if clients.iter().all(thread::ScopedJoinHandle::is_finished) {
                break;
            }
            pause(KILLED_EVERY);
            cluster.kill(n);
            killed += 1;
            cluster.restart_with(n, &keys(addrs[n]));
            gateway.wait_until(addrs[n], "up");
        }
    });
    let (done, figure) = (done.into_inner(), |name: &str| gateway.figure(name));
    crate::failures::say(&format!(
        "{done} pushes and pulls of {} MiB layers, nodes killed {killed} times, {} transfers gone on with elsewhere",
        layer_size() >> 20,
        figure("roadstead_gateway_resumed_total")
    ));
    assert!(killed > 1, "they were done before anything happened");
    assert!(
        figure("roadstead_gateway_resumed_total") + figure("roadstead_gateway_retries_total")
            >= 1.0,
        "nobody was in the way"
    );
}

fn with_skopeo(gateway: &Gateway, store: &Store, done: &AtomicUsize) {
    let more = if soak() > 1 { BY_SKOPEO } else { 1 };
    let images = IMAGES * soak() * more;
    for nth in 0..images {
        let image = Image::new(nth).layers(1).layer_size(layer_size()).build();
        let (from, to) = (scratch(), scratch());
        layout::write(from.path(), "v1", &image);
        let [source, target] = [&from, &to].map(|dir| format!("oci:{}:v1", dir.path().display()));
        let name = format!("soak/skopeo-{nth}");
        let registry = format!("docker://{}/{name}:v1", gateway.addr());
        let copy = ["copy", "--all", "--preserve-digests"];
        skopeo(&[&copy[..], &["--dest-tls-verify=false", &source, &registry]].concat());
        done.fetch_add(1, Ordering::Relaxed);
        skopeo(&[&copy[..], &["--src-tls-verify=false", &registry, &target]].concat());
        done.fetch_add(1, Ordering::Relaxed);
        layout::assert_holds(to.path(), &image);
        clear(gateway, &name, store);
    }
}

fn with_docker(gateway: &Gateway, store: &Store, done: &AtomicUsize) {
    let docker = Docker::start();
    for nth in 0..IMAGES * soak() {
        let name = format!("soak/docker-{nth}");
        let image = format!("{}/{name}:v1", gateway.addr());
        docker.build(&image, &[("layer", noise(1_000_000 + nth, layer_size()))]);
        let id = docker.id(&image);
        docker.run(&["push", &image]);
        done.fetch_add(1, Ordering::Relaxed);
        docker.run(&["image", "rm", &image]);
        docker.run(&["pull", &image]);
        done.fetch_add(1, Ordering::Relaxed);
        assert_eq!(docker.id(&image), id);
        docker.run(&["image", "rm", &image]);
        clear(gateway, &name, store);
    }
}

/// Makes room: nobody else has these layers.
fn clear(gateway: &Gateway, name: &str, store: &Store) {
    let manifest = gateway.repository(name).manifest("v1").expect_status(200);
    for layer in manifest.json()["layers"].as_array().expect("layers") {
        let digest = layer["digest"].as_str().expect("a digest");
        let (_, hex) = digest.split_once(':').expect("an algorithm");
        let two: String = hex.chars().take(2).collect();
        let place = format!("docker/registry/v2/blobs/sha256/{two}/{hex}");
        match store {
            Store::Directory(root) => {
                std::fs::remove_dir_all(root.join(place)).expect("it was there");
            }
            Store::Bucket(seaweed) => seaweed.remove(&format!("{IN_BUCKET}/{place}/data")),
        }
    }
}
