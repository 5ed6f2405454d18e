//! The short form for a person at a terminal: time, level, words, and the fields that differ from line to line.

use std::sync::Arc;

use super::line::{Line, Severity, Value};
use super::quote::write_words;
use super::text::pair;
use crate::clock::write_time_of_day;

const RESET: &str = "\x1b[0m";
const DIM: &str = "\x1b[2m";

pub(crate) fn write(out: &mut String, line: &Line<'_>) {
    let (colour, name) = match line.severity {
        Severity::Debug => ("\x1b[34m", "DEBUG"),
        Severity::Info => ("\x1b[32m", "INFO "),
        Severity::Warning => ("\x1b[33m", "WARN "),
        Severity::Error => ("\x1b[31m", "ERROR"),
        Severity::Fatal => ("\x1b[31m", "FATAL"),
        Severity::Panic => ("\x1b[31m", "PANIC"),
    };
    out.push_str(DIM);
    write_time_of_day(out, line.time);
    out.push_str(RESET);
    out.push(' ');
    out.push_str(colour);
    out.push_str(name);
    out.push_str(RESET);
    out.push(' ');
    write_words(out, line.message);
    for (name, value) in &line.fields {
        let same_on_all = |(own, same): &(Arc<str>, Value)| **own == **name && same == value;
        if !line.own.iter().any(same_on_all) {
            pair(out, name, &value.to_string());
        }
    }
    if let Some(caller) = &line.caller {
        pair(out, "file", &caller.place());
    }
    out.push('\n');
}
