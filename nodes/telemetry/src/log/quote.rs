//! Quoting: what a stranger sent must neither end a line nor move a cursor.

use std::fmt::Write as _;

/// Whether logrus writes `text` as it is. Nothing of it could be taken for the end of a value or a line.
fn is_plain(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-._/@^+".contains(&byte))
}

/// Writes a value as logrus does: as it is, or quoted as Go quotes strings.
pub(crate) fn write_value(out: &mut String, text: &str) {
    if is_plain(text) {
        out.push_str(text);
    } else {
        write_quoted(out, text);
    }
}

/// Writes `text` as Go's `%q`: printable characters stay, the others are escaped.
pub(crate) fn write_quoted(out: &mut String, text: &str) {
    out.push('"');
    let (simple, rest) = text.split_at(simple(text));
    out.push_str(simple);
    for character in rest.chars() {
        write_escaped(out, character);
    }
    out.push('"');
}

/// How long the beginning of a text is that is written as it is: nearly always all of it.
fn simple(text: &str) -> usize {
    let is_odd = |byte: u8| !matches!(byte, b' '..=b'~') || matches!(byte, b'"' | b'\\');
    text.bytes().position(is_odd).unwrap_or(text.len())
}

/// Writes the words of a message for a person: unquoted, and with nothing in it that a terminal obeys.
pub(crate) fn write_words(out: &mut String, text: &str) {
    for character in text.chars() {
        match character {
            '"' | '\\' => out.push(character),
            _ => write_escaped(out, character),
        }
    }
}

/// Writes a name: what could be taken for the end of it becomes `_`. Names come from the program and its configuration.
pub(crate) fn write_name(out: &mut String, name: &str) {
    let breaks = |byte: u8| !matches!(byte, b'!'..=b'~') || matches!(byte, b'=' | b'"' | b'\\');
    if !name.bytes().any(breaks) {
        out.push_str(name);
        return;
    }
    for character in name.chars() {
        let breaks = matches!(character, ' ' | '=' | '"' | '\\') || !is_printable(character);
        out.push(if breaks { '_' } else { character });
    }
}

fn write_escaped(out: &mut String, character: char) {
    let code = u32::from(character);
    let _infallible = match character {
        '"' | '\\' => write!(out, "\\{character}"),
        '\x07' => out.write_str("\\a"),
        '\x08' => out.write_str("\\b"),
        '\x0c' => out.write_str("\\f"),
        '\n' => out.write_str("\\n"),
        '\r' => out.write_str("\\r"),
        '\t' => out.write_str("\\t"),
        '\x0b' => out.write_str("\\v"),
        _ if is_printable(character) => out.write_char(character),
        _ if code < 0x80 => write!(out, "\\x{code:02x}"),
        _ if code < 0x1_0000 => write!(out, "\\u{code:04x}"),
        _ => write!(out, "\\U{code:08x}"),
    };
}

/// Whether a character leaves a mark on a line or is a space, and does nothing else: no control character, no line or
/// paragraph separator, nothing that changes the direction of what follows.
///
/// The standard library keeps the table, behind the escapes of `Debug`. A character that is not the first of a string
/// is escaped there only if it is not printable.
pub(crate) fn is_printable(character: char) -> bool {
    match character {
        ' '..='~' => true,
        _ if character.is_ascii() => false,
        _ => {
            let mut buffer = [b'a'; 5];
            let length = 1 + character.encode_utf8(&mut buffer[1..]).len();
            std::str::from_utf8(&buffer[..length])
                .is_ok_and(|text| text.escape_debug().nth(1) != Some('\\'))
        }
    }
}
