//! Proxies in front of a registry: nginx and haproxy, with a certificate of their own; and nginx as a dumb balancer.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::process::Process;
use crate::registry::search_path;
use crate::run::Run;
use crate::wait::{poll, wait_until};

/// From SIGTERM to the end; a proxy that takes longer is killed.
const ENDS_WITHIN: Duration = Duration::from_secs(20);

/// Where haproxy says how its servers are.
const STATS: &str = "stats";

/// A proxy that listens on 127.0.0.1. Dropped, it is ended.
#[derive(Debug)]
pub struct Proxy {
    process: Process,
    addr: SocketAddr,
    scheme: &'static str,
    home: TempDir,
}

impl Proxy {
    /// nginx; `location` are the directives of its one location, in which `UPSTREAM` stands for the registry.
    #[track_caller]
    pub fn nginx(upstream: SocketAddr, location: &str) -> Self {
        let configuration = |home: &Path, port: u16| {
            let dir = home.display();
            let location = location.replace("UPSTREAM", &upstream.to_string());
            format!(
                "daemon off; worker_processes 1; user root; pid {dir}/pid; error_log stderr warn;
                 events {{ worker_connections 256; }}
                 http {{
                   access_log off;
                   client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy;
                   fastcgi_temp_path {dir}/f; uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;
                   server {{
                     listen 127.0.0.1:{port} ssl;
                     ssl_certificate {dir}/certificate.pem;
                     ssl_certificate_key {dir}/key.pem;
                     client_max_body_size 0;
                     chunked_transfer_encoding on;
                     location / {{ {location} }}
                   }}
                 }}"
            )
        };
        Self::start("nginx", "https", configuration)
    }

    /// nginx without TLS, in turn to each of `nodes`, whatever becomes of them: it asks nobody twice and takes nobody for
    /// down. One that sends nothing for `patience` seconds is given up.
    #[track_caller]
    pub fn round_robin(nodes: &[SocketAddr], patience: u32) -> Self {
        let servers: Vec<String> = nodes
            .iter()
            .map(|node| format!("server {node} max_fails=0;"))
            .collect();
        let servers = servers.join(" ");
        let configuration = |home: &Path, port: u16| {
            let dir = home.display();
            format!(
                "daemon off; worker_processes 1; user root; pid {dir}/pid; error_log stderr crit;
                 events {{ worker_connections 1024; }}
                 http {{
                   access_log off;
                   client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy;
                   fastcgi_temp_path {dir}/f; uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;
                   upstream nodes {{ {servers} }}
                   server {{
                     listen 127.0.0.1:{port};
                     client_max_body_size 0;
                     location / {{
                       proxy_pass http://nodes;
                       proxy_http_version 1.1;
                       proxy_set_header Host $http_host;
                       proxy_request_buffering off;
                       proxy_buffering off;
                       proxy_next_upstream off;
                       proxy_connect_timeout {patience}s;
                       proxy_read_timeout {patience}s;
                       proxy_send_timeout {patience}s;
                     }}
                   }}
                 }}"
            )
        };
        Self::start("nginx", "http", configuration)
    }

    /// haproxy; `backend` are the directives of its one backend besides the server.
    #[track_caller]
    pub fn haproxy(upstream: SocketAddr, backend: &str) -> Self {
        let configuration = |home: &Path, port: u16| {
            let both = both(home).display().to_string();
            format!(
                "global\n  maxconn 256\n\
                 defaults\n  mode http\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n\
                 frontend f\n  bind 127.0.0.1:{port} ssl crt {both} alpn h2,http/1.1\n  default_backend b\n\
                 backend b\n  {backend}\n  server s {upstream}\n"
            )
        };
        Self::start("haproxy", "https", configuration)
    }

    /// haproxy with a sample of this tree: in place of its port another, in place of `node-1:5000` and so on these nodes.
    #[track_caller]
    pub fn haproxy_as_shipped(sample: &str, nodes: &[SocketAddr]) -> Self {
        let configuration = |home: &Path, port: u16| {
            let both = both(home);
            let instead = |text: String, old: &str, new: &str| {
                assert_eq!(text.matches(old).count(), 1, "{old} in {text}");
                text.replace(old, new)
            };
            let text = instead(
                sample.to_owned(),
                "bind :443 ssl crt /etc/haproxy/registry.pem ",
                &format!("bind 127.0.0.1:{port} ssl crt {} ", both.display()),
            );
            nodes.iter().zip(1..).fold(text, |text, (node, n)| {
                instead(text, &format!(" node-{n}:5000"), &format!(" {node}"))
            })
        };
        Self::start("haproxy", "https", configuration)
    }

    /// haproxy, which passes connections on to whichever of `servers` says at `/readyz` that it is ready. It knows nothing
    /// of what is said in them. An answer that is slow is none that says no: without a time-out of its own a check that
    /// takes longer than from one to the next takes a server out, and on a busy machine the last one.
    #[track_caller]
    pub fn connections(servers: &[SocketAddr]) -> Self {
        let servers: Vec<String> = (0..)
            .zip(servers)
            .map(|(n, server)| format!("  server s{n} {server}\n"))
            .collect();
        let servers = servers.concat();
        let configuration = |home: &Path, port: u16| {
            let stats = home.join(STATS).display().to_string();
            format!(
                "global\n  maxconn 1024\n  stats socket {stats} level user\n\
                 defaults\n  mode tcp\n  timeout connect 5s\n  timeout check 10s\n  timeout client 10m\n  timeout server 10m\n\
                 frontend f\n  bind 127.0.0.1:{port}\n  default_backend b\n\
                 backend b\n  balance roundrobin\n  retries 3\n  option redispatch 1\n  option httpchk GET /readyz\n\
                   default-server check inter 200ms fall 1 rise 1\n{servers}"
            )
        };
        Self::start("haproxy", "http", configuration)
    }

    /// Whether [`connections`](Self::connections) takes all of its servers for ready.
    pub fn takes_all_for_ready(&self) -> bool {
        let Ok(mut socket) = UnixStream::connect(self.home.path().join(STATS)) else {
            return false;
        };
        let mut told = String::new();
        let asked = socket
            .write_all(b"show stat b 4 -1\n")
            .and_then(|()| socket.read_to_string(&mut told));
        // Its 18th column is the state.
        let states = told
            .lines()
            .filter(|line| line.starts_with("b,s"))
            .map(|line| line.split(',').nth(17));
        let states: Vec<_> = states.collect();
        asked.is_ok() && !states.is_empty() && states.iter().all(|state| *state == Some("UP"))
    }

    fn start(
        program: &str,
        scheme: &'static str,
        configuration: impl Fn(&Path, u16) -> String,
    ) -> Self {
        let args: &[&str] = match program {
            "nginx" => &["-e", "stderr", "-c"],
            _haproxy => &["-db", "-f"],
        };
        let home = crate::scratch();
        if scheme == "https" {
            certificate(home.path());
        }
        let addr = free();
        let file = home.path().join("proxy.conf");
        std::fs::write(&file, configuration(home.path(), addr.port())).expect("a configuration");
        let mut command = Command::new(program);
        command
            .args(args)
            .arg(&file)
            .current_dir(home.path())
            .env_clear()
            .env("PATH", search_path());
        let process = Process::start(command, &home.path().join("log"));
        wait_until("the proxy listened", Duration::from_secs(20), || {
            TcpStream::connect(addr).is_ok()
        });
        Self {
            process,
            addr,
            scheme,
            home,
        }
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub fn log(&self) -> String {
        self.process.log()
    }

    /// `https://127.0.0.1:PORT`, or `http`.
    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.addr)
    }

    /// The certificate that clients are to trust.
    pub fn certificate(&self) -> PathBuf {
        self.home.path().join("certificate.pem")
    }
}

impl Drop for Proxy {
    /// nginx's workers outlive a master that is killed: it is told to end, and has the time to tell them.
    fn drop(&mut self) {
        self.process.signal(Signal::TERM);
        let _ended = poll(ENDS_WITHIN, || self.process.ended());
    }
}

/// Certificate and key in one file, as haproxy wants them.
fn both(home: &Path) -> PathBuf {
    let both = ["certificate.pem", "key.pem"]
        .map(|file| std::fs::read_to_string(home.join(file)).expect("a file"));
    let path = home.join("both.pem");
    std::fs::write(&path, both.concat()).expect("a file");
    path
}

/// A certificate for 127.0.0.1 that signs itself, made as an operator would make it: `certificate.pem` and `key.pem`.
#[track_caller]
pub fn certificate(dir: &Path) {
    Run::new("openssl")
        .dir(dir)
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-sha256"])
        .args(["-days", "30", "-subj", "/CN=unused"])
        .args(["-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .args(["-keyout", "key.pem", "-out", "certificate.pem"])
        .ok();
}

/// A port that nobody has at the moment.
fn free() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("its number")
}
