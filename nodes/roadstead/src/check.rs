//! `roadstead check`.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use roadstead_config::DriverKind;

use crate::serve::place;
use crate::wiring::load_to_check;

pub(crate) fn run(config: Option<PathBuf>) -> Result<ExitCode> {
    let loaded = load_to_check(config)?;
    let mut out = std::io::stdout().lock();
    for warning in &loaded.warnings {
        writeln!(out, "warning: {warning}")?;
    }
    let config = &loaded.config;
    match (&config.storage.driver, &config.metadata) {
        (DriverKind::Unnamed, Some(member)) => writeln!(
            out,
            "the configuration is right: member {} of the metadata service on {}; without storage, nothing else",
            member.id, member.addr
        )?,
        (DriverKind::Unnamed | DriverKind::InMemory, None)
            if let Some(gateway) = &config.gateway =>
        {
            writeln!(
                out,
                "the configuration is right: a gateway on {}; what it passes on is stored elsewhere",
                gateway.addr
            )?;
        }
        (DriverKind::Unnamed, None) => writeln!(
            out,
            "the configuration is right: for `roadstead cluster` alone, since it names no storage"
        )?,
        _ => writeln!(
            out,
            "the configuration is right: a registry on {}, storing in {}",
            config.http.addr,
            place(&config.storage)
        )?,
    }
    Ok(ExitCode::SUCCESS)
}
