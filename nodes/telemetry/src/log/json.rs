//! JSON forms: logrus' own, and what Logstash takes.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::line::{Line, Value};
use super::quote::is_printable;
use crate::clock::write_rfc3339;

/// The names of the fields that each line has.
pub(crate) struct Names {
    time: &'static str,
    message: &'static str,
}

pub(crate) const LOGRUS: Names = Names {
    time: "time",
    message: "msg",
};
pub(crate) const LOGSTASH: Names = Names {
    time: "@timestamp",
    message: "message",
};

/// Names that Logstash has a meaning for, as long as the line says its type.
pub(crate) fn is_reserved_by_logstash(name: &str, report_caller: bool, typed: bool) -> bool {
    matches!(name, "@timestamp" | "@version" | "level" | "message")
        || (report_caller && matches!(name, "func" | "file"))
        || (typed && name == "type")
}

/// Writes a line as an object, its members sorted by name as Go sorts them. `more` are members that the form adds.
pub(crate) fn write(out: &mut String, line: &Line<'_>, names: &Names, more: &[(&str, &str)]) {
    let mut time = String::with_capacity(30);
    write_rfc3339(&mut time, line.time);
    let place = line.caller.as_ref().map(super::line::Caller::place);

    let mut members = BTreeMap::<&str, Member<'_>>::new();
    for (name, value) in &line.fields {
        members.insert(name, Member::Value(value));
    }
    for (name, text) in more {
        members.insert(name, Member::Text(text));
    }
    if let (Some(caller), Some(place)) = (&line.caller, &place) {
        members.insert("func", Member::Text(caller.module));
        members.insert("file", Member::Text(place));
    }
    members.insert(names.time, Member::Text(&time));
    members.insert("level", Member::Text(line.severity.name()));
    members.insert(names.message, Member::Text(line.message));

    let mut separator = '{';
    for (name, member) in members {
        out.push(separator);
        separator = ',';
        write_string(out, name);
        out.push(':');
        match member {
            Member::Text(text) => write_string(out, text),
            Member::Value(Value::Text(text)) => write_string(out, text),
            Member::Value(plain) => {
                let _infallible = write!(out, "{plain}");
            }
        }
    }
    out.push_str("}\n");
}

/// What stands behind a name.
enum Member<'a> {
    Text(&'a str),
    Value(&'a Value),
}

/// Writes a JSON string in which whatever is not printable is escaped: nothing in it ends a line, for any reader's idea
/// of a line.
fn write_string(out: &mut String, text: &str) {
    out.push('"');
    for character in text.chars() {
        let _infallible = match character {
            '"' | '\\' => write!(out, "\\{character}"),
            '\n' => out.write_str("\\n"),
            '\r' => out.write_str("\\r"),
            '\t' => out.write_str("\\t"),
            _ if is_printable(character) => out.write_char(character),
            _ => character
                .encode_utf16(&mut [0; 2])
                .iter()
                .try_for_each(|unit| write!(out, "\\u{unit:04x}")),
        };
    }
    out.push('"');
}
