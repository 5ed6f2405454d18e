//! The access log: one line a request in the Combined Log Format, on standard output.
//!
//! Requests hand their line over and go on. A thread of its own writes: standard output may be a pipe that nobody empties,
//! and a request must not wait for that. What waits is bounded, and lines that find no room are counted and left out; the
//! log of the process, on standard error, says so.

mod line;
mod queue;

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

pub use line::Access;
use queue::{Limits, Queue};

/// Lines, and their bytes, that wait at most: a second of a busy registry, and little enough to lose in a crash.
const LIMITS: Limits = Limits {
    lines: 16 * 1024,
    bytes: 4 * 1024 * 1024,
};

/// A batch is written at once and flushed, so that a line is out as soon as nothing else keeps the writer busy.
const BATCH: usize = 64 * 1024;

/// Takes lines of the access log. Cheap to clone. The thread behind it runs until [`AccessLog::finish`].
#[derive(Clone, Debug)]
pub struct AccessLog {
    queue: Arc<Queue>,
    dropped: Arc<AtomicU64>,
}

impl AccessLog {
    /// Starts the thread that writes to standard output.
    pub fn to_standard_output() -> std::io::Result<Self> {
        Self::start(std::io::stdout(), LIMITS)
    }

    fn start(out: impl Write + Send + 'static, limits: Limits) -> std::io::Result<Self> {
        let log = Self {
            queue: Arc::new(Queue::new(limits)),
            dropped: Arc::default(),
        };
        let queue = Arc::clone(&log.queue);
        let dropped = Arc::clone(&log.dropped);
        std::thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || write(&queue, &dropped, out))?;
        Ok(log)
    }

    /// Logs an answered request. Never waits.
    pub fn log(&self, access: &Access<'_>) {
        if !self.queue.push(&access.to_line()) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Lines that were left out since the start.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Takes no more lines, and waits until those taken are written, but not for longer than `patience`: standard output
    /// may never take them. Whether all are written. Blocks.
    pub fn finish(&self, patience: Duration) -> bool {
        self.queue.finish(patience)
    }
}

/// Writes until the log is finished or standard output is closed.
fn write(queue: &Queue, dropped: &AtomicU64, mut out: impl Write) {
    let mut told = 0;
    while let Some(batch) = queue.next(BATCH) {
        if let Err(error) = out.write_all(batch.as_bytes()).and_then(|()| out.flush()) {
            tracing::error!(%error, "the access log cannot be written and ends");
            queue.close();
            return;
        }
        let lost = dropped.load(Ordering::Relaxed);
        if lost > told {
            tracing::warn!(
                lines = lost - told,
                "standard output was slow: lines of the access log were left out"
            );
            told = lost;
        }
    }
}

#[cfg(test)]
mod tests;
