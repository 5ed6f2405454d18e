//! A line before it has a form: when, how severe, what, and its fields.

use std::borrow::Cow;
use std::fmt::{self, Display, Write as _};
use std::sync::Arc;
use std::time::SystemTime;

use tracing::Metadata;
use tracing::field::{Field, Visit};

use super::{FATAL, PANIC};

/// How severe a line is, by the reference's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Severity {
    Debug,
    Info,
    Warning,
    Error,
    Fatal,
    Panic,
}

impl Severity {
    pub(crate) fn of(metadata: &Metadata<'_>) -> Self {
        match (metadata.target(), *metadata.level()) {
            (FATAL, _) => Self::Fatal,
            (PANIC, _) => Self::Panic,
            (_, tracing::Level::ERROR) => Self::Error,
            (_, tracing::Level::WARN) => Self::Warning,
            (_, tracing::Level::INFO) => Self::Info,
            (_, tracing::Level::DEBUG | tracing::Level::TRACE) => Self::Debug,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Fatal => "fatal",
            Self::Panic => "panic",
        }
    }
}

/// The value of a field. Cheap to clone, since a request's fields are on each of its lines.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Text(Arc<str>),
    Unsigned(u64),
    Signed(i64),
    Truth(bool),
}

impl Display for Value {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => out.write_str(text),
            Self::Unsigned(number) => number.fmt(out),
            Self::Signed(number) => number.fmt(out),
            Self::Truth(truth) => truth.fmt(out),
        }
    }
}

/// A line, for a formatter to write.
pub(crate) struct Line<'a> {
    pub(crate) time: SystemTime,
    pub(crate) severity: Severity,
    pub(crate) message: &'a str,
    /// The module and the place in its file, if callers are reported.
    pub(crate) caller: Option<Caller<'a>>,
    /// Sorted by name, each name once.
    pub(crate) fields: Vec<(Cow<'a, str>, Value)>,
    /// The fields of the process, which are among `fields` too.
    pub(crate) own: &'a [(Arc<str>, Value)],
}

/// The place in the source that a line comes from.
#[derive(Clone, Copy)]
pub(crate) struct Caller<'a> {
    pub(crate) module: &'a str,
    pub(crate) file: &'a str,
    pub(crate) line: u32,
}

impl Caller<'_> {
    /// `file:line`.
    pub(crate) fn place(&self) -> String {
        format!("{}:{}", self.file, self.line)
    }
}

/// Collects the fields of a span or an event, the message apart.
#[derive(Debug, Default)]
pub(crate) struct Fields {
    pub(crate) message: String,
    pub(crate) named: Vec<(&'static str, Value)>,
}

impl Fields {
    fn set(&mut self, field: &Field, value: Value) {
        let name = field.name();
        if name == "message" {
            self.message = value.to_string();
        } else if !name.starts_with("log.") && !name.starts_with("otel.") {
            // `log.*` is how tracing carries the origin of records of the `log` crate; `otel.*` is for traces only.
            self.named.retain(|(present, _)| *present != name);
            self.named.push((name, value));
        }
    }

    fn text(&mut self, field: &Field, text: &str) {
        self.set(field, Value::Text(text.into()));
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut text = String::new();
        // A `Debug` that fails leaves what it wrote so far.
        let _incomplete = write!(text, "{value:?}");
        self.text(field, &text);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.text(field, &value.to_string());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field, Value::Unsigned(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field, Value::Signed(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field, Value::Truth(value));
    }
}

/// Makes `fields` what a [`Line`] holds: names that the format needs for itself get the prefix `fields.`, and of those
/// that come more than once the last stays.
pub(crate) fn settle(fields: &mut Vec<(Cow<'_, str>, Value)>, reserved: impl Fn(&str) -> bool) {
    for (name, _) in fields.iter_mut() {
        if reserved(name) {
            *name = Cow::Owned(format!("fields.{name}"));
        }
    }
    fields.reverse();
    fields.sort_by(|one, other| one.0.cmp(&other.0));
    fields.dedup_by(|later, earlier| later.0 == earlier.0);
}
