//! TLS to nodes: whom the gateway believes, and what it shows. Both are read again when their files change.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// How the gateway proves nodes, and itself to them. Cheap to clone.
#[derive(Clone)]
pub struct ClientTls(Arc<Shared>);

struct Shared {
    files: Files,
    /// The name in every node's certificate, if they have one in common.
    name: Option<String>,
    /// What was in the files at the start, or changed since.
    mark: Mark,
    /// For connections from now on.
    current: RwLock<Arc<ClientConfig>>,
}

struct Files {
    ca: PathBuf,
    /// Chain and key.
    identity: Option<(PathBuf, PathBuf)>,
    /// What is spoken.
    alpn: &'static str,
}

/// What the files held, by its digest.
type Mark = [u8; 32];

/// Why TLS cannot be spoken with what was given.
#[derive(Debug, thiserror::Error)]
pub enum TlsFault {
    /// A file cannot be read, or is not PEM.
    #[error("{}: {why}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it. Nothing of its contents.
        why: String,
    },
    /// The TLS library refuses the combination.
    #[error("these files do not go together")]
    Refused(#[source] rustls::Error),
}

impl ClientTls {
    /// Reads the files: whom to believe, and chain and key of what to show. Blocks.
    pub fn load(
        ca: &Path,
        identity: Option<(&Path, &Path)>,
        name: Option<String>,
        alpn: &'static str,
    ) -> Result<Self, TlsFault> {
        let files = Files {
            ca: ca.to_owned(),
            identity: identity.map(|(chain, key)| (chain.to_owned(), key.to_owned())),
            alpn,
        };
        let mark = files.mark();
        let current = RwLock::new(Arc::new(files.read()?));
        Ok(Self(Arc::new(Shared {
            files,
            name,
            mark,
            current,
        })))
    }

    /// Reads the files again when they change. What cannot be used is told of once, and what was used before stays.
    pub async fn watch(self, every: Duration) -> Infallible {
        let mut seen = self.0.mark;
        loop {
            tokio::time::sleep(every).await;
            let shared = Arc::clone(&self.0);
            let looked = tokio::task::spawn_blocking(move || shared.look(seen)).await;
            seen = looked.unwrap_or(seen);
        }
    }

    pub(super) async fn connect<S>(&self, stream: S, server: &str) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let name = self.0.name.as_deref().unwrap_or(server);
        let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
        TlsConnector::from(self.0.current())
            .connect(name, stream)
            .await
    }
}

impl Shared {
    fn current(&self) -> Arc<ClientConfig> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&current)
    }

    /// Takes what is in the files unless it is what was seen there before.
    fn look(&self, before: Mark) -> Mark {
        let mark = self.files.mark();
        if mark != before {
            match self.files.read() {
                Ok(config) => {
                    let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
                    *current = Arc::new(config);
                    tracing::info!("gateway.upstreamtls: the files were read again");
                }
                Err(error) => {
                    tracing::error!(%error, "gateway.upstreamtls: what was read before stays");
                }
            }
        }
        mark
    }
}

impl Files {
    fn mark(&self) -> Mark {
        let identity = self.identity.iter().flat_map(|(chain, key)| [chain, key]);
        let mut digest = Sha256::new();
        for path in std::iter::once(&self.ca).chain(identity) {
            // One that is being replaced may not be there for a moment.
            let content = std::fs::read(path).unwrap_or_default();
            digest.update(Sha256::digest(content));
        }
        digest.finalize().into()
    }

    fn read(&self) -> Result<ClientConfig, TlsFault> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&self.ca)? {
            roots
                .add(certificate)
                .map_err(|error| fault(&self.ca, &error.to_string()))?;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(TlsFault::Refused)?
            .with_root_certificates(roots);
        let mut config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => {
                let own = PrivateKeyDer::from_pem_file(key)
                    .map_err(|_unreadable| fault(key, "holds no key that can be read"))?;
                builder
                    .with_client_auth_cert(certificates(chain)?, own)
                    .map_err(TlsFault::Refused)?
            }
        };
        config.alpn_protocols = vec![self.alpn.as_bytes().to_vec()];
        Ok(config)
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsFault> {
    let read = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| fault(path, &error.to_string()))?;
    if read.is_empty() {
        return Err(fault(path, "holds no certificate"));
    }
    Ok(read)
}

fn fault(path: &Path, why: &str) -> TlsFault {
    TlsFault::File {
        path: path.to_owned(),
        why: why.to_owned(),
    }
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTls")
            .field("name", &self.0.name)
            .finish_non_exhaustive()
    }
}
