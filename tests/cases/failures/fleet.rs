//! A whole cluster of processes: three members of the metadata service, three nodes, Redis, and before them nginx, or two
//! gateways behind haproxy. Each member, node and gateway has an address of its own, and the ways between them can be cut.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use roadstead_tests::process::Process;
use roadstead_tests::proxy::Proxy;
use roadstead_tests::registry::built;
use roadstead_tests::{
    Cable, Client, Network, Place, Redis, Run, Seaweed, scratch, seaweed, wait_for, wait_until,
};
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

/// No case waits longer for anything. A lease alone is ten seconds.
pub(super) const DEADLINE: Duration = Duration::from_mins(2);

const SECRET: &str = "hunter2hunter2hunter2";
const METADATA_PORT: u16 = 7000;
const NODE_PORT: u16 = 5000;
pub(super) const MEMBERS: [u64; 3] = [1, 2, 3];
pub(super) const NODES: usize = 3;
const GATEWAYS: usize = 2;

/// Where the nodes store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Store {
    Filesystem,
    Bucket,
}

/// What clients speak to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Front {
    /// nginx in turn to each node. It gives one up that sends nothing for so many seconds.
    Dumb(u32),
    /// haproxy passes connections on to gateways that say they are ready.
    Gateways,
}

pub(super) struct Fleet {
    pub(super) members: BTreeMap<u64, Machine>,
    pub(super) nodes: Vec<Machine>,
    pub(super) gateways: Vec<Machine>,
    pub(super) redis: Redis,
    pub(super) seaweed: Option<Seaweed>,
    /// Each node's way to it.
    pub(super) store_cables: Vec<Cable>,
    proxy: Proxy,
    _network: Network,
    home: TempDir,
}

/// A process that can be ended and started again, and where it runs.
pub(super) struct Machine {
    pub(super) place: Place,
    arguments: [String; 2],
    dir: PathBuf,
    log: PathBuf,
    lives: usize,
    process: Option<Process>,
}

impl Machine {
    fn new(place: Place, name: &str, command: &str, config: &Path, home: &Path) -> Self {
        let dir = home.join(name);
        std::fs::create_dir_all(&dir).expect("a directory");
        Self {
            place,
            arguments: [command.to_owned(), config.display().to_string()],
            dir,
            log: home.join(name).with_extension("log"),
            lives: 0,
            process: None,
        }
    }

    /// Starts it, and waits until it listens.
    #[track_caller]
    pub(super) fn start(&mut self) {
        self.launch();
        self.listens();
    }

    #[track_caller]
    pub(super) fn listens(&mut self) {
        self.process().wait_for_log("it listens", DEADLINE, |log| {
            log.contains("listening on").then_some(())
        });
    }

    #[track_caller]
    pub(super) fn launch(&mut self) {
        let mut command = self.place.command(built("roadstead"));
        command.args(&self.arguments).current_dir(&self.dir);
        self.lives += 1;
        let log = self.log.with_extension(format!("{}.log", self.lives));
        self.process = Some(Process::start(command, &log));
    }

    pub(super) fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("it was started")
    }

    /// SIGKILL.
    pub(super) fn kill(&mut self) {
        self.process().kill();
    }

    /// Tells it to end, which it does in its own time, and starts it again.
    #[track_caller]
    pub(super) fn restart(&mut self) {
        let stopped = self.process().stop(DEADLINE);
        assert!(stopped.success(), "{stopped}");
        self.start();
    }

    /// SIGSTOP: it takes connections, and answers nothing.
    pub(super) fn pause(&mut self) {
        self.process().signal(Signal::STOP);
    }

    pub(super) fn resume(&mut self) {
        self.process().signal(Signal::CONT);
    }

    pub(super) fn said(&mut self, words: &str) -> bool {
        self.process().log().contains(words)
    }
}

impl Fleet {
    /// All of it, serving.
    #[track_caller]
    pub(super) fn start(store: Store, front: Front) -> Self {
        let home = scratch();
        let network = Network::start();
        let places: BTreeMap<u64, Place> = MEMBERS.map(|id| (id, network.join())).into();
        let at = |place: &Place| format!("{}:{METADATA_PORT}", place.addr());
        let peers: BTreeMap<u64, String> =
            places.iter().map(|(id, place)| (*id, at(place))).collect();
        let mut members = BTreeMap::new();
        for (id, place) in places {
            let config = home.path().join(format!("member-{id}.yml"));
            std::fs::write(&config, member(id, &peers, home.path())).expect("a configuration");
            let name = format!("member-{id}");
            let mut machine = Machine::new(place, &name, "metadata", &config, home.path());
            machine.launch();
            members.insert(id, machine);
        }
        let redis = Redis::start();
        let seaweed = (store == Store::Bucket).then(Seaweed::start);
        let own = IpAddr::from(network.addr());
        let cable = |to: SocketAddr| (0..NODES).map(|_| Cable::new(own, to)).collect::<Vec<_>>();
        let redis_cables = cable(redis.addr().parse().expect("an address"));
        let store_cables = seaweed
            .as_ref()
            .map_or_else(Vec::new, |store| cable(store.addr()));
        let mut nodes = Vec::new();
        for (n, redis) in redis_cables.iter().enumerate() {
            let place = network.join();
            let storage = store_cables.get(n).map_or_else(
                || directory(&home.path().join("root")),
                |cable| seaweed::storage(&cable.addr().to_string(), "cluster"),
            );
            let addr = SocketAddr::new(place.addr().into(), NODE_PORT);
            let text = node(&storage, &peers, redis.addr(), addr);
            let config = home.path().join(format!("node-{n}.yml"));
            std::fs::write(&config, text).expect("a configuration");
            let name = format!("node-{n}");
            let mut machine = Machine::new(place, &name, "registry", &config, home.path());
            machine.launch();
            nodes.push(machine);
        }
        let upstreams: Vec<SocketAddr> = nodes.iter().map(node_addr).collect();
        let (gateways, proxy) = match front {
            Front::Dumb(patience) => (Vec::new(), Proxy::round_robin(&upstreams, patience)),
            Front::Gateways => gateways(&network, &peers, home.path()),
        };
        let mut fleet = Self {
            members,
            nodes,
            gateways,
            redis,
            seaweed,
            store_cables,
            proxy,
            _network: network,
            home,
        };
        fleet.serves("the start");
        fleet
    }

    /// Waits until every node takes pushes, by pushing.
    #[track_caller]
    pub(super) fn serves(&mut self, after: &str) {
        for n in 0..NODES {
            let repository = self.node(n).repository("probe");
            // It may still take pushes on a lease, or a claim, that is about to lapse, and says when it has renewed it.
            wait_until("its lease and claim are renewed", DEADLINE, || {
                let log = self.nodes[n].process().log();
                // It may say more than once that it tries.
                let is_over = |trouble: &str, end: &str| log.rfind(end) >= log.rfind(trouble);
                is_over("the lease is not renewed", "the lease is renewed again")
                    && is_over("the lease was lost: joining again", "joined the cluster")
                    && is_over(
                        "claim on the storage cannot be renewed",
                        "claim on the storage is renewed again",
                    )
            });
            let sentence = format!("node {n} takes pushes after {after}");
            let mut at = 0;
            wait_until(&sentence, DEADLINE, || {
                let ended = self.nodes[n].process().ended();
                assert!(ended.is_none(), "node {n} ended: {ended:?}");
                at += 1;
                let bytes = format!("{after} {n} {at}").into_bytes();
                let digest = super::digest(&bytes);
                let path = repository.path(&format!("blobs/uploads/?digest={digest}"));
                let call = repository.client().call("POST", &path).body(bytes);
                call.try_send().is_some_and(|answer| answer.status == 201)
            });
        }
        if !self.gateways.is_empty() {
            // With nodes that were all gone, gateways were not ready either.
            self.front_uses_all();
        }
    }

    /// Whoever talks to what stands in front.
    pub(super) fn client(&self) -> Client {
        if self.gateways.is_empty() {
            Client::new(&self.proxy.url())
        } else {
            // Who reuses a connection must reckon with its end, whoever restarts.
            Client::without_keeping(&self.proxy.url())
        }
    }

    /// Waits until haproxy passes connections to every gateway.
    #[track_caller]
    pub(super) fn front_uses_all(&self) {
        wait_until("all gateways are ready", DEADLINE, || {
            self.proxy.takes_all_for_ready()
        });
    }

    /// Waits until every member has what the leader has.
    #[track_caller]
    pub(super) fn members_follow(&self) {
        wait_until("all members follow", DEADLINE, || {
            let status = self.status();
            let members = status
                .as_ref()
                .and_then(|status| status["group"]["members"].as_array());
            members.is_some_and(|members| {
                members.len() == MEMBERS.len() && members.iter().all(|one| one["behind"] == 0)
            })
        });
    }

    /// Whoever talks to one node.
    pub(super) fn node(&self, n: usize) -> Client {
        Client::new(&format!("http://{}", node_addr(&self.nodes[n])))
    }

    pub(super) fn addr(&self, n: usize) -> SocketAddr {
        node_addr(&self.nodes[n])
    }

    /// From its next start on, this node ends uploads that rest for a second, and clears away what nobody holds.
    pub(super) fn purges_often(&self, n: usize) {
        let config = self.home.path().join(format!("node-{n}.yml"));
        let text = std::fs::read_to_string(&config).expect("a configuration");
        let purging = "storage:\n  maintenance:\n    uploadpurging:\n      enabled: true\n      age: 1s\n      interval: 1s\n";
        let text = text.replacen("storage:\n", purging, 1);
        std::fs::write(&config, text).expect("a configuration");
    }

    /// The directory of [`Store::Filesystem`].
    pub(super) fn root(&self) -> PathBuf {
        self.home.path().join("root")
    }

    /// What `cluster status --json` says, if there is a group.
    pub(super) fn status(&self) -> Option<Value> {
        let output = Run::new(built("roadstead"))
            .args(["cluster", "status", "--json", "--config"])
            .arg(self.home.path().join("node-0.yml"))
            .output();
        let status: Value = serde_json::from_slice(&output.stdout).ok()?;
        Some(status).filter(|status| status["group"]["leader"].is_u64())
    }

    /// The group's last log entry.
    #[track_caller]
    pub(super) fn last_log(&self) -> u64 {
        wait_for("somebody leads", DEADLINE, || {
            self.status()?["group"]["last_log"].as_u64()
        })
    }

    /// Waits until somebody leads, other than `not`.
    #[track_caller]
    pub(super) fn leader(&self, not: Option<u64>) -> u64 {
        wait_for("a member leads", DEADLINE, || {
            let leader = self.status()?["group"]["leader"].as_u64();
            leader.filter(|leader| Some(*leader) != not)
        })
    }

    /// A member that does not lead.
    #[track_caller]
    pub(super) fn follower(&self) -> u64 {
        let leader = self.leader(None);
        let found = MEMBERS.into_iter().find(|id| *id != leader);
        found.expect("there are three")
    }

    /// All members, and all nodes.
    pub(super) fn machines(&mut self) -> impl Iterator<Item = &mut Machine> {
        self.members.values_mut().chain(&mut self.nodes)
    }

    pub(super) fn member(&mut self, id: u64) -> &mut Machine {
        self.members.get_mut(&id).expect("one of three")
    }

    /// Waits until so many nodes hold a lease, as far as the group knows.
    #[track_caller]
    pub(super) fn waits_for_leases(&self, count: usize) {
        wait_until(&format!("{count} nodes hold a lease"), DEADLINE, || {
            let status = self.status();
            let nodes = status.and_then(|status| status["nodes"].as_array().map(Vec::len));
            nodes == Some(count)
        });
    }

    /// Where logs lie that outlive a case that failed.
    fn keep_logs(&self) {
        let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join("failures");
        let kept = kept.join(std::process::id().to_string());
        let copied = std::fs::create_dir_all(&kept).and_then(|()| {
            for entry in std::fs::read_dir(self.home.path())? {
                let path = entry?.path();
                if let (Some(name), Some("log")) = (
                    path.file_name(),
                    path.extension().and_then(|end| end.to_str()),
                ) {
                    std::fs::copy(&path, kept.join(name))?;
                }
            }
            Ok(())
        });
        super::say(&format!("logs are kept in {} ({copied:?})", kept.display()));
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.keep_logs();
        }
    }
}

/// Two gateways, and haproxy before them: it passes connections on, and knows nothing of what is said in them.
fn gateways(
    network: &Network,
    peers: &BTreeMap<u64, String>,
    home: &Path,
) -> (Vec<Machine>, Proxy) {
    let machines: Vec<Machine> = (0..GATEWAYS)
        .map(|n| {
            let place = network.join();
            let addr = SocketAddr::new(place.addr().into(), NODE_PORT);
            let config = home.join(format!("gateway-{n}.yml"));
            let text = format!(
                "version: 0.1\nlog:\n  accesslog:\n    disabled: true\ncluster:\n  secret: {SECRET}\n  metadata: [{}]\n\
                 gateway:\n  addr: '{addr}'\n  health: {{interval: 500ms, slowstart: 1s}}\n",
                listed(peers)
            );
            std::fs::write(&config, text).expect("a configuration");
            let name = format!("gateway-{n}");
            let mut machine = Machine::new(place, &name, "gateway", &config, home);
            machine.start();
            machine
        })
        .collect();
    let addrs: Vec<SocketAddr> = machines.iter().map(node_addr).collect();
    (machines, Proxy::connections(&addrs))
}

fn node_addr(node: &Machine) -> SocketAddr {
    SocketAddr::new(node.place.addr().into(), NODE_PORT)
}

fn listed(peers: &BTreeMap<u64, String>) -> String {
    let listed: Vec<String> = peers.values().map(|addr| format!("'{addr}'")).collect();
    listed.join(", ")
}

fn member(id: u64, peers: &BTreeMap<u64, String>, home: &Path) -> String {
    let all: Vec<String> = peers
        .iter()
        .map(|(id, addr)| format!("{id}: '{addr}'"))
        .collect();
    format!(
        "version: 0.1\nstorage: inmemory\ncluster:\n  secret: {SECRET}\n  metadata: [{}]\n\
         metadata:\n  id: {id}\n  addr: '{}'\n  dir: {}\n  peers: {{{}}}\n",
        listed(peers),
        peers[&id],
        home.join(format!("disk-{id}")).display(),
        all.join(", ")
    )
}

fn directory(root: &Path) -> String {
    format!(
        "  filesystem:\n    rootdirectory: {}\n  delete:\n    enabled: true\n",
        root.display()
    )
}

fn node(
    storage: &str,
    peers: &BTreeMap<u64, String>,
    redis: SocketAddr,
    addr: SocketAddr,
) -> String {
    format!(
        "version: 0.1\nlog:\n  accesslog:\n    disabled: true\nstorage:\n{storage}  cache:\n    \
         blobdescriptor: redis\nredis:\n  addr: {redis}\nhttp:\n  addr: {addr}\n\
         cluster:\n  secret: {SECRET}\n  metadata: [{}]\n  advertise: '{addr}'\n",
        listed(peers)
    )
}
