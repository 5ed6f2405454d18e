//! Whom an authority's own certificate is to be signed by.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

/// Why nobody can be trusted.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    #[error("directoryca: cannot read {}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("directoryca: {} holds no certificate in PEM", path.display())]
    Empty { path: PathBuf },
    #[error(
        "no certificates of authorities are found on this machine (install ca-certificates, or set SSL_CERT_FILE)"
    )]
    NoRoots,
    #[error("TLS")]
    Tls(#[from] rustls::Error),
}

/// Those of a file, else those of the machine. Blocks.
pub(crate) fn trusting(authorities: Option<&Path>) -> Result<ClientConfig, TrustError> {
    let mut roots = RootCertStore::empty();
    let found = match authorities {
        None => rustls_native_certs::load_native_certs().certs,
        Some(path) => {
            let pem = std::fs::read(path).map_err(|source| TrustError::Unreadable {
                path: path.to_owned(),
                source,
            })?;
            let certificates = CertificateDer::pem_slice_iter(&pem);
            certificates.filter_map(Result::ok).collect()
        }
    };
    let (added, _unusable) = roots.add_parsable_certificates(found);
    match authorities {
        Some(path) if added == 0 => {
            let path = path.to_owned();
            return Err(TrustError::Empty { path });
        }
        None if added == 0 => return Err(TrustError::NoRoots),
        _ => {}
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth())
}
