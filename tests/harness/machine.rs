//! A machine of one's own: namespaces with a network and files of their own, and a docker engine that runs containers.
//!
//! What a tutorial says can be done there word by word: fixed ports, `/etc/hosts`, `/etc/docker/certs.d`, trusted
//! authorities, directories anywhere. Nothing of it is seen outside, and all of it ends with the machine's first process.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::process::Process;
use crate::registry::{program, search_path};
use crate::run::{Output, Run};
use crate::wait::{poll, wait_until};

/// From the first process to the engine's socket.
const STARTS_WITHIN: Duration = Duration::from_mins(2);
/// Containers have ten seconds to end, one after the other.
const STOPS_WITHIN: Duration = Duration::from_mins(2);
/// For a script; starting containers takes seconds each where two cores are shared.
const SCRIPT_WITHIN: Duration = Duration::from_mins(2);
/// For a condition to hold.
const HOLDS_WITHIN: Duration = Duration::from_mins(1);

/// The machine's address beside loopback's.
pub const ADDRESS: &str = "192.168.1.177";

/// A machine with a docker engine and without images. Dropped, it is gone with its containers.
#[derive(Debug)]
pub struct Machine {
    process: Process,
    /// Its first process, as seen from here.
    first: u32,
    home: TempDir,
}

impl Machine {
    /// # Panics
    /// When it does not start: it wants root, and `dockerd`.
    #[track_caller]
    pub fn start() -> Self {
        let home = crate::scratch();
        for name in ["top", "docker"] {
            std::fs::create_dir(home.path().join(name)).expect("a directory");
        }
        // Should this test be killed, the machine goes with it.
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "unshare"])
            .args(["--mount", "--net", "--pid", "--ipc", "--uts"])
            .args(["--fork", "--kill-child", "bash"])
            .arg(here("init.sh"))
            .arg(home.path())
            .env_clear()
            .env("PATH", search_path())
            .env("HOME", "/root");
        let mut process = Process::start(command, &home.path().join("log"));
        process.wait_for_log("its engine listened", STARTS_WITHIN, |log| {
            log.contains("API listen on").then_some(())
        });
        let pid = process.pid();
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        let first = children.expect("the children of a process");
        let first = first.trim().parse().expect("one child");
        Self {
            process,
            first,
            home,
        }
    }

    /// A machine with the image of the registry that is tested, under these names.
    #[track_caller]
    pub fn with_registry(tags: &[&str]) -> Self {
        let machine = Self::start();
        let build = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/image/build");
        machine
            .outside(&build)
            .arg("--program")
            .arg(program())
            .args(tags)
            .ok();
        machine
    }

    /// Gives the machine names of its own, and waits until its engine knows them too: that keeps what it has read of
    /// `/etc/hosts` for five seconds.
    #[track_caller]
    pub fn add_names(&self, names: &[&str]) {
        let known = |name| {
            format!(r#"grep "dial tcp {ADDRESS}:1:" <<< "$(docker pull {name}:1/none 2>&1)""#)
        };
        let known: Vec<String> = names.iter().map(known).collect();
        self.run(&format!(
            "echo '{ADDRESS} {}' >> /etc/hosts",
            names.join(" ")
        ));
        self.until("the engine knew its names", &known.join(" && "));
    }

    /// Adds an image of Debian's nginx.
    #[track_caller]
    pub fn add_nginx(&self, tags: &[&str]) {
        self.outside(&here("nginx-image.sh")).args(tags).ok();
    }

    /// Adds an image of Debian's Redis.
    #[track_caller]
    pub fn add_redis(&self, tags: &[&str]) {
        self.outside(&here("redis-image.sh")).args(tags).ok();
    }

    /// Adds an image of several layers whose program says a word, in place of one that would be pulled.
    #[track_caller]
    pub fn add_image(&self, tag: &str) {
        self.run(&format!(
            "context=$(mktemp -d)
             cp /usr/bin/busybox $context/
             for layer in one two; do head -c 100000 /dev/urandom > $context/$layer; done
             printf 'FROM scratch\\nCOPY busybox /bin/busybox\\nCOPY one /\\nCOPY two /\\n' > $context/Dockerfile
             echo 'ENTRYPOINT [\"/bin/busybox\"]' >> $context/Dockerfile
             echo 'CMD [\"echo\", \"hello\"]' >> $context/Dockerfile
             DOCKER_BUILDKIT=0 docker build --quiet --tag {tag} $context
             rm -r $context"
        ));
    }

    /// Builds an image from a Dockerfile of this tree, with the tree as context, by the classic builder.
    #[track_caller]
    pub fn build(&self, dockerfile: &str, tag: &str) {
        let tree = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        self.outside(Path::new("docker"))
            .args(["build", "--file", dockerfile, "--tag", tag, "."])
            .env("DOCKER_BUILDKIT", "0")
            .dir(&tree)
            .ok();
    }

    /// Runs lines of bash in the home directory of its root, up to the first that fails.
    #[track_caller]
    pub fn run(&self, script: &str) -> Output {
        self.script(script).ok()
    }

    /// Runs lines of which one must fail.
    #[track_caller]
    pub fn fails(&self, script: &str) -> Output {
        self.script(script).fails()
    }

    /// Runs lines again and again, until all of them succeed.
    #[track_caller]
    pub fn until(&self, sentence: &str, script: &str) {
        let tried = format!("if ( {script}\n ) >/dev/null 2>&1; then echo yes; fi");
        wait_until(sentence, HOLDS_WITHIN, || {
            self.script(&tried).ok().text() == "yes"
        });
    }

    /// Writes a file.
    #[track_caller]
    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().expect("a directory")).expect("directories");
        std::fs::write(&path, content).expect("a file");
    }

    /// Where a file of the machine's is found from outside.
    pub fn path(&self, path: &str) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.first));
        root.join(path.trim_start_matches('/'))
    }

    fn script(&self, script: &str) -> Run {
        Run::new("nsenter")
            .arg(format!("--target={}", self.first))
            .args(["--mount", "--net", "--pid", "--ipc", "--uts", "--root"])
            .args(["bash", "-c"])
            .arg(format!("set -euo pipefail; cd; {script}"))
            .env("HOME", "/root")
            .deadline(SCRIPT_WITHIN)
    }

    /// A program of this tree's, which talks to the machine's engine.
    fn outside(&self, program: &Path) -> Run {
        let socket = self.path("/run/docker.sock");
        Run::new(program)
            .env("DOCKER_HOST", format!("unix://{}", socket.display()))
            .env("DOCKER_CONFIG", self.home.path().join("client"))
            .env("TMPDIR", self.home.path())
            .deadline(SCRIPT_WITHIN)
    }
}

impl Drop for Machine {
    /// The engine is asked to stop; if that takes too long, or a test failed, everything is killed at once.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.run("touch /run/halt; kill \"$(cat /run/docker.pid)\"");
            poll(STOPS_WITHIN, || self.process.ended());
        }
        self.process.kill();
    }
}

/// A file that lies beside this one.
fn here(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("harness/machine")
        .join(name)
}
