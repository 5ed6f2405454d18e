//! A network of one's own: places with an address each, and links between them that can be cut.
//!
//! Each place is a network namespace that a process of the test holds; a bridge in one more joins them. All of it is gone
//! with those processes, and they go with the test, also when it is killed. It wants root.

use std::cell::Cell;
use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::process::Process;
use crate::registry::search_path;
use crate::run::Run;
use crate::scratch;
use crate::wait::wait_until;

const STARTS_WITHIN: Duration = Duration::from_secs(30);

/// 198.18.0.0/15 is for tests (RFC 2544). Each network takes 32 addresses of it.
const FIRST: u32 = 0xc612_0000;
const SIZE: u32 = 32;
const NETWORKS: u32 = (1 << 17) / SIZE;

/// Networks of this process; another process begins elsewhere.
static MADE: AtomicU32 = AtomicU32::new(0);

/// A switch, and this process's own cable to it.
#[derive(Debug)]
pub struct Network {
    switch: Process,
    first: u32,
    joined: Cell<u32>,
}

/// Where processes run that have the network for themselves.
#[derive(Debug)]
pub struct Place {
    holder: Process,
    addr: Ipv4Addr,
}

impl Network {
    /// # Panics
    /// When it cannot be made: without root, or without `ip`.
    #[track_caller]
    pub fn start() -> Self {
        let made = MADE.fetch_add(1, Ordering::Relaxed);
        let number = std::process::id().wrapping_mul(8).wrapping_add(made) % NETWORKS;
        let network = Self {
            switch: hold(),
            first: FIRST + number * SIZE,
            joined: Cell::new(1),
        };
        let (pid, own) = (network.switch.pid(), format!("rs{number}"));
        in_space(pid, "ip link add lan type bridge && ip link set lan up");
        sh(&format!(
            "ip link add {own} type veth peer name own netns {pid}"
        ));
        in_space(pid, "ip link set own master lan up");
        let addr = network.addr();
        sh(&format!(
            "ip addr add {addr}/27 dev {own} && ip link set {own} up"
        ));
        network
    }

    /// Where places reach this process.
    pub fn addr(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.first + 1)
    }

    /// A new place.
    #[track_caller]
    pub fn join(&self) -> Place {
        let number = self.joined.get() + 1;
        assert!(number < SIZE - 1, "the network is full");
        self.joined.set(number);
        let (holder, addr) = (hold(), Ipv4Addr::from_bits(self.first + number));
        let pid = holder.pid();
        in_space(
            self.switch.pid(),
            &format!(
                "ip link add port{number} type veth peer name eth0 netns {pid} \
                 && ip link set port{number} master lan up"
            ),
        );
        in_space(
            pid,
            &format!("ip addr add {addr}/27 dev eth0 && ip link set eth0 up && ip link set lo up"),
        );
        Place { holder, addr }
    }
}

impl Place {
    pub fn addr(&self) -> Ipv4Addr {
        self.addr
    }

    /// A program that will run here, with nothing in its environment.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command
            .env_clear()
            .env("PATH", search_path())
            .arg(format!("--net=/proc/{}/ns/net", self.holder.pid()))
            .arg("--")
            .arg(program);
        command
    }

    /// From now on nothing gets from here to there, nor back, on open connections neither.
    #[track_caller]
    pub fn cut(&self, other: &Self) {
        self.route("add", other);
        other.route("add", self);
    }

    /// Mends what was [cut](Self::cut).
    #[track_caller]
    pub fn mend(&self, other: &Self) {
        self.route("del", other);
        other.route("del", self);
    }

    #[track_caller]
    fn route(&self, verb: &str, other: &Self) {
        let line = format!("ip route {verb} blackhole {}/32", other.addr);
        in_space(self.holder.pid(), &line);
    }
}

/// A process that does nothing in a network namespace of its own.
#[track_caller]
fn hold() -> Process {
    let mut command = Command::new("setpriv");
    command
        .env_clear()
        .env("PATH", search_path())
        .args(["--pdeathsig", "KILL"])
        .args(["unshare", "--net", "sleep", "infinity"]);
    let log = scratch();
    let mut holder = Process::start(command, &log.path().join("log"));
    let of = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/net")).ok();
    let own = of("self");
    wait_until("there is a network namespace", STARTS_WITHIN, || {
        let ended = holder.ended();
        assert!(
            ended.is_none(),
            "no network namespace (it wants root): {ended:?}"
        );
        of(&holder.pid().to_string()).is_some_and(|space| Some(space) != own)
    });
    holder
}

#[track_caller]
fn in_space(pid: u32, line: &str) {
    Run::new("nsenter")
        .arg(format!("--net=/proc/{pid}/ns/net"))
        .args(["sh", "-c", line])
        .ok();
}

#[track_caller]
fn sh(line: &str) {
    Run::new("sh").args(["-c", line]).ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a connection from one place to another is made.
    fn reaches(from: &Place, to: &Place) -> bool {
        let probe = format!("exec 3<>/dev/tcp/{}/7", to.addr());
        let mut command = from.command("timeout");
        command.args(["1", "bash", "-c", &probe]);
        let said = command.output().expect("bash runs");
        // Nobody listens there, which only somebody who was reached can say.
        String::from_utf8_lossy(&said.stderr).contains("refused")
    }

    #[test]
    fn places_reach_each_other_unless_they_are_cut_off() {
        let network = Network::start();
        let (one, two) = (network.join(), network.join());
        assert!(reaches(&one, &two) && reaches(&two, &one));
        one.cut(&two);
        assert!(!reaches(&one, &two) && !reaches(&two, &one));
        one.mend(&two);
        assert!(reaches(&one, &two) && reaches(&two, &one));
    }
}
