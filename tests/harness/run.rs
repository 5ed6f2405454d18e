//! Another program, run with a deadline: what it said comes back, and is shown when it failed.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use crate::process::not_started;
use crate::registry::search_path;
use crate::wait::poll;

/// What a client may take: each moves a few megabytes over the loopback interface.
const DEADLINE: Duration = Duration::from_mins(1);

/// For programs that carry whole images.
pub(crate) const CLIENT: Duration = Duration::from_mins(10);

/// A program with its arguments, not yet run. It inherits nothing of the environment but `PATH`.
#[derive(Debug)]
pub struct Run {
    command: Command,
    deadline: Duration,
}

/// What a program said, and how it ended.
#[derive(Debug)]
pub struct Output {
    pub status: ExitStatus,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Output {
    /// Its standard output, without the last line's end.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).trim_end().to_owned()
    }

    /// Both streams, for what a program may say on either.
    pub fn said(&self) -> String {
        format!("{}\n{}", self.text(), self.stderr)
    }

    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.stdout)
            .unwrap_or_else(|error| panic!("not JSON ({error}): {}", self.text()))
    }
}

impl Run {
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        let mut command = Command::new(program);
        command.env_clear().env("PATH", search_path());
        Self {
            command,
            deadline: DEADLINE,
        }
    }

    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    #[must_use]
    pub fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.command.args(args);
        self
    }

    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    #[must_use]
    pub fn dir(mut self, dir: &Path) -> Self {
        self.command.current_dir(dir);
        self
    }

    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Runs it, and shows what it said if it fails.
    #[track_caller]
    pub fn ok(self) -> Output {
        let (shown, output) = self.run();
        assert!(
            output.status.success(),
            "{shown}: {}\n{}",
            output.status,
            output.said()
        );
        output
    }

    /// Runs it, however it ends.
    #[track_caller]
    pub fn output(self) -> Output {
        self.run().1
    }

    /// Runs it where it must fail.
    #[track_caller]
    pub fn fails(self) -> Output {
        let (shown, output) = self.run();
        assert!(
            !output.status.success(),
            "{shown} was to fail:\n{}",
            output.said()
        );
        output
    }

    /// Runs it, however it ends.
    #[track_caller]
    pub fn ends(self) -> Output {
        self.run().1
    }

    /// The streams go to files: a program with much to say must not wait for a reader.
    #[track_caller]
    fn run(mut self) -> (String, Output) {
        let shown = self.shown();
        let dir = crate::scratch();
        let (stdout, stderr) = (dir.path().join("stdout"), dir.path().join("stderr"));
        let create = |path| std::fs::File::create(path).expect("a file for a program's output");
        let mut child = self
            .command
            .stdin(Stdio::null())
            .stdout(create(&stdout))
            .stderr(create(&stderr))
            .spawn()
            .unwrap_or_else(|error| {
                let program = self.command.get_program().to_string_lossy();
                panic!("{}", not_started(&program, &error))
            });
        let look = || child.try_wait().expect("a child can be waited for");
        let ended = poll(self.deadline, look);
        let status = ended.unwrap_or_else(|| {
            child.kill().expect("a child can be killed");
            child.wait().expect("a child can be reaped")
        });
        let read = |path| std::fs::read(path).expect("a program's output");
        let output = Output {
            status,
            stdout: read(&stdout),
            stderr: String::from_utf8_lossy(&read(&stderr)).into_owned(),
        };
        assert!(
            ended.is_some(),
            "{shown}: still running after {:?}\n{}",
            self.deadline,
            output.said()
        );
        (shown, output)
    }

    fn shown(&self) -> String {
        let program = self.command.get_program();
        std::iter::once(program)
            .chain(self.command.get_args())
            .map(OsStr::to_string_lossy)
            .collect::<Vec<_>>()
            .join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_and_status_come_back() {
        let output = Run::new("sh").args(["-c", "echo out; echo err >&2"]).ok();
        assert_eq!(
            (output.text().as_str(), output.stderr.as_str()),
            ("out", "err\n")
        );
        assert_eq!(
            Run::new("sh").args(["-c", "exit 3"]).fails().status.code(),
            Some(3)
        );
    }

    #[test]
    #[should_panic(expected = "no-such-client is not installed: run tests/setup")]
    fn a_missing_program_is_named() {
        Run::new("no-such-client").ok();
    }

    #[test]
    #[should_panic(expected = "still running after")]
    fn a_program_that_hangs_is_ended() {
        Run::new("sleep")
            .arg("60")
            .deadline(Duration::from_millis(50))
            .ok();
    }
}
