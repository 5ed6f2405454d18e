//! TLS to nodes: whom the gateway believes, and what it shows.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// How the gateway proves nodes, and itself to them.
#[derive(Clone)]
pub struct ClientTls {
    config: Arc<ClientConfig>,
    /// The name in every node's certificate, if they have one in common.
    name: Option<String>,
}

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
    ) -> Result<Self, TlsFault> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates(ca)? {
            roots
                .add(certificate)
                .map_err(|error| fault(ca, &error.to_string()))?;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(TlsFault::Refused)?
            .with_root_certificates(roots);
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => {
                let own = PrivateKeyDer::from_pem_file(key)
                    .map_err(|_unreadable| fault(key, "holds no key that can be read"))?;
                builder
                    .with_client_auth_cert(certificates(chain)?, own)
                    .map_err(TlsFault::Refused)?
            }
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            config: Arc::new(config),
            name,
        })
    }

    pub(super) async fn connect<S>(&self, stream: S, server: &str) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let name = self.name.as_deref().unwrap_or(server);
        let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
        TlsConnector::from(Arc::clone(&self.config))
            .connect(name, stream)
            .await
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
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
