//! logrus' text form: `time="…" level=info msg="…" key=value`, fields sorted by name.

use super::line::{Line, Value};
use super::quote::{write_name, write_value};
use crate::clock::write_rfc3339;

/// Names that the form has a meaning for.
pub(crate) fn is_reserved(name: &str, report_caller: bool) -> bool {
    matches!(name, "time" | "level" | "msg" | "logrus_error")
        || (report_caller && matches!(name, "func" | "file"))
}

pub(crate) fn write(out: &mut String, line: &Line<'_>) {
    let mut time = String::with_capacity(30);
    write_rfc3339(&mut time, line.time);
    pair(out, "time", &time);
    pair(out, "level", line.severity.name());
    if !line.message.is_empty() {
        pair(out, "msg", line.message);
    }
    if let Some(caller) = &line.caller {
        pair(out, "func", caller.module);
        pair(out, "file", &caller.place());
    }
    for (name, value) in &line.fields {
        match value {
            Value::Text(text) => pair(out, name, text),
            other => pair(out, name, &other.to_string()),
        }
    }
    out.push('\n');
}

pub(crate) fn pair(out: &mut String, name: &str, value: &str) {
    if !out.is_empty() {
        out.push(' ');
    }
    write_name(out, name);
    out.push('=');
    write_value(out, value);
}
