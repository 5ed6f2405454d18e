//! One request through nginx, and what its answer says of the cluster: well, broken, unavailable for now, or wrong.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use roadstead_tests::Answer;
use roadstead_tests::client::Call;
use tokio::time::Instant;

use super::history::{History, Outcome, Read, Write};

/// How long a client waits before it tries again.
const AGAIN_AFTER: Duration = Duration::from_millis(100);

/// Failures that a client may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// The connection broke; nginx's own 502 or 504 says so where it is not the client's connection.
    Broken,
    /// 503 with `Retry-After` and an error document.
    Unavailable,
    /// Anything else.
    Wrong,
}

/// A failure that a client saw.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) failure: Failure,
    pub(super) began: Instant,
    pub(super) ended: Instant,
    pub(super) words: String,
    pub(super) pushes: bool,
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Pull,
    Push,
}

/// All that the clients of one cluster saw.
#[derive(Debug, Default)]
pub(super) struct Record {
    inner: Mutex<Inner>,
    stop: Mutex<bool>,
    stopped: Condvar,
}

#[derive(Debug, Default)]
struct Inner {
    history: History,
    seen: Vec<Seen>,
    /// When each whole pull or push ended.
    done: Vec<(Kind, Instant)>,
    slowest: Duration,
}

impl Record {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a request. `None` when it failed in a way that a client tries again after; that is noted.
    pub(super) fn ask(&self, kind: Kind, shown: &str, call: Call) -> Option<Answer> {
        let began = Instant::now();
        let answered = call.answer();
        let ended = Instant::now();
        let failure = judge(answered.as_ref().ok());
        let mut inner = self.inner();
        inner.slowest = inner.slowest.max(ended - began);
        let Some(failure) = failure else {
            return answered.ok();
        };
        let words = answered.as_ref().map_or_else(
            |error| format!("{shown}: the connection broke: {error}"),
            |answer| format!("{shown}: {} {}", answer.status, first_line(&answer.text())),
        );
        inner.seen.push(Seen {
            failure,
            began,
            ended,
            words,
            pushes: kind == Kind::Push,
        });
        None
    }

    /// Something that must not be at any time.
    pub(super) fn wrong(&self, words: String) {
        let now = Instant::now();
        self.inner().seen.push(Seen {
            failure: Failure::Wrong,
            began: now,
            ended: now,
            words,
            pushes: false,
        });
    }

    pub(super) fn wrote(
        &self,
        register: &str,
        value: Option<&str>,
        began: Instant,
        outcome: Outcome,
    ) {
        let ended = Instant::now();
        self.inner().history.wrote(Write {
            register: register.to_owned(),
            value: value.map(str::to_owned),
            began,
            ended,
            outcome,
        });
    }

    pub(super) fn read(&self, register: &str, value: Option<String>, began: Instant) {
        let ended = Instant::now();
        self.inner().history.read(Read {
            register: register.to_owned(),
            value,
            began,
            ended,
        });
    }

    /// A whole pull, or push, is done.
    pub(super) fn done(&self, kind: Kind) {
        self.inner().done.push((kind, Instant::now()));
    }

    pub(super) fn count(&self, kind: Kind) -> usize {
        let inner = self.inner();
        inner.done.iter().filter(|(done, _)| *done == kind).count()
    }

    /// Pulls and pushes that ended between the two.
    pub(super) fn ended_within(&self, from: Instant, to: Instant) -> usize {
        let within = |(_, at): &&(Kind, Instant)| from <= *at && *at < to;
        self.inner().done.iter().filter(within).count()
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.inner().seen.clone()
    }

    /// The longest that anybody waited for an answer since this was asked last.
    pub(super) fn slowest(&self) -> Duration {
        std::mem::take(&mut self.inner().slowest)
    }

    pub(super) fn registers(&self) -> Vec<String> {
        self.inner().history.registers()
    }

    pub(super) fn reads(&self) -> usize {
        self.inner().history.reads()
    }

    pub(super) fn refuted(&self) -> Vec<String> {
        self.inner().history.check()
    }

    pub(super) fn stop(&self) {
        *self.stop.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.stopped.notify_all();
    }

    pub(super) fn is_stopped(&self) -> bool {
        *self.stop.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As a client does before it tries again.
    pub(super) fn pause(&self) {
        let stop = self.stop.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self
            .stopped
            .wait_timeout_while(stop, AGAIN_AFTER, |stop| !*stop);
        drop(waited);
    }
}

fn first_line(text: &str) -> String {
    text.lines()
        .next()
        .unwrap_or_default()
        .chars()
        .take(300)
        .collect()
}

/// What an answer fails with, if it is a failure for whatever request.
pub(super) fn judge(answer: Option<&Answer>) -> Option<Failure> {
    let Some(answer) = answer else {
        return Some(Failure::Broken);
    };
    let is_the_registrys = answer.header("docker-distribution-api-version").is_some();
    match answer.status {
        502 | 504 if !is_the_registrys => Some(Failure::Broken),
        503 if is_unavailable(answer) => Some(Failure::Unavailable),
        500.. => Some(Failure::Wrong),
        _other => None,
    }
}

fn is_unavailable(answer: &Answer) -> bool {
    let document = serde_json::from_slice::<serde_json::Value>(&answer.body);
    let code = document
        .ok()
        .map(|document| document["errors"][0]["code"] == "UNAVAILABLE");
    // An answer to HEAD has no body.
    let is_said = code == Some(true) || answer.body.is_empty();
    answer.header("retry-after").is_some() && is_said
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    fn answer(status: u16, headers: &[(&'static str, &str)], body: &str) -> Answer {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().expect("a value"));
        }
        Answer {
            request: String::new(),
            status,
            headers: map,
            body: body.as_bytes().to_vec(),
        }
    }

    #[test]
    fn failures_are_told_apart() {
        let ours = ("docker-distribution-api-version", "registry/2.0");
        let later = ("retry-after", "5");
        let document = r#"{"errors":[{"code":"UNAVAILABLE"}]}"#;
        let judged = |status, headers: &[_], body| judge(Some(&answer(status, headers, body)));
        assert_eq!(judge(None), Some(Failure::Broken));
        assert_eq!(judged(502, &[], "<html>"), Some(Failure::Broken));
        assert_eq!(judged(502, &[ours], ""), Some(Failure::Wrong));
        assert_eq!(
            judged(503, &[ours, later], document),
            Some(Failure::Unavailable)
        );
        assert_eq!(judged(503, &[ours], document), Some(Failure::Wrong));
        assert_eq!(judged(503, &[ours, later], "{}"), Some(Failure::Wrong));
        assert_eq!(judged(500, &[ours], document), Some(Failure::Wrong));
        assert_eq!(judged(404, &[ours], ""), None, "its asker knows");
        assert_eq!(judged(201, &[ours], ""), None);
    }
}
