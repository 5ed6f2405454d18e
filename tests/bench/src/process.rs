//! A process, from its start to its end.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::Instant;

use crate::machine;

/// From SIGTERM to the end; what takes longer is killed.
const ENDS_WITHIN: Duration = Duration::from_secs(20);
/// How often it is looked: start-up is measured by this.
pub(crate) const LOOK_EVERY: Duration = Duration::from_micros(250);

/// Dropped, it is ended and reaped.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a program in a directory, in which the file `log` has what it says.
    pub(crate) fn start(program: &str, arguments: &[String], home: &Path) -> Result<Self> {
        let log = home.join("log");
        let child = Command::new(program)
            .args(arguments)
            .current_dir(home)
            .env_clear()
            .env("PATH", machine::search_path())
            // SeaweedFS logs there.
            .env("TMPDIR", home)
            .stdin(Stdio::null())
            .stdout(File::create(&log)?)
            .stderr(File::options().append(true).open(&log)?)
            .spawn()
            .with_context(|| format!("{program} could not be started"))?;
        let name = format!("{program} {}", arguments.first().map_or("", String::as_str));
        Ok(Self { name, child, log })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn has_ended(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// The beginning of it.
    pub(crate) fn said(&self) -> String {
        let said = fs::read_to_string(&self.log).unwrap_or_default();
        said.chars().take(4096).collect()
    }

    /// SIGKILL. It is reaped when this is dropped.
    pub(crate) fn kill(&self) -> Result<()> {
        Ok(kill_process(Pid::from_child(&self.child), Signal::KILL)?)
    }
}

impl Drop for Process {
    /// nginx's workers outlive a master that is killed: it is told to end, and has the time to tell them.
    fn drop(&mut self) {
        let _gone = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let begun = Instant::now();
        while begun.elapsed() < ENDS_WITHIN {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            pause(LOOK_EVERY * 4);
        }
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

#[expect(clippy::disallowed_methods, reason = "there is no runtime to stall")]
pub(crate) fn pause(length: Duration) {
    std::thread::sleep(length);
}
