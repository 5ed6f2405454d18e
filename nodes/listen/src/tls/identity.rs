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
    /// That it is for, in lower case; `*` may be the first label.
    pub(super) names: Vec<String>,
}

/// The contents of two files, and where they are.
struct Pair<'a> {
    certificate: (&'a [u8], &'a Path),
    key: (&'a [u8], &'a Path),
}

impl Identity {
    /// The first, if it is there, and then those for other names.
    pub(super) fn all_of(
        files: &Files,
        options: &TlsOptions,
        provider: &CryptoProvider,
    ) -> Result<(Option<Self>, Vec<Self>), TlsError> {
        let own = files.own.as_ref().map(|(certificate, key)| {
            let pair = Pair {
                certificate: (certificate, &options.certificate),
                key: (key, &options.key),
            };
            Self::of(&pair, provider)
        });
        let more = files.more.iter().zip(&options.more);
        let more = more.map(|((certificate, key), (certificate_at, key_at))| {
            let pair = Pair {
                certificate: (certificate, certificate_at),
                key: (key, key_at),
            };
            Self::of(&pair, provider)
        });
        Ok((own.transpose()?, more.collect::<Result<_, _>>()?))
    }

    fn of(pair: &Pair<'_>, provider: &CryptoProvider) -> Result<Self, TlsError> {
        let chain = chain(pair.certificate.0, pair.certificate.1)?;
        let key = signing_key(pair.key.0, pair.key.1, provider)?;
        let own = key.public_key();
        let belongs = |der: &CertificateDer<'_>| {
            let parsed = Certificate::parse(der);
            parsed.is_some_and(|parsed| own.as_deref() == Some(parsed.public_key()))
        };
        let leaf = chain.first().and_then(Certificate::parse).ok_or_else(|| {
            malformed(
                "certificate",
                pair.certificate.1,
                "begins with something that is not an X.509 certificate",
            )
        })?;
        if !belongs(&chain[0]) {
            return Err(TlsError::Mismatch {
                key: pair.key.1.to_owned(),
                certificate: pair.certificate.1.to_owned(),
                misplaced: chain.iter().skip(1).any(belongs),
            });
        }
        let (not_after, names) = (leaf.not_after(), leaf.dns_names());
        Ok(Self {
            not_after,
            names,
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
