//! TLS over any stream: a certificate that may change while it is served.

mod accept;
mod clients;
mod error;
mod expiry;
mod files;
mod identity;
mod loaded;
mod named;
mod reload;
mod subject;
mod suites;
mod supplied;

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use tokio::sync::Mutex;

pub use accept::{AcceptError, PLAIN_HTTP_ANSWER, PlainHttp, TlsStream};
pub use clients::{ClientAuth, ClientCertificate};
pub use error::TlsError;
pub use suites::Minimum;
pub use supplied::{Supplied, Validation};

use loaded::Loaded;
use reload::Seen;

/// What TLS is served with.
#[derive(Debug, Clone, Default)]
pub struct TlsOptions {
    /// PEM: the certificate of the key first, then the intermediates, each signed by the next.
    pub certificate: PathBuf,
    /// PEM: a key of RSA, ECDSA or Ed25519, as PKCS#8, PKCS#1 or SEC1.
    pub key: PathBuf,
    /// PEM bundles of those who sign clients' certificates. With none, clients are not asked for certificates.
    pub client_cas: Vec<PathBuf>,
    /// What is asked of clients. Without `client_cas` it means nothing.
    pub client_auth: ClientAuth,
    /// The oldest version that is spoken.
    pub minimum: Minimum,
    /// Suites of TLS 1.2 by the names of Go's `crypto/tls`; all that are supported if there are none. As in Go the list
    /// does not govern TLS 1.3, whose suites are all sound and always offered; with [`Minimum::Tls13`] it is not even
    /// read. The order means nothing.
    pub cipher_suites: Vec<String>,
    /// Chains and keys for other names, as `certificate` and `key`: each is shown to clients that ask for one of its names.
    /// The first one above is for those who ask for no name, or for one that nobody has.
    pub more: Vec<(PathBuf, PathBuf)>,
    /// Whether HTTP/2 is offered by ALPN, beside HTTP/1.1.
    pub http2: bool,
    /// Who supplies certificate and key, instead of the two files; `certificate` is then only what the log calls it.
    pub supplied: Option<Supplied>,
}

/// A certificate being served. Clones are the same one.
#[derive(Clone)]
pub struct Tls(Arc<Inner>);

struct Inner {
    options: TlsOptions,
    /// What new connections are served with.
    served: RwLock<Arc<Loaded>>,
    /// Held for the whole of a look at the files and what comes of it: an older pair never replaces a newer one.
    seen: Mutex<Seen>,
}

impl Tls {
    /// Reads the files and checks that they belong together. It blocks for as long as reading takes.
    pub fn load(options: TlsOptions) -> Result<Self, TlsError> {
        let (seen, loaded) = Seen::first(&options)?;
        Ok(Self(Arc::new(Inner {
            options,
            served: RwLock::new(Arc::new(loaded)),
            seen: Mutex::new(seen),
        })))
    }

    /// When the certificate that is served expires; of several, the first that does. None while there is none.
    pub fn not_after(&self) -> Option<SystemTime> {
        self.served().not_after
    }

    /// Where its certificate is supplied, if it does not come from files.
    pub fn supplied(&self) -> Option<&Supplied> {
        self.0.options.supplied.as_ref()
    }

    fn served(&self) -> Arc<Loaded> {
        let served = self.0.served.read();
        Arc::clone(&served.unwrap_or_else(PoisonError::into_inner))
    }

    fn serve(&self, loaded: Loaded) {
        let mut served = self
            .0
            .served
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *served = Arc::new(loaded);
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tls").field(&self.0.options).finish()
    }
}
