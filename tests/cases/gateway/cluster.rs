//! In front of a cluster: any node goes on with anything, so clients notice nothing of any of them.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use roadstead_oci::{Algorithm, Digest};
use roadstead_tests::gateway::own_address;
use roadstead_tests::image::noise;
use roadstead_tests::{Gateway, Image, wait_until};

use crate::cluster::nodes::{Cluster, DEADLINE};

/// `expect` is left to the cluster, whose nodes ask nobody for a login.
const BELOW: &str =
    "  health: {interval: 200ms, slowstart: 1s}\n  limits: {chunk: 1048576, memory: 33554432}\n";

fn keys(addr: SocketAddr) -> String {
    format!("  advertise: '{addr}'\nhttp:\n  addr: '{addr}'\n")
}

fn start(nodes: usize) -> (Cluster, Vec<SocketAddr>, Gateway) {
    let mut cluster = Cluster::start(0);
    let addrs: Vec<SocketAddr> = (0..nodes).map(|_| own_address()).collect();
    for addr in &addrs {
        cluster.add_with(&keys(*addr), None);
    }
    let gateway = Gateway::start(&[], BELOW, &cluster.found_by());
    for addr in &addrs {
        gateway.wait_until(*addr, "up");
    }
    (cluster, addrs, gateway)
}

/// One who pushes and pulls, and would stop at the first thing that is not as it should be.
fn work(gateway: &Gateway, worker: u64, nth: u64) {
    let seed = worker * 1000 + nth;
    let repository = gateway.repository(&format!("busy/{worker}"));
    let image = Image::new(seed).layers(2).layer_size(300_000).build();
    repository.push("latest", &image);
    repository.assert_serves("latest", &image);
    // As docker does it.
    let layer = noise(seed, 6 << 20);
    let digest = Digest::of(Algorithm::Sha256, &layer);
    let session = repository.open_upload();
    let patched = repository.patch(&session, &layer).expect_status(202);
    let location = patched.location().to_owned();
    repository
        .close_upload(&location, b"", &digest)
        .expect_status(201);
    assert!(repository.blob(&digest).expect_status(200).body == layer);
}

#[test]
fn no_client_notices_that_nodes_are_killed() {
    const WORKERS: u64 = 3;
    const KILLS: usize = 9;
    let (mut cluster, addrs, gateway) = start(3);
    let (over, done) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS)
            .map(|worker| {
                let (gateway, over, done) = (&gateway, &over, &done);
                scope.spawn(move || {
                    for nth in 0.. {
                        work(gateway, worker, nth);
                        done.fetch_add(1, Ordering::Relaxed);
                        if over.load(Ordering::Relaxed) {
                            break;
                        }
                    }
                })
            })
            .collect();
        for n in (0..addrs.len()).cycle().take(KILLS) {
            let before = done.load(Ordering::Relaxed);
            // One is told to end, as in a rolling restart.
            if n == 2 {
                cluster.stop(n);
            } else {
                cluster.kill(n);
            }
            wait_until("the others go on", DEADLINE, || {
                done.load(Ordering::Relaxed) > before
                    || workers.iter().any(thread::ScopedJoinHandle::is_finished)
            });
            cluster.restart_with(n, &keys(addrs[n]));
            gateway.wait_until(addrs[n], "up");
        }
        over.store(true, Ordering::Relaxed);
    });
    assert!(done.load(Ordering::Relaxed) > KILLS);
    assert!(
        gateway.figure("roadstead_gateway_retries_total") >= 1.0,
        "they were in the way"
    );
}

#[test]
fn an_upload_goes_on_at_another_node() {
    let (mut cluster, addrs, gateway) = start(2);
    let bytes = noise(1, 24 << 20);
    let digest = Digest::of(Algorithm::Sha256, &bytes);
    let session = gateway.repository("moves").open_upload();
    let target = super::path_of(&session);
    let head = format!(
        "PATCH {target} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        gateway.addr(),
        bytes.len()
    );
    let mut raw = crate::raw::Raw::at(gateway.addr()).say(head.as_bytes());
    let (first, rest) = bytes.split_at(bytes.len() / 2);
    std::io::Write::write_all(raw.stream(), first).expect("taken");
    let figure =
        |addr: &SocketAddr| format!("roadstead_gateway_node_in_flight_requests{{node=\"{addr}\"}}");
    let at = addrs
        .iter()
        .position(|addr| gateway.figure(&figure(addr)) > 0.5);
    cluster.kill(at.expect("a node has it"));
    let answer = raw.say(rest).answer();
    assert_eq!(answer.status, 202, "{}", answer.head);
    let location = answer
        .head
        .lines()
        .find_map(|line| line.strip_prefix("Location: "));
    let repository = gateway.repository("moves");
    repository
        .close_upload(location.expect("a location"), b"", &digest)
        .expect_status(201);
    assert!(repository.blob(&digest).expect_status(200).body == bytes);
}

#[test]
fn nodes_drain_and_the_metadata_service_may_be_away() {
    let (mut cluster, addrs, gateway) = start(2);
    let repository = gateway.repository("away");
    let digest = Digest::of(Algorithm::Sha256, b"blob");
    repository.push_blob(b"blob", &digest).expect_status(201);
    let drained = addrs[0].to_string();
    cluster.command(&["drain", &drained]).ok();
    gateway.wait_until(addrs[0], "draining");
    for _ in 0..20 {
        repository.blob(&digest).expect_status(200);
    }
    cluster.stop_metadata();
    wait_until("it was noticed", DEADLINE, || {
        gateway.log().contains("the nodes stay as they were")
    });
    repository.blob(&digest).expect_status(200);
    cluster.start_metadata();
    wait_until("it is back", DEADLINE, || {
        gateway.log().contains("the metadata service is back")
    });
    cluster.command(&["drain", "--undo", &drained]).ok();
    gateway.wait_until(addrs[0], "up");
}
