//! `roadstead garbage-collect`: of a registry that is stopped, or, by asking those who serve it, of one that is not: through
//! the socket of the process that has the directory, or through the store.

use std::io::{BufRead as _, BufReader, BufWriter, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow, bail};
use roadstead_config::{Config, DriverKind};
use roadstead_registry::{
    Asking, CollectError, CollectOptions, Collected, DONE, FAILED, cancel_through, collect,
};
use roadstead_storage::claim::Claim;
use roadstead_storage::{Driver, layout};
use tokio::runtime::Runtime;

use crate::serve::asked;
use crate::wiring::store::{self, Store};
use crate::{log, wiring};

/// What somebody wants.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Wanted {
    Collected(CollectOptions),
    /// The collection of those who serve to end.
    Cancelled,
}

pub(crate) fn run(path: Option<PathBuf>, wanted: Wanted, quiet: bool) -> Result<ExitCode> {
    let loaded = wiring::load(path)?;
    let instance = uuid::Uuid::new_v4().to_string();
    // Whoever runs it sees what it says; the reference's sends no mails either.
    let logging = log::start(&loaded.config.log, &[], &instance)?;
    let ended = run_logged(&loaded.config, &instance, wanted, quiet);
    logging.finish(None);
    ended
}

fn run_logged(config: &Config, instance: &str, wanted: Wanted, quiet: bool) -> Result<ExitCode> {
    check(config, wanted)?;
    if let DriverKind::Filesystem { root, .. } = &config.storage.driver {
        check_is_store(root)?;
        // Where nobody answers, nobody serves it, or the lock says who does.
        if let Ok(server) = UnixStream::connect(asked::path(root)) {
            return ask(server, wanted, quiet);
        }
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    match wanted {
        Wanted::Cancelled => runtime.block_on(cancel(config)),
        Wanted::Collected(options) => offline_or_asked(&runtime, config, instance, options, quiet),
    }
}

/// Whether there is anything to collect, and to write.
fn check(config: &Config, wanted: Wanted) -> Result<()> {
    let storage = &config.storage;
    if matches!(storage.driver, DriverKind::InMemory) {
        bail!(
            "storage.inmemory: what is in memory is gone with its process; there is nothing to collect"
        );
    }
    if matches!(storage.driver, DriverKind::Unnamed) {
        bail!(store::UNNAMED);
    }
    let removes = matches!(wanted, Wanted::Collected(options) if !options.dry_run);
    if storage.read_only && removes {
        bail!(
            "storage.maintenance.readonly: the store is not to be written to; --dry-run says what could go"
        );
    }
    Ok(())
}

/// Takes the store, or asks those who have it.
fn offline_or_asked(
    runtime: &Runtime,
    config: &Config,
    instance: &str,
    options: CollectOptions,
    quiet: bool,
) -> Result<ExitCode> {
    // Holding the lock, and the claim on a bucket, keeps a registry from starting meanwhile.
    match runtime.block_on(store::open(config, instance)) {
        Ok(opened) => offline(runtime, opened, options, quiet),
        Err(refused) => runtime.block_on(async {
            match served(config).await {
                Some(store) => ask_through(store, options, quiet).await,
                None => Err(refused)
                    .context("garbage-collect needs the store for itself: stop the registry first"),
            }
        }),
    }
}

/// A store that somebody has claimed: the nodes of a cluster, or one who serves a bucket.
async fn served(config: &Config) -> Option<Arc<dyn Driver>> {
    let store = store::unclaimed(config).await.ok()??;
    let is_claimed = Claim::is_made(&*store).await;
    is_claimed.is_ok_and(|is| is).then_some(store)
}

const UNASKED: &str = "those who serve the storage could not be asked to collect";

async fn cancel(config: &Config) -> Result<ExitCode> {
    let Some(store) = served(config).await else {
        bail!("nobody serves the storage: there is nothing to cancel");
    };
    cancel_through(&*store).await.context(UNASKED)?;
    Ok(ExitCode::SUCCESS)
}

/// Lets those who serve collect, and says what they say.
async fn ask_through(
    store: Arc<dyn Driver>,
    options: CollectOptions,
    quiet: bool,
) -> Result<ExitCode> {
    let asking = Asking::begin(store, options.dry_run, options.delete_untagged);
    let mut asking = asking.await.context(UNASKED)?;
    let telling = Telling { quiet };
    loop {
        for line in asking.hear().await.context(UNASKED)? {
            if let Some(ended) = telling.tell(&line) {
                // What is left of it the next question takes away.
                if let Err(error) = asking.end().await {
                    tracing::debug!(%error, "what was said stays in the store");
                }
                return ended;
            }
        }
    }
}

/// Says on standard output what another process says of its collection.
#[derive(Clone, Copy)]
struct Telling {
    quiet: bool,
}

impl Telling {
    /// How it ended, when that was the last line.
    fn tell(self, line: &str) -> Option<Result<ExitCode>> {
        if line == DONE {
            return Some(Ok(ExitCode::SUCCESS));
        }
        if let Some(reason) = line.strip_prefix(FAILED) {
            return Some(Err(anyhow!(
                "the registry that serves the storage could not collect: {reason}"
            )));
        }
        if self.quiet {
            return None;
        }
        let written = writeln!(std::io::stdout(), "{line}");
        written.err().map(|error| Err(error.into()))
    }
}

fn offline(
    runtime: &Runtime,
    opened: Store,
    options: CollectOptions,
    quiet: bool,
) -> Result<ExitCode> {
    let Store {
        driver,
        metadata: _sessions,
        claim,
        lock: _lock,
        ..
    } = opened;
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

/// The same of the one process that has the directory.
fn ask(mut server: UnixStream, wanted: Wanted, quiet: bool) -> Result<ExitCode> {
    let question = match wanted {
        Wanted::Cancelled => asked::CANCEL,
        Wanted::Collected(options) => asked::question(options.dry_run, options.delete_untagged),
    };
    writeln!(server, "{question}").context("the registry that serves the storage")?;
    let telling = Telling { quiet };
    for line in BufReader::new(server).lines() {
        let line = line.context("the registry that serves the storage")?;
        if let Some(ended) = telling.tell(&line) {
            return ended;
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
