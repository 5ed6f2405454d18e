//! A node's lease: for how long it may take itself for a member of the cluster without asking.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::elapsed::{Elapsed, boot_time};

/// Whether this process may write, and what else it was told. Cheap to clone.
#[derive(Clone)]
pub struct Lease {
    elapsed: Elapsed,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Clone, Copy)]
struct State {
    epoch: u64,
    /// On the clock; `None`: it never runs out.
    until: Option<Duration>,
    /// On the clock, when the question was sent that was answered last with yes.
    renewed: Option<Duration>,
    is_draining: bool,
}

impl Lease {
    /// Of a process that has the store for itself.
    pub fn unlimited() -> Self {
        Self {
            elapsed: boot_time(),
            state: Arc::new(Mutex::new(State {
                epoch: 0,
                until: None,
                renewed: None,
                is_draining: false,
            })),
        }
    }

    /// Of a node that has not joined yet.
    pub(crate) fn none(elapsed: Elapsed) -> Self {
        let lease = Self {
            elapsed,
            ..Self::unlimited()
        };
        lease.end();
        lease
    }

    /// The epoch, while the lease is held. What was begun under an epoch and ends under the same one was never
    /// interrupted.
    pub fn epoch(&self) -> Option<u64> {
        let State { epoch, until, .. } = *self.lock();
        until
            .is_none_or(|until| (self.elapsed)() < until)
            .then_some(epoch)
    }

    /// The epoch that was held last, and how long ago it was renewed; `None` before the first.
    pub fn last(&self) -> Option<(u64, Duration)> {
        let State { epoch, renewed, .. } = *self.lock();
        Some((epoch, (self.elapsed)().saturating_sub(renewed?)))
    }

    /// Whether it never ends: nobody else serves the store.
    pub fn is_unlimited(&self) -> bool {
        self.lock().until.is_none()
    }

    pub fn is_held(&self) -> bool {
        self.epoch().is_some()
    }

    /// Whether an operator asked that this node gets no new work.
    pub fn is_draining(&self) -> bool {
        self.lock().is_draining
    }

    /// `asked` is when the question was sent to which the answer was yes.
    pub(crate) fn renew(&self, epoch: u64, asked: Duration, lasts: Duration) {
        let mut state = self.lock();
        state.epoch = epoch;
        state.until = Some(asked.saturating_add(lasts));
        state.renewed = Some(asked);
    }

    pub(crate) fn set_draining(&self, is_draining: bool) {
        self.lock().is_draining = is_draining;
    }

    pub(crate) fn end(&self) {
        self.lock().until = Some(Duration::ZERO);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Lease").field(&*self.lock()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    #[test]
    fn a_lease_is_counted_from_the_question() {
        let seconds = Arc::new(AtomicU64::new(100));
        let clock = Arc::clone(&seconds);
        let elapsed: Elapsed = Arc::new(move || Duration::from_secs(clock.load(Ordering::Relaxed)));
        let lease = Lease::none(Arc::clone(&elapsed));
        assert_eq!(lease.epoch(), None);
        let asked = elapsed();
        seconds.store(103, Ordering::Relaxed);
        lease.renew(7, asked, Duration::from_secs(8));
        assert_eq!(lease.epoch(), Some(7));
        seconds.store(108, Ordering::Relaxed);
        assert_eq!(lease.epoch(), None);
        assert_eq!(lease.last(), Some((7, Duration::from_secs(8))));
        lease.renew(7, elapsed(), Duration::from_secs(8));
        assert!(lease.is_held());
        lease.end();
        assert!(!lease.is_held());
        assert!(Lease::unlimited().is_held());
    }
}
