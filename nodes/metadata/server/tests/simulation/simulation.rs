//! The group and its nodes from a seed: one thread, a clock that jumps to where something happens, and everything that
//! can go wrong with disks, networks, clocks and processes. What must hold is looked at all the time; in the end all
//! is healed, and must settle.
//!
//! `ROADSTEAD_SIMULATIONS=n` runs n seeds; `ROADSTEAD_SEED=n` runs that one and prints what happens.

mod chance;
mod disk;
mod links;
mod member;
mod net;
mod node;
mod operator;
mod runtime;
mod snapshots;
mod truth;
mod work;
mod world;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::hash::Hasher as _;
use std::time::Duration;

use tokio::time::{Instant, sleep};

pub(crate) use runtime::Runtime;
pub(crate) use truth::applied;
use world::World;

/// Seeds in the test command, of each of the [`PARTS`].
const SEEDS: u64 = 75;
const PARTS: u64 = 4;

/// How long things go wrong, and within which time all must be well again.
const FAULTS_FOR: Duration = Duration::from_secs(16);
const SETTLES_WITHIN: Duration = Duration::from_mins(1);

/// How often it is looked.
const STEP: Duration = Duration::from_millis(20);

/// Entries in the log for each answer that was had, at most, and so many more: tries of which the answer was lost.
const ENTRIES_PER_ANSWER: u64 = 3;
const ENTRIES_MORE: u64 = 600;

/// A mistake that a simulation must find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mutant {
    /// Disks that say too early that they have synced.
    LyingDisks,
    /// A lease is taken for over before its node does.
    ExpiresEarly,
    /// A proposal takes effect however late it comes.
    NeverTooLate,
    /// A member that lost its disk answers under its old name.
    AnyDisk,
    /// Reads are answered, and leases renewed, by whoever takes itself for the leader.
    ReadsUnconfirmed,
    /// A removal is answered before all know of it.
    NobodyWaits,
    /// Members are let go whoever is left.
    LetsGoBlindly,
    /// Proposals do not wait for an import.
    ImportsLate,
    /// A snapshot goes where heartbeats go.
    OneLane,
}

thread_local! {
    static MUTANT: Cell<Option<Mutant>> = const { Cell::new(None) };
    static BEGUN: RefCell<Option<Instant>> = const { RefCell::new(None) };
}

/// Whether the code is to have a mistake.
pub(crate) fn is(mutant: Mutant) -> bool {
    MUTANT.get() == Some(mutant)
}

pub(crate) fn is_running() -> bool {
    chance::is_seeded()
}

fn begun() -> Instant {
    BEGUN.with_borrow(|begun| begun.expect("a simulation"))
}

/// How one ended.
#[derive(Debug, PartialEq, Eq)]
struct End {
    violation: Option<String>,
    /// Of all events.
    events: u64,
    served: u64,
    entries: u64,
}

/// Runs one.
fn simulate(seed: u64, mutant: Option<Mutant>, is_loud: bool) -> End {
    on_a_thread(seed, mutant, move || history(is_loud))
}

/// On a thread of its own, where all randomness follows from the seed and time is what somebody waits for.
fn on_a_thread<T: Send + 'static, F: Future<Output = T>>(
    seed: u64,
    mutant: Option<Mutant>,
    history: impl FnOnce() -> F + Send + 'static,
) -> T {
    let run = move || {
        chance::begin(seed);
        MUTANT.set(mutant);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            BEGUN.set(Some(Instant::now()));
            history().await
        })
    };
    let thread = std::thread::Builder::new().stack_size(8 << 20).spawn(run);
    thread.expect("a thread").join().expect("a whole run")
}

async fn history(is_loud: bool) -> End {
    truth::begin(is_loud);
    let mut world = World::begin().await;
    goes_wrong(&mut world).await;
    if !is_over() {
        world.heal().await;
        settles(&mut world).await;
    }
    let served = world.sessions.served();
    truth::look(|truth| End {
        violation: truth.violation.clone(),
        events: truth.events.finish(),
        served,
        entries: truth.entries(),
    })
}

fn is_over() -> bool {
    truth::look(|truth| truth.violation.is_some())
}

async fn goes_wrong(world: &mut World) {
    let mut next = Instant::now() + chance::millis(0..3_000);
    while begun().elapsed() < FAULTS_FOR && !is_over() {
        sleep(STEP).await;
        world.check();
        world.catch_up().await;
        if Instant::now() >= next {
            world.fault();
            next = Instant::now() + chance::millis(100..3_000);
        }
    }
}

/// Everybody is served again; then all say goodbye, and have the same.
async fn settles(world: &mut World) {
    until(world, World::trouble).await;
    let served = world.sessions.served();
    until(world, |world| {
        let more = world.sessions.served() - served;
        (more < 30).then(|| format!("only {more} proposals were answered"))
    })
    .await;
    world.end();
    until(world, |world| {
        (!world.all_ended()).then(|| "not all have ended".to_owned())
    })
    .await;
    until(world, World::compare).await;
    let served = world.sessions.served();
    truth::look(|truth| {
        let entries = truth.entries();
        if entries > served * ENTRIES_PER_ANSWER + ENTRIES_MORE {
            truth.violated(format_args!("{entries} entries for {served} answers"));
        }
    });
}

async fn until(world: &mut World, trouble: impl Fn(&World) -> Option<String>) {
    let deadline = Instant::now() + SETTLES_WITHIN;
    while let Some(trouble) = trouble(world) {
        if is_over() {
            return;
        }
        if Instant::now() > deadline {
            truth::violated(format_args!("it does not settle: {trouble}"));
            return;
        }
        sleep(STEP).await;
        world.check();
        world.tend().await;
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var_os(name)?.to_str()?.parse().ok()
}

/// What a failure is told with.
struct Failure(u64, End);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(seed, end) = self;
        let violation = end.violation.as_deref().unwrap_or_default();
        write!(
            f,
            "seed {seed}: {violation} (ROADSTEAD_SEED={seed} shows how)"
        )
    }
}

/// One part of the seeds.
fn part(which: u64) {
    if let Some(seed) = number("ROADSTEAD_SEED") {
        if seed % PARTS == which {
            let end = simulate(seed, None, true);
            assert!(end.violation.is_none(), "{}", Failure(seed, end));
        }
        return;
    }
    let seeds = number("ROADSTEAD_SIMULATIONS").map_or(SEEDS, |all| all.div_ceil(PARTS));
    let (mut served, mut entries) = (0, 0);
    for seed in (0..seeds).map(|n| n * PARTS + which) {
        let end = simulate(seed, None, false);
        assert!(end.violation.is_none(), "{}", Failure(seed, end));
        served += end.served;
        entries += end.entries;
    }
    println!("{seeds} seeds: {served} answers, {entries} entries");
    assert!(served > seeds * 30, "hardly anybody was served: {served}");
}

#[test]
fn seeds_of_the_first_part_hold() {
    part(0);
}

#[test]
fn seeds_of_the_second_part_hold() {
    part(1);
}

#[test]
fn seeds_of_the_third_part_hold() {
    part(2);
}

#[test]
fn seeds_of_the_fourth_part_hold() {
    part(3);
}

/// Calls and answers that take longer than is usual, between machines that have too much to do: it is served, only later,
/// and by another when the leader is lost.
#[test]
fn a_group_serves_while_every_call_is_slow() {
    for seed in 0..8 {
        let violation = on_a_thread(seed, None, || async {
            truth::begin(false);
            let mut world = World::begin().await;
            until(&mut world, World::trouble).await;
            world.slow_down();
            world.lose_leader().await;
            settles(&mut world).await;
            truth::look(|truth| truth.violation.clone())
        });
        assert_eq!(violation, None, "seed {seed}");
    }
}

/// How many seeds it takes until a mistake is found; it must be fewer than are run.
fn finds(mutant: Mutant) {
    let found = (0..SEEDS * PARTS).find_map(|seed| {
        let violation = simulate(seed, Some(mutant), false).violation?;
        Some((seed, violation))
    });
    let (seed, violation) = found.unwrap_or_else(|| panic!("{mutant:?} is not found"));
    println!("{mutant:?} is found by seed {seed}: {violation}");
}

#[test]
fn disks_that_lie_are_found() {
    finds(Mutant::LyingDisks);
}

#[test]
fn a_lease_that_is_ended_early_is_found() {
    finds(Mutant::ExpiresEarly);
}

#[test]
fn a_proposal_that_is_never_too_late_is_found() {
    finds(Mutant::NeverTooLate);
}

#[test]
fn a_disk_that_answers_under_the_name_of_another_is_found() {
    finds(Mutant::AnyDisk);
}

#[test]
fn reads_without_a_quorum_are_found() {
    finds(Mutant::ReadsUnconfirmed);
}

#[test]
fn a_removal_that_nobody_waits_for_is_found() {
    finds(Mutant::NobodyWaits);
}

#[test]
fn a_member_that_is_let_go_blindly_is_found() {
    finds(Mutant::LetsGoBlindly);
}

#[test]
fn a_proposal_before_an_import_is_found() {
    finds(Mutant::ImportsLate);
}

#[test]
fn a_seed_runs_the_same_again() {
    for seed in [7, 100, 1_000_001] {
        assert_eq!(
            simulate(seed, None, false),
            simulate(seed, None, false),
            "seed {seed}"
        );
    }
}
