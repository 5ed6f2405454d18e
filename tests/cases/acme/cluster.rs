//! Gateways of a cluster behind one name: one of them orders, all answer and serve, and any may die over it.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use roadstead_tests::pebble::HTTP_PORT;
use roadstead_tests::process::Process;
use roadstead_tests::{Pebble, scratch, wait_for, wait_until};
use rustix::process::Signal;
use tempfile::TempDir;

use super::server::{DEADLINE, LONG, NAME, address, by, launch, serves, shown};
use crate::metadata::group::{Group, SECRET};

struct Gateway {
    process: Process,
    addr: SocketAddr,
    home: TempDir,
}

struct Fleet {
    group: Group,
    pebble: Pebble,
    gateways: Vec<Gateway>,
}

impl Fleet {
    fn start(gateways: usize, http: bool) -> Self {
        let mut group = Group::new([1]);
        group.start_all();
        group.leader(1, None);
        let addrs: Vec<_> = (0..gateways).map(|_| address()).collect();
        let pebble = Pebble::start(LONG, addrs[0].ip());
        pebble.leads(NAME, &addrs);
        let mut fleet = Self {
            group,
            pebble,
            gateways: Vec::new(),
        };
        for addr in addrs {
            let home = scratch();
            let process = fleet.launch(home.path(), addr, http);
            fleet.gateways.push(Gateway {
                process,
                addr,
                home,
            });
        }
        fleet
    }

    /// How its processes find the metadata service.
    fn keys(&self) -> String {
        let members = self.group.peers.values().map(|at| format!("'{at}'"));
        let members = members.collect::<Vec<_>>().join(", ");
        format!("cluster: {{secret: {SECRET}, metadata: [{members}]}}\n")
    }

    fn launch(&self, home: &Path, addr: SocketAddr, http: bool) -> Process {
        let challenge = if http { ", challenge: http-01" } else { "" };
        let config = format!(
            "version: 0.1\nlog: {{accesslog: {{disabled: true}}}}\n\
             {}gateway:\n  addr: '{addr}'\n  redirect: {{addr: '{}:{HTTP_PORT}'}}\n  \
             tls: {{letsencrypt: {}}}\n",
            self.keys(),
            addr.ip(),
            by(&self.pebble, challenge)
        );
        launch("gateway", home, &config, &[])
    }

    /// Waits until one of them has begun an order, and says which.
    fn orders(&self) -> usize {
        wait_for("one of them orders", DEADLINE, || {
            let ordering =
                |gateway: &Gateway| gateway.process.log().contains("ordering a certificate");
            self.gateways.iter().position(ordering)
        })
    }

    /// While the authority does nothing the name is led to the others alone, as a balancer would have it, and this one is
    /// lost. An authority that asked it for the challenge just then would call the order failed, as it may.
    fn loses(&mut self, lost: usize, signal: Signal) {
        self.pebble.signal(Signal::STOP);
        self.leads_past(lost);
        self.gateways[lost].process.signal(signal);
        self.pebble.signal(Signal::CONT);
    }

    fn leads_past(&self, lost: usize) {
        let others = self.gateways.iter().enumerate().filter(|(n, _)| *n != lost);
        let others: Vec<_> = others.map(|(_, gateway)| gateway.addr).collect();
        self.pebble.leads(NAME, &others);
    }

    /// Waits until all serve the same certificate, which was ordered once.
    fn all_serve(&self) -> String {
        let serials: Vec<_> = self
            .gateways
            .iter()
            .map(|gateway| serves(&self.pebble, gateway.addr, NAME))
            .collect();
        assert!(
            serials.iter().all(|serial| *serial == serials[0]),
            "{serials:?}"
        );
        let logs: Vec<_> = self
            .gateways
            .iter()
            .map(|gateway| gateway.process.log())
            .collect();
        assert_eq!(
            (self.pebble.orders(), self.pebble.issued()),
            (1, 1),
            "{}",
            logs.join("\n---\n")
        );
        serials[0].clone()
    }
}

/// Whether any file below this directory has these bytes.
fn holds(dir: &Path, bytes: &[u8]) -> bool {
    fs::read_dir(dir).expect("a directory").any(|entry| {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            return holds(&path, bytes);
        }
        let content = fs::read(&path).expect("a file");
        content.windows(bytes.len()).any(|window| window == bytes)
    })
}

#[test]
fn two_gateways_behind_one_name_order_once_and_the_service_holds_no_key_in_the_open() {
    let mut fleet = Fleet::start(2, false);
    let serial = fleet.all_serve();
    let status = fleet.group.cluster(1, &["status"]).ok().text();
    assert!(
        status.contains(NAME) && status.contains("89d23h"),
        "{status}"
    );
    let dir = fleet.group.dir(1);
    assert!(holds(&dir, NAME.as_bytes()), "its names are in the log");
    for secret in ["PRIVATE KEY", "key_pkcs8", "CERTIFICATE"] {
        assert!(!holds(&dir, secret.as_bytes()), "{secret}");
    }
    // What is kept is served from the first moment on, and nothing is ordered again.
    fleet.gateways[0].process.stop(DEADLINE);
    let (addr, home) = (fleet.gateways[0].addr, fleet.gateways[0].home.path());
    let process = fleet.launch(home, addr, false);
    fleet.gateways[0].process = process;
    assert_eq!(shown(&fleet.pebble, addr, NAME), Some(serial.clone()));
    assert_eq!(fleet.all_serve(), serial);
}

/// The authority finds the gateway; the node has the certificate as well.
#[test]
fn a_node_and_a_gateway_share_one() {
    let fleet = Fleet::start(1, false);
    let (home, addr) = (scratch(), address());
    let config = format!(
        "version: 0.1\nlog: {{accesslog: {{disabled: true}}}}\n{}\
         storage: {{filesystem: {{rootdirectory: {}}}}}\n\
         http:\n  addr: '{addr}'\n  tls: {{letsencrypt: {}}}\n",
        fleet.keys(),
        home.path().join("root").display(),
        by(&fleet.pebble, "")
    );
    let node = launch("registry", home.path(), &config, &[]);
    let serial = fleet.all_serve();
    assert_eq!(serves(&fleet.pebble, addr, NAME), serial, "{}", node.log());
    assert_eq!(fleet.all_serve(), serial);
}

#[test]
fn whichever_is_asked_by_http_has_the_answer() {
    let fleet = Fleet::start(3, true);
    fleet.all_serve();
}

#[test]
fn an_order_is_gone_on_with_when_its_process_is_killed() {
    let mut fleet = Fleet::start(2, false);
    let lost = fleet.orders();
    fleet.loses(lost, Signal::KILL);
    let other = &fleet.gateways[1 - lost];
    serves(&fleet.pebble, other.addr, NAME);
    let (addr, home) = (fleet.gateways[lost].addr, fleet.gateways[lost].home.path());
    let process = fleet.launch(home, addr, false);
    fleet.gateways[lost].process = process;
    fleet.all_serve();
}

#[test]
fn a_process_that_was_paused_over_its_order_undoes_nothing_when_it_goes_on() {
    let mut fleet = Fleet::start(2, false);
    let paused = fleet.orders();
    fleet.loses(paused, Signal::STOP);
    let other = fleet.gateways[1 - paused].addr;
    let serial = serves(&fleet.pebble, other, NAME);
    fleet.gateways[paused].process.signal(Signal::CONT);
    assert_eq!(fleet.all_serve(), serial);
    wait_until("it knows that another has the right", DEADLINE, || {
        shown(&fleet.pebble, fleet.gateways[paused].addr, NAME) == Some(serial.clone())
    });
}
