//! One measurement: a server is started, does the work, and is looked at.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::Serialize;
use tempfile::TempDir;
use tokio::time::Instant;

use crate::cluster;
use crate::figures::{self, real, real_of};
use crate::machine;
use crate::process::pause;
use crate::rows::{Asked, Field, Place, Row, Unit, Work};
use crate::seeds::{BIG, SMALL, Seeds, Sizes, TAG, TAGGED, data};
use crate::server::{Certificate, Program, Server, Setting};
use crate::store::Store;
use crate::work::{self, Done};

/// An idle server has done what it does after its start by then.
const SETTLES_WITHIN: Duration = Duration::from_millis(500);

/// Starts in one measurement of start-up.
const STARTS: usize = 5;

/// Clients that push small images.
const PUSHERS: usize = 16;

/// What everything is measured with.
#[derive(Debug)]
pub(crate) struct Bench {
    pub(crate) roadstead: String,
    /// Of `SeaweedFS`, where it is installed.
    pub(crate) weed: Option<String>,
    /// Where roots are made.
    pub(crate) directory: PathBuf,
    pub(crate) sizes: Sizes,
    /// Of work that is counted by time.
    pub(crate) time: Duration,
    pub(crate) certificate: Certificate,
    pub(crate) drops_caches: bool,
}

/// The images of one server, or of several that read the same layout.
#[derive(Debug)]
pub(crate) struct Images {
    pub(crate) root: PathBuf,
    pub(crate) seeds: Seeds,
}

/// What came of it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Sample {
    pub(crate) row: &'static str,
    pub(crate) server: String,
    pub(crate) round: usize,
    pub(crate) units: f64,
    pub(crate) seconds: f64,
    /// The server's.
    pub(crate) cpu_seconds: f64,
    /// The rate in the unit of the row, and processor time for each.
    pub(crate) rate: f64,
    pub(crate) cost: f64,
    /// Milliseconds; absent where there is no request to speak of.
    pub(crate) p99: Option<f64>,
    /// MiB, at most while it worked.
    pub(crate) peak: f64,
    /// MiB, when the work was done.
    pub(crate) resident: f64,
    /// What others took of the machine meanwhile, of one.
    pub(crate) others: f64,
    /// Requests to the store, for each unit.
    pub(crate) asked_store: Option<f64>,
}

impl Bench {
    /// Runs a row against a server.
    pub(crate) fn sample(
        &self,
        row: &Row,
        program: &Program,
        images: &Images,
        round: usize,
    ) -> Result<Sample> {
        let what = || format!("{} against {}", row.name, program.name());
        if row.work == Work::Start {
            return self.starts(row, program, images, round).with_context(what);
        }
        let empty = row.begins_empty().then(|| self.empty_root()).transpose()?;
        let root = empty.as_ref().map_or(images.root.as_path(), TempDir::path);
        let upstream = (row.field() == Field::Proxies)
            .then(|| Server::start(&Program::Roadstead, self.setting(&images.root, "/v2/")))
            .transpose()?;
        let store = match &self.weed {
            Some(weed) if row.place == Place::Bucket => Some(Store::start(weed)?),
            _ => None,
        };
        let mut path = path(row, program, &images.seeds, self.sizes);
        let ready = if row.begins_empty() || row.unit == Unit::Answer {
            "/v2/"
        } else {
            &path
        };
        let mut setting = self.setting(root, ready);
        setting.upstream = upstream.as_ref().map(|node| node.target.addr);
        setting.tls = row.tls().then_some(&self.certificate);
        setting.bucket = store.as_ref().map(|store| store.addr);
        let server = Server::start(program, setting).with_context(what)?;
        if row.begins_empty() && !row.writes() {
            let seeds = Seeds::push(&server.target, self.sizes, row.needed()).with_context(what)?;
            path = self::path(row, program, &seeds, self.sizes);
        }
        if row.writes() && self.drops_caches {
            machine::drop_caches();
        }
        let sample = self
            .watched(row, (&server, store.as_ref()), &path, round)
            .with_context(what)?;
        Ok(Sample {
            server: program.name().to_owned(),
            round,
            ..sample
        })
    }

    pub(crate) fn setting<'a>(&'a self, root: &'a Path, ready: &'a str) -> Setting<'a> {
        Setting {
            roadstead: &self.roadstead,
            root,
            bucket: None,
            upstream: None,
            tls: None,
            ready,
        }
    }

    pub(crate) fn empty_root(&self) -> Result<TempDir> {
        Ok(tempfile::Builder::new()
            .prefix("root-")
            .tempdir_in(&self.directory)?)
    }

    fn watched(
        &self,
        row: &Row,
        (server, store): (&Server, Option<&Store>),
        path: &str,
        round: usize,
    ) -> Result<Sample> {
        if !row.writes() {
            // Caches are warm, and what is loaded at the first request is loaded.
            self.work(row, server, path, round, true)?;
        }
        server.forget_peak();
        let asked = || store.map(Store::requests).transpose();
        let asked_before = asked()?;
        let (before, begun) = (Watch::look(server)?, Instant::now());
        let done = self.work(row, server, path, round, false)?;
        let elapsed = begun.elapsed();
        let after = Watch::look(server)?;
        let asked = asked()?.zip(asked_before);
        Ok(Sample {
            asked_store: asked.map(|(after, before)| (after - before) / done.units),
            ..after.since(before, row, &done, elapsed)
        })
    }

    fn work(
        &self,
        row: &Row,
        server: &Server,
        path: &str,
        round: usize,
        warming: bool,
    ) -> Result<Done> {
        let (target, large) = (&server.target, self.sizes.large);
        let time = if warming { self.time / 10 } else { self.time };
        match row.work {
            Work::Pull { streams } => {
                work::pull(target, path, large, if warming { 1 } else { streams })
            }
            Work::ProxiedPull { .. } => work::pull(target, path, large, 1),
            Work::Push { streams } => work::push(target, large, streams, round as u64),
            Work::Ask {
                method,
                connections,
                ..
            } => work::ask(server, (method, path), connections, time),
            Work::ProxiedManifest { .. } => work::ask(server, ("GET", path), PUSHERS * 2, time),
            Work::Images(flow) => work::images(server, flow, PUSHERS, time),
            Work::Failover => cluster::failover(server, &self.roadstead, round),
            Work::Start => Ok(Done::default()),
        }
    }

    fn starts(
        &self,
        row: &Row,
        program: &Program,
        images: &Images,
        round: usize,
    ) -> Result<Sample> {
        let mut wall = Duration::ZERO;
        let mut last = None;
        let (mut cpu, mut resident) = (0.0, 0);
        for _ in 0..STARTS {
            drop(last.take());
            let server = Server::start(program, self.setting(&images.root, "/v2/"))?;
            wall += server.started_in;
            cpu += server.used()?.cpu;
            last = Some(server);
        }
        pause(SETTLES_WITHIN);
        if let Some(server) = &last {
            resident = server.used()?.resident;
        }
        let (units, seconds) = (real_of(STARTS), wall.as_secs_f64());
        Ok(Sample {
            row: row.name,
            server: program.name().to_owned(),
            round,
            units,
            seconds,
            cpu_seconds: cpu,
            rate: row.unit.rate(units, seconds),
            cost: row.unit.cost(cpu, units),
            p99: None,
            peak: mebibytes(resident),
            resident: mebibytes(resident),
            others: 0.0,
            asked_store: None,
        })
    }
}

/// A look at a server, at this program, and at the machine.
#[derive(Debug, Clone, Copy)]
struct Watch {
    server: machine::Used,
    own: f64,
    all: f64,
}

impl Watch {
    fn look(server: &Server) -> Result<Self> {
        Ok(Self {
            server: server.used()?,
            // With all that was started, upstreams included.
            own: machine::used(std::process::id())?.cpu,
            all: machine::busy()?,
        })
    }

    fn since(self, before: Self, row: &Row, done: &Done, elapsed: Duration) -> Sample {
        let seconds = done.wall.as_secs_f64();
        let cpu = self.server.cpu - before.server.cpu;
        let others = (self.all - before.all) - (self.own - before.own);
        let machine = elapsed.as_secs_f64() * real_of(machine::processors());
        Sample {
            row: row.name,
            server: String::new(),
            round: 0,
            units: done.units,
            seconds,
            cpu_seconds: cpu,
            rate: row.unit.rate(done.units, seconds),
            cost: row.unit.cost(cpu, done.units),
            p99: figures::at(&done.latencies, 0.99),
            peak: mebibytes(self.server.peak),
            resident: mebibytes(self.server.resident),
            others: (others / machine).max(0.0),
            asked_store: None,
        }
    }
}

fn mebibytes(kibibytes: u64) -> f64 {
    real(kibibytes) / 1024.0
}

/// What is asked of a server in a row.
fn path(row: &Row, program: &Program, seeds: &Seeds, sizes: Sizes) -> String {
    let digest = match row.work {
        Work::Ask {
            what: Asked::SmallBlob,
            ..
        } => &seeds.small_blob,
        Work::Ask { .. } => &seeds.manifest,
        _ => &seeds.large,
    };
    if *program == Program::Files {
        return data(digest);
    }
    match row.work {
        Work::Pull { .. } | Work::ProxiedPull { .. } => format!("/v2/{BIG}/blobs/{digest}"),
        Work::ProxiedManifest { .. } => format!("/v2/{SMALL}/manifests/{TAG}"),
        Work::Ask { what, .. } => match what {
            Asked::Base => "/v2/".to_owned(),
            Asked::ManifestByTag => format!("/v2/{SMALL}/manifests/{TAG}"),
            Asked::ManifestByDigest => format!("/v2/{SMALL}/manifests/{digest}"),
            Asked::SmallBlob => format!("/v2/{SMALL}/blobs/{digest}"),
            Asked::TagsPage => format!("/v2/{TAGGED}/tags/list?n={}", sizes.tags.min(100)),
            Asked::AllTags => format!("/v2/{TAGGED}/tags/list"),
            Asked::CatalogPage => format!("/v2/_catalog?n={}", sizes.repositories.min(100)),
        },
        Work::Push { .. } | Work::Images(_) | Work::Start | Work::Failover => "/v2/".to_owned(),
    }
}
