//! The access log: one line a request in the Combined Log Format, on standard output.
//!
//! Requests hand their line over and go on. Lines that are left out are counted; the log of the process, on standard
//! error, says so.

mod line;

use std::io::Write;
use std::time::Duration;

use crate::lines::{LIMITS, Limits, Lines, Trouble};
pub use line::Access;

/// Takes lines of the access log. Cheap to clone. The thread behind it runs until [`AccessLog::finish`].
#[derive(Clone, Debug)]
pub struct AccessLog(Lines);

impl AccessLog {
    /// Starts the thread that writes to standard output.
    pub fn to_standard_output() -> std::io::Result<Self> {
        Self::start(std::io::stdout(), LIMITS)
    }

    fn start(out: impl Write + Send + 'static, limits: Limits) -> std::io::Result<Self> {
        Lines::start("access-log", limits, out, tell).map(Self)
    }

    /// Logs an answered request. Never waits.
    pub fn log(&self, access: &Access<'_>) {
        self.0.push(&access.to_line());
    }

    /// Lines that were left out since the start.
    pub fn dropped(&self) -> u64 {
        self.0.left_out()
    }

    /// Takes no more lines, and waits until those taken are written, but not for longer than `patience`: standard output
    /// may never take them. Whether all are written. Blocks.
    pub fn finish(&self, patience: Duration) -> bool {
        self.0.finish(patience)
    }
}

fn tell(trouble: &Trouble) {
    match trouble {
        Trouble::LeftOut(lines) => tracing::warn!(
            lines,
            "standard output was slow: lines of the access log were left out"
        ),
        Trouble::Refused(error) => {
            tracing::error!(%error, "the access log cannot be written, its lines are left out");
        }
    }
}

#[cfg(test)]
mod tests;
