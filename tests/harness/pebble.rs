//! A certification authority that speaks ACME: Let's Encrypt's own for tests, with a name server of its own.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;
use tempfile::TempDir;

use crate::gateway::own_address;
use crate::process::Process;
use crate::run::Run;
use crate::tools::curl;
use crate::wait::wait_until;

const STARTS_WITHIN: Duration = Duration::from_secs(30);

/// Where names are looked up, and where what is found there is told.
const DNS_PORT: u16 = 8053;
const TOLD_PORT: u16 = 8055;
const DIRECTORY_PORT: u16 = 14000;
const ROOTS_PORT: u16 = 15000;

/// Where it looks for challenges: on the ports of these, instead of 443 and 80.
pub const TLS_PORT: u16 = 5443;
pub const HTTP_PORT: u16 = 5080;

/// Dropped, it is killed, and what it knew is gone.
#[derive(Debug)]
pub struct Pebble {
    process: Option<Process>,
    names: Process,
    host: IpAddr,
    home: TempDir,
}

impl Pebble {
    /// It issues certificates that are good for so many seconds; every name leads to this address.
    #[track_caller]
    pub fn start(seconds: u64, leads_to: IpAddr) -> Self {
        Self::start_for(seconds, leads_to, None)
    }

    /// The same for customers only, who are given a name for a key, and the key.
    #[track_caller]
    pub fn start_for(seconds: u64, leads_to: IpAddr, external: Option<(&str, &str)>) -> Self {
        let home = crate::scratch();
        let host = own_address().ip();
        certificate(home.path(), host);
        let config = json!({"pebble": {
            "listenAddress": format!("{host}:{DIRECTORY_PORT}"),
            "managementListenAddress": format!("{host}:{ROOTS_PORT}"),
            "certificate": home.path().join("certificate.pem"),
            "privateKey": home.path().join("key.pem"),
            "httpPort": HTTP_PORT,
            "tlsPort": TLS_PORT,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": external.is_some(),
            "externalAccountMACKeys": external.iter().copied().collect::<BTreeMap<_, _>>(),
            "certificateValidityPeriod": seconds,
        }});
        let file = home.path().join("pebble.json");
        std::fs::write(file, config.to_string()).expect("a configuration");
        let mut command = Command::new("pebble-challtestsrv");
        command
            .args(["-http01", "", "-https01", "", "-tlsalpn01", ""])
            .args(["-dns01", &format!("{host}:{DNS_PORT}")])
            .args(["-management", &format!("{host}:{TOLD_PORT}")])
            .args(["-defaultIPv4", &leads_to.to_string(), "-defaultIPv6", ""]);
        let names = Process::start(command, &home.path().join("names"));
        let mut pebble = Self {
            process: None,
            names,
            host,
            home,
        };
        pebble.comes_back();
        pebble
    }

    /// Starts it, after it was [away](Self::goes_away): it has forgotten accounts and orders, and has another root.
    #[track_caller]
    pub fn comes_back(&mut self) {
        let mut command = Command::new("pebble");
        command
            .arg("-strict")
            .arg("-config")
            .arg(self.home.path().join("pebble.json"))
            .args(["-dnsserver", &format!("{}:{DNS_PORT}", self.host)])
            // It waits between validations, and refuses one request in twenty: neither is to be left to chance.
            .env("PEBBLE_VA_NOSLEEP", "1")
            .env("PEBBLE_WFE_NONCEREJECT", "0")
            .env("PEBBLE_AUTHZREUSE", "0");
        self.process = Some(Process::start(command, &self.home.path().join("log")));
        wait_until("pebble answers", STARTS_WITHIN, || {
            let url = format!("https://{}:{ROOTS_PORT}/roots/0", self.host);
            let asked = Run::new("curl").args(["-q", "-s", "-k", "-f", &url]).ends();
            if asked.status.success() {
                std::fs::write(self.root(), asked.text()).expect("a file");
            }
            asked.status.success()
        });
    }

    pub fn goes_away(&mut self) {
        self.process = None;
    }

    /// To the authority; names are told of by another process. Nothing while it is away.
    pub fn signal(&mut self, signal: Signal) {
        if let Some(process) = &mut self.process {
            process.signal(signal);
        }
    }

    /// What `directoryurl` is.
    pub fn directory(&self) -> String {
        format!("https://{}/dir", self.addr())
    }

    /// Where it listens, over TLS.
    pub fn addr(&self) -> SocketAddr {
        SocketAddr::new(self.host, DIRECTORY_PORT)
    }

    /// What `directoryca` is: who signed its own certificate.
    pub fn ca(&self) -> PathBuf {
        self.home.path().join("certificate.pem")
    }

    /// Who signs what it issues.
    pub fn root(&self) -> PathBuf {
        self.home.path().join("root.pem")
    }

    /// A name leads to these addresses from now on.
    #[track_caller]
    pub fn leads(&self, name: &str, to: &[SocketAddr]) {
        let addresses: Vec<_> = to.iter().map(|addr| addr.ip().to_string()).collect();
        let told = json!({"host": name, "addresses": addresses}).to_string();
        // It adds to what it was told before.
        for what in ["clear-a", "add-a"] {
            let url = format!("http://{}:{TOLD_PORT}/{what}", self.host);
            curl(&["-d", &told, &url]).answer.expect_status(200);
        }
    }

    /// How many orders it was asked for since it was started.
    pub fn orders(&self) -> usize {
        self.log().matches("Added order").count()
    }

    /// How many certificates it has issued since then.
    pub fn issued(&self) -> usize {
        self.log().matches("Issued certificate serial").count()
    }

    pub fn log(&self) -> String {
        self.process.as_ref().map(Process::log).unwrap_or_default()
    }

    /// The name server, which can be paused.
    pub fn names(&mut self) -> &mut Process {
        &mut self.names
    }
}

fn certificate(dir: &Path, host: IpAddr) {
    Run::new("openssl")
        .dir(dir)
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-sha256"])
        .args(["-days", "30", "-subj", "/CN=pebble"])
        .args(["-addext", &format!("subjectAltName=IP:{host}")])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .args(["-keyout", "key.pem", "-out", "certificate.pem"])
        .ok();
}
