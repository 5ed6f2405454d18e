//! `roadstead garbage-collect`: of a registry that is stopped.

use std::io::{BufWriter, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use roadstead_config::{DriverKind, Storage};
use roadstead_registry::{CollectOptions, collect};

use crate::{log, wiring};

pub(crate) fn run(path: Option<PathBuf>, options: CollectOptions, quiet: bool) -> Result<ExitCode> {
    let loaded = wiring::load(path)?;
    let logging = log::start(&loaded.config.log, &uuid::Uuid::new_v4().to_string())?;
    let ended = run_logged(&loaded.config.storage, options, quiet);
    logging.finish();
    ended
}

fn run_logged(storage: &Storage, options: CollectOptions, quiet: bool) -> Result<ExitCode> {
    if matches!(storage.driver, DriverKind::InMemory) {
        bail!(
            "storage.inmemory: what is in memory is gone with its process; there is nothing to collect"
        );
    }
    if storage.read_only && !options.dry_run {
        bail!(
            "storage.maintenance.readonly: the store is not to be written to; --dry-run says what could go"
        );
    }
    // Holding the log of upload sessions keeps a registry from starting meanwhile.
    let (store, _sessions) = wiring::open(storage)
        .context("garbage-collect needs the store for itself: stop the registry first")?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let mut out = BufWriter::new(std::io::stdout());
    let mut unwritten = None;
    let mut tell = |line: String| {
        if !quiet && let Err(error) = writeln!(out, "{line}") {
            unwritten.get_or_insert(error);
        }
    };
    let collected = runtime.block_on(collect(&*store, options, &mut tell));
    out.flush()?;
    collected?;
    unwritten.map_or(Ok(ExitCode::SUCCESS), |error| Err(error.into()))
}
