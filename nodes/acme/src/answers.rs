//! What authorities are answered that look for challenges.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use aws_lc_rs::digest::{SHA256, digest};
use rcgen::{CertificateParams, CustomExtension, KeyPair};
use roadstead_listen::Validation;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::document::Answer;

/// What HTTP-01 is answered with. Cheap to clone.
#[derive(Clone, Default)]
pub struct Answers(Arc<RwLock<HashMap<String, String>>>);

impl Answers {
    /// The content of `/.well-known/acme-challenge/TOKEN`.
    pub fn get(&self, token: &str) -> Option<String> {
        let answers = self.0.read().unwrap_or_else(PoisonError::into_inner);
        answers.get(token).cloned()
    }

    /// These from now on, and none of those before.
    pub(crate) fn set(&self, all: &[Answer]) {
        let answers = all.iter().map(|answer| {
            let Answer {
                host: _,
                token,
                authorization,
            } = answer.clone();
            (token, authorization)
        });
        let mut held = self.0.write().unwrap_or_else(PoisonError::into_inner);
        *held = answers.collect();
    }
}

impl fmt::Debug for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answers").finish_non_exhaustive()
    }
}

/// What TLS-ALPN-01 is answered with: a certificate for the name that signs itself, with the authorization's digest
/// (RFC 8737, section 3). Its key is nobody's afterwards.
pub(crate) fn validation(answer: &Answer) -> Result<Validation, rcgen::Error> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(vec![answer.host.clone()])?;
    let proof = digest(&SHA256, answer.authorization.as_bytes());
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(proof.as_ref())];
    let certificate = params.self_signed(&key)?;
    let der = PrivatePkcs8KeyDer::from(key.serialize_der());
    Ok(Validation {
        host: answer.host.clone(),
        certificate: certificate.der().clone(),
        key: PrivateKeyDer::Pkcs8(der),
    })
}
