//! `roadstead check`.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;

use crate::wiring::load_to_check;

pub(crate) fn run(config: Option<PathBuf>) -> Result<ExitCode> {
    let loaded = load_to_check(config)?;
    let mut out = std::io::stdout().lock();
    for warning in &loaded.warnings {
        writeln!(out, "warning: {warning}")?;
    }
    let storage = &loaded.config.storage.driver;
    writeln!(
        out,
        "the configuration is right: http.addr {}, storage {storage:?}",
        loaded.config.http.addr
    )?;
    Ok(ExitCode::SUCCESS)
}
