//! The same cluster behind two gateways: what fails behind them costs clients nothing but time.

use super::drill::{Cost, Drill};
use super::fleet::{Front, MEMBERS, NODES, Store};
use super::members::{leader_killed, quorum_killed, redis_killed};
use super::nodes::{everything_killed, node_killed, node_paused};

#[test]
fn behind_gateways_nobody_notices_what_is_lost() {
    let mut drill = Drill::start(Store::Filesystem, Front::Gateways, 5);
    for _ in 0..super::soak() {
        node_killed(&mut drill, Cost::Latency);
        node_paused(&mut drill, Cost::Latency);
        leader_killed(&mut drill);
        redis_killed(&mut drill);
        quorum_killed(&mut drill);
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
fn nobody_notices_that_every_process_is_restarted_one_by_one() {
    let mut drill = Drill::start(Store::Filesystem, Front::Gateways, 6);
    for _ in 0..super::soak() {
        drill.fault("members restarted", Cost::Latency, |drill| {
            for id in MEMBERS {
                drill.fleet.member(id).restart();
                drill.fleet.members_follow();
            }
        });
        drill.fault("nodes restarted", Cost::Latency, |drill| {
            for n in 0..NODES {
                drill.fleet.nodes[n].restart();
                drill.fleet.waits_for_leases(NODES);
            }
        });
        drill.fault("gateways restarted", Cost::Latency, |drill| {
            for n in 0..drill.fleet.gateways.len() {
                drill.fleet.front_uses_all();
                drill.fleet.gateways[n].restart();
            }
        });
    }
    drill.check();
}
