//! The store, a bucket, is lost: everything waits for it or is told to come later. And nodes are lost that write there.

use std::time::Duration;

use rustix::process::Signal;
use tokio::time::Instant;

use super::drill::{Cost, Drill};
use super::fleet::{Front, Store};
use super::nodes::everything_killed;
use super::session::pause;

/// Longer than a node waits for the store, so that it is the node who says that it is lost.
const FRONT: Front = Front::Dumb(60);

/// Shorter than a try of a request to the store.
const A_MOMENT: Duration = Duration::from_secs(3);

#[test]
fn the_store_lost_is_said_so() {
    let mut drill = Drill::start(Store::Bucket, FRONT, 4);
    for _ in 0..super::soak() {
        drill.fault("a node cut off from the store", Cost::Refusals, |drill| {
            let since = Instant::now();
            drill.fleet.store_cables[1].cut();
            drill.refuses_pushes(since);
            drill.fleet.store_cables[1].mend();
        });
        drill.fault("the store paused for a moment", Cost::Latency, |drill| {
            store(drill).signal(Signal::STOP);
            pause(A_MOMENT);
            store(drill).signal(Signal::CONT);
        });
        drill.fault("the store killed", Cost::All, |drill| {
            let since = Instant::now();
            store(drill).kill();
            drill.refuses_pushes(since);
            let seaweed = drill.fleet.seaweed.as_mut();
            seaweed.expect("it is in a bucket").restart();
        });
        drill.fault(
            "everything killed, the store too",
            Cost::All,
            everything_killed,
        );
    }
    drill.check();
}

fn store(drill: &mut Drill) -> &mut roadstead_tests::process::Process {
    let seaweed = drill.fleet.seaweed.as_mut();
    seaweed.expect("it is in a bucket").process()
}
