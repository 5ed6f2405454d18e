//! Members of the metadata service, and Redis: their loss costs latency, and that of the quorum costs pushes.

use std::time::Duration;

use roadstead_tests::wait_until;
use tokio::time::Instant;

use super::asking::Kind;
use super::drill::{Cost, Drill};
use super::fleet::{DEADLINE, Front, MEMBERS, NODES, Store};

/// Longer than the leader gives a node that it does not hear.
const AWAY: Duration = Duration::from_secs(15);

/// What nodes wait for, clients wait for: a deletion for a proposal, then half a minute for nodes that do not answer.
const FRONT: Front = Front::Dumb(60);

#[test]
fn a_member_lost_costs_latency() {
    let mut drill = Drill::start(Store::Filesystem, FRONT, 1);
    for _ in 0..super::soak() {
        let lost = drill.fleet.follower();
        drill.fault("a follower killed", Cost::Latency, |drill| {
            drill.fleet.member(lost).kill();
            drill.goes_on("a follower was killed");
            drill.fleet.member(lost).start();
        });
        leader_killed(&mut drill);
        let lost = drill.fleet.leader(None);
        drill.fault("the leader paused", Cost::Latency, |drill| {
            drill.fleet.member(lost).pause();
            drill.fleet.leader(Some(lost));
            drill.goes_on("the leader was paused");
            drill.fleet.member(lost).resume();
        });
        let lost = drill.fleet.leader(None);
        drill.fault(
            "the leader cut off from the others",
            Cost::Latency,
            |drill| {
                let other = |id: &&u64| **id != lost;
                for id in MEMBERS.iter().filter(other) {
                    let members = &drill.fleet.members;
                    members[&lost].place.cut(&members[id].place);
                }
                drill.goes_on("the leader was cut off from the others");
                for id in MEMBERS.iter().filter(other) {
                    let members = &drill.fleet.members;
                    members[&lost].place.mend(&members[id].place);
                }
            },
        );
    }
    drill.check();
}

#[test]
fn the_quorum_lost_costs_pushes_and_redis_lost_costs_latency() {
    let mut drill = Drill::start(Store::Filesystem, FRONT, 2);
    for _ in 0..super::soak() {
        redis_killed(&mut drill);
        drill.fault("redis paused", Cost::Latency, |drill| {
            drill.fleet.redis.pause();
            drill.goes_on("redis was paused");
            drill.fleet.redis.resume();
        });
        drill.fault("a node cut off from the members", Cost::Pushes, |drill| {
            for id in MEMBERS {
                let fleet = &drill.fleet;
                fleet.nodes[2].place.cut(&fleet.members[&id].place);
            }
            wait_until("its lease has run out", DEADLINE, || {
                drill.fleet.nodes[2].said("takes no pushes")
            });
            drill.goes_on("a node was cut off");
            for id in MEMBERS {
                let fleet = &drill.fleet;
                fleet.nodes[2].place.mend(&fleet.members[&id].place);
            }
        });
        quorum_killed(&mut drill);
        drill.fault("all members paused", Cost::Pushes, |drill| {
            let since = Instant::now();
            for id in MEMBERS {
                drill.fleet.member(id).pause();
            }
            drill.refuses_pushes(since);
            drill.goes_on_with(Kind::Pull, "all members were paused");
            for id in MEMBERS {
                drill.fleet.member(id).resume();
            }
        });
    }
    drill.check();
}

/// Whatever stands in front of the nodes.
pub(super) fn leader_killed(drill: &mut Drill) {
    let lost = drill.fleet.leader(None);
    drill.fault("the leader killed", Cost::Latency, |drill| {
        drill.fleet.member(lost).kill();
        drill.goes_on("the leader was killed");
        drill.fleet.member(lost).start();
    });
}

pub(super) fn redis_killed(drill: &mut Drill) {
    drill.fault("redis killed", Cost::Latency, |drill| {
        drill.fleet.redis.kill();
        drill.goes_on("redis was killed");
        drill.fleet.redis.restart();
    });
}

/// The leader is left, and goes on to believe that it leads.
pub(super) fn quorum_killed(drill: &mut Drill) {
    let leader = drill.fleet.leader(None);
    let others: Vec<u64> = MEMBERS.into_iter().filter(|id| *id != leader).collect();
    drill.fleet.waits_for_leases(NODES);
    let gone = |drill: &mut Drill| {
        let log = drill.fleet.member(leader).process().log();
        log.matches("is taken for gone").count()
    };
    let before = gone(drill);
    drill.fault("the quorum killed", Cost::Pushes, |drill| {
        let since = Instant::now();
        for id in &others {
            drill.fleet.member(*id).kill();
        }
        drill.refuses_pushes(since);
        drill.goes_on_with(Kind::Pull, "the quorum was killed");
        wait_until("leases would be over", DEADLINE, || since.elapsed() > AWAY);
        for id in &others {
            drill.fleet.member(*id).start();
        }
        drill.fleet.waits_for_leases(NODES);
        assert_eq!(
            gone(drill),
            before,
            "nobody could renew: that is no reason to take nodes for gone"
        );
    });
}
