//! Lines on their way to the thread that writes them, bounded in number and bytes.
//!
//! ```text
//!   open ──finish──▶ finishing ──all written──▶ closed
//!     └────────────── the output failed ──────────▲
//! ```

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What waits at most.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) lines: usize,
    pub(crate) bytes: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Open,
    Finishing,
    Closed,
}

#[derive(Debug)]
struct Waiting {
    stage: Stage,
    lines: usize,
    text: String,
}

/// One writer takes what many hand in.
#[derive(Debug)]
pub(crate) struct Queue {
    limits: Limits,
    waiting: Mutex<Waiting>,
    /// There is something to write, or the queue is finishing.
    more: Condvar,
    /// The queue is closed.
    done: Condvar,
}

impl Queue {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            waiting: Mutex::new(Waiting {
                stage: Stage::Open,
                lines: 0,
                text: String::new(),
            }),
            more: Condvar::new(),
            done: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a line; false if there is no room, or nobody writes any more.
    pub(crate) fn push(&self, line: &str) -> bool {
        let mut waiting = self.lock();
        let fits = waiting.lines < self.limits.lines
            && waiting.text.len() + line.len() <= self.limits.bytes;
        if waiting.stage != Stage::Open || !fits {
            return false;
        }
        waiting.lines += 1;
        waiting.text.push_str(line);
        drop(waiting);
        self.more.notify_one();
        true
    }

    /// Waits for lines and takes all there are; `None` once the queue is closed. `usual` is the room kept for those to
    /// come.
    pub(crate) fn next(&self, usual: usize) -> Option<String> {
        let mut waiting = self
            .more
            .wait_while(self.lock(), |waiting| {
                waiting.stage == Stage::Open && waiting.text.is_empty()
            })
            .unwrap_or_else(PoisonError::into_inner);
        if waiting.text.is_empty() {
            waiting.stage = Stage::Closed;
            self.done.notify_all();
            return None;
        }
        waiting.lines = 0;
        Some(std::mem::replace(
            &mut waiting.text,
            String::with_capacity(usual),
        ))
    }

    /// Nothing is written any more.
    pub(crate) fn close(&self) {
        let mut waiting = self.lock();
        waiting.stage = Stage::Closed;
        waiting.text = String::new();
        self.done.notify_all();
    }

    /// Takes no more, and waits for the writer to come to the end; whether it did in time.
    pub(crate) fn finish(&self, patience: Duration) -> bool {
        let mut waiting = self.lock();
        if waiting.stage == Stage::Open {
            waiting.stage = Stage::Finishing;
        }
        self.more.notify_one();
        let (waiting, _) = self
            .done
            .wait_timeout_while(waiting, patience, |waiting| waiting.stage != Stage::Closed)
            .unwrap_or_else(PoisonError::into_inner);
        waiting.stage == Stage::Closed
    }
}
