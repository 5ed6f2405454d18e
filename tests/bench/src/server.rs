//! The servers that are measured, with a configuration as operators have it.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::time::Instant;

use crate::cluster;
use crate::content::ACCEPT;
use crate::http::{Connection, Target};
use crate::machine;
use crate::peers::Peer;
use crate::process::{LOOK_EVERY, Process, pause};
use crate::store;

/// From the start of a process to its first answer.
pub(crate) const STARTS_WITHIN: Duration = Duration::from_mins(1);

/// What is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Program {
    Roadstead,
    /// Three members of the metadata service, and three nodes.
    Cluster,
    /// Debian's `docker-registry`.
    Reference,
    Peer(Peer),
    /// nginx, which gives out the registry's files as they lie there: the limit.
    Files,
    Gateway,
    NginxProxy,
    HaproxyProxy,
}

impl Program {
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Roadstead => "roadstead",
            Self::Cluster => "roadstead cluster",
            Self::Reference => "docker-registry",
            Self::Peer(peer) => &peer.name,
            Self::Files => "nginx (files)",
            Self::Gateway => "roadstead gateway",
            Self::NginxProxy => "nginx (proxy)",
            Self::HaproxyProxy => "haproxy",
        }
    }

    /// Whether it is ours, and the others are held against it.
    pub(crate) fn is_ours(&self) -> bool {
        matches!(self, Self::Roadstead | Self::Cluster | Self::Gateway)
    }

    fn executable<'a>(&'a self, roadstead: &'a str) -> &'a str {
        match self {
            Self::Roadstead | Self::Cluster | Self::Gateway => roadstead,
            Self::Reference => "docker-registry",
            Self::Peer(peer) => peer.command.first().map_or("", String::as_str),
            Self::Files | Self::NginxProxy => "nginx",
            Self::HaproxyProxy => "haproxy",
        }
    }

    pub(crate) fn is_installed(&self, roadstead: &str) -> bool {
        machine::is_installed(self.executable(roadstead))
    }
}

/// A certificate for 127.0.0.1, and a client that trusts it.
#[derive(Debug)]
pub(crate) struct Certificate {
    chain: String,
    key: String,
    pub(crate) client: Arc<ClientConfig>,
}

impl Certificate {
    pub(crate) fn new() -> Result<Self> {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()])?;
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone())?;
        let client = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self {
            chain: made.cert.pem(),
            key: made.signing_key.serialize_pem(),
            client: Arc::new(client),
        })
    }
}

/// What a server is started with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setting<'a> {
    /// The path of `roadstead`.
    pub(crate) roadstead: &'a str,
    /// Where images are.
    pub(crate) root: &'a Path,
    /// Where a store listens in whose bucket they are instead.
    pub(crate) bucket: Option<SocketAddr>,
    /// Whom a proxy asks.
    pub(crate) upstream: Option<SocketAddr>,
    pub(crate) tls: Option<&'a Certificate>,
    /// What is asked until it is answered with 200: only then the server has started.
    pub(crate) ready: &'a str,
}

/// A server that runs. Dropped, it is ended and reaped.
#[derive(Debug)]
pub(crate) struct Server {
    /// In the order in which they are ended.
    pub(crate) processes: Vec<Process>,
    pub(crate) target: Target,
    /// Of further nodes, if it has any.
    pub(crate) others: Vec<Target>,
    /// From its start to its first answer.
    pub(crate) started_in: Duration,
    /// Configuration and log.
    pub(crate) home: TempDir,
}

impl Server {
    pub(crate) fn start(program: &Program, setting: Setting<'_>) -> Result<Self> {
        if *program == Program::Cluster {
            return cluster::start(setting);
        }
        let home = home()?;
        let [port] = ports()?;
        let arguments = configure(program, setting, port, home.path())?;
        let begun = Instant::now();
        let mut process = Process::start(
            program.executable(setting.roadstead),
            &arguments,
            home.path(),
        )?;
        let target = Target {
            addr: local(port),
            tls: setting.tls.map(|tls| Arc::clone(&tls.client)),
        };
        answers(&mut process, &target, setting.ready)?;
        Ok(Self {
            processes: vec![process],
            target,
            others: Vec::new(),
            started_in: begun.elapsed(),
            home,
        })
    }

    /// Whom this client speaks to: each node has its part of them.
    pub(crate) fn target_of(&self, client: usize) -> &Target {
        let node = client % (self.others.len() + 1);
        let other = node.checked_sub(1).and_then(|at| self.others.get(at));
        other.unwrap_or(&self.target)
    }

    /// What all its processes have used.
    pub(crate) fn used(&self) -> Result<machine::Used> {
        let mut all = machine::Used::default();
        for process in &self.processes {
            let used = machine::used(process.pid())?;
            all.cpu += used.cpu;
            all.resident += used.resident;
            all.peak += used.peak;
        }
        Ok(all)
    }

    pub(crate) fn forget_peak(&self) {
        for process in &self.processes {
            machine::forget_peak(process.pid());
        }
    }
}

pub(crate) fn home() -> Result<TempDir> {
    Ok(tempfile::Builder::new()
        .prefix("roadstead-bench-")
        .tempdir()?)
}

/// Free ones; held together, so that they differ.
pub(crate) fn ports<const N: usize>() -> Result<[u16; N]> {
    let held = (0..N).map(|_| TcpListener::bind(local(0)));
    let held: Vec<TcpListener> = held.collect::<Result<_, _>>()?;
    let mut ports = [0; N];
    for (port, listener) in ports.iter_mut().zip(&held) {
        *port = listener.local_addr()?.port();
    }
    Ok(ports)
}

pub(crate) fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// Waits until this path is answered with 200.
pub(crate) fn answers(process: &mut Process, target: &Target, path: &str) -> Result<()> {
    let begun = Instant::now();
    let once = || Connection::open(target)?.call("HEAD", path, ACCEPT, b"");
    while once().map_or(0, |answer| answer.status) != 200 {
        if process.has_ended()? || begun.elapsed() > STARTS_WITHIN {
            bail!(
                "{} does not answer {path}: {}",
                process.name(),
                process.said()
            );
        }
        pause(LOOK_EVERY);
    }
    Ok(())
}

/// Writes what the program reads, and says with which arguments it is started.
fn configure(
    program: &Program,
    setting: Setting<'_>,
    port: u16,
    home: &Path,
) -> Result<Vec<String>> {
    let text = match program {
        Program::Roadstead | Program::Reference => registry(setting, port),
        Program::Peer(peer) => peer.configuration(setting.root, port),
        Program::Cluster => bail!("a cluster has no single configuration"),
        Program::Files => nginx(
            home,
            &listen(setting, port, home)?,
            &files(setting.root),
            "",
        ),
        Program::Gateway => gateway(setting, port, home)?,
        Program::NginxProxy => {
            let pool = format!(
                "upstream node {{ server {}; keepalive 64; }}",
                upstream(setting)?
            );
            nginx(home, &listen(setting, port, home)?, NGINX_PROXY, &pool)
        }
        Program::HaproxyProxy => haproxy(setting, port, home)?,
    };
    let file = home.join("config.yml");
    fs::write(&file, text)?;
    let file = file.display().to_string();
    let words = |words: &[&str]| {
        words
            .iter()
            .map(|word| (*word).to_owned())
            .chain([file.clone()])
            .collect()
    };
    Ok(match program {
        Program::Roadstead | Program::Reference | Program::Cluster => words(&["serve"]),
        Program::Peer(peer) => peer.arguments(&file, setting.root, port),
        Program::Files | Program::NginxProxy => words(&["-e", "stderr", "-c"]),
        Program::Gateway => words(&["gateway"]),
        Program::HaproxyProxy => words(&["-db", "-f"]),
    })
}

/// As both registries have it by default, with their logs.
fn registry(setting: Setting<'_>, port: u16) -> String {
    format!(
        "version: 0.1\nstorage:\n{}  delete:\n    enabled: true\nhttp:\n  addr: 127.0.0.1:{port}\n",
        storage(setting)
    )
}

/// What stands below `storage`.
pub(crate) fn storage(setting: Setting<'_>) -> String {
    match setting.bucket {
        Some(addr) => store::driver(addr),
        None => format!(
            "  filesystem:\n    rootdirectory: {}\n",
            setting.root.display()
        ),
    }
}

fn gateway(setting: Setting<'_>, port: u16, home: &Path) -> Result<String> {
    let tls = match certificate(setting, home)? {
        None => String::new(),
        Some((certificate, key)) => {
            format!(
                "  tls: {{certificate: {}, key: {}}}\n",
                certificate.display(),
                key.display()
            )
        }
    };
    Ok(format!(
        "version: 0.1\ngateway:\n  addr: 127.0.0.1:{port}\n  upstreams: ['{}']\n{tls}  \
         health: {{expect: 200, interval: 200ms, slowstart: 0}}\n",
        upstream(setting)?
    ))
}

fn haproxy(setting: Setting<'_>, port: u16, home: &Path) -> Result<String> {
    let tls = match setting.tls {
        None => String::new(),
        Some(tls) => {
            // Certificate and key in one file, as haproxy wants them.
            let both = home.join("both.pem");
            fs::write(&both, format!("{}{}", tls.chain, tls.key))?;
            format!(" ssl crt {}", both.display())
        }
    };
    Ok(format!(
        "global\n  maxconn 1024\n\
         defaults\n  mode http\n  option splice-response\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n\
         frontend f\n  bind 127.0.0.1:{port}{tls}\n  default_backend b\n\
         backend b\n  server s {}\n",
        upstream(setting)?
    ))
}

const NGINX_PROXY: &str = "proxy_pass http://node; proxy_http_version 1.1; proxy_set_header Connection ''; \
    proxy_set_header Host $http_host; proxy_max_temp_file_size 0;";

fn files(root: &Path) -> String {
    format!("root {}; sendfile on; tcp_nopush on;", root.display())
}

fn nginx(home: &Path, listen: &str, location: &str, more: &str) -> String {
    let home = home.display();
    format!(
        "daemon off; worker_processes auto; user root; pid {home}/pid; error_log stderr warn;
         events {{ worker_connections 1024; }}
         http {{
           access_log {home}/access;
           client_body_temp_path {home}/body; proxy_temp_path {home}/proxy;
           fastcgi_temp_path {home}/f; uwsgi_temp_path {home}/u; scgi_temp_path {home}/s;
           {more}
           server {{
             {listen}
             client_max_body_size 0; keepalive_requests 1000000;
             location / {{ {location} }}
           }}
         }}"
    )
}

fn listen(setting: Setting<'_>, port: u16, home: &Path) -> Result<String> {
    Ok(match certificate(setting, home)? {
        None => format!("listen 127.0.0.1:{port};"),
        Some((certificate, key)) => format!(
            "listen 127.0.0.1:{port} ssl; ssl_certificate {}; ssl_certificate_key {};",
            certificate.display(),
            key.display()
        ),
    })
}

fn certificate(setting: Setting<'_>, home: &Path) -> Result<Option<(PathBuf, PathBuf)>> {
    let Some(tls) = setting.tls else {
        return Ok(None);
    };
    let (certificate, key) = (home.join("certificate.pem"), home.join("key.pem"));
    fs::write(&certificate, &tls.chain)?;
    fs::write(&key, &tls.key)?;
    Ok(Some((certificate, key)))
}

fn upstream(setting: Setting<'_>) -> Result<SocketAddr> {
    setting.upstream.context("a proxy without anybody to ask")
}
