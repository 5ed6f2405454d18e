//! A Redis server on a port of its own.

use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::process::Process;
use crate::run::Run;
use crate::wait::wait_until;

const STARTS_WITHIN: Duration = Duration::from_secs(30);

/// Dropped, it is killed. What it holds is gone with the process.
#[derive(Debug)]
pub struct Redis {
    process: Process,
    port: u16,
    password: Option<String>,
    home: TempDir,
}

impl Redis {
    #[track_caller]
    pub fn start() -> Self {
        Self::launch(None)
    }

    #[track_caller]
    pub fn with_password(password: &str) -> Self {
        Self::launch(Some(password.to_owned()))
    }

    #[track_caller]
    fn launch(password: Option<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("its address").port();
        drop(listener);
        let home = crate::scratch();
        let process = serve(port, password.as_deref(), &home);
        let redis = Self {
            process,
            port,
            password,
            home,
        };
        redis.answers();
        redis
    }

    /// `127.0.0.1:PORT`.
    pub fn addr(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// What `redis-cli` shows for a command, without the last line's end.
    #[track_caller]
    pub fn says(&self, command: &[&str]) -> String {
        let port = self.port.to_string();
        let mut arguments = vec!["-p", port.as_str()];
        if let Some(password) = &self.password {
            arguments.extend(["--no-auth-warning", "-a", password]);
        }
        let output = Run::new("redis-cli").args(arguments).args(command).ends();
        output.text().trim_end().to_owned()
    }

    #[track_caller]
    fn answers(&self) {
        wait_until("redis answers", STARTS_WITHIN, || {
            self.says(&["PING"]) == "PONG"
        });
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again, after a [`kill`](Self::kill), with nothing in it.
    #[track_caller]
    pub fn restart(&mut self) {
        self.process = serve(self.port, self.password.as_deref(), &self.home);
        self.answers();
    }

    /// It takes connections and answers nothing, until it goes [on](Self::resume).
    pub fn pause(&mut self) {
        self.process.signal(Signal::STOP);
    }

    pub fn resume(&mut self) {
        self.process.signal(Signal::CONT);
    }
}

#[track_caller]
fn serve(port: u16, password: Option<&str>, home: &TempDir) -> Process {
    let mut command = Command::new("redis-server");
    command
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
        .args(["--save", "", "--dir"])
        .arg(home.path());
    if let Some(password) = password {
        command.args(["--requirepass", password]);
    }
    Process::start(command, &home.path().join("log"))
}
