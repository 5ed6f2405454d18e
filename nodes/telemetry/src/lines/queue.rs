//! Lines on their way to the thread that writes them, bounded in number and bytes.
//!
//! ```text
//!   open ──finish──▶ finishing ──all written──▶ closed
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
    /// The writer has what it took in its hands, and looks again when it is written: nobody needs to wake it, which would
    /// cost each line a system call.
    is_writing: bool,
}

impl Waiting {
    fn is_all_written(&self) -> bool {
        self.text.is_empty() && !self.is_writing
    }
}

/// One writer takes what many hand in.
#[derive(Debug)]
pub(crate) struct Queue {
    limits: Limits,
    waiting: Mutex<Waiting>,
    /// There is something to write, or the queue is finishing.
    more: Condvar,
    /// All is written.
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
                is_writing: false,
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
        let is_awake = waiting.is_writing || waiting.lines > 1;
        drop(waiting);
        if !is_awake {
            self.more.notify_one();
        }
        true
    }

    /// What was taken before is written. Waits for lines and takes all there are, with their number; `None` once the queue
    /// is closed. `usual` is the room kept for those to come.
    pub(crate) fn next(&self, usual: usize) -> Option<(String, usize)> {
        let mut waiting = self.lock();
        waiting.is_writing = false;
        if waiting.is_all_written() {
            self.done.notify_all();
        }
        let mut waiting = self
            .more
            .wait_while(waiting, |waiting| {
                waiting.stage == Stage::Open && waiting.text.is_empty()
            })
            .unwrap_or_else(PoisonError::into_inner);
        if waiting.text.is_empty() {
            waiting.stage = Stage::Closed;
            self.done.notify_all();
            return None;
        }
        waiting.is_writing = true;
        let text = std::mem::replace(&mut waiting.text, String::with_capacity(usual));
        Some((text, std::mem::take(&mut waiting.lines)))
    }

    /// Waits until all that was handed in is written, or nobody writes any more; whether that was so in time.
    pub(crate) fn flush(&self, patience: Duration) -> bool {
        let (waiting, _) = self
            .done
            .wait_timeout_while(self.lock(), patience, |waiting| !waiting.is_all_written())
            .unwrap_or_else(PoisonError::into_inner);
        waiting.is_all_written()
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
