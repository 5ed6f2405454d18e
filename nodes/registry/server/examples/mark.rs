//! How long a mark takes, beside the reference's `garbage-collect --dry-run` (Debian's `docker-registry`) on the same
//! directory, in turn: `cargo run --release -p roadstead-registry --example mark -- [MANIFESTS [ROUNDS]]`.

#![expect(clippy::print_stdout, reason = "it tells what it measured")]

use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use roadstead_oci::{Algorithm, Digest, Name, Tag};
use roadstead_registry::{Marker, Policy};
use roadstead_storage::{Filesystem, StorePath, layout};
use tokio::time::Instant;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// Manifests of a repository. Each has a config and a layer of its own, and two layers that all of its repository share.
const EACH: usize = 100;

#[tokio::main]
async fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let manifests: usize = arguments.next().map_or(Ok(10_000), |it| it.parse())?;
    let rounds: usize = arguments.next().map_or(Ok(5), |it| it.parse())?;
    let root = tempfile::tempdir()?;
    for repository in 0..manifests.div_ceil(EACH) {
        fill(
            root.path(),
            repository,
            EACH.min(manifests - repository * EACH),
        )?;
    }
    let config = root.path().join("config.yml");
    let storage = root.path().display();
    fs::write(
        &config,
        format!("version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {storage}\n"),
    )?;
    let store = Filesystem::open(root.path())?;
    let (mut reference, mut first, mut later) = (Vec::new(), Vec::new(), Vec::new());
    for _round in 0..rounds.max(1) {
        reference.extend(collect_by_reference(&config)?);
        let mut marker = Marker::new();
        for times in [&mut first, &mut later] {
            let began = Instant::now();
            let marked = marker.mark(&store, &policy()).await?;
            times.push(began.elapsed());
            let expected = manifests * 3 + manifests.div_ceil(EACH) * 2;
            assert_eq!((marked.named, marked.unneeded.len()), (expected, 0));
        }
    }
    println!("{manifests} manifests, medians of {rounds}");
    let (first, later) = (median(first), median(later));
    if let Some(reference) = median(reference) {
        println!("docker-registry garbage-collect --dry-run  {reference:?}");
        tell("first mark", first, Some(reference));
        tell("later mark", later, Some(reference));
    } else {
        println!("docker-registry is not installed: nothing to compare with");
        tell("first mark", first, None);
        tell("later mark", later, None);
    }
    Ok(())
}

fn tell(what: &str, took: Option<Duration>, reference: Option<Duration>) {
    let Some(took) = took else { return };
    let ratio = reference.map_or_else(String::new, |reference| {
        format!("  x {:.3}", took.as_secs_f64() / reference.as_secs_f64())
    });
    println!("{what}  {took:?}{ratio}");
}

fn median(mut times: Vec<Duration>) -> Option<Duration> {
    times.sort_unstable();
    times.get(times.len() / 2).copied()
}

fn policy() -> Policy<'static> {
    Policy {
        untagged: false,
        grace: Duration::from_secs(1),
        now: SystemTime::UNIX_EPOCH,
        among: None,
        most: usize::MAX,
    }
}

/// `None` where it is not installed.
fn collect_by_reference(config: &Path) -> Outcome<Option<Duration>> {
    let began = Instant::now();
    let status = Command::new("docker-registry")
        .args(["garbage-collect", "--dry-run"])
        .arg(config)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    match status {
        Ok(status) if status.success() => Ok(Some(began.elapsed())),
        Ok(status) => Err(format!("docker-registry: {status}").into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn write(root: &Path, path: &StorePath, content: &str) -> io::Result<()> {
    let path = root.join(path.relative());
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(path, content)
}

fn blob(root: &Path, name: &Name, content: &str) -> io::Result<Digest> {
    let digest = Digest::of(Algorithm::Sha256, content.as_bytes());
    write(root, &layout::blob_data(&digest), content)?;
    write(
        root,
        &layout::layer_link(name, &digest),
        &digest.to_string(),
    )?;
    Ok(digest)
}

fn fill(root: &Path, repository: usize, manifests: usize) -> Outcome<()> {
    let name: Name = format!("group/app{repository}").parse()?;
    let shared = ["base", "libraries"].map(|it| blob(root, &name, &format!("{it} {repository}")));
    let [base, libraries] = shared;
    let (base, libraries) = (base?, libraries?);
    let named = |kind: &str, digest: &Digest| {
        format!(
            r#"{{"mediaType":"application/vnd.oci.image.{kind}","digest":"{digest}","size":1}}"#
        )
    };
    for n in 0..manifests {
        let config = blob(root, &name, &format!("{{}} {repository} {n}"))?;
        let own = blob(root, &name, &format!("own {repository} {n}"))?;
        let layers = [&base, &libraries, &own].map(|layer| named("layer.v1.tar+gzip", layer));
        let json = format!(
            r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{},"layers":[{}]}}"#,
            named("config.v1+json", &config),
            layers.join(",")
        );
        let digest = Digest::of(Algorithm::Sha256, json.as_bytes());
        write(root, &layout::blob_data(&digest), &json)?;
        let tag: Tag = format!("v{n}").parse()?;
        for link in [
            layout::revision_link(&name, &digest),
            layout::tag_current(&name, &tag),
            layout::tag_index(&name, &tag, &digest),
        ] {
            write(root, &link, &digest.to_string())?;
        }
    }
    Ok(())
}
