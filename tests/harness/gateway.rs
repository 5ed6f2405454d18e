//! A gateway as a process, and addresses for nodes that come back where they were.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Command, ExitStatus};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use tempfile::TempDir;

use crate::client::{Client, Repository};
use crate::process::Process;
use crate::registry::{announced, program, search_path};
use crate::wait::wait_until;

/// Generous, as for a registry.
const STARTS_WITHIN: Duration = Duration::from_secs(30);
const STOPS_WITHIN: Duration = Duration::from_mins(1);

/// From a node's start to the gateway's knowing, with checks every 200 ms.
const SEEN_WITHIN: Duration = Duration::from_mins(1);

/// `roadstead gateway` on 127.0.0.1. Dropped, it is killed and reaped.
#[derive(Debug)]
pub struct Gateway {
    process: Process,
    addr: SocketAddr,
    debug: SocketAddr,
    home: TempDir,
}

/// An address that nobody else listens on: not among those that the system gives out.
pub fn own_address() -> SocketAddr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    let last = NEXT.fetch_add(1, Ordering::Relaxed);
    (Ipv4Addr::new(127, 1 + high % 254, low, last), 5000).into()
}

impl Gateway {
    /// In front of these nodes, which are open to everybody; `more` are lines below `gateway`, each with its indentation.
    #[track_caller]
    pub fn open(nodes: &[SocketAddr], more: &str) -> Self {
        Self::start(
            nodes,
            &format!("{more}  health: {{expect: 200, interval: 200ms, slowstart: 0}}\n"),
            "",
        )
    }

    /// The same with all lines below `gateway`, and top-level keys besides.
    #[track_caller]
    pub fn start(nodes: &[SocketAddr], below: &str, yaml: &str) -> Self {
        let nodes: Vec<String> = nodes.iter().map(|node| format!("'{node}'")).collect();
        let config = format!(
            "version: 0.1\n{yaml}gateway:\n  addr: 127.0.0.1:0\n  debug: {{addr: '127.0.0.1:0'}}\n  upstreams: [{}]\n{below}",
            nodes.join(", ")
        );
        let home = crate::scratch();
        let file = home.path().join("gateway.yml");
        std::fs::write(&file, config).expect("a configuration");
        let mut command = Command::new(program());
        command
            .arg("gateway")
            .arg(&file)
            .current_dir(home.path())
            .env_clear()
            .env("PATH", search_path())
            .env("RUST_BACKTRACE", "1");
        let mut process = Process::start(command, &home.path().join("log"));
        let addr = process.wait_for_log("it listened", STARTS_WITHIN, announced);
        let debug = process.wait_for_log("it served figures", STARTS_WITHIN, |log| {
            let (_, rest) = log.split_once("gateway.debug.addr: serving ")?;
            let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.' && c != ':')?;
            rest.get(..end)?.parse().ok()
        });
        Self {
            process,
            addr,
            debug,
            home,
        }
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub fn client(&self) -> Client {
        Client::new(&format!("http://{}", self.addr))
    }

    pub fn repository(&self, name: &str) -> Repository {
        self.client().repository(name)
    }

    pub fn log(&self) -> String {
        self.process.log()
    }

    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Where its files are.
    pub fn home(&self) -> &std::path::Path {
        self.home.path()
    }

    /// How it says that a node stands: `up`, `down`, `suspect`, `draining`.
    pub fn standing(&self, node: SocketAddr) -> String {
        let nodes = Client::new(&format!("http://{}", self.debug)).get("/debug/nodes");
        let standing = nodes.json()[node.to_string()].clone();
        standing.as_str().unwrap_or("unknown").to_owned()
    }

    #[track_caller]
    pub fn wait_until(&self, node: SocketAddr, standing: &str) {
        let sentence = format!("{node} was {standing}");
        wait_until(&sentence, SEEN_WITHIN, || self.standing(node) == standing);
    }

    /// A figure, by its whole name with labels.
    #[track_caller]
    pub fn figure(&self, name: &str) -> f64 {
        let metrics = Client::new(&format!("http://{}", self.debug)).get("/metrics");
        let text = metrics.expect_status(200).text();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|value| value.parse().ok()).unwrap_or(0.0)
    }

    /// SIGTERM, and how it ended.
    #[track_caller]
    pub fn stop(&mut self) -> ExitStatus {
        self.process.stop(STOPS_WITHIN)
    }
}
