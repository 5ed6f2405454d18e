//! Members as processes, and a stream of proposals to them.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use roadstead_metadata::transport::Identity;
use roadstead_metadata::{
    BUDGET, Command as Proposal, Metadata as _, Origin, Outcome, Remote, RemoteOptions, Segment,
    SessionId, Timestamp, boot_time,
};
use roadstead_oci::{Algorithm, Hasher};
use roadstead_tests::process::Process;
use roadstead_tests::registry::built;
use roadstead_tests::{Output, Run, scratch, wait_until_async};
use serde_json::Value;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio::time::Instant;

pub(crate) const SECRET: &str = "hunter2hunter2hunter2";
pub(crate) const DEADLINE: Duration = Duration::from_secs(90);

/// The session that the stream appends to.
pub(crate) const SESSION: SessionId = SessionId([7; 16]);

pub(crate) struct Group {
    pub(crate) home: TempDir,
    pub(crate) peers: BTreeMap<u64, String>,
    pub(crate) running: BTreeMap<u64, Process>,
    lives: usize,
    /// Each has a debug address.
    has_debug: bool,
}

impl Group {
    /// Configures members with these ids; all count as members that the group begins with.
    pub(crate) fn new(ids: impl IntoIterator<Item = u64>) -> Self {
        let held: Vec<_> = ids.into_iter().map(|id| (id, free_port())).collect();
        let addr = |port: &TcpListener| port.local_addr().expect("an address").to_string();
        let peers = held.iter().map(|(id, port)| (*id, addr(port))).collect();
        Self {
            home: scratch(),
            peers,
            running: BTreeMap::new(),
            lives: 0,
            has_debug: false,
        }
    }

    pub(crate) fn with_debug(mut self) -> Self {
        self.has_debug = true;
        self
    }

    pub(crate) fn start_all(&mut self) {
        for id in self.peers.clone().into_keys() {
            self.start(id, &[]);
        }
    }

    pub(crate) fn start(&mut self, id: u64, arguments: &[&str]) {
        let config = self.configure(id, SECRET);
        let mut command = Command::new(built("roadstead"));
        command
            .env_clear()
            .arg("metadata")
            .args(arguments)
            .arg(config);
        // A file for each life: what a killed process was about to say may end in the middle of a character.
        self.lives += 1;
        let log = self.home.path().join(format!("{id}-{}.log", self.lives));
        let mut process = Process::start(command, &log);
        process.wait_for_log("it listens", DEADLINE, |log| {
            log.contains("member listening on").then_some(())
        });
        self.running.insert(id, process);
    }

    /// Writes a member's configuration.
    pub(crate) fn configure(&self, id: u64, secret: &str) -> std::path::PathBuf {
        let peers: Vec<_> = self
            .peers
            .iter()
            .map(|(id, addr)| format!("{id}: '{addr}'"))
            .collect();
        let members: Vec<_> = self
            .peers
            .values()
            .map(|addr| format!("'{addr}'"))
            .collect();
        let text = format!(
            "version: 0.1\ncluster:\n  secret: {secret}\n  metadata: [{}]\n\
             metadata:\n  id: {id}\n  addr: '{}'\n  dir: {}\n  peers: {{{}}}\n{}",
            members.join(", "),
            self.peers[&id],
            self.dir(id).display(),
            peers.join(", "),
            if self.has_debug {
                "  debug: {addr: '127.0.0.1:0'}\n"
            } else {
                ""
            }
        );
        let path = self.home.path().join(format!("{id}-{}.yml", secret.len()));
        std::fs::write(&path, text).expect("a configuration");
        path
    }

    pub(crate) fn dir(&self, id: u64) -> std::path::PathBuf {
        self.home.path().join(format!("member-{id}"))
    }

    pub(crate) fn remote(&self) -> Arc<Remote> {
        remote_of(self.peers.values().cloned().collect())
    }

    /// `roadstead cluster`, with the configuration of this member.
    pub(crate) fn cluster(&self, id: u64, arguments: &[&str]) -> Run {
        let config = self.configure(id, SECRET);
        Run::new(built("roadstead"))
            .arg("cluster")
            .args(arguments)
            .arg("--config")
            .arg(config)
    }

    /// What `cluster status --json` says of the group.
    pub(crate) fn status(&self, id: u64) -> Value {
        let output: Output = self.cluster(id, &["status", "--json"]).output();
        output.json()["group"].clone()
    }

    /// Waits until somebody leads, other than `not`.
    pub(crate) fn leader(&self, asking: u64, not: Option<u64>) -> u64 {
        roadstead_tests::wait_for("a member leads", DEADLINE, || {
            let leader = self.status(asking)["leader"].as_u64()?;
            (Some(leader) != not).then_some(leader)
        })
    }

    pub(crate) fn kill(&mut self, id: u64) {
        self.running.remove(&id).expect("a running member").kill();
    }
}

/// A client of these members.
pub(crate) fn remote_of(members: Vec<String>) -> Arc<Remote> {
    let options = RemoteOptions {
        members,
        identity: Identity::from_secret(SECRET.as_bytes()).expect("an identity"),
        budget: BUDGET,
    };
    Arc::new(Remote::build(options, boot_time()).expect("a client"))
}

fn free_port() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").expect("a free port")
}

/// One writer that appends as fast as it is answered, and tries again what was not answered.
pub(crate) struct Stream {
    remote: Arc<Remote>,
    acknowledged: Arc<AtomicU64>,
    longest: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Stream {
    pub(crate) async fn start(remote: Arc<Remote>) -> Self {
        let opened = present(&remote).await;
        let (acknowledged, longest) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let stop = Arc::new(AtomicBool::new(false));
        let task = {
            let (remote, acknowledged) = (Arc::clone(&remote), Arc::clone(&acknowledged));
            let (longest, stop) = (Arc::clone(&longest), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut from = 0;
                let mut last = Instant::now();
                while !stop.load(Ordering::Relaxed) {
                    match remote.propose(append(opened, from)).await {
                        Ok(outcome) => {
                            assert_eq!(outcome, Outcome::Appended { offset: from + 1 });
                            from += 1;
                            acknowledged.store(from, Ordering::Relaxed);
                            let took =
                                u64::try_from(last.elapsed().as_millis()).unwrap_or(u64::MAX);
                            longest.fetch_max(took, Ordering::Relaxed);
                            last = Instant::now();
                        }
                        // Unknown whether it took effect: made again, which is harmless.
                        Err(_unavailable) => {}
                    }
                }
            })
        };
        Self {
            remote,
            acknowledged,
            longest,
            stop,
            task,
        }
    }

    pub(crate) fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// Waits until that many more were acknowledged, and says how long the longest wait for one was since it was asked last.
    pub(crate) async fn goes_on(&self, what: &str) {
        let goal = self.acknowledged() + 20;
        let sentence = format!("proposals go on after {what}");
        wait_until_async(&sentence, DEADLINE, async || self.acknowledged() >= goal).await;
        let longest = self.longest.swap(0, Ordering::Relaxed);
        #[expect(clippy::print_stderr, reason = "a figure for whoever looks")]
        {
            eprintln!("{what}: the longest wait for an answer was {longest} ms");
        }
    }

    /// Stops, and holds the session to what was acknowledged: each, once, in order.
    pub(crate) async fn check(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.expect("the stream's task");
        let acknowledged = self.acknowledged.load(Ordering::Relaxed);
        assert!(acknowledged > 0, "nothing was acknowledged");
        let segments = self.remote.segments(SESSION).await.expect("segments");
        let places: Vec<_> = segments.into_iter().map(|segment| segment.place).collect();
        let expected: Vec<_> = (0..acknowledged)
            .map(|from| format!("place-{from}"))
            .collect();
        assert!(
            places == expected,
            "{} of {acknowledged} are there",
            places.len()
        );
    }
}

/// The leader's time, once there is one.
pub(crate) async fn present(remote: &Remote) -> Timestamp {
    let begun = Instant::now();
    loop {
        match remote.now().await {
            Ok(now) => return now,
            Err(error) => assert!(begun.elapsed() < DEADLINE, "no group: {error}"),
        }
    }
}

pub(crate) fn append(opened: Timestamp, from: u64) -> Proposal {
    Proposal::Append {
        origin: Origin {
            session: SESSION,
            repository: "a/b".parse().expect("a name"),
            opened,
        },
        from,
        segment: Segment {
            place: format!("place-{from}"),
            length: 1,
        },
        state: Hasher::new(Algorithm::Sha256).save(),
    }
}
