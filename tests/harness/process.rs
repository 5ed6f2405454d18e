//! A server as a process: everything it says goes to a file, which is shown when a test fails.

use std::cell::RefCell;
use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Once;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::wait::{poll, wait_for};

/// Of a log, when a test fails.
const LINES_SHOWN: usize = 40;

/// Of the reason that a test failed with, where it is said again.
const REASON_SHOWN: usize = 2_000;

thread_local! {
    /// What this thread panicked with.
    static REASON: RefCell<String> = const { RefCell::new(String::new()) };
}

/// A process that is ended and reaped when it is dropped, at the latest.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    ended: Option<ExitStatus>,
    log: PathBuf,
    /// The byte of the log at which this process begins: an earlier one may have written to the same file.
    begins: usize,
}

impl Process {
    /// Starts `command` with its standard output and error appended to the file `log`.
    ///
    /// # Panics
    /// When it cannot be started; a program that is not installed is named, with what installs it.
    #[track_caller]
    pub fn start(mut command: Command, log: &Path) -> Self {
        remember_reasons();
        let name = command.get_program().to_string_lossy().into_owned();
        let begins = written(log).len();
        let child = command
            .stdin(Stdio::null())
            .stdout(append(log))
            .stderr(append(log))
            .spawn()
            .unwrap_or_else(|error| panic!("{}", not_started(&name, &error)));
        Self {
            name,
            child,
            ended: None,
            log: log.to_owned(),
            begins,
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has said so far, on both streams.
    pub fn log(&self) -> String {
        let written = written(&self.log);
        // Between two characters for this process, whatever came before it.
        let own = written.get(self.begins..).unwrap_or_default();
        String::from_utf8_lossy(own).into_owned()
    }

    /// How it ended, if it did.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().expect("a child can be waited for");
        }
        self.ended
    }

    /// Looks through the log until `find` finds something in it.
    ///
    /// # Panics
    /// When the process ends first, or nothing is found within `deadline`.
    #[track_caller]
    pub fn wait_for_log<T>(
        &mut self,
        sentence: &str,
        deadline: Duration,
        find: impl Fn(&str) -> Option<T>,
    ) -> T {
        let found = poll(deadline, || {
            // Asked in this order, so that the last words of a process that ended are read.
            let ended = self.ended();
            match (find(&self.log()), ended) {
                (Some(found), _) => Some(Ok(found)),
                (None, Some(status)) => Some(Err(format!("it ended ({status})"))),
                (None, None) => None,
            }
        });
        match found.unwrap_or_else(|| Err(format!("{deadline:?} went by"))) {
            Ok(found) => found,
            Err(why) => panic!(
                "{}: {why} before {sentence}; it said:\n{}",
                self.name,
                self.log()
            ),
        }
    }

    /// Sends a signal. One to a process that has ended goes nowhere.
    pub fn signal(&mut self, signal: Signal) {
        if self.ended().is_none() {
            let pid = Pid::from_child(&self.child);
            kill_process(pid, signal).expect("a child can be signalled");
        }
    }

    /// SIGTERM, and how it ended.
    ///
    /// # Panics
    /// When it has not ended within `deadline`.
    #[track_caller]
    pub fn stop(&mut self, deadline: Duration) -> ExitStatus {
        self.signal(Signal::TERM);
        let sentence = format!("{} ended after SIGTERM", self.name);
        wait_for(&sentence, deadline, || self.ended())
    }

    /// SIGKILL: no last words. Does nothing to a process that has ended.
    pub fn kill(&mut self) {
        if self.ended().is_none() {
            self.child.kill().expect("a child can be killed");
            self.ended = Some(self.child.wait().expect("a child can be reaped"));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        let said = self.log();
        if std::thread::panicking() {
            #[expect(clippy::print_stderr, reason = "shown beside the test that failed")]
            {
                eprintln!(
                    "--- {} ({}) said at last:\n{}--- of a case that failed: {}",
                    self.name,
                    self.log.file_name().unwrap_or_default().display(),
                    last(&said),
                    REASON.with_borrow(String::clone)
                );
            }
        } else {
            assert!(
                !said.contains("panicked at"),
                "{} panicked while it ran:\n{said}",
                self.name
            );
        }
    }
}

/// What a test failed with is said again after the logs: they are long, and often only the end of it all is kept.
fn remember_reasons() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let shown = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panicked| {
            let reason = panicked.to_string().chars().take(REASON_SHOWN).collect();
            // A thread may panic at its very end.
            let _too_late = REASON.try_with(|kept| kept.replace(reason));
            shown(panicked);
        }));
    });
}

/// The sentence for a program that could not be started.
pub(crate) fn not_started(program: &str, error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => format!("{program} is not installed: run tests/setup"),
        _ => format!("{program} could not be started: {error}"),
    }
}

/// What is worth showing of a log: a busy server's is megabytes.
fn last(log: &str) -> &str {
    let cut = log.rmatch_indices('\n').nth(LINES_SHOWN);
    cut.and_then(|(at, _)| log.get(at + 1..)).unwrap_or(log)
}

fn append(log: &Path) -> File {
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(log)
        .expect("a log file")
}

fn written(log: &Path) -> Vec<u8> {
    std::fs::read(log).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_begins_within_a_character_of_another_has_a_log_of_its_own() {
        let home = crate::scratch();
        let log = home.path().join("log");
        // A program that was killed while it wrote, and one that begins with what looks like the rest.
        std::fs::write(&log, b"killed\xc3").expect("a file");
        let mut printf = Command::new("printf");
        printf.arg("\\244rger");
        let mut process = Process::start(printf, &log);
        let all = process.wait_for_log("it was done", Duration::from_secs(30), |log| {
            log.ends_with("rger").then(|| log.to_owned())
        });
        assert_eq!(all, "\u{fffd}rger");
    }
}
