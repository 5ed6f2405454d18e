//! `roadstead probe`: whether an address answers well. For the health checks of containers, which have no curl.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::wiring::checks;

/// A health check that takes longer has failed.
const WITHIN: Duration = Duration::from_secs(5);

/// 2xx is well; so is 401, of a registry that asks for a user.
pub(crate) fn run(url: &str) -> Result<ExitCode> {
    let answer = checks::agent(WITHIN).get(url).call();
    let answer = answer.with_context(|| format!("{url} does not answer"))?;
    let status = answer.status();
    writeln!(std::io::stdout(), "{status}")?;
    Ok(if status.is_success() || status.as_u16() == 401 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
