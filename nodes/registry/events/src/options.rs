//! What notifications can be told, and what is wrong with it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::client::ClientError;
use crate::event::Action;
use crate::header::{self, Headers, Place};
use crate::outbox::OpenError;

/// Where events go, and where they wait.
#[derive(Debug, Clone)]
pub struct Options {
    /// In the order of the configuration, the disabled ones among them.
    pub endpoints: Vec<EndpointOptions>,
    /// Where the queues are kept.
    pub home: Home,
    /// How long the queues may get.
    pub limits: Limits,
}

/// Bytes of a queue that takes memory and not disk.
const IN_MEMORY: u64 = 32 << 20;

/// Where the queues are kept.
#[derive(Debug, Clone)]
pub enum Home {
    /// A file of their own on a local disk. It is made only when there is an endpoint.
    File(PathBuf),
    /// For storage that is gone with the process as well. Queues hold 32 MiB at most there, whatever the limits.
    Memory,
}

/// Bounds on what may wait, for each endpoint. At the bound, the oldest events go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Events in a queue.
    pub events: u64,
    /// Bytes of envelopes in a queue.
    pub bytes: u64,
}

impl Limits {
    pub(crate) fn at(self, home: &Home) -> Self {
        match home {
            Home::File(_) => self,
            Home::Memory => Self {
                bytes: self.bytes.min(IN_MEMORY),
                ..self
            },
        }
    }
}

impl Default for Limits {
    /// A day of a busy registry at a push or pull a second; and so much disk as nobody misses.
    fn default() -> Self {
        Self {
            events: 100_000,
            bytes: 256 << 20,
        }
    }
}

/// An entry of `notifications.endpoints`.
#[derive(Clone, Default)]
pub struct EndpointOptions {
    /// The queue goes by this name: another name is another endpoint.
    pub name: String,
    /// It is told nothing, and what waits for it stays until it is enabled again.
    pub disabled: bool,
    /// `http` or `https`. User and password in it are sent as the client's credentials.
    pub url: String,
    /// Sent with each event. May hold secrets: they appear nowhere else.
    pub headers: BTreeMap<String, Vec<String>>,
    /// For one attempt, redirects included; zero means a second.
    pub timeout: Duration,
    /// Failures in a row before it backs off; zero means ten.
    pub threshold: u32,
    /// Between attempts when it has backed off; zero means a second.
    pub backoff: Duration,
    /// Media types of targets that it does not want to be told about.
    pub ignored_media_types: Vec<String>,
    /// Actions that it does not want to be told about. Unknown ones mean nothing.
    pub ignored_actions: Vec<String>,
}

impl EndpointOptions {
    pub(crate) fn timeout(&self) -> Duration {
        positive(self.timeout)
    }

    pub(crate) fn threshold(&self) -> u32 {
        if self.threshold == 0 {
            10
        } else {
            self.threshold
        }
    }

    pub(crate) fn backoff(&self) -> Duration {
        positive(self.backoff)
    }

    pub(crate) fn wants(&self, action: Action, media_type: &str) -> bool {
        !self.disabled
            && !self
                .ignored_media_types
                .iter()
                .any(|ignored| ignored == media_type)
            && !self
                .ignored_actions
                .iter()
                .any(|ignored| ignored == action.as_str())
    }

    /// The URL without what may be secret: credentials, and the query.
    pub(crate) fn safe_url(&self) -> String {
        Place::parse(&self.url).map_or_else(|_mistake| "[invalid]".to_owned(), |place| place.safe())
    }

    /// What is sent where, once all of it is known to be right.
    pub(crate) fn destination(&self, index: usize) -> Result<(Place, Headers), Mistake> {
        let wrong = |key: &str, reason| Mistake {
            key: format!("notifications.endpoints[{index}].{key}"),
            reason,
        };
        let place = Place::parse(&self.url).map_err(|reason| wrong("url", reason))?;
        let headers = header::compile(&self.headers, &place)
            .map_err(|(name, reason)| wrong(&format!("headers.{name}"), reason))?;
        Ok((place, headers))
    }
}

fn positive(time: Duration) -> Duration {
    if time.is_zero() {
        Duration::from_secs(1)
    } else {
        time
    }
}

impl fmt::Debug for EndpointOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EndpointOptions")
            .field("name", &self.name)
            .field("disabled", &self.disabled)
            .field("url", &self.safe_url())
            .field("headers", &self.headers.keys())
            .field("timeout", &self.timeout)
            .field("threshold", &self.threshold)
            .field("backoff", &self.backoff)
            .field("ignored_media_types", &self.ignored_media_types)
            .field("ignored_actions", &self.ignored_actions)
            .finish()
    }
}

/// What is wrong with a setting. Values do not appear: they may be secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {reason}")]
pub struct Mistake {
    /// As in `notifications.endpoints[0].url`.
    pub key: String,
    /// What is wrong, and what would be right.
    pub reason: &'static str,
}

/// Why notifications cannot start.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The settings, each with its key.
    #[error("{}", .0.iter().map(Mistake::to_string).collect::<Vec<_>>().join("; "))]
    Mistakes(Vec<Mistake>),
    /// The file cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// No connection to an `https` endpoint would be trusted.
    #[error(transparent)]
    Client(#[from] ClientError),
}

impl BuildError {
    /// Whether another process has the file open.
    pub fn is_in_use(&self) -> bool {
        matches!(self, Self::Open(error) if error.is_in_use())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_memory_the_bound_is_lower() {
        let limits = Limits::default();
        let on_disk = limits.at(&Home::File("x".into()));
        assert_eq!(on_disk.bytes, 256 << 20);
        assert_eq!(limits.at(&Home::Memory).bytes, 32 << 20);
        let lower = Limits { bytes: 7, ..limits };
        assert_eq!(lower.at(&Home::Memory), lower);
    }

    #[test]
    fn zero_means_the_default_of_the_reference() {
        let unset = EndpointOptions::default();
        assert_eq!(unset.timeout(), Duration::from_secs(1));
        assert_eq!(unset.threshold(), 10);
        assert_eq!(unset.backoff(), Duration::from_secs(1));
    }
}
