//! Certificates by ACME (RFC 8555): ordered by one process, proved and shown by all of them.
//!
//! ```text
//!            ┌───────────── keep: a file, or the metadata service ─────────────┐
//!            │  document: account, order, challenges, certificate, next try    │
//!            └──────▲──────────────────────────────────────────────────┬───────┘
//!    write, fenced  │                                                   │ look, every few seconds
//!    by the term    │                                                   ▼
//!   the one who holds the right: order             every process: adopt (answer challenges, serve the certificate)
//! ```
//! What is done is in the document before it is done at the authority: whoever comes next goes on from there. DESIGN.md has
//! the reasons.

mod answers;
mod client;
mod document;
mod keep;
mod order;
mod renewal;
mod service;
mod suggestion;
mod trust;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use instant_acme::ExternalAccountKey;
use roadstead_metadata::Metadata;

pub use answers::Answers;
pub use keep::{KeepError, Unreadable};
pub use service::Acme;
pub use trust::TrustError;

/// Tells the time.
pub type Clock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// Is told what happened.
pub type Tell = Arc<dyn Fn(Told) + Send + Sync>;

/// What is ordered, and where it is kept.
#[derive(Clone)]
pub struct Options {
    /// What all of this is set by, for messages: `http.tls.letsencrypt`.
    pub setting: &'static str,
    /// In lower case, in order, each once.
    pub hosts: Vec<String>,
    pub email: Option<String>,
    pub directory_url: String,
    /// Who signs the authority's own certificate, in PEM; else whom this machine trusts.
    pub directory_ca: Option<PathBuf>,
    /// What the authority wants an account to be bound to.
    pub external_account: Option<ExternalAccount>,
    pub challenge: Challenge,
    pub home: Home,
    pub clock: Clock,
    pub tell: Tell,
}

/// A customer's account at the authority (RFC 8555, section 7.3.4).
#[derive(Clone)]
pub struct ExternalAccount {
    pub key_id: String,
    /// In base64url.
    pub key: String,
}

/// How it is proved that a name leads here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Challenge {
    TlsAlpn01,
    Http01,
}

/// Where account and certificate are kept.
#[derive(Clone)]
pub enum Home {
    /// A file, or a directory. Several processes may share it.
    Path(PathBuf),
    /// The metadata service of a cluster, where it is encrypted with a key that is made of this secret.
    Cluster {
        metadata: Arc<dyn Metadata>,
        secret: Vec<u8>,
    },
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// A certificate is served that is good until then.
    Serving { not_after: SystemTime },
    /// This process has had one issued.
    Issued,
    /// This process tried, and failed.
    Failed,
}

impl ExternalAccount {
    /// What signs with it.
    pub(crate) fn key(&self) -> Result<ExternalAccountKey, AcmeError> {
        let key = URL_SAFE_NO_PAD.decode(self.key.trim_end_matches('='));
        let key = key.map_err(|_encoding| AcmeError::ExternalKey)?;
        Ok(ExternalAccountKey::new(self.key_id.clone(), &key))
    }
}

impl fmt::Debug for ExternalAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExternalAccount")
            .field("key_id", &self.key_id)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("setting", &self.setting)
            .field("hosts", &self.hosts)
            .field("home", &self.home)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Home {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => f.debug_tuple("Path").field(path).finish(),
            Self::Cluster { .. } => f.debug_struct("Cluster").finish_non_exhaustive(),
        }
    }
}

/// Why certificates cannot be looked after at all. That the authority does not answer is no such reason.
#[derive(Debug, thiserror::Error)]
pub enum AcmeError {
    #[error(transparent)]
    Keep(#[from] KeepError),
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// Nothing of it is shown.
    #[error("eab.key: it is not base64url")]
    ExternalKey,
}
