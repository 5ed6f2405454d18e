//! `roadstead garbage-collect`: of a registry that is stopped, or, by asking it, of one that serves a directory.

use std::io::{BufRead as _, BufReader, BufWriter, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use roadstead_config::{Config, DriverKind};
use roadstead_registry::{CollectError, CollectOptions, Collected, DONE, FAILED, collect};
use roadstead_storage::claim::Claim;
use roadstead_storage::layout;

use crate::serve::asked;
use crate::wiring::store::{self, Store};
use crate::{log, wiring};

pub(crate) fn run(path: Option<PathBuf>, options: CollectOptions, quiet: bool) -> Result<ExitCode> {
    let loaded = wiring::load(path)?;
    let instance = uuid::Uuid::new_v4().to_string();
    // Whoever runs it sees what it says; the reference's sends no mails either.
    let logging = log::start(&loaded.config.log, &[], &instance)?;
    let ended = run_logged(&loaded.config, &instance, options, quiet);
    logging.finish(None);
    ended
}

fn run_logged(
    config: &Config,
    instance: &str,
    options: CollectOptions,
    quiet: bool,
) -> Result<ExitCode> {
    let storage = &config.storage;
    if matches!(storage.driver, DriverKind::InMemory) {
        bail!(
            "storage.inmemory: what is in memory is gone with its process; there is nothing to collect"
        );
    }
    if matches!(storage.driver, DriverKind::Unnamed) {
        bail!(store::UNNAMED);
    }
    if storage.read_only && !options.dry_run {
        bail!(
            "storage.maintenance.readonly: the store is not to be written to; --dry-run says what could go"
        );
    }
    if let DriverKind::Filesystem { root, .. } = &storage.driver {
        check_is_store(root)?;
        // Where nobody answers, nobody serves it, or the lock says who does.
        if let Ok(server) = UnixStream::connect(asked::path(root)) {
            return ask(server, options, quiet);
        }
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    // Holding the lock, and the claim on a bucket, keeps a registry from starting meanwhile.
    let opened = runtime.block_on(store::open(config, instance));
    let Store {
        driver,
        metadata: _sessions,
        claim,
        lock: _lock,
        ..
    } = opened.context("garbage-collect needs the store for itself: stop the registry first")?;
    let mut out = BufWriter::new(std::io::stdout());
    let mut unwritten = None;
    let mut tell = |line: String| {
        if !quiet && let Err(error) = writeln!(out, "{line}") {
            unwritten.get_or_insert(error);
        }
    };
    let collected = runtime.block_on(while_claimed(
        claim.as_ref(),
        collect(&*driver, options, &mut tell),
    ));
    out.flush()?;
    if let Some(claim) = claim
        && let Err(error) = runtime.block_on(claim.release())
    {
        tracing::warn!(%error, "the storage was not given up: the next start may wait for it");
    }
    collected?;
    unwritten.map_or(Ok(ExitCode::SUCCESS), |error| Err(error.into()))
}

/// Lets the registry that serves collect, and says what it says.
fn ask(mut server: UnixStream, options: CollectOptions, quiet: bool) -> Result<ExitCode> {
    let question = asked::question(options.dry_run, options.delete_untagged);
    writeln!(server, "{question}").context("the registry that serves the storage")?;
    let mut out = std::io::stdout();
    for line in BufReader::new(server).lines() {
        let line = line.context("the registry that serves the storage")?;
        if line == DONE {
            return Ok(ExitCode::SUCCESS);
        }
        if let Some(reason) = line.strip_prefix(FAILED) {
            bail!("the registry that serves the storage could not collect: {reason}");
        }
        if !quiet {
            writeln!(out, "{line}")?;
        }
    }
    bail!(
        "the registry that serves the storage ended before the collection did; it goes on when it is back"
    )
}

/// Opening a store makes what is missing: a misspelt root, or one that is not mounted, would be an empty store. What a
/// roadstead opened before may be in use, which is the better message.
fn check_is_store(root: &Path) -> Result<()> {
    let repositories = root.join(layout::repositories().relative());
    let error = match std::fs::metadata(&repositories) {
        Err(error) if std::fs::metadata(root.join("roadstead")).is_err() => error,
        _ => return Ok(()),
    };
    bail!(
        "storage.filesystem.rootdirectory: {}: no registry stores here ({}: {error}); look whether it is configured right, and mounted",
        root.display(),
        repositories.display()
    )
}

/// Ends when the store is another's.
async fn while_claimed(
    claim: Option<&Claim>,
    collecting: impl Future<Output = Result<Collected, CollectError>>,
) -> Result<Collected> {
    let Some(claim) = claim else {
        return Ok(collecting.await?);
    };
    tokio::select! {
        collected = collecting => Ok(collected?),
        lost = claim.keep() => Err(lost).context("the store"),
    }
}
