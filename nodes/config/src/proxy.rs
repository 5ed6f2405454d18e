//! `proxy`: being a cache of another registry. Is refused yet.

use std::path::PathBuf;
use std::time::Duration;

use crate::reader::Reader;
use crate::scalar;
use crate::secret::Secret;
use crate::url::{self, HttpUrl};

/// The reference's: a week.
const TTL: Duration = Duration::from_hours(168);
/// The reference's.
const CACHE_WRITE: Duration = Duration::from_mins(5);

/// Settings under `proxy`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    /// The registry that is cached: `remoteurl`.
    pub remote_url: HttpUrl,
    /// Who we are there. Default: nobody.
    pub credentials: ProxyCredentials,
    /// How long content is kept: `ttl`. Default: 168 h. `None`, which zero means: for ever.
    pub ttl: Option<Duration>,
    /// How long content is still stored when the client who asked for it is gone: `cachewritetimeout`. Default: 5 min.
    pub cache_write_timeout: Duration,
}

/// How the upstream registry knows us.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ProxyCredentials {
    /// It does not.
    #[default]
    Anonymous,
    /// `username`, `password`.
    Password {
        /// `username`.
        username: String,
        /// `password`.
        password: Secret,
    },
    /// What a credential helper says: `exec`.
    Exec {
        /// The helper: `exec.command`.
        command: PathBuf,
        /// How long its answer holds: `exec.lifetime`. Default: until it expires; asked anew each time.
        lifetime: Option<Duration>,
    },
}

impl Proxy {
    /// `None` without a `remoteurl`: then the reference is no cache either.
    pub(crate) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let proxy = &mut reader.below("proxy");
        let remote_url = proxy.read("remoteurl", url::parse);
        let credentials = credentials(proxy);
        let ttl = proxy.read("ttl", scalar::duration).unwrap_or(TTL);
        let cache_write = proxy.read("cachewritetimeout", scalar::duration);
        Some(Self {
            remote_url: remote_url?,
            credentials,
            ttl: Some(ttl).filter(|ttl| !ttl.is_zero()),
            cache_write_timeout: cache_write
                .filter(|timeout| !timeout.is_zero())
                .unwrap_or(CACHE_WRITE),
        })
    }
}

fn credentials(proxy: &mut Reader<'_>) -> ProxyCredentials {
    let username = proxy.text("username");
    let password = proxy.secret("password");
    let command = proxy.path("exec.command");
    let lifetime = proxy.read("exec.lifetime", scalar::duration);
    if command.is_some() && username.is_some() {
        proxy.mistake(
            "exec",
            "stands beside a username; only one of them can be used",
        );
    }
    match (username, password, command) {
        (_, _, Some(command)) => ProxyCredentials::Exec {
            command,
            lifetime: lifetime.filter(|lifetime| !lifetime.is_zero()),
        },
        (Some(username), Some(password), None) => ProxyCredentials::Password { username, password },
        (None, None, None) => ProxyCredentials::Anonymous,
        (Some(_), None, None) => {
            proxy.missing("password", "a username alone is no one");
            ProxyCredentials::Anonymous
        }
        (None, Some(_), None) => {
            proxy.missing("username", "a password alone is no one's");
            ProxyCredentials::Anonymous
        }
    }
}

#[cfg(test)]
mod tests;
