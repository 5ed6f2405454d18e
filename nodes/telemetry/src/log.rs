//! Log lines on standard error, in the reference's forms.
//!
//! A line carries the fields of its event, of the spans around it, and of the process; the nearest wins where names are
//! the same. It is put together first and then written whole, under the lock of standard error: lines never mix, and a
//! thread waits for at most the line before its own, unless whoever reads standard error stops reading. Then all that
//! log wait, as in the reference: a log with silent holes is worth less than one that slows down.

mod json;
mod layer;
mod line;
mod quote;
mod terminal;
mod text;

use std::fmt;
use std::io::{IsTerminal as _, Write as _};
use std::sync::Arc;

use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};

use crate::clock::{Clock, system_clock};
use crate::traces::Traces;
use layer::Lines;

/// Events with this target end the process: `level=fatal`.
pub(crate) const FATAL: &str = "roadstead::fatal";
/// Events with this target tell of a panic: `level=panic`.
pub(crate) const PANIC: &str = "roadstead::panic";

/// How severe a line must be to be logged: `log.level`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Level {
    /// Something failed.
    Error,
    /// And what may fail later.
    Warn,
    /// And what happens.
    #[default]
    Info,
    /// And how it happens.
    Debug,
}

/// How a line looks: `log.formatter`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `time="…" level=info msg="…" key=value`, as logrus writes it.
    Text,
    /// One JSON object a line, as logrus writes it.
    Json,
    /// JSON with the names that Logstash expects.
    Logstash,
    /// Short and coloured, for a person at a terminal. Not for machines.
    Terminal,
}

/// What this process is, on each line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The version of the program.
    pub version: String,
    /// A name that no other process has, nor this one after a restart: a UUID in the reference.
    pub instance: String,
}

/// What is logged, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// The least severe level of our own crates; the libraries they use log from `warn` up.
    pub level: Level,
    /// `None` if nobody chose: the terminal's form if standard error is one, else [`Format::Text`].
    pub format: Option<Format>,
    /// Added to each line: `log.fields`. They win over the identity's.
    pub fields: Vec<(String, String)>,
    /// Whether lines name the place in the source they come from, as `func` and `file`.
    pub report_caller: bool,
    /// The field `type` of [`Format::Logstash`], if there is to be one.
    pub logstash_type: Option<String>,
    /// `instance.id` and `version` of each line.
    pub identity: Identity,
}

/// Where finished lines go; each ends with a newline.
pub type Output = Arc<dyn Fn(&[u8]) + Send + Sync>;

/// Logging was started before, and goes on as it was.
#[derive(Debug, thiserror::Error)]
#[error("logging was started before")]
pub struct AlreadyStarted(#[source] TryInitError);

/// Starts logging to standard error for the whole process, and tracing if there is where to. Panics are logged too, from
/// here on.
pub fn start(options: &Options, traces: Option<&Traces>) -> Result<(), AlreadyStarted> {
    subscriber(options, system_clock(), standard_error())
        .with(traces.map(Traces::layer))
        .try_init()
        .map_err(AlreadyStarted)?;
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        let message = panic.payload_as_str().unwrap_or("a panic without words");
        tracing::error!(target: PANIC, place, "{message}");
    }));
    Ok(())
}

/// Says why the process ends, as a line of the log.
pub fn fatal(why: &dyn fmt::Display) {
    tracing::error!(target: FATAL, "{why}");
}

/// What [`start`] installs, with a clock and an output of one's own.
pub fn subscriber(
    options: &Options,
    clock: Clock,
    output: Output,
) -> impl Subscriber + for<'span> LookupSpan<'span> + Send + Sync + 'static {
    tracing_subscriber::registry()
        .with(filter(options.level))
        .with(Lines::new(options, clock, output))
}

/// Our crates' names begin alike; of everything else, only what may fail is of interest to an operator.
fn filter(level: Level) -> Targets {
    let ours = match level {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
    };
    Targets::new()
        .with_default(ours.min(LevelFilter::WARN))
        .with_target("roadstead", ours)
}

/// The format if nobody chose one.
fn usual_format() -> Format {
    if std::io::stderr().is_terminal() {
        Format::Terminal
    } else {
        Format::Text
    }
}

fn standard_error() -> Output {
    Arc::new(|line| {
        // Nobody is left to be told that this is closed.
        let _closed = std::io::stderr().lock().write_all(line);
    })
}

#[cfg(test)]
mod tests;
