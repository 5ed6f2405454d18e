//! A docker engine of one's own: a daemon on a socket in a temporary directory, and the client that talks to it.
//!
//! It has no bridge and touches no firewall: it builds, pushes and pulls, and runs nothing. Registries on 127.0.0.0/8
//! are plain HTTP to it.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::process::Process;
use crate::registry::search_path;
use crate::run::{CLIENT, Output, Run};

/// From the start of the daemon to its socket, with the containerd that it starts first.
const STARTS_WITHIN: Duration = Duration::from_mins(1);
const STOPS_WITHIN: Duration = Duration::from_secs(30);

/// A docker engine, stopped when it is dropped.
#[derive(Debug)]
pub struct Docker {
    daemon: Process,
    home: TempDir,
}

impl Docker {
    /// # Panics
    /// When there is no `dockerd`, or it does not start: it wants to be root.
    #[track_caller]
    pub fn start() -> Self {
        let home = crate::scratch();
        let path = |name: &str| home.path().join(name);
        std::fs::write(path("daemon.json"), "{}").expect("a configuration file");
        let mut command = Command::new("dockerd");
        command
            .env_clear()
            .env("PATH", search_path())
            .env("HOME", home.path())
            .env("TMPDIR", home.path())
            .arg("--host")
            .arg(socket(home.path()))
            .arg("--config-file")
            .arg(path("daemon.json"))
            .arg("--data-root")
            .arg(path("data"))
            .arg("--exec-root")
            .arg(path("exec"))
            .arg("--pidfile")
            .arg(path("pid"))
            .args(["--bridge=none", "--iptables=false", "--ip6tables=false"]);
        let mut daemon = Process::start(command, &path("log"));
        daemon.wait_for_log("its API listened", STARTS_WITHIN, |log| {
            log.contains("API listen on").then_some(())
        });
        Self { daemon, home }
    }

    /// Runs `docker` with these arguments.
    #[track_caller]
    pub fn run(&self, args: &[&str]) -> Output {
        self.command().args(args).ok()
    }

    /// Runs it where it must fail.
    #[track_caller]
    pub fn fails(&self, args: &[&str]) -> Output {
        self.command().args(args).fails()
    }

    /// Builds `image` with one layer for each file, by the classic builder, which needs no network.
    #[track_caller]
    pub fn build(&self, image: &str, files: &[(&str, Vec<u8>)]) {
        let context = crate::scratch();
        let mut recipe = "FROM scratch\n".to_owned();
        for (name, content) in files {
            std::fs::write(context.path().join(name), content).expect("a file to build from");
            recipe.extend(["COPY ", name, " /", name, "\n"]);
        }
        std::fs::write(context.path().join("Dockerfile"), recipe).expect("a Dockerfile");
        self.command()
            .args(["build", "--tag", image, "."])
            .dir(context.path())
            .env("DOCKER_BUILDKIT", "0")
            .ok();
    }

    /// The digest of the configuration, by which the engine knows an image.
    #[track_caller]
    pub fn id(&self, image: &str) -> String {
        self.run(&["image", "inspect", "--format", "{{.Id}}", image])
            .text()
    }

    fn command(&self) -> Run {
        Run::new("docker")
            .deadline(CLIENT)
            .env("DOCKER_HOST", socket(self.home.path()))
            .env("DOCKER_CONFIG", self.home.path().join("client"))
            .env("HOME", self.home.path())
    }
}

impl Drop for Docker {
    /// It is asked to stop, so that it takes its containerd and its mounts with it.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.daemon.stop(STOPS_WITHIN);
        } else if self.daemon.ended().is_none() {
            self.daemon.signal(rustix::process::Signal::TERM);
            crate::wait::poll(STOPS_WITHIN, || self.daemon.ended());
        }
    }
}

fn socket(home: &Path) -> String {
    format!("unix://{}", home.join("docker.sock").display())
}
