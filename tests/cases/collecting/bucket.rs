//! The same in a bucket, where requests that expire are what fences.
//!
//! Each run waits for 30 s until nothing is taken any more that an ended lease has signed, and to empty a store takes three.

use std::time::Duration;

use roadstead_tests::{Options, Registry, Seaweed, wait_until};

use super::{DEADLINE, Place, check_and_empty, clients, collects, fail, node, urls};
use crate::cluster::nodes::Cluster;
use crate::collecting::WRITERS;
use crate::collecting::writers::Writers;

const WINDOW: Duration = Duration::from_secs(5);
const GC: &str = "gc: {interval: 1s, grace: 1s, window: 5s, untagged: true}\n";
const ROOT: &str = "collected";

#[test]
fn a_registry_collects_from_a_bucket_while_everyone_pushes() {
    let seaweed = Seaweed::start();
    let storage = seaweed.storage(ROOT);
    let registry = Registry::roadstead(Options::default().storage(storage).yaml(GC));
    collects(&registry, WINDOW, 1, Place::Bucket(&seaweed, ROOT));
}

#[test]
fn a_cluster_collects_from_a_bucket_while_everyone_pushes_and_nodes_fail() {
    let seaweed = Seaweed::start();
    let mut cluster = Cluster::start(0);
    cluster.store_in(seaweed.storage(ROOT));
    for _ in 0..3 {
        cluster.add_with(&node(GC), None);
    }
    let writers = Writers::start(&urls(&cluster), WRITERS, WINDOW, 92);
    fail(&mut cluster, &node(GC), &writers.shared, 1);
    let kept = writers.stop();
    check_and_empty(&clients(&cluster), &kept, Place::Bucket(&seaweed, ROOT));
}

/// What a killed registry was about to join is ended by the next that has the bucket for itself.
#[test]
fn multipart_uploads_that_nobody_goes_on_with_are_ended() {
    let seaweed = Seaweed::start();
    let ours = format!("{ROOT}/roadstead/uploads/left");
    seaweed.abandon_multipart(&ours);
    seaweed.abandon_multipart("of/somebody/else");
    assert_eq!(seaweed.multiparts(), 2);
    let storage = seaweed.storage(ROOT);
    let _registry = Registry::roadstead(Options::default().storage(storage));
    wait_until("its own is ended", DEADLINE, || seaweed.multiparts() == 1);
}
