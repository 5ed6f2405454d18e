//! `SeaweedFS`: a store that speaks S3, with an empty bucket, and counts what it is asked.

use std::fs;
use std::net::SocketAddr;

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;
use tokio::time::Instant;

use crate::http::{Connection, Target};
use crate::machine;
use crate::process::{LOOK_EVERY, Process, pause};
use crate::server::{STARTS_WITHIN, home, local, ports};

const BUCKET: &str = "images";
const KEY: &str = "bench";
const SECRET: &str = "a-secret-of-the-benchmark";
/// In the order of their ports; each has one more, for gRPC.
const SERVERS: [&str; 4] = ["master", "volume", "filer", "s3"];

/// Dropped, it is gone with all that it holds.
#[derive(Debug)]
pub(crate) struct Store {
    process: Process,
    pub(crate) addr: SocketAddr,
    metrics: Target,
    ports: [u16; 9],
    _home: TempDir,
}

/// What `tests/setup` put beside the build, or what is installed.
pub(crate) fn program() -> Option<String> {
    let own = std::env::current_exe().ok();
    let own = own.and_then(|path| Some(path.parent()?.parent()?.join("test-tools/venv/bin/weed")));
    let own = own.map(|path| path.display().to_string());
    own.into_iter()
        .chain(["weed".to_owned()])
        .find(|program| machine::is_installed(program))
}

impl Store {
    pub(crate) fn start(program: &str) -> Result<Self> {
        let (home, ports) = (home()?, ports::<9>()?);
        let [.., s3, _, metrics] = ports;
        fs::create_dir(home.path().join("data"))?;
        fs::write(home.path().join("s3.json"), identities())?;
        let mut arguments: Vec<String> = ARGUMENTS.iter().map(|&word| word.to_owned()).collect();
        for (name, ports) in SERVERS.iter().zip(ports.chunks_exact(2)) {
            for (port, what) in ports.iter().zip(["port", "port.grpc"]) {
                arguments.push(format!("-{name}.{what}={port}"));
            }
        }
        arguments.push(format!("-metricsPort={metrics}"));
        let target = |port| Target {
            addr: local(port),
            tls: None,
        };
        let mut store = Self {
            process: Process::start(program, &arguments, home.path())?,
            addr: local(s3),
            metrics: target(metrics),
            ports,
            _home: home,
        };
        store.takes_objects(&target(s3))?;
        Ok(store)
    }

    /// The first object makes the bucket.
    fn takes_objects(&mut self, target: &Target) -> Result<()> {
        let begun = Instant::now();
        let path = format!("/{BUCKET}/elsewhere/first");
        let put = || Connection::open(target)?.call("PUT", &path, "", b"x");
        while put().map_or(0, |answer| answer.status) != 200 {
            if self.process.has_ended()? || begun.elapsed() > STARTS_WITHIN {
                bail!("SeaweedFS takes no objects: {}", self.process.said());
            }
            pause(LOOK_EVERY * 40);
        }
        Ok(())
    }

    /// Requests that it has answered.
    pub(crate) fn requests(&self) -> Result<f64> {
        let mut connection = Connection::open(&self.metrics)?;
        let told = connection.call("GET", "/metrics", "", b"")?.expect(200)?;
        let told = String::from_utf8(told.body)?;
        let counts = told
            .lines()
            .filter(|line| line.starts_with("SeaweedFS_s3_request_total{"))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        let counts: Vec<f64> = counts.collect();
        if counts.is_empty() {
            return Err(anyhow::anyhow!(told)).context("SeaweedFS does not count requests");
        }
        Ok(counts.into_iter().sum())
    }
}

impl Drop for Store {
    /// It takes its time to end. It makes sockets in a place of its own choice, and leaves them there.
    fn drop(&mut self) {
        let _gone = self.process.kill();
        for (name, ports) in SERVERS.iter().zip(self.ports.chunks_exact(2)) {
            for (port, what) in ports.iter().zip(["", "grpc-"]) {
                // It does not make all of them.
                let _absent = fs::remove_file(format!("/tmp/seaweedfs-{name}-{what}{port}.sock"));
            }
        }
    }
}

const ARGUMENTS: &[&str] = &[
    "server",
    "-ip=127.0.0.1",
    "-ip.bind=127.0.0.1",
    "-dir=data",
    "-filer",
    "-s3",
    "-s3.config=s3.json",
    "-s3.autoCreateBucket",
    "-s3.port.iceberg=0",
    "-s3.port.lance=0",
    "-master.volumeSizeLimitMB=1024",
    "-volume.max=50",
    "-volume.preStopSeconds=0",
];

/// The one without a key is for this program.
fn identities() -> String {
    let actions = r#""actions":["Admin","Read","Write","List","Tagging"]"#;
    format!(
        r#"{{"identities":[{{"name":"anonymous",{actions}}},
            {{"name":"bench","credentials":[{{"accessKey":"{KEY}","secretKey":"{SECRET}"}}],{actions}}}]}}"#
    )
}

/// A registry's driver for the bucket. What is pulled comes through the registry.
pub(crate) fn driver(addr: SocketAddr) -> String {
    format!(
        "  s3:\n    accesskey: {KEY}\n    secretkey: {SECRET}\n    region: us-east-1\n    \
         regionendpoint: http://{addr}\n    bucket: {BUCKET}\n    rootdirectory: /bench\n  \
         redirect:\n    disable: true\n"
    )
}
