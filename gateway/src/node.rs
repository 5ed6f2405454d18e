//! One node: how it stands, what it has to do, and connections to it.
//!
//! ```text
//!             a good check                    a request failed
//!   Down ──────────────────────> Up ──────────────────────────────> Suspect
//!    ^                            │  ^                                 │ │
//!    │   `fall` bad checks        │  └─────── a good check ────────────┘ │
//!    └────────────────────────────┴────────────── a bad check ───────────┘
//! ```
//! A suspect is checked at once, and gets no requests before that. One that passes checks and fails requests goes down all
//! the same, for longer each time.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::dial::Sender;
use crate::nodes::NodeInfo;
use crate::options::Expect;

/// Connections that are kept when nobody uses them, and for how long: less than the 75 s that nodes keep theirs, so that
/// nodes do not close them under a request.
const IDLE_AT_MOST: usize = 256;
const IDLE_FOR: Duration = Duration::from_secs(50);

/// Failures in a row, each with a good check after it, that take a node out; and for how long, at first and at most.
const FAILURES: u32 = 3;
const EJECTED_FOR: Duration = Duration::from_millis(500);
const EJECTED_AT_MOST: Duration = Duration::from_secs(30);
/// A node that did well for so long is as good as one that never failed.
const FORGIVEN_AFTER: Duration = Duration::from_mins(1);

/// The least share of a node that has just come.
const LEAST_SHARE: f64 = 0.1;

/// How a node stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    Up,
    Suspect,
    Down,
}

/// A node.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) info: NodeInfo,
    takes_writes: AtomicBool,
    draining: AtomicBool,
    expect: Mutex<Option<Expect>>,
    standing: watch::Sender<Standing>,
    record: Mutex<Record>,
    in_flight: AtomicUsize,
    idle: Mutex<Vec<Idle>>,
    /// Somebody wants it checked now.
    pub(crate) check_now: Notify,
    /// It is no node any more.
    pub(crate) gone: CancellationToken,
}

#[derive(Debug)]
struct Record {
    up_since: Instant,
    failures: u32,
    ejections: u32,
    ejected_until: Instant,
}

#[derive(Debug)]
struct Idle {
    sender: Sender,
    since: Instant,
    /// The thread that it is driven on: a request on another would wake that one, and be woken by it.
    thread: ThreadId,
}

impl Node {
    pub(crate) fn new(info: NodeInfo) -> Arc<Self> {
        let now = Instant::now();
        Arc::new(Self {
            takes_writes: AtomicBool::new(info.takes_writes),
            draining: AtomicBool::new(info.draining),
            expect: Mutex::new(info.expect),
            info,
            standing: watch::Sender::new(Standing::Down),
            record: Mutex::new(Record {
                up_since: now,
                failures: 0,
                ejections: 0,
                ejected_until: now,
            }),
            in_flight: AtomicUsize::new(0),
            idle: Mutex::default(),
            check_now: Notify::new(),
            gone: CancellationToken::new(),
        })
    }

    /// What others say of it now.
    pub(crate) fn told(&self, info: &NodeInfo) {
        self.takes_writes
            .store(info.takes_writes, Ordering::Relaxed);
        self.draining.store(info.draining, Ordering::Relaxed);
        *lock(&self.expect) = info.expect;
    }

    /// What it is to answer to strangers, where somebody knows.
    pub(crate) fn expected(&self) -> Option<Expect> {
        *lock(&self.expect)
    }

    pub(crate) fn name(&self) -> &str {
        &self.info.name
    }

    pub(crate) fn standing(&self) -> Standing {
        *self.standing.borrow()
    }

    /// Whether it can be given a request.
    pub(crate) fn takes(&self, writes: bool) -> bool {
        self.standing() == Standing::Up
            && !self.draining.load(Ordering::Relaxed)
            && (!writes || self.takes_writes.load(Ordering::Relaxed))
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Ends when the node is down.
    pub(crate) async fn went_down(&self) {
        let mut standing = self.standing.subscribe();
        let _down = standing
            .wait_for(|standing| *standing == Standing::Down)
            .await;
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Requests in flight, by the share of them that it should have: it grows after the node came.
    pub(crate) fn load(&self, slow_start: Duration) -> f64 {
        let up_for = lock(&self.record).up_since.elapsed();
        let share = if up_for >= slow_start {
            1.0
        } else {
            (up_for.as_secs_f64() / slow_start.as_secs_f64()).max(LEAST_SHARE)
        };
        let requests = u32::try_from(self.in_flight()).unwrap_or(u32::MAX);
        (f64::from(requests) + 1.0) / share
    }

    /// A request is given to it, until the guard goes.
    pub(crate) fn give(self: &Arc<Self>) -> Picked {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        Picked(Arc::clone(self))
    }

    /// A check was good. Whether it came up by that.
    pub(crate) fn rise(&self) -> bool {
        let mut record = lock(&self.record);
        let now = Instant::now();
        if now < record.ejected_until {
            return false;
        }
        let before = self.standing();
        if before == Standing::Down {
            record.up_since = now;
        }
        drop(record);
        self.standing
            .send_if_modified(|standing| std::mem::replace(standing, Standing::Up) != Standing::Up);
        before == Standing::Down
    }

    /// It is down. Whether that is new.
    pub(crate) fn fall(&self) -> bool {
        lock(&self.idle).clear();
        self.standing.send_if_modified(|standing| {
            std::mem::replace(standing, Standing::Down) != Standing::Down
        })
    }

    /// A request was answered.
    pub(crate) fn did_well(&self) {
        let mut record = lock(&self.record);
        record.failures = 0;
        if record.ejections > 0 && record.ejected_until.elapsed() > FORGIVEN_AFTER {
            record.ejections = 0;
        }
    }

    /// It is slow, which may be the request's own fault: it is checked, and no more.
    pub(crate) fn is_slow(&self) {
        self.check_now.notify_one();
    }

    /// A request failed. Of many that fail at once one counts. Whether the node goes for that.
    pub(crate) fn failed(&self) -> bool {
        let was_up = self.standing.send_if_modified(|standing| {
            let is_up = *standing == Standing::Up;
            if is_up {
                *standing = Standing::Suspect;
            }
            is_up
        });
        if !was_up {
            return false;
        }
        let mut record = lock(&self.record);
        record.failures += 1;
        let ejected = record.failures >= FAILURES;
        if ejected {
            record.failures = 0;
            let longer = 2_u32.saturating_pow(record.ejections.min(16));
            record.ejections += 1;
            record.ejected_until = Instant::now() + (EJECTED_FOR * longer).min(EJECTED_AT_MOST);
        }
        drop(record);
        if ejected {
            self.fall();
        }
        self.check_now.notify_one();
        ejected
    }

    /// A connection of this thread that waits for a request, the one last used first.
    pub(crate) fn idle_connection(&self) -> Option<Sender> {
        let mut idle = lock(&self.idle);
        let now = Instant::now();
        idle.retain(|kept| kept.since + IDLE_FOR > now && !kept.sender.is_closed());
        let here = std::thread::current().id();
        // One whose answer was read a moment ago may still be at it.
        let is_free = |kept: &Idle| kept.thread == here && kept.sender.is_ready();
        let at = idle.iter().rposition(is_free)?;
        Some(idle.remove(at).sender)
    }

    /// Keeps a connection for the next request, once its answer was read.
    pub(crate) fn keep(&self, sender: Sender) {
        let mut idle = lock(&self.idle);
        if idle.len() < IDLE_AT_MOST && self.standing() != Standing::Down {
            idle.push(Idle {
                sender,
                since: Instant::now(),
                thread: std::thread::current().id(),
            });
        }
    }
}

/// A node that was given a request.
#[derive(Debug)]
pub(crate) struct Picked(Arc<Node>);

impl Picked {
    pub(crate) fn node(&self) -> &Arc<Node> {
        &self.0
    }
}

impl Drop for Picked {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn up() -> Arc<Node> {
        let node = Node::new(NodeInfo::at("a", 1));
        assert!(!node.takes(false), "nobody knows yet");
        assert!(node.rise());
        node
    }

    #[tokio::test(start_paused = true)]
    async fn a_suspect_gets_nothing_until_it_was_checked() {
        let node = up();
        assert!(!node.failed());
        assert!(!node.failed(), "those that fail together count once");
        assert_eq!(node.standing(), Standing::Suspect);
        assert!(!node.takes(false));
        node.check_now.notified().await;
        assert!(!node.rise(), "it was never down");
        assert!(node.takes(false));
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_only_passes_checks_goes_for_longer_each_time() {
        let node = up();
        for waits in [0.5, 1.0, 2.0] {
            while !node.failed() {
                node.rise();
            }
            assert_eq!(node.standing(), Standing::Down);
            let begun = Instant::now();
            while !node.rise() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            let waited = begun.elapsed().as_secs_f64();
            assert!(
                (waited - waits).abs() < 0.15,
                "{waited} s instead of {waits}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn successes_in_between_are_forgiving() {
        let node = up();
        for _ in 0..10 {
            assert!(!node.failed());
            node.rise();
            node.did_well();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_share_of_one_that_came_grows() {
        let slow = Duration::from_secs(10);
        let node = up();
        let first = node.load(slow);
        assert!((first - 10.0).abs() < 0.01, "{first}");
        tokio::time::sleep(slow / 2).await;
        assert!((node.load(slow) - 2.0).abs() < 0.01);
        tokio::time::sleep(slow / 2).await;
        let _one = node.give();
        assert!(
            (node.load(slow) - 2.0).abs() < 0.01,
            "one in flight, and the next"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_it_learns_that_it_went_down() {
        let node = up();
        let waiting = tokio::spawn({
            let node = Arc::clone(&node);
            async move { node.went_down().await }
        });
        node.failed();
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished(), "a suspect may be well");
        assert!(node.fall());
        waiting.await.unwrap();
        assert!(!node.fall(), "it is down already");
    }
}
