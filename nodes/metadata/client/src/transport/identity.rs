//! What a process proves itself with: a key made from the cluster's secret, or the operator's own certificates.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use aws_lc_rs::signature::Ed25519KeyPair;
use rcgen::{CertificateParams, KeyPair, PublicKeyData as _};
use rustls::crypto::{CryptoProvider, aws_lc_rs as provider};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};

use super::verify::OneKey;

/// Bytes of a secret at least. Whoever reaches a port sees a public key made from it, and can try short ones out at home.
pub const SHORTEST_SECRET: usize = 16;

/// Versioned, so that another use of the secret never makes the same key.
const SALT: &[u8] = b"roadstead cluster";
const PURPOSE: &[u8] = b"transport key, version 1";

/// The name in certificates that are made from the secret; only the key counts.
const NAME: &str = "cluster.roadstead.invalid";

/// The operator's certificate, its key, and the authority that signed everybody's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    pub certificate: PathBuf,
    pub key: PathBuf,
    pub ca: PathBuf,
}

#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    #[error("the cluster's secret has fewer than {SHORTEST_SECRET} bytes")]
    ShortSecret,
    #[error("a key cannot be made from the cluster's secret")]
    Derivation,
    #[error("a certificate cannot be made from the cluster's secret: {0}")]
    Certificate(#[from] rcgen::Error),
    #[error(transparent)]
    Tls(#[from] rustls::Error),
    #[error("{}: {source}", path.display())]
    File {
        path: PathBuf,
        source: rustls_pki_types::pem::Error,
    },
    #[error("{}: {reason}", path.display())]
    Authority { path: PathBuf, reason: String },
}

/// Both ends of mutual TLS for one process.
#[derive(Clone)]
pub struct Identity {
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
    /// Whether certificates are for names, as an operator's are.
    names_count: bool,
}

impl Identity {
    /// All who have the secret are one party; nobody else gets past the handshake.
    pub fn from_secret(secret: &[u8]) -> Result<Self, IdentityError> {
        if secret.len() < SHORTEST_SECRET {
            return Err(IdentityError::ShortSecret);
        }
        let pair = key_pair(secret)?;
        let chain = vec![certificate(&pair)?];
        let key = || PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pair.serialize_der()));
        let crypto = Arc::new(provider::default_provider());
        let one_key = OneKey::new(pair.subject_public_key_info(), Arc::clone(&crypto));
        let one_key = Arc::new(one_key);
        let of_clients: Arc<dyn ClientCertVerifier> = Arc::<OneKey>::clone(&one_key);
        let server = server(&crypto)?
            .with_client_cert_verifier(of_clients)
            .with_single_cert(chain.clone(), key())?;
        let client = ClientConfig::builder_with_provider(crypto)
            .with_protocol_versions(&[&TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(one_key)
            .with_client_auth_cert(chain, key())?;
        Ok(Self::of(server, client, false))
    }

    /// The operator's own: every process has a certificate of one authority, for the name that it is reached by.
    pub fn from_files(files: &Files) -> Result<Self, IdentityError> {
        let chain = certificates(&files.certificate)?;
        let key = || {
            PrivateKeyDer::from_pem_file(&files.key).map_err(|source| IdentityError::File {
                path: files.key.clone(),
                source,
            })
        };
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&files.ca)? {
            roots.add(certificate)?;
        }
        let roots = Arc::new(roots);
        let crypto = Arc::new(provider::default_provider());
        let clients =
            WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&crypto))
                .build()
                .map_err(|error| IdentityError::Authority {
                    path: files.ca.clone(),
                    reason: error.to_string(),
                })?;
        let server = server(&crypto)?
            .with_client_cert_verifier(clients)
            .with_single_cert(chain.clone(), key()?)?;
        let client = ClientConfig::builder_with_provider(crypto)
            .with_protocol_versions(&[&TLS13])?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key()?)?;
        Ok(Self::of(server, client, true))
    }

    fn of(mut server: ServerConfig, mut client: ClientConfig, names_count: bool) -> Self {
        server.alpn_protocols = vec![b"h2".to_vec()];
        client.alpn_protocols = vec![b"h2".to_vec()];
        Self {
            server: Arc::new(server),
            client: Arc::new(client),
            names_count,
        }
    }

    pub(super) fn server(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.server)
    }

    pub(super) fn client(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.client)
    }

    /// The name that the other end's certificate must be for.
    pub(super) fn name_of(&self, host: &str) -> Option<ServerName<'static>> {
        let name = if self.names_count { host } else { NAME };
        ServerName::try_from(name.to_owned()).ok()
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity")
    }
}

fn certificate(pair: &KeyPair) -> Result<CertificateDer<'static>, IdentityError> {
    let params = CertificateParams::new(vec![NAME.to_owned()])?;
    Ok(params.self_signed(pair)?.der().clone())
}

fn server(
    crypto: &Arc<CryptoProvider>,
) -> Result<rustls::ConfigBuilder<ServerConfig, rustls::WantsVerifier>, rustls::Error> {
    ServerConfig::builder_with_provider(Arc::clone(crypto)).with_protocol_versions(&[&TLS13])
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    let failed = |source| IdentityError::File {
        path: path.to_owned(),
        source,
    };
    let read = CertificateDer::pem_file_iter(path).map_err(failed)?;
    let chain: Vec<_> = read.collect::<Result<_, _>>().map_err(failed)?;
    if chain.is_empty() {
        return Err(failed(rustls_pki_types::pem::Error::NoItemsFound));
    }
    Ok(chain)
}

/// An Ed25519 key of which the secret, stretched by HKDF-SHA256, is the seed.
fn key_pair(secret: &[u8]) -> Result<KeyPair, IdentityError> {
    let unspecified = |_unspecified| IdentityError::Derivation;
    let mut seed = [0; 32];
    Salt::new(HKDF_SHA256, SALT)
        .extract(secret)
        .expand(&[PURPOSE], Seed)
        .and_then(|derived| derived.fill(&mut seed))
        .map_err(unspecified)?;
    let pair = Ed25519KeyPair::from_seed_unchecked(&seed)
        .map_err(|_rejected| IdentityError::Derivation)?;
    let document = pair.to_pkcs8v1().map_err(unspecified)?;
    let der = PrivatePkcs8KeyDer::from(document.as_ref().to_vec());
    Ok(KeyPair::try_from(&der)?)
}

/// As long as an Ed25519 seed.
struct Seed;

impl KeyType for Seed {
    fn len(&self) -> usize {
        32
    }
}

#[cfg(test)]
impl Identity {
    /// It knows whom to believe, and has nothing to show.
    pub(super) fn without_client_certificate(mut self) -> Self {
        let mut client = ClientConfig::clone(&self.client);
        client.client_auth_cert_resolver = Arc::new(Nothing);
        self.client = Arc::new(client);
        self
    }

    /// The certificate of one secret with the key of another.
    pub(super) fn with_stolen_certificate(of: &[u8], mine: &[u8]) -> Self {
        let (owner, thief) = (key_pair(of).unwrap(), key_pair(mine).unwrap());
        let mut identity = Self::from_secret(of).unwrap();
        let mut client = ClientConfig::clone(&identity.client);
        let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(thief.serialize_der()));
        let key =
            provider::sign::any_eddsa_type(&PrivatePkcs8KeyDer::from(der.secret_der().to_vec()));
        let certified =
            rustls::sign::CertifiedKey::new(vec![certificate(&owner).unwrap()], key.unwrap());
        client.client_auth_cert_resolver =
            Arc::new(rustls::sign::SingleCertAndKey::from(certified));
        identity.client = Arc::new(client);
        identity
    }
}

/// Has no certificate.
#[cfg(test)]
#[derive(Debug)]
struct Nothing;

#[cfg(test)]
impl rustls::client::ResolvesClientCert for Nothing {
    fn resolve(
        &self,
        _hints: &[&[u8]],
        _schemes: &[rustls::SignatureScheme],
    ) -> Option<Arc<rustls::sign::CertifiedKey>> {
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}
