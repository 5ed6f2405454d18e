//! A certificate chain and the key that belongs to it.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{Error as PemError, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SigningKey};

use super::files::Files;
use super::subject::Certificate;
use super::{TlsError, TlsOptions};

/// How to make a key that can be used of one that cannot.
const ENCRYPTED: &str = "is encrypted, and nobody is there to type its passphrase: `openssl pkey -in KEY -out PLAIN` removes it";

/// What a server shows.
pub(super) struct Identity {
    pub(super) certified: CertifiedKey,
    pub(super) not_after: SystemTime,
}

impl Identity {
    pub(super) fn of(
        files: &Files,
        options: &TlsOptions,
        provider: &CryptoProvider,
    ) -> Result<Self, TlsError> {
        let chain = chain(&files.certificate, &options.certificate)?;
        let key = signing_key(&files.key, &options.key, provider)?;
        let own = key.public_key();
        let belongs = |der: &CertificateDer<'_>| {
            let parsed = Certificate::parse(der);
            parsed.is_some_and(|parsed| own.as_deref() == Some(parsed.public_key()))
        };
        let leaf = chain.first().and_then(Certificate::parse).ok_or_else(|| {
            malformed(
                "certificate",
                &options.certificate,
                "begins with something that is not an X.509 certificate",
            )
        })?;
        if !belongs(&chain[0]) {
            return Err(TlsError::Mismatch {
                key: options.key.clone(),
                certificate: options.certificate.clone(),
                misplaced: chain.iter().skip(1).any(belongs),
            });
        }
        let not_after = leaf.not_after();
        Ok(Self {
            not_after,
            certified: CertifiedKey::new(chain, key),
        })
    }
}

fn chain(pem: &[u8], path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let chain = certificates(pem)
        .map_err(|error| malformed("certificate", path, &format!("is not PEM: {error}")))?;
    if chain.is_empty() {
        return Err(malformed("certificate", path, "holds no certificate"));
    }
    Ok(chain)
}

/// All certificates of a PEM file, in their order.
pub(super) fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, PemError> {
    CertificateDer::pem_slice_iter(pem).collect()
}

/// Nothing of the file's contents reaches the error.
fn signing_key(
    pem: &[u8],
    path: &Path,
    provider: &CryptoProvider,
) -> Result<Arc<dyn SigningKey>, TlsError> {
    let refuse = |what: &str| malformed("key", path, what);
    let encrypted = pem
        .windows(b"ENCRYPTED".len())
        .any(|text| text == b"ENCRYPTED");
    let key = PrivateKeyDer::from_pem_slice(pem).map_err(|error| match error {
        _any if encrypted => refuse(ENCRYPTED),
        PemError::NoItemsFound => refuse("holds no private key"),
        _other => refuse("is not PEM"),
    })?;
    provider
        .key_provider
        .load_private_key(key)
        .map_err(|_unusable| {
            refuse("holds a key that cannot be used: RSA of 2048 to 8192 bits, ECDSA (P-256, P-384, P-521) and Ed25519 can")
        })
}

pub(super) fn malformed(setting: &'static str, path: &Path, what: &str) -> TlsError {
    TlsError::Malformed {
        setting,
        path: path.to_owned(),
        what: what.to_owned(),
    }
}
