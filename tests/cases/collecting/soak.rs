//! The soak: sixteen clients over three nodes, while what nothing needs is collected without a pause, and nodes, the
//! coordinator and the leader of the metadata service are killed and paused in turns that a seed chooses.
//!
//! The clients know what they were told, and when: a refusal of what was promised within the window is wrong, and so is
//! anything that was acknowledged and is not served. `ROADSTEAD_SOAK=70` makes it more than 100,000 requests.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use roadstead_tests::wait_until;
use rustix::process::Signal;

use super::{Place, check_and_empty, clients, coordinator, node, overs, runs, urls};
use crate::cluster::nodes::Cluster;
use crate::collecting::writers::{Counts, Shared, Writers};
use crate::failures::dice::Dice;
use crate::failures::soak;
use crate::metadata::group::Group;

const CLIENTS: u64 = 16;

/// Requests, times `ROADSTEAD_SOAK`; and between two failures.
const REQUESTS: usize = 1500;
const BETWEEN: usize = 300;

const WINDOW: Duration = Duration::from_secs(5);

/// As long as the clients try.
const DEADLINE: Duration = Duration::from_mins(10);
const GC: &str = "gc: {interval: 1s, grace: 1s, window: 5s, untagged: true}\n";
const SEED: u64 = 20_261;

const MEMBERS: [u64; 3] = [1, 2, 3];

#[derive(Debug, Default)]
struct Toll {
    /// That were ended by lives that were killed.
    runs: usize,
    killed: usize,
    paused: usize,
    leaders_killed: usize,
    leaders_paused: usize,
}

#[test]
fn sixteen_clients_lose_nothing_while_everything_fails_in_turn() {
    let mut group = Group::new(MEMBERS);
    group.start_all();
    let mut cluster = Cluster::around(group, 0);
    let root = cluster.root();
    // What nodes remember of what exists has to go with it.
    cluster.store_in(format!(
        "  cache:\n    blobdescriptor: inmemory\n  filesystem:\n    rootdirectory: {}\n  delete:\n    enabled: true\n",
        root.display()
    ));
    for _ in 0..3 {
        cluster.add_with(&node(GC), None);
    }
    let writers = Writers::start(&urls(&cluster), CLIENTS, WINDOW, SEED);
    let shared = std::sync::Arc::clone(&writers.shared);
    let goal = REQUESTS * usize::try_from(soak()).expect("a number");
    let (mut dice, mut toll) = (Dice::new(SEED), Toll::default());
    // Each at least once, in whatever order.
    for turn in 0.. {
        if turn >= 4 && (shared.operations() >= goal || !shared.is_well()) {
            break;
        }
        goes_on(&cluster, &shared);
        let n = if dice.below(2) == 0 {
            coordinator(&cluster)
        } else {
            usize::try_from(dice.below(3)).expect("a node")
        };
        let failure = if turn < 4 { turn } else { dice.below(4) };
        match failure {
            0 => kill(&mut cluster, n, &shared, &mut toll),
            1 => pause(&mut cluster, n, &shared, &mut toll),
            2 => kill_leader(&mut cluster, &mut toll),
            _ => pause_leader(&mut cluster, &mut toll),
        }
    }
    goes_on(&cluster, &shared);
    let collected = toll.runs + runs(&cluster);
    let kept = writers.stop();
    tell(shared.counts(), &toll, kept.len(), collected);
    check_and_empty(&clients(&cluster), &kept, Place::Directory(&root));
}

/// Requests and runs come to their end.
fn goes_on(cluster: &Cluster, shared: &Shared) {
    let (asked, collected) = (shared.operations() + BETWEEN, runs(cluster));
    wait_until("requests are answered, and runs end", DEADLINE, || {
        (shared.operations() >= asked && runs(cluster) > collected) || !shared.is_well()
    });
}

fn kill(cluster: &mut Cluster, n: usize, shared: &Shared, toll: &mut Toll) {
    toll.runs += overs(&cluster.node(n).log());
    cluster.kill(n);
    let asked = shared.operations() + BETWEEN;
    wait_until("the others answer", DEADLINE, || {
        shared.operations() >= asked || !shared.is_well()
    });
    cluster.restart_with(n, &node(GC));
    shared.serve_at(&urls(cluster));
    wait_until("all are members", DEADLINE, || cluster.nodes().len() == 3);
    toll.killed += 1;
}

/// Until after its lease, and across a run of the others.
fn pause(cluster: &mut Cluster, n: usize, shared: &Shared, toll: &mut Toll) {
    cluster.signal(n, Signal::STOP);
    let before = runs(cluster);
    wait_until("the others have collected without it", DEADLINE, || {
        runs(cluster) > before || !shared.is_well()
    });
    cluster.signal(n, Signal::CONT);
    toll.paused += 1;
}

fn kill_leader(cluster: &mut Cluster, toll: &mut Toll) {
    let group = cluster.group();
    let leader = group.leader(1, None);
    group.kill(leader);
    let asking = MEMBERS.into_iter().find(|id| *id != leader);
    group.leader(asking.expect("another"), Some(leader));
    group.start(leader, &[]);
    toll.leaders_killed += 1;
}

fn pause_leader(cluster: &mut Cluster, toll: &mut Toll) {
    let group = cluster.group();
    let leader = group.leader(1, None);
    let signal = |group: &mut Group, signal| {
        let process = group.running.get_mut(&leader);
        process.expect("it runs").signal(signal);
    };
    signal(group, Signal::STOP);
    let asking = MEMBERS.into_iter().find(|id| *id != leader);
    group.leader(asking.expect("another"), Some(leader));
    signal(group, Signal::CONT);
    toll.leaders_paused += 1;
}

#[expect(clippy::print_stderr, reason = "figures for whoever looks")]
fn tell(counts: &Counts, toll: &Toll, kept: usize, runs: usize) {
    let of = |count: &AtomicUsize| count.load(Ordering::Relaxed);
    eprintln!(
        "{} requests answered, {} asked again; {} pushed, {} mounted, {} found, {} tagged again, {} deleted, {} refused after \
         the window; {kept} kept; {runs} runs; {toll:?}",
        of(&counts.operations),
        of(&counts.again),
        of(&counts.pushed),
        of(&counts.mounted),
        of(&counts.found),
        of(&counts.retagged),
        of(&counts.deleted),
        of(&counts.late),
    );
}
