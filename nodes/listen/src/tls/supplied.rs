//! A certificate that comes from elsewhere than files, and what a certification authority is shown by which names lead
//! here before it signs one (TLS-ALPN-01, RFC 8737).

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::ClientHello;
use rustls::sign::{CertifiedKey, SingleCertAndKey};

/// The protocol of a validation: nothing is said after the handshake.
pub(super) const ACME: &[u8] = b"acme-tls/1";

/// Where certificates are put for [`TlsOptions::supplied`](super::TlsOptions::supplied). Clones are the same one.
#[derive(Clone, Default)]
pub struct Supplied(Arc<Mutex<Given>>);

#[derive(Default)]
struct Given {
    /// Chain and key in PEM.
    pair: Option<(Vec<u8>, Vec<u8>)>,
    validations: HashMap<String, Arc<ServerConfig>>,
}

/// What proves that a name leads here.
pub struct Validation {
    /// In lower case.
    pub host: String,
    /// Signed by itself, with the proof in it.
    pub certificate: CertificateDer<'static>,
    pub key: PrivateKeyDer<'static>,
}

impl Supplied {
    /// Gives chain and key, in PEM. New connections are served with them after [`Tls::reload_now`](super::Tls::reload_now).
    pub fn give(&self, chain: &[u8], key: &[u8]) {
        self.given().pair = Some((chain.to_vec(), key.to_vec()));
    }

    /// Shows these to authorities from now on, and none of those before.
    pub fn show(&self, validations: Vec<Validation>) -> Result<(), rustls::Error> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let configured = validations.into_iter().map(|validation| {
            let host = validation.host.clone();
            Ok((host, Arc::new(config(validation, &provider)?)))
        });
        let configured = configured.collect::<Result<_, rustls::Error>>()?;
        self.given().validations = configured;
        Ok(())
    }

    pub(super) fn pair(&self) -> Option<(Vec<u8>, Vec<u8>)> {
        self.given().pair.clone()
    }

    /// None for anybody but an authority that has something to look for here. An authority offers its protocol alone.
    pub(super) fn validation(&self, hello: &ClientHello<'_>) -> Option<Arc<ServerConfig>> {
        let mut offered = hello.alpn()?;
        if offered.next() != Some(ACME) || offered.next().is_some() {
            return None;
        }
        let host = hello.server_name()?.to_ascii_lowercase();
        self.given().validations.get(&host).map(Arc::clone)
    }

    fn given(&self) -> MutexGuard<'_, Given> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Clients' certificates are not asked for: an authority has none.
fn config(
    validation: Validation,
    provider: &Arc<CryptoProvider>,
) -> Result<ServerConfig, rustls::Error> {
    let Validation {
        host: _,
        certificate,
        key,
    } = validation;
    // The certificate is not parsed: its one critical extension is known to authorities alone.
    let key = provider.key_provider.load_private_key(key)?;
    let shown = SingleCertAndKey::from(CertifiedKey::new(vec![certificate], key));
    let mut config = ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(shown));
    config.alpn_protocols = vec![ACME.to_vec()];
    Ok(config)
}

impl fmt::Debug for Supplied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let given = self.given();
        f.debug_struct("Supplied")
            .field("has_certificate", &given.pair.is_some())
            .field("validations", &given.validations.len())
            .finish()
    }
}

impl fmt::Debug for Validation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Validation")
            .field("host", &self.host)
            .finish_non_exhaustive()
    }
}
