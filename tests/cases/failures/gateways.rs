//! The same cluster behind two gateways: what fails behind them costs clients nothing but time.

use tokio::time::Instant;

use super::asking::Kind;
use super::drill::{Cost, Drill};
use super::fleet::{DEADLINE, Front, MEMBERS, NODES, Store};
use super::nodes::everything_killed;

#[test]
fn behind_gateways_nobody_notices_what_is_lost() {
    let mut drill = Drill::start(Store::Filesystem, Front::Gateways, 5);
    for _ in 0..super::soak() {
        drill.fault("a node killed", Cost::Latency, |drill| {
            drill.fleet.nodes[0].kill();
            drill.goes_on("a node was killed");
            drill.fleet.nodes[0].start();
        });
        drill.fault(
            "a node paused for longer than its lease",
            Cost::Latency,
            |drill| {
                drill.fleet.waits_for_leases(NODES);
                drill.fleet.nodes[1].pause();
                drill.fleet.waits_for_leases(NODES - 1);
                drill.goes_on("a node was paused");
                drill.fleet.nodes[1].resume();
            },
        );
        let lost = drill.fleet.leader(None);
        drill.fault("the leader killed", Cost::Latency, |drill| {
            drill.fleet.member(lost).kill();
            drill.goes_on("the leader was killed");
            drill.fleet.member(lost).start();
        });
        drill.fault("redis killed", Cost::Latency, |drill| {
            drill.fleet.redis.kill();
            drill.goes_on("redis was killed");
            drill.fleet.redis.restart();
        });
        drill.fault("the quorum killed", Cost::Pushes, |drill| {
            let since = Instant::now();
            for id in [1, 2] {
                drill.fleet.member(id).kill();
            }
            drill.refuses_pushes(since);
            drill.goes_on_with(Kind::Pull, "the quorum was killed");
            for id in [1, 2] {
                drill.fleet.member(id).start();
            }
        });
        drill.fault("a gateway killed", Cost::Connections, |drill| {
            drill.fleet.gateways[0].kill();
            drill.goes_on("a gateway was killed");
            drill.fleet.gateways[0].start();
        });
        drill.fault(
            "everything behind them killed",
            Cost::All,
            everything_killed,
        );
    }
    drill.check();
}

/// As operators bring in a new version: one process after the other, each told to end and started again.
#[test]
fn nobody_notices_that_members_and_nodes_are_restarted_one_by_one() {
    let mut drill = Drill::start(Store::Filesystem, Front::Gateways, 6);
    for _ in 0..super::soak() {
        drill.fault("members restarted", Cost::Latency, |drill| {
            for id in MEMBERS {
                let stopped = drill.fleet.member(id).process().stop(DEADLINE);
                assert!(stopped.success(), "{stopped}");
                drill.fleet.member(id).start();
                drill.fleet.members_follow();
            }
        });
        drill.fault("nodes restarted", Cost::Latency, |drill| {
            for n in 0..NODES {
                let stopped = drill.fleet.nodes[n].process().stop(DEADLINE);
                assert!(stopped.success(), "{stopped}");
                drill.fleet.nodes[n].start();
                drill.fleet.waits_for_leases(NODES);
            }
        });
        // Now and then a connection breaks that was made while its gateway ended: not understood yet, and to be mended.
        drill.fault("gateways restarted", Cost::Connections, |drill| {
            for n in 0..drill.fleet.gateways.len() {
                drill.fleet.front_uses_all();
                let stopped = drill.fleet.gateways[n].process().stop(DEADLINE);
                assert!(stopped.success(), "{stopped}");
                drill.fleet.gateways[n].start();
            }
        });
    }
    drill.check();
}
