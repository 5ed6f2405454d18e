//! How many mails leave: some at once, then one now and then.

use std::time::{Duration, Instant};

/// At once: what goes wrong together is told together.
pub(super) const AT_ONCE: u32 = 10;
/// Then one in so long: a person reads them.
pub(super) const EVERY: Duration = Duration::from_mins(1);

/// What may leave.
#[derive(Debug)]
pub(super) struct Rate {
    left: u32,
    /// When the one that was added last was due.
    added: Instant,
}

impl Rate {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            left: AT_ONCE,
            added: now,
        }
    }

    /// Whether one more may leave now.
    pub(super) fn admits(&mut self, now: Instant) -> bool {
        while self.left < AT_ONCE && now.saturating_duration_since(self.added) >= EVERY {
            self.left += 1;
            self.added += EVERY;
        }
        if self.left == AT_ONCE {
            self.added = now;
        }
        let admitted = self.left > 0;
        self.left = self.left.saturating_sub(1);
        admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_leave_at_once_and_then_one_a_minute() {
        let begin = Instant::now();
        let mut rate = Rate::new(begin);
        let mut admitted = |now| (0..100).filter(|_| rate.admits(now)).count();
        assert_eq!(admitted(begin), AT_ONCE as usize);
        let just_before = EVERY.saturating_sub(Duration::from_nanos(1));
        assert_eq!(admitted(begin + just_before), 0);
        assert_eq!(admitted(begin + EVERY), 1);
        assert_eq!(admitted(begin + EVERY), 0);
        assert_eq!(admitted(begin + EVERY * 3), 2);
        assert_eq!(admitted(begin + EVERY * 1000), AT_ONCE as usize, "no more");
        assert_eq!(admitted(begin), 0, "a clock that goes back");
    }
}
