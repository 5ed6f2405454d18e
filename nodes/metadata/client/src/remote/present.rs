//! The leader's time on this node: told, and carried on by a clock that nobody sets.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use roadstead_machine::Timestamp;

use crate::elapsed::Elapsed;

pub(super) struct Present {
    elapsed: Elapsed,
    /// What was told last, and when.
    told: Mutex<Option<(Timestamp, Duration)>>,
}

impl Present {
    pub(super) fn new(elapsed: Elapsed) -> Self {
        Self {
            elapsed,
            told: Mutex::new(None),
        }
    }

    /// `None` before anything was heard: this node's own clock may be wrong.
    pub(super) fn now(&self) -> Option<Timestamp> {
        let told = *self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let (present, at) = told?;
        Some(present.plus((self.elapsed)().saturating_sub(at)))
    }

    /// The leader's time as it answered.
    pub(super) fn hear(&self, present: u64) {
        let at = (self.elapsed)();
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        *told = Some((Timestamp(present), at));
    }
}

impl fmt::Debug for Present {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Present").field(&self.now()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::boot_time;
    use std::sync::atomic::{AtomicU64, Ordering};

    #[test]
    fn time_goes_on_from_what_was_told() {
        let seconds = Arc::new(AtomicU64::new(100));
        let clock = Arc::clone(&seconds);
        let elapsed: Elapsed = Arc::new(move || Duration::from_secs(clock.load(Ordering::Relaxed)));
        let present = Present::new(elapsed);
        assert_eq!(present.now(), None);
        present.hear(5_000);
        seconds.store(102, Ordering::Relaxed);
        assert_eq!(present.now(), Some(Timestamp(7_000)));
    }

    #[test]
    fn the_boot_clock_runs() {
        let clock = boot_time();
        let before = clock();
        assert!(before > Duration::ZERO && clock() >= before);
    }
}
