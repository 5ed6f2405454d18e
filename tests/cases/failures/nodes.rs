//! Registry nodes behind a balancer that knows nothing: connections to one that is lost break, and nothing else.

use super::drill::{Cost, Drill};
use super::fleet::{Front, Machine, NODES, Store};

/// Shorter than a lease: clients go on at other nodes while one is away.
const FRONT: Front = Front::Dumb(3);

#[test]
fn a_node_lost_costs_connections() {
    let mut drill = Drill::start(Store::Filesystem, FRONT, 3);
    for _ in 0..super::soak() {
        node_killed(&mut drill, Cost::Connections);
        node_paused(&mut drill, Cost::All);
        drill.fault("a node restarted", Cost::Connections, |drill| {
            drill.fleet.nodes[2].restart();
        });
        drill.fault("everything killed", Cost::All, everything_killed);
    }
    drill.check();
}

pub(super) fn node_killed(drill: &mut Drill, cost: Cost) {
    drill.fault("a node killed", cost, |drill| {
        drill.fleet.nodes[0].kill();
        drill.goes_on("a node was killed");
        drill.fleet.nodes[0].start();
    });
}

pub(super) fn node_paused(drill: &mut Drill, cost: Cost) {
    drill.fault("a node paused for longer than its lease", cost, |drill| {
        drill.fleet.waits_for_leases(NODES);
        drill.fleet.nodes[1].pause();
        drill.fleet.waits_for_leases(NODES - 1);
        drill.goes_on("a node was paused");
        drill.fleet.nodes[1].resume();
    });
}

/// At once, and all of it started again.
pub(super) fn everything_killed(drill: &mut Drill) {
    let fleet = &mut drill.fleet;
    for node in &mut fleet.nodes {
        node.kill();
    }
    for member in fleet.members.values_mut() {
        member.kill();
    }
    fleet.redis.kill();
    if let Some(seaweed) = &mut fleet.seaweed {
        seaweed.process().kill();
        seaweed.restart();
    }
    fleet.redis.restart();
    fleet.machines().for_each(Machine::launch);
    fleet.machines().for_each(Machine::listens);
}
