//! Lines that many hand over and a thread of its own writes.
//!
//! Standard output and standard error may be pipes that nobody empties, or files on a full disk: whoever serves, or has to
//! end the process, must not wait for that. What waits is bounded. Lines that find no room, and those that the output
//! refuses, are counted and left out.

mod queue;

use std::io::{Error, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

pub(crate) use queue::Limits;
use queue::Queue;

/// Lines, and their bytes, that wait at most: a second of a busy registry, and little enough to lose in a crash.
pub(crate) const LIMITS: Limits = Limits {
    lines: 16 * 1024,
    bytes: 4 * 1024 * 1024,
};

/// A batch is written at once and flushed, so that a line is out as soon as nothing else keeps the writer busy.
const BATCH: usize = 64 * 1024;

/// Then the writer rests: the first line is out at once, and those of a busy server come together. Without it, each line
/// of ten thousand a second wakes the thread, which costs more than the request that it tells of. What has filled a batch is
/// written without.
const REST: Duration = Duration::from_millis(5);

/// What the writer found, after it wrote something, or tried to.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// So many lines were left out since this was last told; now the output takes lines again.
    LeftOut(u64),
    /// The output refuses lines. Told once, until it takes some again.
    Refused(Error),
}

/// Hands lines to the thread. Cheap to clone. The thread runs until [`Lines::finish`].
#[derive(Clone, Debug)]
pub(crate) struct Lines {
    queue: Arc<Queue>,
    left_out: Arc<AtomicU64>,
}

impl Lines {
    /// Starts the thread. `tell` is called on it, and may hand in lines itself.
    pub(crate) fn start(
        name: &str,
        limits: Limits,
        out: impl Write + Send + 'static,
        tell: fn(&Trouble),
    ) -> std::io::Result<Self> {
        let lines = Self {
            queue: Arc::new(Queue::new(limits)),
            left_out: Arc::default(),
        };
        let writer = lines.clone();
        std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || writer.write(out, tell))?;
        Ok(lines)
    }

    /// Hands a line over, its end included. Never waits.
    pub(crate) fn push(&self, line: &str) {
        if !self.queue.push(line) {
            self.left_out.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Lines that were left out since the start.
    pub(crate) fn left_out(&self) -> u64 {
        self.left_out.load(Ordering::Relaxed)
    }

    /// Waits until all is written, but not for longer than `patience`. Whether it is. Blocks.
    pub(crate) fn flush(&self, patience: Duration) -> bool {
        self.queue.flush(patience)
    }

    /// Takes no more lines, and waits until those taken are written, but not for longer than `patience`. Whether all are
    /// written, or refused by the output. Blocks.
    pub(crate) fn finish(&self, patience: Duration) -> bool {
        self.queue.finish(patience)
    }

    fn write(&self, mut out: impl Write, tell: fn(&Trouble)) {
        let (mut told, mut is_refused) = (0, false);
        while let Some((batch, lines)) = self.queue.next(BATCH) {
            let written = out.write_all(batch.as_bytes()).and_then(|()| out.flush());
            if batch.len() < BATCH {
                rest();
            }
            if let Err(error) = written {
                self.left_out.fetch_add(lines as u64, Ordering::Relaxed);
                if !is_refused {
                    is_refused = true;
                    tell(&Trouble::Refused(error));
                }
                continue;
            }
            is_refused = false;
            let left_out = self.left_out();
            if left_out > told {
                tell(&Trouble::LeftOut(left_out - told));
                told = left_out;
            }
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a thread of its own, and nobody waits for it"
)]
fn rest() {
    std::thread::sleep(REST);
}
