//! The benchmark: Roadstead beside its peers, in turns, on this machine.
//!
//! For each row of the table and in each round, every server is started, does the work, is looked at and ended; the next
//! one follows at once, so that whatever disturbs the machine disturbs them alike. It measures, it never passes or fails.

mod cluster;
mod content;
mod figures;
mod http;
mod machine;
mod measure;
mod peers;
mod picture;
mod process;
mod registry;
mod report;
mod rows;
mod seeds;
mod server;
mod store;
mod work;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::Parser;

use measure::{Bench, Images, Sample};
use report::Report;
use rows::{Field, ROWS, Row};
use seeds::{Needed, Seeds, Sizes};
use server::{Certificate, Program, Server};

/// Measures Roadstead beside docker-registry, nginx, haproxy and whatever else is named.
#[derive(Debug, Parser)]
#[command(name = "roadstead-bench")]
struct Options {
    /// Rows to run, by the beginning of their names; all of them if none is named
    rows: Vec<String>,
    /// Lists the rows and ends
    #[arg(long)]
    list: bool,
    /// How often each server does each row
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// MiB of a large blob
    #[arg(long, default_value_t = 1024)]
    size: u64,
    /// Tags of the repository whose tags are listed
    #[arg(long, default_value_t = 10_000)]
    tags: u64,
    /// Repositories of the catalog
    #[arg(long, default_value_t = 2_000)]
    repositories: u64,
    /// Seconds of work that is counted by time
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Everything small: to see whether it runs
    #[arg(long)]
    quick: bool,
    /// Runs only these servers, by the beginning of their names, besides ours
    #[arg(long)]
    peers: Option<Vec<String>>,
    /// A file with further peers (TOML)
    #[arg(long)]
    more: Option<PathBuf>,
    /// The binary to be measured; without it the one beside this program
    #[arg(long)]
    roadstead: Option<PathBuf>,
    /// Where images are kept: as large as what is measured, and kept for the next time if named
    #[arg(long)]
    root: Option<PathBuf>,
    /// Leaves the page cache alone before work that writes
    #[arg(long)]
    keep_caches: bool,
    /// Where the report goes: `.json` and `.svg` are added
    #[arg(long, default_value = "roadstead-bench")]
    output: PathBuf,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let mut out = std::io::stdout().lock();
    if options.list {
        for row in ROWS {
            writeln!(out, "{:22} {}", row.name, row.what)?;
        }
        return Ok(());
    }
    let chosen = chosen(&options.rows)?;
    let directory = tempfile::Builder::new()
        .prefix("roadstead-bench-")
        .tempdir()?;
    let bench = bench(&options, directory.path())?;
    let programs = programs(&options, &bench.roadstead)?;
    let mut notes = notes(&options, &programs, &bench);
    let images = images(&options, &bench, &chosen, &programs)?;
    let mut samples = Vec::new();
    for row in &chosen {
        for round in 0..rounds(&options) {
            if row.field() == Field::Buckets && bench.weed.is_none() {
                break;
            }
            for (program, images) in field(row, &programs, &images) {
                let sample = bench.sample(row, program, images, round)?;
                tell(&mut out, row, &sample)?;
                samples.push(sample);
            }
        }
    }
    notes.push(format!(
        "{} rounds, medians, quartiles in brackets",
        rounds(&options)
    ));
    let ours: Vec<&str> = programs
        .iter()
        .filter(|program| program.is_ours())
        .map(Program::name)
        .collect();
    let report = Report::of(samples, &ours, notes);
    writeln!(out, "\n{}", report.table())?;
    let json = options.output.with_extension("json");
    std::fs::write(&json, serde_json::to_vec_pretty(&report)?)?;
    let svg = options.output.with_extension("svg");
    picture::draw(&report, &svg)?;
    writeln!(out, "{} and {} have it all", json.display(), svg.display())?;
    Ok(())
}

/// A line for those who wait.
fn tell(out: &mut impl std::io::Write, row: &Row, sample: &Sample) -> Result<()> {
    writeln!(
        out,
        "{:22} {:20} {:>8} {:10} {:>8} {:6} {:>5.0} MiB  others {:.0} %",
        sample.row,
        sample.server,
        figures::short(sample.rate),
        row.unit.rate_name(),
        figures::short(sample.cost),
        row.unit.cost_name(),
        sample.peak,
        sample.others * 100.0,
    )?;
    out.flush()?;
    Ok(())
}

fn chosen(names: &[String]) -> Result<Vec<Row>> {
    if let Some(unknown) = names
        .iter()
        .find(|name| !ROWS.iter().any(|row| row.name.starts_with(*name)))
    {
        bail!("no row begins with {unknown}: --list shows them");
    }
    let is_chosen =
        |row: &&Row| names.is_empty() || names.iter().any(|name| row.name.starts_with(name));
    Ok(ROWS.iter().filter(is_chosen).copied().collect())
}

fn rounds(options: &Options) -> usize {
    if options.quick { 1 } else { options.rounds }
}

fn bench(options: &Options, directory: &Path) -> Result<Bench> {
    let sizes = if options.quick {
        Sizes {
            large: 8 << 20,
            tags: 20,
            repositories: 10,
        }
    } else {
        Sizes {
            large: options.size << 20,
            tags: options.tags.max(1),
            repositories: options.repositories.max(1),
        }
    };
    let time = if options.quick { 0.2 } else { options.seconds };
    let beside = || std::env::current_exe().map(|path| path.with_file_name("roadstead"));
    let roadstead = options.roadstead.clone().map_or_else(beside, Ok)?;
    let roadstead = std::path::absolute(roadstead)?;
    if !roadstead.is_file() {
        bail!(
            "{} is not there: build it, or name another with --roadstead",
            roadstead.display()
        );
    }
    Ok(Bench {
        roadstead: roadstead.display().to_string(),
        weed: store::program(),
        directory: directory.to_owned(),
        sizes,
        time: Duration::try_from_secs_f64(time)?,
        certificate: Certificate::new()?,
        drops_caches: !options.keep_caches && !options.quick,
    })
}

/// Everything that can be started, ours first.
fn programs(options: &Options, roadstead: &str) -> Result<Vec<Program>> {
    let mut all = vec![Program::Cluster, Program::Roadstead, Program::Reference];
    if let Some(file) = &options.more {
        all.extend(peers::read(file)?.into_iter().map(Program::Peer));
    }
    all.extend([
        Program::Files,
        Program::Gateway,
        Program::NginxProxy,
        Program::HaproxyProxy,
    ]);
    all.retain(|program| {
        let is_wanted = options.peers.as_ref().is_none_or(|wanted| {
            wanted
                .iter()
                .any(|name| program.name().starts_with(name.as_str()))
        });
        program.is_ours() || (is_wanted && program.is_installed(roadstead))
    });
    Ok(all)
}

fn notes(options: &Options, programs: &[Program], bench: &Bench) -> Vec<String> {
    let mut notes = Vec::new();
    if bench.weed.is_none() {
        notes.push("SeaweedFS is not installed, and nothing is measured over a bucket".to_owned());
    }
    for program in [Program::Reference, Program::Files, Program::HaproxyProxy] {
        if options.peers.is_none()
            && !programs.contains(&program)
            && !program.is_installed(&bench.roadstead)
        {
            notes.push(format!(
                "{} is not installed, and not measured",
                program.name()
            ));
        }
    }
    if !options.keep_caches && !options.quick && !machine::drop_caches() {
        notes.push("the page cache could not be dropped before writes".to_owned());
    }
    notes
}

/// The images that are read, once for all who read the same layout.
fn images(
    options: &Options,
    bench: &Bench,
    rows: &[Row],
    programs: &[Program],
) -> Result<Vec<(Program, Images)>> {
    let needed = rows
        .iter()
        .filter(|row| !row.begins_empty())
        .map(Row::needed)
        .fold(Needed::default(), |all, row| Needed {
            large: all.large || row.large,
            tags: all.tags || row.tags,
            repositories: all.repositories || row.repositories,
        });
    let base = options
        .root
        .clone()
        .unwrap_or_else(|| bench.directory.clone());
    let mut images = Vec::new();
    for program in programs {
        let own = match program {
            Program::Roadstead => "shared",
            Program::Peer(peer) if !peer.shares_root => &peer.name,
            _ => continue,
        };
        let root = std::path::absolute(base.join(own))?;
        std::fs::create_dir_all(&root)?;
        let server = Server::start(program, bench.setting(&root, "/v2/"))?;
        let seeds = Seeds::push(&server.target, bench.sizes, needed);
        let seeds = seeds
            .with_context(|| format!("the images could not be pushed to {}", program.name()))?;
        images.push((program.clone(), Images { root, seeds }));
    }
    Ok(images)
}

/// Who takes part in a row, with the images that each reads.
fn field<'a>(
    row: &Row,
    programs: &'a [Program],
    images: &'a [(Program, Images)],
) -> Vec<(&'a Program, &'a Images)> {
    let takes_part = |program: &&Program| match program {
        Program::Cluster => matches!(row.field(), Field::Clusters | Field::ClusterAlone),
        Program::Roadstead | Program::Reference => {
            !matches!(row.field(), Field::Proxies | Field::ClusterAlone)
        }
        Program::Peer(_) => matches!(row.field(), Field::Registries | Field::RegistriesAndFiles),
        Program::Files => row.field() == Field::RegistriesAndFiles,
        Program::Gateway | Program::NginxProxy | Program::HaproxyProxy => {
            row.field() == Field::Proxies
        }
    };
    let with_images = |program: &'a Program| {
        let own = images
            .iter()
            .find(|(owner, _)| owner == program)
            .or_else(|| images.first())?;
        Some((program, &own.1))
    };
    programs
        .iter()
        .filter(takes_part)
        .filter_map(with_images)
        .collect()
}
