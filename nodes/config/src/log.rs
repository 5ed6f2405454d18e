//! `log`: what is logged, how it looks, and what each line carries.

use crate::reader::Reader;
use crate::scalar;

/// Settings under `log`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Log {
    /// The least severe level that is logged: `log.level`, or `loglevel` as it was once called.
    pub level: LogLevel,
    /// How a line looks.
    pub formatter: Formatter,
    /// Added to each line, in the order of the file.
    pub fields: Vec<(String, String)>,
    /// No access log; the rest of the log is not affected. Default: false.
    pub access_log_disabled: bool,
}

/// How severe a line must be to be logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogLevel {
    /// Something failed.
    Error,
    /// And what may fail later.
    Warn,
    /// And what happens: enough to follow the work, little enough to keep.
    #[default]
    Info,
    /// And how it happens.
    Debug,
}

/// How a line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Formatter {
    /// `key=value`, for eyes.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
    /// JSON with the names that Logstash expects.
    Logstash,
}

const LEVELS: &[(&str, LogLevel)] = &[
    ("error", LogLevel::Error),
    ("warn", LogLevel::Warn),
    ("info", LogLevel::Info),
    ("debug", LogLevel::Debug),
];

const FORMATTERS: &[(&str, Formatter)] = &[
    ("text", Formatter::Text),
    ("json", Formatter::Json),
    ("logstash", Formatter::Logstash),
];

impl Log {
    pub(crate) fn read(reader: &mut Reader<'_>) -> Self {
        let default = Self::default();
        let level = |text: &str| scalar::one_of(text, LEVELS);
        let formatter = |text: &str| scalar::one_of(text, FORMATTERS);
        let old_level = reader.read("loglevel", level);
        Self {
            level: reader
                .read("log.level", level)
                .or(old_level)
                .unwrap_or(default.level),
            formatter: reader
                .read("log.formatter", formatter)
                .unwrap_or(default.formatter),
            fields: fields(reader),
            access_log_disabled: reader
                .read("log.accesslog.disabled", scalar::boolean)
                .unwrap_or(default.access_log_disabled),
        }
    }
}

fn fields(reader: &Reader<'_>) -> Vec<(String, String)> {
    let entries = reader
        .node("log.fields")
        .map_or(&[][..], |map| map.entries());
    entries
        .iter()
        .map(|(name, value)| (name.clone(), value.text().unwrap_or_default().to_owned()))
        .collect()
}
