//! Nodes as processes, over one directory and one metadata service of a single member.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use roadstead_tests::process::Process;
use roadstead_tests::registry::built;
use roadstead_tests::{Client, Repository, Run, scratch, wait_for};
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::metadata::group::{Group, SECRET};

/// No case waits longer for anything. A lease alone is ten seconds.
pub(crate) const DEADLINE: Duration = Duration::from_secs(90);

const ORDINARY: &str = "http:\n  addr: 127.0.0.1:0\n";

pub(crate) struct Cluster {
    group: Group,
    nodes: Vec<Node>,
    /// In place of the directory.
    storage: Option<String>,
    home: TempDir,
}

pub(crate) struct Node {
    process: Process,
    addr: SocketAddr,
}

impl Node {
    pub(super) fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(&self.url())
    }

    pub(crate) fn repository(&self, name: &str) -> Repository {
        self.client().repository(name)
    }

    pub(crate) fn said(&self, words: &str) -> bool {
        self.process.log().contains(words)
    }

    pub(crate) fn log(&self) -> String {
        self.process.log()
    }
}

impl Cluster {
    pub(crate) fn start(nodes: usize) -> Self {
        let mut group = Group::new([1]);
        group.start_all();
        Self::around(group, nodes)
    }

    /// Around a metadata service that was started.
    pub(crate) fn around(group: Group, nodes: usize) -> Self {
        group.leader(1, None);
        let mut cluster = Self {
            group,
            nodes: Vec::new(),
            storage: None,
            home: scratch(),
        };
        for _ in 0..nodes {
            cluster.add();
        }
        cluster
    }

    /// One more node, which remembers in memory what exists.
    pub(super) fn add_cached(&mut self, keys: &str) {
        let config = self.node_with(keys, None);
        let text = std::fs::read_to_string(&config).expect("a configuration");
        let cached = "storage:\n  cache:\n    blobdescriptor: inmemory\n";
        std::fs::write(&config, text.replacen("storage:\n", cached, 1)).expect("a configuration");
        let node = self.launch(&config, self.nodes.len());
        self.nodes.push(node);
    }

    /// One more node, with these keys, over the cluster's directory or another. Its `cluster` may go on in their first
    /// lines.
    pub(crate) fn add_with(&mut self, keys: &str, root: Option<&Path>) {
        let config = self.node_with(keys, root);
        let node = self.launch(&config, self.nodes.len());
        self.nodes.push(node);
    }

    /// From now on, nodes store what lines below `storage` say.
    pub(crate) fn store_in(&mut self, storage: String) {
        self.storage = Some(storage);
    }

    /// The storage that the nodes share.
    pub(crate) fn root(&self) -> PathBuf {
        self.home.path().join("root")
    }

    pub(crate) fn group(&mut self) -> &mut Group {
        &mut self.group
    }

    /// One node more.
    pub(crate) fn add(&mut self) {
        let node = self.launch(&self.node_with(ORDINARY, None), self.nodes.len());
        self.nodes.push(node);
    }

    pub(crate) fn restart_with(&mut self, n: usize, keys: &str) {
        self.nodes[n] = self.launch(&self.node_with(keys, None), n);
    }

    /// How a gateway finds the nodes.
    pub(crate) fn found_by(&self) -> String {
        let members = self.group.peers.values().map(|addr| format!("'{addr}'"));
        let members: Vec<String> = members.collect();
        format!(
            "cluster:\n  secret: {SECRET}\n  metadata: [{}]\n",
            members.join(", ")
        )
    }

    pub(crate) fn node(&self, n: usize) -> &Node {
        &self.nodes[n]
    }

    /// One node more, with this Redis.
    pub(super) fn add_with_redis(&mut self, addr: &str) {
        let keys = format!("{ORDINARY}redis:\n  addr: '{addr}'\n");
        let config = self.node_with(&keys, None);
        let text = std::fs::read_to_string(&config).expect("a configuration");
        let text = text.replace(
            "storage:\n",
            "storage:\n  cache:\n    blobdescriptor: redis\n",
        );
        std::fs::write(&config, text).expect("a configuration");
        let node = self.launch(&config, self.nodes.len());
        self.nodes.push(node);
    }

    /// One more node, with this `storage`.
    pub(super) fn add_on(&mut self, storage: &str) {
        let node = self.launch(&self.node_on(storage, ORDINARY), self.nodes.len());
        self.nodes.push(node);
    }

    /// A configuration with these keys, over the cluster's directory or another.
    pub(crate) fn node_with(&self, keys: &str, root: Option<&Path>) -> PathBuf {
        let shared = self.root();
        let storage = self.storage.clone().unwrap_or_else(|| {
            format!(
                "  filesystem:\n    rootdirectory: {}\n  delete:\n    enabled: true\n",
                root.unwrap_or(&shared).display()
            )
        });
        self.node_on(&storage, keys)
    }

    fn node_on(&self, storage: &str, keys: &str) -> PathBuf {
        let members: Vec<String> = self
            .group
            .peers
            .values()
            .map(|addr| format!("'{addr}'"))
            .collect();
        let text = format!(
            "version: 0.1\nlog:\n  accesslog:\n    disabled: true\nstorage:\n{storage}\
             cluster:\n  secret: {SECRET}\n  metadata: [{}]\n{keys}",
            members.join(", "),
        );
        let count = std::fs::read_dir(self.home.path())
            .expect("a directory")
            .count();
        let path = self.home.path().join(format!("{count}.yml"));
        std::fs::write(&path, text).expect("a configuration");
        path
    }

    fn prepared(&self, config: &Path, n: usize) -> Command {
        let own = self.home.path().join(format!("node-{n}"));
        std::fs::create_dir_all(&own).expect("a directory");
        let mut command = Command::new(built("roadstead"));
        command
            .env_clear()
            .arg("registry")
            .arg(config)
            .current_dir(own);
        command
    }

    fn launch(&self, config: &Path, n: usize) -> Node {
        let lives = std::fs::read_dir(self.home.path())
            .expect("a directory")
            .count();
        let log = self.home.path().join(format!("node-{n}-{lives}.log"));
        let mut process = Process::start(self.prepared(config, n), &log);
        let addr = process.wait_for_log("it listens", DEADLINE, |log| {
            let (_, rest) = log.split_once("listening on ")?;
            let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.' && c != ':')?;
            rest.get(..end)?.parse().ok()
        });
        process.wait_for_log("it joined", DEADLINE, |log| {
            log.contains("joined the cluster").then_some(())
        });
        Node { process, addr }
    }

    /// A node that does not get in, and what it said.
    pub(crate) fn refused(&self, config: &Path) -> String {
        let own = self.home.path().join("refused");
        std::fs::create_dir_all(&own).expect("a directory");
        Run::new(built("roadstead"))
            .arg("registry")
            .arg(config)
            .dir(&own)
            .deadline(DEADLINE)
            .fails()
            .said()
    }

    /// Ends it as an operator would.
    pub(crate) fn stop(&mut self, n: usize) {
        let ended = self.nodes[n].process.stop(DEADLINE);
        assert_eq!(ended.code(), Some(0), "{}", self.nodes[n].process.log());
    }

    pub(crate) fn signal(&mut self, n: usize, signal: Signal) {
        self.nodes[n].process.signal(signal);
    }

    pub(crate) fn kill(&mut self, n: usize) {
        self.nodes[n].process.kill();
    }

    pub(crate) fn restart(&mut self, n: usize) {
        self.nodes[n] = self.launch(&self.node_with(ORDINARY, None), n);
    }

    pub(crate) fn stop_metadata(&mut self) {
        self.group.running.clear();
    }

    pub(crate) fn start_metadata(&mut self) {
        self.group.start_all();
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Run {
        self.group.cluster(1, arguments)
    }

    /// As `cluster status` tells them.
    pub(crate) fn nodes(&self) -> Vec<Value> {
        wait_for("the service answers", DEADLINE, || {
            let status = self.command(&["status", "--json"]).output();
            status.json()["nodes"].as_array().cloned()
        })
    }
}

/// Where an upload goes on, at whichever node.
pub(crate) fn path_of(location: &str) -> String {
    let (_, rest) = location.split_once("//").expect("a URL");
    let (_, path) = rest.split_once('/').expect("a path");
    format!("/{path}")
}
