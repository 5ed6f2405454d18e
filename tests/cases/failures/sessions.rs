//! U1 to U4 at random: many sessions at a time, each from a seed of its own, while nodes are killed in the middle of a chunk,
//! and wake up late.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use roadstead_tests::{Client, wait_until};

use super::dice::Dice;
use super::fleet::{DEADLINE, Fleet, Front, NODES, Store};
use super::session::{Session, Sums, pause};

/// Sessions at a time.
const AT_ONCE: usize = 8;

/// Much shorter than a node sleeps: by when it wakes up, its client is elsewhere.
const PATIENCE: Duration = Duration::from_secs(2);

/// Seeds in the test command.
const ON_A_DIRECTORY: u64 = 200;
const IN_A_BUCKET: u64 = 40;

/// What was closed, by its digest.
type Closed = BTreeMap<String, Vec<u8>>;

/// Sessions of so many seeds, several at a time, while nodes come and go.
fn run(fleet: &mut Fleet, first: u64, count: u64) -> Closed {
    let addrs: Vec<SocketAddr> = (0..NODES).map(|n| fleet.addr(n)).collect();
    let client = |addr| Client::with_patience(&format!("http://{addr}"), PATIENCE);
    let nodes: Vec<Client> = addrs.iter().map(client).collect();
    let (next, sums) = (AtomicU64::new(first), Sums::default());
    let (closed, wrong) = (Mutex::new(Closed::new()), Mutex::new(Vec::new()));
    let running = AtomicUsize::new(AT_ONCE);
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count || !lock(&wrong).is_empty() {
                        break;
                    }
                    match Session::new(&nodes, &addrs, seed).run(&sums) {
                        Ok(None) => {}
                        Ok(Some((digest, bytes))) => {
                            lock(&closed).insert(digest.to_string(), bytes);
                        }
                        Err(words) => lock(&wrong).push(format!("ROADSTEAD_SEED={seed}: {words}")),
                    }
                }
                running.fetch_sub(1, Ordering::Relaxed);
            });
        }
        let mut dice = Dice::new(first);
        while running.load(Ordering::Relaxed) > 0 {
            trouble(fleet, &mut dice);
        }
    });
    let wrong = lock(&wrong).clone();
    super::say(&format!("{count} sessions from {first}: {sums:?}"));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    closed.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One thing that befalls a node, or the leader; the others are well meanwhile.
fn trouble(fleet: &mut Fleet, dice: &mut Dice) {
    pause(Duration::from_millis(300 + dice.below(500)));
    let n = dice.size(0, NODES);
    match dice.below(10) {
        0..=3 => {
            fleet.nodes[n].kill();
            fleet.nodes[n].start();
        }
        // For longer than its lease: what it was about to write, it writes late.
        4 => {
            fleet.nodes[n].pause();
            pause(Duration::from_secs(11));
            fleet.nodes[n].resume();
        }
        5..=7 => {
            fleet.nodes[n].pause();
            pause(Duration::from_millis(200 + dice.below(1_500)));
            fleet.nodes[n].resume();
        }
        _else => {
            let id = 1 + dice.below(3);
            fleet.member(id).kill();
            fleet.member(id).start();
        }
    }
}

/// U3: each that was acknowledged is there, at every node, byte for byte.
fn check(fleet: &mut Fleet, closed: &Closed) {
    fleet.serves("the sessions");
    for (digest, bytes) in closed {
        for n in 0..NODES {
            let path = format!("/v2/random/blobs/{digest}");
            let got = fleet.node(n).get(&path).expect_status(200);
            assert!(got.body == *bytes, "{digest} at node {n}");
        }
    }
}

/// One seed again and again, or those of a run.
fn seeds(count: u64) -> (u64, u64) {
    match super::number("ROADSTEAD_SEED") {
        Some(seed) => (seed, 1),
        None => (0, count * super::soak()),
    }
}

#[test]
fn uploads_go_on_whatever_befalls_nodes_on_a_directory() {
    let mut fleet = Fleet::start(Store::Filesystem, Front::Dumb(30));
    let (first, count) = seeds(ON_A_DIRECTORY);
    let closed = run(&mut fleet, first, count);
    check(&mut fleet, &closed);
    every_blob_is_what_it_is_called(&fleet.root());
    garbage_goes(&mut fleet);
    check(&mut fleet, &closed);
}

#[test]
fn uploads_go_on_whatever_befalls_nodes_in_a_bucket() {
    let mut fleet = Fleet::start(Store::Bucket, Front::Dumb(30));
    let (first, count) = seeds(IN_A_BUCKET);
    let closed = run(&mut fleet, first, count);
    check(&mut fleet, &closed);
}

/// U2, of all that was ever published, whether anybody was told so or not.
fn every_blob_is_what_it_is_called(root: &Path) {
    let blobs = root.join("docker/registry/v2/blobs/sha256");
    let names = |dir: &Path| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(dir).expect("a directory");
        entries
            .map(|entry| entry.expect("an entry").path())
            .collect()
    };
    let mut seen = 0;
    for blob in names(&blobs).iter().flat_map(|prefix| names(prefix)) {
        let bytes = std::fs::read(blob.join("data")).expect("its data");
        let digest = super::digest(&bytes).to_string();
        let name = blob.file_name().and_then(|name| name.to_str());
        assert_eq!(digest.strip_prefix("sha256:"), name, "{}", blob.display());
        seen += 1;
    }
    assert!(seen > 0, "there are blobs");
}

/// U4: what nobody holds goes, once it is old enough that nobody can come back to it.
fn garbage_goes(fleet: &mut Fleet) {
    let left = |dir: &str| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(fleet.root().join("roadstead").join(dir));
        let entries = entries.expect("a directory");
        entries
            .map(|entry| entry.expect("an entry").path())
            .collect()
    };
    let all = || [left("uploads"), left("tmp")].concat();
    super::say(&format!(
        "{} files are left by those who were killed",
        all().len()
    ));
    let long_ago = SystemTime::UNIX_EPOCH;
    for path in all() {
        // Some go by themselves.
        if let Ok(file) = std::fs::File::options().write(true).open(&path) {
            file.set_modified(long_ago).expect("a time");
        }
    }
    // One of them does it for all.
    for n in 0..NODES {
        fleet.nodes[n].kill();
        fleet.purges_often(n);
        fleet.nodes[n].start();
    }
    // Those that were acknowledged by a node that was killed before it said that they were over.
    let open = || fleet.status()?["group"]["open_uploads"].as_u64();
    wait_until("no upload is left open", DEADLINE, || open() == Some(0));
    wait_until("what nobody holds is gone", DEADLINE, || {
        let fleet = &*fleet;
        let dir = |name: &str| fleet.root().join("roadstead").join(name);
        ["uploads", "tmp"].iter().all(|name| {
            std::fs::read_dir(dir(name)).is_ok_and(|mut entries| entries.next().is_none())
        })
    });
}
