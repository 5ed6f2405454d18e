//! The servers that are measured: each a process of its own on a port of its own, with a configuration as operators have it.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::time::Instant;

use crate::content::ACCEPT;
use crate::http::{Connection, Target};
use crate::machine;
use crate::peers::Peer;

/// From the start of a process to its first answer.
const STARTS_WITHIN: Duration = Duration::from_mins(1);
/// From SIGTERM to the end; what takes longer is killed.
const ENDS_WITHIN: Duration = Duration::from_secs(20);
/// How often it is looked: start-up is measured by this.
const LOOK_EVERY: Duration = Duration::from_micros(250);

/// What is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Program {
    Roadstead,
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
        matches!(self, Self::Roadstead | Self::Gateway)
    }

    fn executable<'a>(&'a self, roadstead: &'a str) -> &'a str {
        match self {
            Self::Roadstead | Self::Gateway => roadstead,
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
    /// Whom a proxy asks.
    pub(crate) upstream: Option<SocketAddr>,
    pub(crate) tls: Option<&'a Certificate>,
    /// What is asked until it is answered with 200: only then the server has started.
    pub(crate) ready: &'a str,
}

/// A server that runs. Dropped, it is ended and reaped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    pub(crate) target: Target,
    /// From its start to its first answer.
    pub(crate) started_in: Duration,
    /// Configuration and log.
    _home: TempDir,
}

impl Server {
    pub(crate) fn start(program: &Program, setting: Setting<'_>) -> Result<Self> {
        let home = tempfile::Builder::new()
            .prefix("roadstead-bench-")
            .tempdir()?;
        let addr = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let arguments = configure(program, setting, addr.port(), home.path())?;
        let log = home.path().join("log");
        let begun = Instant::now();
        let child = Command::new(program.executable(setting.roadstead))
            .args(arguments)
            .current_dir(home.path())
            .env_clear()
            .env("PATH", machine::search_path())
            .stdin(Stdio::null())
            .stdout(File::create(&log)?)
            .stderr(File::options().append(true).open(&log)?)
            .spawn()
            .with_context(|| format!("{} could not be started", program.name()))?;
        let target = Target {
            addr,
            tls: setting.tls.map(|tls| Arc::clone(&tls.client)),
        };
        let mut server = Self {
            child,
            target,
            started_in: Duration::ZERO,
            _home: home,
        };
        while !answers(&server.target, setting.ready) {
            let ended = server.child.try_wait()?;
            if ended.is_some() || begun.elapsed() > STARTS_WITHIN {
                let said = fs::read_to_string(&log).unwrap_or_default();
                let said: String = said.chars().take(4096).collect();
                bail!(
                    "{} does not answer {}: {said}",
                    program.name(),
                    setting.ready
                );
            }
            pause(LOOK_EVERY);
        }
        server.started_in = begun.elapsed();
        Ok(server)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    /// nginx's workers outlive a master that is killed: it is told to end, and has the time to tell them.
    fn drop(&mut self) {
        let _gone = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let begun = Instant::now();
        while begun.elapsed() < ENDS_WITHIN {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            pause(LOOK_EVERY * 4);
        }
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

fn answers(target: &Target, path: &str) -> bool {
    let Ok(mut connection) = Connection::open(target) else {
        return false;
    };
    let answer = connection.call("HEAD", path, ACCEPT, b"");
    answer.is_ok_and(|answer| answer.status == 200)
}

#[expect(clippy::disallowed_methods, reason = "there is no runtime to stall")]
pub(crate) fn pause(length: Duration) {
    std::thread::sleep(length);
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
        Program::Roadstead | Program::Reference => words(&["serve"]),
        Program::Peer(peer) => peer.arguments(&file, setting.root, port),
        Program::Files | Program::NginxProxy => words(&["-e", "stderr", "-c"]),
        Program::Gateway => words(&["gateway"]),
        Program::HaproxyProxy => words(&["-db", "-f"]),
    })
}

/// As both registries have it by default, with their logs.
fn registry(setting: Setting<'_>, port: u16) -> String {
    format!(
        "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {}\n  delete:\n    enabled: true\n\
         http:\n  addr: 127.0.0.1:{port}\n",
        setting.root.display()
    )
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
