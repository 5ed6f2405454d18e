//! `notifications`: who is told of pushes, pulls and deletions.

use std::collections::HashSet;
use std::time::Duration;

use crate::headers;
use crate::reader::Reader;
use crate::scalar::{self, Unfit};
use crate::secret::Secret;
use crate::url::{self, HttpUrl};

/// The reference's, of both times.
const SECOND: Duration = Duration::from_secs(1);
/// The reference's.
const THRESHOLD: u32 = 10;

/// Settings under `notifications`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notifications {
    /// Events about a manifest name what it refers to: `events.includereferences`. Default: false.
    pub include_references: bool,
    /// Who is told: `endpoints`, without those that are `disabled`.
    pub endpoints: Vec<Endpoint>,
}

/// An item of `notifications.endpoints`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// What it is called in logs and metrics; no other is called so: `name`. Default: its URL, as far as that can be
    /// shown.
    pub name: String,
    /// Where events are posted: `url`.
    pub url: HttpUrl,
    /// Sent along: `headers`.
    pub headers: Vec<(String, Vec<Secret>)>,
    /// How long an answer may take: `timeout`. Default, and what zero and less mean: 1 s.
    pub timeout: Duration,
    /// Failures in a row after which to wait: `threshold`. Default, and what zero and less mean: 10.
    pub threshold: u32,
    /// How long to wait then: `backoff`. Default, and what zero and less mean: 1 s.
    pub backoff: Duration,
    /// Media types of targets that are not told of: `ignoredmediatypes` and `ignore.mediatypes`.
    pub ignored_media_types: Vec<String>,
    /// Actions that are not told of: `ignore.actions`.
    pub ignored_actions: Vec<EventAction>,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventAction {
    /// Something was read.
    Pull,
    /// Something was written.
    Push,
    /// A blob was mounted from another repository.
    Mount,
    /// Something was deleted.
    Delete,
}

const ACTIONS: &[(&str, EventAction)] = &[
    ("pull", EventAction::Pull),
    ("push", EventAction::Push),
    ("mount", EventAction::Mount),
    ("delete", EventAction::Delete),
];

impl Notifications {
    pub(crate) fn read(reader: &mut Reader<'_>) -> Self {
        let notifications = &mut reader.below("notifications");
        let include_references = notifications.read("events.includereferences", scalar::boolean);
        let mut names = HashSet::new();
        let endpoints = notifications.each("endpoints", |endpoint| {
            let read = Endpoint::read(endpoint)?;
            if !names.insert(read.name.clone()) {
                let reason = "another endpoint has this name; each has events of its own";
                endpoint.mistake("name", reason);
            }
            Some(read)
        });
        Self {
            include_references: include_references.unwrap_or_default(),
            endpoints,
        }
    }
}

impl Endpoint {
    /// `None` for one that is disabled, which need not be complete.
    fn read(endpoint: &mut Reader<'_>) -> Option<Self> {
        let disabled = endpoint.read("disabled", scalar::boolean) == Some(true);
        let url = if disabled {
            endpoint.read("url", url::parse)
        } else {
            endpoint.required("url", "write where events are posted", url::parse)
        };
        let name = endpoint.text("name");
        let headers = headers::read_secret(endpoint, "headers");
        let timeout = endpoint.read("timeout", second_by_default);
        let threshold = endpoint.read("threshold", threshold);
        let backoff = endpoint.read("backoff", second_by_default);
        let text = |text: &str| Ok(text.to_owned());
        let mut ignored_media_types = endpoint.list("ignoredmediatypes", text);
        ignored_media_types.extend(endpoint.list("ignore.mediatypes", text));
        let action = |text: &str| scalar::one_of(text, ACTIONS);
        let ignored_actions = endpoint.list("ignore.actions", action);
        let url = url.filter(|_| !disabled)?;
        Some(Self {
            name: name.unwrap_or_else(|| url.to_string()),
            url,
            headers,
            timeout: timeout.unwrap_or(SECOND),
            threshold: threshold.unwrap_or(THRESHOLD),
            backoff: backoff.unwrap_or(SECOND),
            ignored_media_types,
            ignored_actions,
        })
    }
}

fn second_by_default(text: &str) -> Result<Duration, Unfit> {
    match scalar::nanoseconds(text)? {
        ..=0 => Ok(SECOND),
        _ => scalar::duration(text),
    }
}

fn threshold(text: &str) -> Result<u32, Unfit> {
    match scalar::integer(text)? {
        ..=0 => Ok(THRESHOLD),
        _ => scalar::count(text),
    }
}

#[cfg(test)]
mod tests;
