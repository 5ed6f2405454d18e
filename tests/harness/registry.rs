//! A registry as a process on a port of its own: Roadstead, or the reference.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use tempfile::TempDir;

use crate::client::{Client, Repository};
use crate::process::Process;
use crate::run::Run;

/// From the start of the process to its open port: generous, since a debug build may share two cores with a compiler.
const STARTS_WITHIN: Duration = Duration::from_secs(30);
/// From SIGTERM to the end. A drain that waits for nobody takes milliseconds.
const STOPS_WITHIN: Duration = Duration::from_secs(30);

/// Which program serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `roadstead serve`, from the build that the tests belong to, or `ROADSTEAD_BIN`.
    Roadstead,
    /// Debian's `docker-registry`.
    Reference,
}

impl Kind {
    /// What the cases run against: Roadstead, unless `ROADSTEAD_TEST_AGAINST=reference` puts the cases themselves to
    /// the test.
    pub fn under_test() -> Self {
        if std::env::var_os("ROADSTEAD_TEST_AGAINST").is_some_and(|kind| kind == "reference") {
            Self::Reference
        } else {
            Self::Roadstead
        }
    }

    fn program(self) -> PathBuf {
        match self {
            Self::Roadstead => built("roadstead"),
            Self::Reference => PathBuf::from("docker-registry"),
        }
    }
}

/// How a registry is started; the default is one with a directory of its own and deletion on.
#[derive(Debug, Clone, Default)]
pub struct Options {
    root: Option<PathBuf>,
    storage: Option<String>,
    yaml: String,
    env: Vec<(String, String)>,
    open_files: Option<u32>,
    starts_within: Option<Duration>,
}

impl Options {
    /// Serves the images under `root`, which outlives the registry.
    #[must_use]
    pub fn root(mut self, root: impl Into<PathBuf>) -> Self {
        self.root = Some(root.into());
        self
    }

    /// Stores elsewhere than in a directory: what stands below `storage`, with its indentation.
    #[must_use]
    pub fn storage(mut self, keys: impl Into<String>) -> Self {
        self.storage = Some(keys.into());
        self
    }

    /// Adds top-level keys to the configuration.
    #[must_use]
    pub fn yaml(mut self, keys: &str) -> Self {
        self.yaml.push_str(keys);
        self.yaml.push('\n');
        self
    }

    /// Limits the files that the process may have open, as `ulimit -n` does.
    #[must_use]
    pub fn open_files(mut self, limit: u32) -> Self {
        self.open_files = Some(limit);
        self
    }

    /// Gives it more time to listen, where it has to wait for something.
    #[must_use]
    pub fn starts_within(mut self, deadline: Duration) -> Self {
        self.starts_within = Some(deadline);
        self
    }

    /// Listens there, also when it comes back.
    #[must_use]
    pub fn at(self, addr: SocketAddr) -> Self {
        self.env("REGISTRY_HTTP_ADDR", &addr.to_string())
    }

    /// Sets a variable, such as `REGISTRY_STORAGE_DELETE_ENABLED`. None is inherited but `PATH`.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// A registry that serves on 127.0.0.1. Dropped, it is killed and reaped, and its directories are removed.
#[derive(Debug)]
pub struct Registry {
    process: Process,
    kind: Kind,
    addr: SocketAddr,
    root: PathBuf,
    env: Vec<(String, String)>,
    open_files: Option<u32>,
    /// Configuration, log and, unless another was given, the root.
    home: TempDir,
}

impl Registry {
    /// `roadstead serve`.
    #[track_caller]
    pub fn roadstead(options: Options) -> Self {
        Self::start(Kind::Roadstead, options)
    }

    /// The reference, on the images under `root`.
    #[track_caller]
    pub fn reference(root: &Path) -> Self {
        Self::start(Kind::Reference, Options::default().root(root))
    }

    /// What the cases are about; see [`Kind::under_test`].
    #[track_caller]
    pub fn under_test(options: Options) -> Self {
        Self::start(Kind::under_test(), options)
    }

    /// Starts a registry and waits until it listens.
    #[track_caller]
    pub fn start(kind: Kind, options: Options) -> Self {
        let home = crate::scratch();
        let root = options.root.unwrap_or_else(|| home.path().join("root"));
        let storage = options.storage.unwrap_or_else(|| in_directory(&root));
        let config = configuration(&storage, &options.yaml);
        std::fs::write(home.path().join("config.yml"), config).expect("a configuration file");
        let open_files = options.open_files;
        let within = options.starts_within.unwrap_or(STARTS_WITHIN);
        let (process, addr) = launch(kind, home.path(), &options.env, open_files, within);
        Self {
            process,
            kind,
            addr,
            root,
            env: options.env,
            open_files,
            home,
        }
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Where it listens: `127.0.0.1:PORT`, which is also how clients name it.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// The storage root, above `docker/registry/v2`.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The configuration file, which the reference's own commands take as well.
    pub fn config(&self) -> PathBuf {
        self.home.path().join("config.yml")
    }

    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// What it has said since it was last started.
    pub fn log(&self) -> String {
        self.process.log()
    }

    pub fn client(&self) -> Client {
        Client::new(&self.url())
    }

    pub fn repository(&self, name: &str) -> Repository {
        self.client().repository(name)
    }

    /// `127.0.0.1:PORT/name`, as clients write it.
    pub fn image(&self, name: &str) -> String {
        format!("{}/{name}", self.addr)
    }

    /// SIGTERM, and how it ended.
    #[track_caller]
    pub fn stop(&mut self) -> ExitStatus {
        self.process.stop(STOPS_WITHIN)
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again on the same root with the same configuration, after a [`stop`](Self::stop) if it still runs.
    /// The port is another one.
    #[track_caller]
    pub fn restart(&mut self) {
        if self.process.ended().is_none() {
            self.stop();
        }
        let (home, limit) = (self.home.path(), self.open_files);
        (self.process, self.addr) = launch(self.kind, home, &self.env, limit, STARTS_WITHIN);
    }

    /// The process, for signals and its log.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}

/// The path of `roadstead`.
#[track_caller]
pub fn program() -> PathBuf {
    Kind::Roadstead.program()
}

/// `roadstead`, to be run to its end.
#[track_caller]
pub fn command() -> Run {
    Run::new(program())
}

#[track_caller]
fn launch(
    kind: Kind,
    home: &Path,
    env: &[(String, String)],
    open_files: Option<u32>,
    within: Duration,
) -> (Process, SocketAddr) {
    let mut command = match open_files {
        None => Command::new(kind.program()),
        Some(limit) => {
            let mut limited = Command::new("prlimit");
            limited.arg(format!("--nofile={limit}")).arg(kind.program());
            limited
        }
    };
    command
        .arg("serve")
        .arg(home.join("config.yml"))
        .current_dir(home)
        .env_clear()
        .env("PATH", search_path())
        .env("RUST_BACKTRACE", "1")
        .envs(env.iter().map(|(name, value)| (name, value)));
    let mut process = Process::start(command, &home.join("log"));
    let addr = process.wait_for_log("it listened", within, announced);
    (process, addr)
}

/// Both registries say where they listen in a line of the same words.
pub(crate) fn announced(log: &str) -> Option<SocketAddr> {
    const WORDS: &str = "listening on ";
    let (_, rest) = log.split_once(WORDS)?;
    let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.' && c != ':')?;
    rest.get(..end)?.parse().ok()
}

/// A file that both registries read. Names without an underscore, so that `REGISTRY_*` variables reach each.
fn configuration(storage: &str, more: &str) -> String {
    format!(
        "version: 0.1
log:
  level: info
  accesslog:
    disabled: true
storage:
{storage}http:
  addr: 127.0.0.1:0
{more}"
    )
}

fn in_directory(root: &Path) -> String {
    format!(
        "  filesystem:
    rootdirectory: {}
  delete:
    enabled: true
",
        root.display()
    )
}

/// The program `name` of the build that this test belongs to: beside its `deps` directory.
pub fn built(name: &str) -> PathBuf {
    if let Some(named) = std::env::var_os("ROADSTEAD_BIN") {
        return named.into();
    }
    let program = target_profile().join(name);
    assert!(
        program.is_file(),
        "{} is missing: build it with cargo build --workspace",
        program.display()
    );
    program
}

/// `target/debug`, or whichever profile this test was built with.
pub(crate) fn target_profile() -> PathBuf {
    let test = std::env::current_exe().expect("the path of this test");
    let deps = test.parent().expect("a directory");
    deps.parent()
        .expect("tests lie in the directory deps of their profile")
        .to_owned()
}

/// `PATH` with the directories of servers, which not every shell has.
pub(crate) fn search_path() -> OsString {
    let mut path = std::env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/local/sbin:/usr/sbin:/sbin");
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_read_from_either_registrys_announcement() {
        let reference =
            "time=\"..\" level=info msg=\"listening on 127.0.0.1:35811\" go.version=go1\n";
        assert_eq!(announced(reference), "127.0.0.1:35811".parse().ok());
        assert_eq!(
            announced("roadstead listening on 127.0.0.1:5000\n"),
            "127.0.0.1:5000".parse().ok()
        );
        assert_eq!(announced("listening on 127.0.0.1:50"), None, "half a line");
        assert_eq!(announced("redis not configured\n"), None);
    }
}
