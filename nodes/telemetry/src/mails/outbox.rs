//! Letters on their way to the thread that sends them.
//!
//! ```text
//!   open ──finish──▶ finishing ──all sent, or given up──▶ closed
//! ```

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::letter::Letter;
use super::rate::Rate;

/// Letters that wait at most: an hour of a server that is down, or two megabytes.
const ROOM: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Open,
    Finishing,
    Closed,
}

#[derive(Debug)]
struct Waiting {
    stage: Stage,
    rate: Rate,
    /// The first may be with the sender.
    letters: VecDeque<Letter>,
    /// Lines that were not mailed and that no mail told of.
    left_out: u64,
}

/// One sender takes what many hand in.
#[derive(Debug)]
pub(super) struct Outbox {
    waiting: Mutex<Waiting>,
    /// There is something to send, or the outbox is finishing.
    more: Condvar,
    /// It is closed.
    closed: Condvar,
}

impl Outbox {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            waiting: Mutex::new(Waiting {
                stage: Stage::Open,
                rate: Rate::new(now),
                letters: VecDeque::new(),
                left_out: 0,
            }),
            more: Condvar::new(),
            closed: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a line may be mailed now; one that may not is counted.
    pub(super) fn admits(&self, now: Instant) -> bool {
        let mut waiting = self.lock();
        let admitted = waiting.stage == Stage::Open
            && waiting.letters.len() < ROOM
            && waiting.rate.admits(now);
        if !admitted {
            waiting.left_out += 1;
        }
        admitted
    }

    /// A letter about a line that was admitted.
    pub(super) fn push(&self, letter: Letter) {
        let mut waiting = self.lock();
        if waiting.stage == Stage::Open {
            waiting.letters.push_back(letter);
        } else {
            waiting.left_out += 1;
        }
        drop(waiting);
        self.more.notify_one();
    }

    /// Waits for a letter, which stays here until it is [taken away](Self::sent), and says how many lines were left out.
    /// `None` once all are sent and there will be no more.
    pub(super) fn next(&self) -> Option<(Letter, u64)> {
        let waiting = self
            .more
            .wait_while(self.lock(), |waiting| {
                waiting.stage == Stage::Open && waiting.letters.is_empty()
            })
            .unwrap_or_else(PoisonError::into_inner);
        let letter = waiting.letters.front()?.clone();
        Some((letter, waiting.left_out))
    }

    /// The letter has left, and with it the word of so many lines.
    pub(super) fn sent(&self, told: u64) {
        let mut waiting = self.lock();
        waiting.letters.pop_front();
        waiting.left_out = waiting.left_out.saturating_sub(told);
    }

    /// The letter never leaves.
    pub(super) fn lost(&self) {
        let mut waiting = self.lock();
        waiting.letters.pop_front();
        waiting.left_out += 1;
    }

    /// Waits before the next try; false if there should be none.
    pub(super) fn pause(&self, pause: Duration) -> bool {
        let (waiting, _) = self
            .more
            .wait_timeout_while(self.lock(), pause, |waiting| waiting.stage == Stage::Open)
            .unwrap_or_else(PoisonError::into_inner);
        waiting.stage == Stage::Open
    }

    /// Nobody sends any more.
    pub(super) fn close(&self) {
        self.lock().stage = Stage::Closed;
        self.closed.notify_all();
    }

    /// Takes no more, and waits until the sender comes to the end, but not for longer than `patience`. How many letters
    /// are left.
    pub(super) fn finish(&self, patience: Duration) -> u64 {
        let mut waiting = self.lock();
        if waiting.stage == Stage::Open {
            waiting.stage = Stage::Finishing;
        }
        self.more.notify_one();
        let (waiting, _) = self
            .closed
            .wait_timeout_while(waiting, patience, |waiting| waiting.stage != Stage::Closed)
            .unwrap_or_else(PoisonError::into_inner);
        waiting.letters.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mails::rate::{AT_ONCE, EVERY};

    const LONG: Duration = Duration::from_mins(1);

    #[test]
    fn what_is_left_out_is_told_by_the_next_letter_that_leaves() {
        let begin = Instant::now();
        let outbox = Outbox::new(begin);
        for _ in 0..AT_ONCE + 5 {
            if outbox.admits(begin) {
                outbox.push(Letter::default());
            }
        }
        // The first is refused for good, the second leaves.
        assert_eq!(outbox.next().map(|(_, left_out)| left_out), Some(5));
        outbox.lost();
        assert_eq!(outbox.next().map(|(_, left_out)| left_out), Some(6));
        outbox.sent(6);
        assert_eq!(outbox.next().map(|(_, left_out)| left_out), Some(0));
    }

    #[test]
    fn a_server_that_is_down_for_long_leaves_a_bounded_number() {
        let mut now = Instant::now();
        let outbox = Outbox::new(now);
        for _ in 0..3 * ROOM {
            now += EVERY;
            if outbox.admits(now) {
                outbox.push(Letter::default());
            }
        }
        assert_eq!(outbox.lock().letters.len(), ROOM);
        assert_eq!(outbox.lock().left_out, 2 * ROOM as u64);
        assert_eq!(outbox.finish(Duration::ZERO), ROOM as u64, "nobody sends");
        assert!(!outbox.pause(LONG), "no more tries");
        assert!(!outbox.admits(now));
    }

    #[test]
    fn an_outbox_that_finishes_waits_for_its_sender() {
        let outbox = Outbox::new(Instant::now());
        outbox.push(Letter::default());
        let left = std::thread::scope(|scope| {
            scope.spawn(|| {
                while let Some((_, left_out)) = outbox.next() {
                    outbox.sent(left_out);
                }
                outbox.close();
            });
            outbox.finish(LONG)
        });
        assert_eq!(left, 0);
        assert_eq!(outbox.next(), None);
    }
}
