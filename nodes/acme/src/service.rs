//! What a process does for its certificate: it looks, adopts what is new, and orders when it is due and has the right to.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use futures::FutureExt as _;
use roadstead_listen::Tls;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::answers::{self, Answers};
use crate::client::Client;
use crate::document::{Answer, Certificate, Document};
use crate::keep::{InCluster, InFile, Keep, KeepError};
use crate::{AcmeError, Home, Options, Told, order, renewal, suggestion, trust};

/// The first look may wait for so long: what is kept is served from the first connection on.
const FIRST_LOOK: Duration = Duration::from_secs(5);

/// Looks after a certificate.
pub struct Acme(Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) options: Options,
    pub(crate) keep: Box<dyn Keep>,
    pub(crate) client: Client,
    answers: Answers,
    tls: Tls,
    /// What was adopted last.
    known: Mutex<Document>,
    /// The last look failed, and that was told.
    is_told: AtomicBool,
}

/// What this process may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Right {
    /// It has the right, in this term.
    Held(u64),
    /// Another has it.
    Others,
    /// Nobody can tell at the moment; what is fenced may go on.
    Unknown,
}

/// What a look found out.
pub(crate) struct Look {
    pub(crate) right: Right,
    /// Live processes that do not answer yet what this one does.
    pub(crate) unaware: u32,
}

impl Acme {
    /// Opens what is kept, and adopts it if it can be read in a moment. `tls` is one whose certificate is supplied.
    pub async fn build(options: Options, tls: Tls) -> Result<Self, AcmeError> {
        if let Some(external) = &options.external_account {
            external.key()?;
        }
        let authorities = options.directory_ca.clone();
        let trusting = tokio::task::spawn_blocking(move || trust::trusting(authorities.as_deref()));
        let ended = |ended: tokio::task::JoinError| KeepError::Unavailable {
            reason: ended.to_string(),
        };
        let trusting = trusting.await.map_err(ended)??;
        let keep = keep(&options).await?;
        let inner = Arc::new(Inner {
            keep,
            client: Client::new(trusting),
            options,
            answers: Answers::default(),
            tls,
            known: Mutex::default(),
            is_told: AtomicBool::new(false),
        });
        let _later = timeout(FIRST_LOOK, inner.look()).await;
        Ok(Self(inner))
    }

    /// What HTTP-01 is to be answered with.
    pub fn answers(&self) -> Answers {
        self.0.answers.clone()
    }

    /// Until the drain. Clients are accepted, or will be in a moment.
    pub async fn run(self, drain: CancellationToken) {
        let inner = self.0;
        let mut work = JoinSet::new();
        let mut ask_at = Instant::now();
        while !drain.is_cancelled() {
            let look = inner.look().await;
            match look.right {
                Right::Held(term) if work.is_empty() && inner.is_due() => {
                    work.spawn(order::run(Arc::clone(&inner), term).map(|()| None));
                }
                Right::Held(term) if work.is_empty() && Instant::now() >= ask_at => {
                    work.spawn(suggestion::run(Arc::clone(&inner), term).map(Some));
                }
                // What it was about to write would be refused.
                Right::Others => work.abort_all(),
                Right::Held(_) | Right::Unknown => {}
            }
            tokio::select! {
                () = drain.cancelled() => {}
                Some(ended) = work.join_next() => {
                    if let Ok(Some(again)) = ended {
                        ask_at = Instant::now() + again;
                    }
                }
                () = sleep(inner.look_again_after(&look)) => {}
            }
        }
        work.shutdown().await;
        inner.keep.leave().await;
    }
}

async fn keep(options: &Options) -> Result<Box<dyn Keep>, KeepError> {
    match options.home.clone() {
        Home::Path(path) => {
            let opened = tokio::task::spawn_blocking(move || InFile::open(&path)).await;
            let opened = opened.unwrap_or_else(|ended| {
                let reason = ended.to_string();
                Err(KeepError::Unavailable { reason })
            });
            Ok(Box::new(opened?))
        }
        Home::Cluster { metadata, secret } => {
            let (directory, hosts) = (&options.directory_url, &options.hosts);
            let kept = InCluster::new(metadata, &secret, directory, hosts)?;
            Ok(Box::new(kept))
        }
    }
}

impl Inner {
    /// Seconds since 1970.
    pub(crate) fn now(&self) -> u64 {
        let now = (self.options.clock)();
        now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
    }

    pub(crate) fn document(&self) -> Document {
        self.known().clone()
    }

    fn known(&self) -> MutexGuard<'_, Document> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was adopted, without what is of no use any more.
    fn fitting(&self) -> Document {
        let mut document = self.document();
        document.fit(&self.options.directory_url, &self.options.hosts);
        document
    }

    fn is_due(&self) -> bool {
        renewal::is_due(&self.fitting(), &self.options.hosts, self.now())
    }

    fn look_again_after(&self, look: &Look) -> Duration {
        if look.right == Right::Unknown {
            return renewal::LOOK_EVERY;
        }
        renewal::look_again_after(&self.fitting(), &self.options.hosts, self.now())
    }

    /// Looks, and adopts what is new.
    pub(crate) async fn look(&self) -> Look {
        match self.keep.look().await {
            Ok(seen) => {
                self.is_told.store(false, Ordering::Relaxed);
                if let Some(document) = seen.document {
                    self.adopt(document, seen.version).await;
                }
                Look {
                    right: seen.right.map_or(Right::Others, Right::Held),
                    unaware: seen.unaware,
                }
            }
            Err(error) => {
                if !self.is_told.swap(true, Ordering::Relaxed) {
                    tracing::warn!(
                        error = in_full(&error),
                        "{}: what is kept cannot be read; what is served stays",
                        self.options.setting
                    );
                }
                Look {
                    right: Right::Unknown,
                    unaware: 0,
                }
            }
        }
    }

    /// Writes, and adopts it.
    pub(crate) async fn write(&self, term: u64, document: &Document) -> Result<(), KeepError> {
        let version = self.keep.write(term, document).await?;
        self.adopt(document.clone(), version).await;
        Ok(())
    }

    /// Answers and serves what the document says. Only then are others told that this process does.
    async fn adopt(&self, document: Document, version: u64) {
        let (is_asked_for, is_renewed) = {
            let known = self.known();
            (
                known.challenges != document.challenges,
                known.certificate != document.certificate,
            )
        };
        if is_asked_for {
            self.answer(&document.challenges);
        }
        if is_renewed && let Some(certificate) = &document.certificate {
            self.serve(certificate).await;
        }
        *self.known() = document;
        self.keep.adopted(version);
    }

    fn answer(&self, challenges: &[Answer]) {
        self.answers.set(challenges);
        let Some(supplied) = self.tls.supplied() else {
            return;
        };
        let validations = challenges.iter().map(answers::validation);
        let shown = validations
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| error.to_string())
            .and_then(|all| supplied.show(all).map_err(|error| error.to_string()));
        if let Err(error) = shown {
            let setting = self.options.setting;
            tracing::error!(error, "{setting}: challenges cannot be answered over TLS");
        }
    }

    async fn serve(&self, certificate: &Certificate) {
        let (chain, key) = (&certificate.chain, &certificate.key);
        if let Some(supplied) = self.tls.supplied() {
            supplied.give(chain.as_bytes(), key.as_bytes());
        }
        // Why not is logged there.
        if self.tls.reload_now().await.is_ok() {
            let not_after = certificate.not_after();
            (self.options.tell)(Told::Serving { not_after });
        }
    }
}

/// An error with its causes, in one line.
pub(crate) fn in_full(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line = format!("{line}: {error}");
        cause = error.source();
    }
    line
}

impl fmt::Debug for Acme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acme")
            .field("hosts", &self.0.options.hosts)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "service_tests.rs"]
mod tests;
