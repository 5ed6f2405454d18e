//! The store, a bucket, is lost: everything waits for it or is told to come later. And nodes are lost that write there.

use rustix::process::Signal;
use tokio::time::Instant;

use super::drill::{Cost, Drill};
use super::fleet::Store;
use super::nodes::everything_killed;

const PATIENCE: u32 = 30;

#[test]
fn the_store_lost_is_said_so() {
    let mut drill = Drill::start(Store::Bucket, PATIENCE, 4);
    for _ in 0..super::soak() {
        drill.fault("a node killed, in a bucket", Cost::Connections, |drill| {
            drill.fleet.nodes[0].kill();
            drill.goes_on("a node was killed");
            drill.fleet.nodes[0].start();
        });
        drill.fault("a node cut off from the store", Cost::All, |drill| {
            let since = Instant::now();
            drill.fleet.store_cables[1].cut();
            drill.refuses_pushes(since);
            drill.fleet.store_cables[1].mend();
        });
        drill.fault("the store paused", Cost::All, |drill| {
            let since = Instant::now();
            store(drill).signal(Signal::STOP);
            drill.refuses_pushes(since);
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
