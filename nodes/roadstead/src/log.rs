//! Where logs go: standard error, in the reference's forms or, on a terminal, one for people.

use std::io::Write as _;

use anyhow::{Context as _, Error, Result};
use roadstead_config::{Formatter, Log, LogLevel};
use roadstead_telemetry::log::{Format, Identity, Level, Options, start as start_log};

/// Starts logging as the configuration says. `instance` names this process on each line.
pub(crate) fn start(log: &Log, instance: &str) -> Result<()> {
    let options = Options {
        level: match log.level {
            LogLevel::Error => Level::Error,
            LogLevel::Warn => Level::Warn,
            LogLevel::Info => Level::Info,
            LogLevel::Debug => Level::Debug,
        },
        format: match log.formatter {
            // A terminal has its own, which nobody would ask for in a file.
            Formatter::Text => None,
            Formatter::Json => Some(Format::Json),
            Formatter::Logstash => Some(Format::Logstash),
        },
        fields: log.fields.clone(),
        report_caller: log.report_caller,
        logstash_type: None,
        identity: Identity {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            instance: instance.to_owned(),
        },
    };
    start_log(&options, None).context("the log")
}

/// Says why the process ends. A closed standard error is no reason to fail differently.
pub(crate) fn fatal(error: &Error) {
    let _closed = writeln!(std::io::stderr(), "roadstead: {}", causes(error));
}

/// An error with all its causes, the nearest first.
pub(crate) fn causes(error: &Error) -> String {
    let mut causes = error.chain().map(ToString::to_string).collect::<Vec<_>>();
    causes.dedup();
    causes.join(": ")
}
