//! A set of keys at a URL. Fetched when it is needed and again every few minutes, so keys change without a restart; the
//! last good set is kept when it cannot be fetched.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use tokio::time::Instant;
use ureq::tls::{RootCerts, TlsConfig};

use super::TokenMistake;
use super::jwks::{self, JwksMistake};
use super::key::{Key, KeySet};

/// After this time the set is fetched again, while what is there is used.
const REFRESH_AFTER: Duration = Duration::from_mins(5);
/// After this time it is not used before another try to fetch it: a registry that nobody asked overnight may hold keys that
/// were withdrawn.
const WAIT_AFTER: Duration = Duration::from_mins(15);
/// Between two tries at least, whatever tokens come.
const TRY_EVERY: Duration = Duration::from_secs(10);
/// A whole fetch.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of a set at most.
const MAX_BYTES: u64 = 1 << 20;

type Fetch = Arc<dyn Fn() -> Result<Vec<u8>, FetchError> + Send + Sync>;
type Running = Shared<BoxFuture<'static, ()>>;

/// Why a set could not be fetched. Names no part of the URL: it may hold credentials.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error("{0}")]
    Http(Box<ureq::Error>),
    #[error("the status is {0}, not 200")]
    Status(u16),
    #[error(transparent)]
    Unfit(#[from] JwksMistake),
}

pub(crate) struct Remote {
    fetch: Fetch,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    keys: Option<Arc<KeySet>>,
    fetched: Option<Instant>,
    tried: Option<Instant>,
    running: Option<Running>,
}

impl Remote {
    pub(crate) fn new(url: &str) -> Result<Self, TokenMistake> {
        let uri: ureq::http::Uri = url
            .parse()
            .map_err(|_other| TokenMistake::Url("not a URL"))?;
        let secure = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(TokenMistake::Url("neither an https nor an http URL")),
        };
        if uri.host().is_none_or(str::is_empty) {
            return Err(TokenMistake::Url("the URL names no host"));
        }
        if !secure {
            tracing::warn!(
                "jwks is fetched over plain http: whoever is on the way can let anybody in"
            );
        }
        let agent = agent(secure, RootCerts::PlatformVerifier);
        Ok(Self::with(Arc::new(move || fetch(&agent, &uri))))
    }

    fn with(fetch: Fetch) -> Self {
        Self {
            fetch,
            state: Arc::default(),
        }
    }

    /// The keys of this name. An unknown name is a reason to fetch the set again. `None` before there was a set.
    pub(crate) async fn keys_called(&self, id: &str) -> Option<Vec<Key>> {
        self.await_if_old().await;
        let found = self.lock().keys.as_ref().map(|keys| keys.get(id));
        match found {
            Some(found) if !found.is_empty() => Some(found),
            _ => {
                let running = self.refresh();
                if let Some(running) = running {
                    running.await;
                }
                self.lock().keys.as_ref().map(|keys| keys.get(id))
            }
        }
    }

    async fn await_if_old(&self) {
        let age = self.lock().fetched.map(|fetched| fetched.elapsed());
        if age.is_none_or(|age| age < REFRESH_AFTER) {
            return;
        }
        let running = self.refresh();
        if let Some(running) = running
            && age.is_some_and(|age| age >= WAIT_AFTER)
        {
            running.await;
        }
    }

    /// Begins to fetch, unless that was tried a moment ago; what to wait for, if it is under way.
    fn refresh(&self) -> Option<Running> {
        let mut state = self.lock();
        if state.running.is_some() {
            return state.running.clone();
        }
        if state.tried.is_some_and(|tried| tried.elapsed() < TRY_EVERY) {
            return None;
        }
        state.tried = Some(Instant::now());
        let (fetch, shared) = (Arc::clone(&self.fetch), Arc::clone(&self.state));
        // A task of its own: the request that began it may be given up.
        let task = tokio::spawn(async move {
            let fetched = tokio::task::spawn_blocking(move || Ok(jwks::parse(&fetch()?)?)).await;
            lock(&shared).settle(fetched.unwrap_or_else(|_panicked| Err(FetchError::Status(0))));
        });
        let running = task.map(drop).boxed().shared();
        state.running = Some(running.clone());
        Some(running)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl State {
    fn settle(&mut self, fetched: Result<KeySet, FetchError>) {
        self.running = None;
        match fetched {
            Ok(keys) => {
                self.keys = Some(Arc::new(keys));
                self.fetched = Some(Instant::now());
            }
            Err(error) if self.keys.is_some() => {
                tracing::warn!(%error, "the keys of the token server cannot be fetched; those of before stay in force");
            }
            Err(error) => {
                tracing::error!(%error, "the keys of the token server cannot be fetched; nobody is let in");
            }
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn agent(secure: bool, roots: RootCerts) -> ureq::Agent {
    let tls = TlsConfig::builder()
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .root_certs(roots)
        .build();
    ureq::Agent::config_builder()
        .tls_config(tls)
        .timeout_global(Some(TIMEOUT))
        .https_only(secure)
        // The environment is the configuration's to read.
        .proxy(None)
        // A set of keys that moves is a change of whom to trust: the operator's to make.
        .max_redirects(0)
        .http_status_as_error(false)
        .build()
        .into()
}

fn fetch(agent: &ureq::Agent, uri: &ureq::http::Uri) -> Result<Vec<u8>, FetchError> {
    let http = |error| FetchError::Http(Box::new(error));
    let mut answer = agent.get(uri).call().map_err(http)?;
    if answer.status() != 200 {
        return Err(FetchError::Status(answer.status().as_u16()));
    }
    let body = answer.body_mut().with_config().limit(MAX_BYTES);
    body.read_to_vec().map_err(http)
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "remote_tests.rs"]
mod tests;
