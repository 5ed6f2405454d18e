//! An upload by a client that goes on after whatever breaks, as the specification tells it to: it asks where the upload
//! stands, and sends what is missing. U1 is checked on the way: what was acknowledged does not go back.

use roadstead_oci::Digest;
use roadstead_tests::{Answer, Repository};

use super::asking::{Kind, Record};

pub(super) struct Upload<'a> {
    pub(super) record: &'a Record,
    pub(super) repository: &'a Repository,
    pub(super) bytes: &'a [u8],
    pub(super) digest: &'a Digest,
    /// Requests that carry bytes. With one, the closing request carries them.
    pub(super) chunks: usize,
}

/// Where the client is with it.
struct At {
    location: String,
    /// Acknowledged.
    offset: usize,
    /// A chunk was sent and never answered: it may still be taken.
    is_unanswered: bool,
}

/// Pushes a blob. `None` when the clients were stopped, or something was wrong, which is noted. Else how often it was asked
/// to be closed: all but the last were not answered.
pub(super) fn push(upload: &Upload<'_>) -> Option<usize> {
    let mut at = open(upload)?;
    if upload.chunks > 1 {
        let size = upload.bytes.len().div_ceil(upload.chunks);
        while at.offset < upload.bytes.len() {
            let end = upload.bytes.len().min(at.offset + size);
            if !chunk(upload, &mut at, end) {
                return None;
            }
        }
    }
    close(upload, &at)
}

fn open(upload: &Upload<'_>) -> Option<At> {
    let path = upload.repository.path("blobs/uploads/");
    let shown = format!("POST {path}");
    while !upload.record.is_stopped() {
        let call = upload.repository.client().call("POST", &path);
        let Some(answer) = upload.record.ask(Kind::Push, &shown, call) else {
            upload.record.pause();
            continue;
        };
        if answer.status != 202 {
            wrong(upload, &shown, &answer);
            return None;
        }
        return Some(At {
            location: path_of(answer.location()),
            offset: 0,
            is_unanswered: false,
        });
    }
    None
}

/// Sends up to `end`.
fn chunk(upload: &Upload<'_>, at: &mut At, end: usize) -> bool {
    let shown = format!("PATCH {} from {} to {end}", at.location, at.offset);
    let call = upload
        .repository
        .client()
        .call("PATCH", &at.location)
        .header("content-type", "application/octet-stream")
        .body(&upload.bytes[at.offset..end]);
    let Some(answer) = upload.record.ask(Kind::Push, &shown, call) else {
        at.is_unanswered = true;
        return ask_where(upload, at);
    };
    match answer.status {
        202 if reached(&answer) == end => {
            at.offset = end;
            at.location = path_of(answer.location());
            true
        }
        // What was sent before and not answered was taken after all.
        416 if at.is_unanswered && reached(&answer) > at.offset => go_on(upload, at, &answer),
        _other => {
            wrong(upload, &shown, &answer);
            false
        }
    }
}

/// Goes on where the upload stands.
fn ask_where(upload: &Upload<'_>, at: &mut At) -> bool {
    let path = at.location.split('?').next().unwrap_or_default().to_owned();
    let shown = format!("GET {path}");
    while !upload.record.is_stopped() {
        upload.record.pause();
        let call = upload.repository.client().call("GET", &path);
        let Some(answer) = upload.record.ask(Kind::Push, &shown, call) else {
            continue;
        };
        if answer.status != 204 {
            wrong(upload, &shown, &answer);
            return false;
        }
        return go_on(upload, at, &answer);
    }
    false
}

fn go_on(upload: &Upload<'_>, at: &mut At, answer: &Answer) -> bool {
    let reached = reached(answer);
    if reached < at.offset || reached > upload.bytes.len() {
        let was = at.offset;
        let words = format!("{}: at {reached}, after {was}", answer.request);
        upload.record.wrong(words);
        return false;
    }
    at.offset = reached;
    at.location = path_of(answer.location());
    true
}

/// Closes it with what is not sent yet, again and again until that is acknowledged.
fn close(upload: &Upload<'_>, at: &At) -> Option<usize> {
    let mut tries = 0;
    let path = format!("{}&digest={}", at.location, upload.digest);
    let shown = format!("PUT {path}");
    while !upload.record.is_stopped() {
        let call = upload
            .repository
            .client()
            .call("PUT", &path)
            .header("content-type", "application/octet-stream")
            .body(&upload.bytes[at.offset..]);
        tries += 1;
        match upload.record.ask(Kind::Push, &shown, call) {
            None => upload.record.pause(),
            Some(answer) if answer.status == 201 => return Some(tries),
            Some(answer) => {
                wrong(upload, &shown, &answer);
                return None;
            }
        }
    }
    None
}

fn wrong(upload: &Upload<'_>, shown: &str, answer: &Answer) {
    let text = answer.text();
    let range = answer.header("range").unwrap_or_default();
    upload
        .record
        .wrong(format!("{shown}: {} {range} {text}", answer.status));
}

/// How many bytes an upload has. `0-0` is said of none; no chunk here has a single one.
pub(super) fn reached(answer: &Answer) -> usize {
    let range = answer.header("range").unwrap_or_default();
    let last = range.split('-').nth(1).and_then(|last| last.parse().ok());
    match last {
        None | Some(0) => 0,
        Some(last) => last + 1,
    }
}

/// The path and query of a `Location`.
pub(super) fn path_of(location: &str) -> String {
    let at = location.find("/v2/").expect("a path of the API");
    location.split_at(at).1.to_owned()
}
