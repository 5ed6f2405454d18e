//! Certificates of clients: which are asked for, which are believed.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme};

use super::files::Files;
use super::identity::{certificates, malformed};
use super::subject::Certificate;
use super::{TlsError, TlsOptions};

/// What is asked of clients, as `http.tls.clientauth` names it.
///
/// In every mode the client proves that it has the key of the certificate that it shows. Only the last two modes ask
/// who signed the certificate, when it is valid, and whether it is one for clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ClientAuth {
    /// `request-client-cert`: a certificate is asked for, and none is needed.
    Request,
    /// `require-any-client-cert`: some certificate is needed, by whomever it is signed.
    RequireAny,
    /// `verify-client-cert-if-given`: none is needed; one that is given must be good.
    VerifyIfGiven,
    /// `require-and-verify-client-cert`: a good one is needed.
    #[default]
    RequireAndVerify,
}

impl ClientAuth {
    fn verifies(self) -> bool {
        matches!(self, Self::VerifyIfGiven | Self::RequireAndVerify)
    }

    fn requires(self) -> bool {
        matches!(self, Self::RequireAny | Self::RequireAndVerify)
    }
}

/// The certificate that a client showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The subject's common name, if it has exactly one.
    pub common_name: Option<String>,
    /// Whether one of the client CAs signed it, or it is listed among them. If not, anybody can have made it, with any
    /// name.
    pub verified: bool,
}

impl ClientCertificate {
    pub(super) fn new(der: &CertificateDer<'_>, mode: ClientAuth) -> Self {
        Self {
            common_name: Certificate::parse(der).and_then(|parsed| parsed.common_name()),
            verified: mode.verifies(),
        }
    }
}

/// The verifier for the files' client CAs; none if there are none, and clients are not asked.
pub(super) fn verifier(
    files: &Files,
    options: &TlsOptions,
    provider: &Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, TlsError> {
    if files.client_cas.is_empty() {
        return Ok(None);
    }
    let (roots, listed) = roots(files)?;
    let roots = Arc::new(roots);
    let mode = options.client_auth;
    if !mode.verifies() {
        return Ok(Some(Arc::new(AnyCertificate {
            required: mode.requires(),
            hints: roots.subjects(),
            algorithms: provider.signature_verification_algorithms,
        })));
    }
    let builder = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(provider));
    let builder = if mode.requires() {
        builder
    } else {
        builder.allow_unauthenticated()
    };
    let chains = builder
        .build()
        .map_err(|error| TlsError::Refused(Error::General(error.to_string())))?;
    Ok(Some(Arc::new(ChainOrListed { chains, listed })))
}

/// All authorities of all files, and their certificates. As in Go, a file may hold some that cannot be used, but not only
/// such.
fn roots(files: &Files) -> Result<(RootCertStore, Vec<CertificateDer<'static>>), TlsError> {
    let mut roots = RootCertStore::empty();
    let mut all = Vec::new();
    for (path, pem) in &files.client_cas {
        let listed = certificates(pem)
            .map_err(|error| malformed("clientcas", path, &format!("is not PEM: {error}")))?;
        let (usable, unusable) = roots.add_parsable_certificates(listed.iter().cloned());
        all.extend(listed);
        if usable == 0 {
            let what = "holds no certificate of an authority";
            return Err(malformed("clientcas", path, what));
        }
        if unusable > 0 {
            tracing::warn!(
                clientcas = %path.display(), unusable, "certificates of authorities that cannot be used"
            );
        }
    }
    Ok((roots, all))
}

/// Takes every certificate whose key the client has.
#[derive(Debug)]
struct AnyCertificate {
    required: bool,
    /// The names of the client CAs, as Go sends them: they help a client that has several certificates to choose.
    hints: Vec<DistinguishedName>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertVerifier for AnyCertificate {
    fn client_auth_mandatory(&self) -> bool {
        self.required
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Takes certificates that an authority signed, and those that are listed among the authorities themselves, as Go does:
/// whoever makes a self-signed certificate for a client lists that, and openssl marks it as an authority's.
#[derive(Debug)]
struct ChainOrListed {
    chains: Arc<dyn ClientCertVerifier>,
    listed: Vec<CertificateDer<'static>>,
}

impl ClientCertVerifier for ChainOrListed {
    fn client_auth_mandatory(&self) -> bool {
        self.chains.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chains.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let by_chain = self
            .chains
            .verify_client_cert(end_entity, intermediates, now);
        by_chain.or_else(|refused| {
            let is_listed = self.listed.iter().any(|listed| listed == end_entity);
            let may = |parsed: Certificate<'_>| parsed.is_valid_at(now) && parsed.is_for_clients();
            if is_listed && Certificate::parse(end_entity).is_some_and(may) {
                Ok(ClientCertVerified::assertion())
            } else {
                Err(refused)
            }
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chains.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chains.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chains.supported_verify_schemes()
    }
}
