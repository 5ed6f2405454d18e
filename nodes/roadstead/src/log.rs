//! Where logs go: standard error, in a form for people or for machines.

use std::io::{IsTerminal as _, Write as _};

use anyhow::Error;
use roadstead_config::{Formatter, Log, LogLevel};
use tracing_subscriber::EnvFilter;

/// Starts logging as the configuration says. Our own crates log at the level; what they use, from `warn` up.
pub(crate) fn start(log: &Log) {
    let level = match log.level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
    };
    let rooms = ["", "_registry", "_storage", "_metadata", "_config"]
        .map(|room| format!("roadstead{room}={level}"));
    let filter = EnvFilter::new(format!(
        "{},{}",
        if level == "error" { "error" } else { "warn" },
        rooms.join(",")
    ));
    let output = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_file(log.report_caller)
        .with_line_number(log.report_caller)
        .with_target(false);
    match log.formatter {
        Formatter::Text => output.with_ansi(std::io::stderr().is_terminal()).init(),
        Formatter::Json | Formatter::Logstash => output.json().flatten_event(true).init(),
    }
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
