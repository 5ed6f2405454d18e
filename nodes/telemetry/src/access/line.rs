//! One line in the Combined Log Format, escaped as Apache does it.

use std::fmt::Write as _;
use std::time::SystemTime;

use http::Version;

use crate::clock::write_common_log;
use crate::redact;

/// Bytes of a request target or header in a line at most. The rest is left out, and `...` says so.
const LONGEST: usize = 8 * 1024;

/// An answered request.
#[derive(Clone, Copy, Debug)]
pub struct Access<'a> {
    /// The client's address, without a port; empty if there is none, as on a unix socket.
    pub remote: &'a str,
    /// Who was authenticated.
    pub user: Option<&'a str>,
    /// When the request came.
    pub time: SystemTime,
    /// The method as it came.
    pub method: &'a str,
    /// The request target as it came. Secrets in it are masked.
    pub uri: &'a str,
    /// The version of the protocol.
    pub version: Version,
    /// The status of the answer.
    pub status: u16,
    /// Bytes of the body that were sent: none for HEAD.
    pub written: u64,
    /// `Referer`, bytes as they came.
    pub referer: &'a [u8],
    /// `User-Agent`, bytes as they came.
    pub user_agent: &'a [u8],
    /// What the format has no place for, behind it: `name=value`, parted by spaces. Empty for nothing.
    pub more: &'a str,
}

impl Access<'_> {
    /// The line, with the newline at its end. There is no other in it.
    pub(crate) fn to_line(self) -> String {
        let mut out = String::with_capacity(512);
        word(&mut out, self.remote);
        out.push_str(" - ");
        word(&mut out, self.user.unwrap_or_default());
        out.push_str(" [");
        write_common_log(&mut out, self.time);
        out.push_str("] \"");
        escape(&mut out, self.method.as_bytes());
        out.push(' ');
        escape(&mut out, redact::uri(self.uri).as_bytes());
        let _infallible = write!(
            out,
            " {}\" {} {} \"",
            protocol(self.version),
            self.status,
            self.written
        );
        // A referer is an address, and may hold what addresses hold.
        let referer = String::from_utf8_lossy(self.referer);
        escape(&mut out, redact::uri(&referer).as_bytes());
        out.push_str("\" \"");
        escape(&mut out, self.user_agent);
        out.push('"');
        if !self.more.is_empty() {
            out.push(' ');
            escape(&mut out, self.more.as_bytes());
        }
        out.push('\n');
        out
    }
}

/// A word that is not quoted: no space may part it. `-` if it is empty.
fn word(out: &mut String, text: &str) {
    if text.is_empty() {
        out.push('-');
    }
    for part in text.split_inclusive(' ') {
        let spaced = part.strip_suffix(' ');
        escape(out, spaced.unwrap_or(part).as_bytes());
        if spaced.is_some() {
            out.push_str("\\x20");
        }
    }
}

/// Apache's escapes: `\"` and `\\`, C's letters for what has one, `\xhh` for every other byte that is not printable ASCII.
fn escape(out: &mut String, bytes: &[u8]) {
    let (mut rest, after) = bytes.split_at(bytes.len().min(LONGEST));
    while !rest.is_empty() {
        // Nearly all of nearly every line.
        let plain = rest.iter().take_while(|byte| is_plain(**byte)).count();
        let (text, others) = rest.split_at(plain);
        out.push_str(std::str::from_utf8(text).unwrap_or_default());
        let Some((&byte, further)) = others.split_first() else {
            break;
        };
        let _infallible = match byte {
            b'"' | b'\\' => write!(out, "\\{}", char::from(byte)),
            0x08 => out.write_str("\\b"),
            b'\n' => out.write_str("\\n"),
            b'\r' => out.write_str("\\r"),
            b'\t' => out.write_str("\\t"),
            0x0b => out.write_str("\\v"),
            _ => write!(out, "\\x{byte:02x}"),
        };
        rest = further;
    }
    if !after.is_empty() {
        out.push_str("...");
    }
}

/// Whether a byte stands for itself: ASCII, so that a run of them is text.
fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\')
}

/// The protocol as the reference names it.
fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "HTTP/0.9",
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2.0",
        Version::HTTP_3 => "HTTP/3.0",
        _ => "HTTP/1.1",
    }
}
