//! One cluster, one load, fault after fault: each begins, lasts, heals, and what clients saw is held against what it may
//! cost.

use std::time::Duration;

use tokio::time::Instant;

use roadstead_tests::wait_until;

use super::asking::{Failure, Kind};
use super::clients::Load;
use super::fleet::{DEADLINE, Fleet, Front, NODES, Store};

/// Whole pulls and pushes that show that it goes on.
const SOME: usize = 5;

/// What a fault may cost clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cost {
    /// They wait.
    Latency,
    /// Connections to a node break.
    Connections,
    /// Pushes are told to come later.
    Pushes,
    /// All are told to come later.
    Refusals,
    /// All are told to come later; connections break.
    All,
}

/// A fault that was, and until when it was felt.
#[derive(Debug)]
struct Window {
    name: &'static str,
    cost: Cost,
    began: Instant,
    healed: Instant,
}

pub(super) struct Drill {
    pub(super) fleet: Fleet,
    pub(super) load: Load,
    windows: Vec<Window>,
}

impl Drill {
    pub(super) fn start(store: Store, front: Front, seed: u64) -> Self {
        let fleet = Fleet::start(store, front);
        let load = Load::start(&fleet.client(), seed);
        let drill = Self {
            fleet,
            load,
            windows: Vec::new(),
        };
        drill.goes_on("the start");
        drill
    }

    /// Waits until some more pulls and pushes are done.
    #[track_caller]
    pub(super) fn goes_on(&self, after: &str) {
        for kind in [Kind::Push, Kind::Pull] {
            self.goes_on_with(kind, after);
        }
    }

    #[track_caller]
    pub(super) fn goes_on_with(&self, kind: Kind, after: &str) {
        let goal = self.load.record.count(kind) + SOME;
        let sentence = format!("{kind:?} after {kind:?} is done after {after}");
        wait_until(&sentence, DEADLINE, || self.load.record.count(kind) >= goal);
    }

    /// Waits until a push was told to come later.
    #[track_caller]
    pub(super) fn refuses_pushes(&self, since: Instant) {
        wait_until("pushes are told to come later", DEADLINE, || {
            let seen = self.load.record.seen();
            seen.iter().any(|seen| {
                seen.failure == Failure::Unavailable && seen.pushes && seen.began > since
            })
        });
    }

    /// A fault, for as long as `during` takes, healed by the time it returns.
    #[track_caller]
    pub(super) fn fault(&mut self, name: &'static str, cost: Cost, during: impl FnOnce(&mut Self)) {
        let _before = self.load.record.slowest();
        let before = self.rate(Duration::from_secs(3));
        let began = Instant::now();
        during(self);
        let mended = Instant::now();
        self.fleet.serves(name);
        self.windows.push(Window {
            name,
            cost,
            began,
            healed: Instant::now(),
        });
        self.goes_on(name);
        let back = self.back_at(before, mended);
        let slowest = self.load.record.slowest();
        super::say(&format!(
            "{name}: lasted {:.1?}, {back}; the slowest answer took {slowest:.1?}",
            mended - began
        ));
    }

    /// Pulls and pushes a second, lately.
    fn rate(&self, lately: Duration) -> f64 {
        let now = Instant::now();
        let done = self.load.record.ended_within(now - lately, now);
        f64::from(u32::try_from(done).unwrap_or(u32::MAX)) / lately.as_secs_f64()
    }

    /// When throughput was back, for whoever looks.
    fn back_at(&self, before: f64, mended: Instant) -> String {
        let window = Duration::from_secs(1);
        let step = Duration::from_millis(100);
        let mut from = mended;
        let mut best = 0;
        while from + window <= Instant::now() {
            let done = self.load.record.ended_within(from, from + window);
            best = best.max(done);
            if f64::from(u32::try_from(done).unwrap_or(u32::MAX)) >= before * 0.8 {
                return format!(
                    "{before:.0}/s before, back {:.1?} after it was mended",
                    from - mended
                );
            }
            from += step;
        }
        format!(
            "{before:.0}/s before, {best}/s at most in the {:.1?} looked at since",
            mended.elapsed()
        )
    }

    /// Ends the load, and holds everything against what may be.
    #[track_caller]
    pub(super) fn check(mut self) {
        self.load.stop();
        let nodes: Vec<_> = (0..NODES).map(|n| self.fleet.node(n)).collect();
        self.load.check_at(&nodes);
        let mut bad = self.load.record.refuted();
        for seen in self.load.record.seen() {
            let allowed = self.windows.iter().any(|window| {
                let overlaps = seen.began <= window.healed && window.began <= seen.ended;
                overlaps && window.cost.allows(seen.failure, seen.pushes)
            });
            if !allowed {
                let during = self
                    .windows
                    .iter()
                    .find(|window| seen.began <= window.healed && window.began <= seen.ended)
                    .map_or("no fault", |window| window.name);
                bad.push(format!(
                    "during {during}, {:?} after {:.2?}: {}",
                    seen.failure,
                    seen.ended - seen.began,
                    seen.words
                ));
            }
        }
        super::say(&format!(
            "{} pushes, {} pulls, {} reads of tags",
            self.load.record.count(Kind::Push),
            self.load.record.count(Kind::Pull),
            self.load.record.reads()
        ));
        let shown: Vec<_> = bad.iter().take(20).cloned().collect();
        assert!(
            bad.is_empty(),
            "{} that must not be:\n{}",
            bad.len(),
            shown.join("\n")
        );
    }
}

impl Cost {
    fn allows(self, failure: Failure, pushes: bool) -> bool {
        match failure {
            Failure::Wrong => false,
            Failure::Broken => matches!(self, Self::Connections | Self::All),
            Failure::Unavailable => match self {
                Self::Latency | Self::Connections => false,
                Self::Pushes => pushes,
                Self::Refusals | Self::All => true,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_costs_what_the_table_says() {
        let costs = [
            Cost::Latency,
            Cost::Connections,
            Cost::Pushes,
            Cost::Refusals,
            Cost::All,
        ];
        let allowed = |failure, pushes| costs.map(|cost| cost.allows(failure, pushes));
        assert_eq!(allowed(Failure::Wrong, true), [false; 5]);
        assert_eq!(
            allowed(Failure::Broken, true),
            [false, true, false, false, true]
        );
        assert_eq!(
            allowed(Failure::Unavailable, true),
            [false, false, true, true, true]
        );
        assert_eq!(
            allowed(Failure::Unavailable, false),
            [false, false, false, true, true]
        );
    }
}
