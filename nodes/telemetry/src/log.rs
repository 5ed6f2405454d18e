//! Log lines on standard error, in the reference's forms.
//!
//! A line carries the fields of its event, of the spans around it, and of the process; the nearest wins where names are
//! the same. It is put together first and then handed to a thread that writes it whole: lines never mix. Where nobody reads
//! standard error, requests and the end of the process do not wait for it: what waits is bounded, and a line says how many
//! were left out. A panic waits a moment, since the process may end with it.

mod json;
mod layer;
pub(crate) mod line;
mod quote;
mod terminal;
mod text;

use std::fmt;
use std::io::IsTerminal as _;
use std::sync::Arc;
use std::time::Duration;

use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};

use crate::clock::{Clock, system_clock};
use crate::lines::{LIMITS, Lines, Trouble};
use crate::mails::Mails;
use crate::traces::Traces;
use layer::Formatted;
use line::{Line, Severity};

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
pub type Output = Arc<dyn Fn(&str) + Send + Sync>;

/// How long a panic waits for standard error to take what is said of it.
const PANIC_WAITS: Duration = Duration::from_secs(1);

/// Why logging does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// It goes on as it was.
    #[error("logging was started before")]
    AlreadyStarted(#[source] TryInitError),
    /// There is no thread to write it.
    #[error("no thread for the log")]
    Thread(#[source] std::io::Error),
}

/// The log of this process. Lines that wait when the process ends are lost, unless somebody calls [`Log::finish`].
#[derive(Clone, Debug)]
pub struct Log {
    lines: Lines,
    mails: Arc<[Mails]>,
}

impl Log {
    /// Takes no more lines, and waits until those taken are mailed and written, but for each not longer than `patience`:
    /// nobody may be reading. Whether all are written. Blocks.
    pub fn finish(&self, patience: Duration) -> bool {
        let left = Mails::finish(&self.mails, patience);
        if left > 0 {
            tracing::warn!(mails = left, "log.hooks: mails did not leave in time");
        }
        self.lines.finish(patience)
    }

    /// Mails why the process ends, where `fatal` lines are mailed. Whoever ends it prints it.
    pub fn mail_fatal(&self, why: &str) {
        let line = Line {
            time: system_clock()(),
            severity: Severity::Fatal,
            message: why,
            caller: None,
            fields: Vec::new(),
            own: &[],
        };
        for mails in &*self.mails {
            mails.offer(&line);
        }
    }
}

/// Starts logging to standard error for the whole process, mailing, and tracing if there is where to. Panics are logged
/// too, from here on.
pub fn start(
    options: &Options,
    traces: Option<&Traces>,
    mails: Vec<Mails>,
) -> Result<Log, StartError> {
    let lines = Lines::start("log", LIMITS, std::io::stderr(), tell).map_err(StartError::Thread)?;
    let taking = lines.clone();
    let output: Output = Arc::new(move |line| taking.push(line));
    let mails = Arc::<[Mails]>::from(mails);
    let formatted = Formatted::new(options, system_clock(), output, Arc::clone(&mails));
    tracing_subscriber::registry()
        .with(filter(options.level))
        .with(formatted)
        .with(traces.map(Traces::layer))
        .try_init()
        .map_err(StartError::AlreadyStarted)?;
    let panicking = lines.clone();
    std::panic::set_hook(Box::new(move |panic| {
        let place = panic.location().map(ToString::to_string);
        let message = panic.payload_as_str().unwrap_or("a panic without words");
        tracing::error!(target: PANIC, place, "{message}");
        panicking.flush(PANIC_WAITS);
    }));
    Ok(Log { lines, mails })
}

/// Where standard error refuses lines (it is closed, or a file on a full disk), there is nobody to tell.
fn tell(trouble: &Trouble) {
    if let Trouble::LeftOut(lines) = trouble {
        tracing::warn!(
            lines,
            "standard error was slow: lines of the log were left out"
        );
    }
}

/// Says why the process ends, as a line of the log.
pub fn fatal(why: &dyn fmt::Display) {
    tracing::error!(target: FATAL, "{why}");
}

/// What [`start`] installs, with a clock and an output of one's own, and without mails.
pub fn subscriber(
    options: &Options,
    clock: Clock,
    output: Output,
) -> impl Subscriber + for<'span> LookupSpan<'span> + Send + Sync + 'static {
    tracing_subscriber::registry()
        .with(filter(options.level))
        .with(Formatted::new(options, clock, output, Arc::default()))
}

/// Our crates' names begin alike; of everything else, only what may fail is of interest to an operator. Raft says with
/// each heartbeat that a member is away: our own line says it once.
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
        .with_target(
            "openraft",
            match level {
                Level::Debug => LevelFilter::WARN,
                Level::Error | Level::Warn | Level::Info => LevelFilter::OFF,
            },
        )
}

/// The format if nobody chose one.
fn usual_format() -> Format {
    if std::io::stderr().is_terminal() {
        Format::Terminal
    } else {
        Format::Text
    }
}

#[cfg(test)]
mod tests;
