//! A large state on its way to a member that was away, over slow connections.

use std::time::Duration;

use roadstead_machine::{Command, Segment, SessionId};
use roadstead_metadata::{Metadata as _, Remote};
use roadstead_oci::{Algorithm, Hasher};
use tokio::time::{Instant, sleep};

use super::member::{BEGINNING, elapsed};
use super::net::Process;
use super::node::BUDGET;
use super::work::origin;
use super::world::World;
use super::{Mutant, on_a_thread, truth};

/// Of a connection: 8 Mbit/s and a half more than what one append may take.
const BYTES_PER_MILLI: u64 = 1_500;

/// The state has so many places of so many bytes: sent for some seconds.
const SEGMENTS: u64 = 1_000;
const PLACE: usize = 8 << 10;

const SOON: Duration = Duration::from_mins(2);

async fn append(remote: &Remote, from: u64) {
    let command = Command::Append {
        origin: origin(SessionId([1; 16]), BEGINNING),
        from,
        segment: Segment {
            place: format!("{from:->PLACE$}"),
            length: 1,
        },
        state: Hasher::new(Algorithm::Sha256).save(),
    };
    while remote.propose(command.clone()).await.is_err() {
        sleep(Duration::from_millis(100)).await;
    }
}

/// What came of sending it.
struct Sent {
    has_arrived: bool,
    lasted: Duration,
    /// In which there was a leader meanwhile.
    terms: Vec<u64>,
}

async fn send() -> Sent {
    truth::begin(false);
    let mut world = World::quiet(3).await;
    while world.leader().is_none() {
        sleep(Duration::from_millis(100)).await;
    }
    let process = Process::new("writer:1");
    let addresses = world.addresses();
    let remote = Remote::over(world.net.from(&process), addresses, BUDGET, elapsed());
    let remote = remote.expect("a client");
    append(&remote, 0).await;
    let (leader, before) = world.leader().expect("a leader");
    let away = (leader + 1) % world.members.len();
    world.members[away].crash(false);
    for from in 1..SEGMENTS {
        append(&remote, from).await;
    }
    world.net.narrow(BYTES_PER_MILLI);
    world.start(away).await;
    let (begun, mut from, mut terms) = (Instant::now(), SEGMENTS, vec![before]);
    let goal = world.members[leader].applied();
    let has_arrived = |world: &World| world.members[away].applied() >= goal;
    while !has_arrived(&world) && begun.elapsed() < SOON {
        append(&remote, from).await;
        from += 1;
        terms.extend(world.leader().map(|(_, term)| term));
        terms.dedup();
        sleep(Duration::from_millis(50)).await;
    }
    world.net.close();
    Sent {
        has_arrived: has_arrived(&world),
        lasted: begun.elapsed(),
        terms,
    }
}

#[test]
fn a_snapshot_stalls_no_heartbeat() {
    for seed in 0..2 {
        let Sent {
            has_arrived,
            lasted,
            terms,
        } = on_a_thread(seed, None, send);
        assert!(has_arrived, "seed {seed}: it is sent in {terms:?}");
        assert!(
            lasted > Duration::from_secs(4),
            "it had to be sent: {lasted:?}"
        );
        assert_eq!(terms.len(), 1, "seed {seed}: {terms:?}");
    }
}

#[test]
fn a_snapshot_among_heartbeats_is_found() {
    let found = (0..2).any(|seed| on_a_thread(seed, Some(Mutant::OneLane), send).terms.len() > 1);
    assert!(found, "no leader was lost");
}
