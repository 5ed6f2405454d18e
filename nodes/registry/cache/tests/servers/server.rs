//! A Redis server of the test's own, on a free port, gone with its value.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// For all that happens by itself on a busy machine.
const SOON: Duration = Duration::from_mins(1);

pub(crate) struct Server {
    child: Child,
    directory: TempDir,
    arguments: Vec<String>,
    pub(crate) port: u16,
}

impl Server {
    /// With these arguments besides its port and directory.
    pub(crate) async fn start(arguments: &[&str]) -> Self {
        Self::start_on(free_port(), arguments).await
    }

    pub(crate) async fn start_on(port: u16, arguments: &[&str]) -> Self {
        let directory = TempDir::new().expect("a directory");
        let arguments = arguments.iter().map(|&argument| argument.to_owned());
        let arguments: Vec<String> = arguments.collect();
        let child = spawn(directory.path(), port, &arguments);
        let server = Self {
            child,
            directory,
            arguments,
            port,
        };
        server.answers().await;
        server
    }

    /// A sentinel, which writes to its configuration.
    pub(crate) async fn sentinel(configuration: &str) -> Self {
        let (directory, port) = (TempDir::new().expect("a directory"), free_port());
        let file = directory.path().join("sentinel.conf");
        let text = format!("port {port}\nbind 127.0.0.1\n{configuration}\n");
        std::fs::write(&file, text).expect("a configuration");
        let log = directory.path().join("log");
        let child = redis_server()
            .arg(&file)
            .arg("--sentinel")
            .arg("--logfile")
            .arg(&log)
            .spawn()
            .expect("redis-server is installed: run tests/setup");
        let server = Self {
            child,
            directory,
            arguments: Vec::new(),
            port,
        };
        server.answers().await;
        server
    }

    async fn answers(&self) {
        wait_for("redis-server answers", || async {
            self.says(&["PING"]).starts_with("PONG").then_some(())
        })
        .await;
    }

    /// What `redis-cli` shows for a command, without the last line's end.
    pub(crate) fn says(&self, command: &[&str]) -> String {
        let mut cli = Command::new("redis-cli");
        if let Some(password) = self.password() {
            cli.args(["--no-auth-warning", "-a", password]);
        }
        let port = self.port.to_string();
        let output = cli.args(["-p", &port]).args(command).output();
        let output = output.expect("redis-cli is installed: run tests/setup");
        String::from_utf8_lossy(&output.stdout)
            .trim_end()
            .to_owned()
    }

    fn password(&self) -> Option<&str> {
        let at = self
            .arguments
            .iter()
            .position(|word| word == "--requirepass")?;
        self.arguments.get(at + 1).map(String::as_str)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it can be signalled");
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it ends");
    }

    /// After [`kill`](Self::kill), with what it had saved.
    pub(crate) async fn restart(&mut self) {
        self.child = spawn(self.directory.path(), self.port, &self.arguments);
        self.answers().await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have been killed by the test.
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}

fn redis_server() -> Command {
    let mut command = Command::new("redis-server");
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command
}

fn spawn(directory: &Path, port: u16, arguments: &[String]) -> Child {
    let port = port.to_string();
    redis_server()
        .args(["--port", &port, "--bind", "127.0.0.1", "--save", ""])
        .args(["--logfile", "log", "--dir"])
        .arg(directory)
        .args(arguments)
        .spawn()
        .expect("redis-server is installed: run tests/setup")
}

pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("its address").port()
}

/// Waits until there is an answer.
pub(crate) async fn wait_for<T, F: Future<Output = Option<T>>>(
    sentence: &str,
    mut look: impl FnMut() -> F,
) -> T {
    let looking = async {
        loop {
            if let Some(answer) = look().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let answer = tokio::time::timeout(SOON, looking).await;
    answer.unwrap_or_else(|_| panic!("within {SOON:?} it did not come about that {sentence}"))
}
