//! What is kept: all that another process needs to go on. It holds private keys, so nothing of it is ever printed.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use serde::{Deserialize, Serialize};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

/// Fields that a later version adds must have defaults, and this one does not mind them.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Document {
    /// Where the account and the order are.
    pub(crate) directory: String,
    /// As the library writes them.
    pub(crate) account: Option<serde_json::Value>,
    pub(crate) order: Option<Order>,
    pub(crate) challenges: Vec<Answer>,
    pub(crate) certificate: Option<Certificate>,
    /// Tries since the last success.
    pub(crate) tries: u32,
    /// No order is begun before this, in seconds since 1970.
    pub(crate) not_before: u64,
    /// Somebody is at it, or died over it.
    pub(crate) under_way: bool,
    /// Why the last try failed.
    pub(crate) failure: Option<String>,
}

#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) url: String,
    pub(crate) hosts: Vec<String>,
    /// Of the certificate to come, in PEM: made with the order, so that whoever goes on asks for the same.
    pub(crate) key: String,
}

/// What the authority is to find (RFC 8555, section 8.1). No secret: whoever asks is told.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Answer {
    pub(crate) host: String,
    pub(crate) token: String,
    pub(crate) authorization: String,
}

#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Certificate {
    /// In PEM, leaf first.
    pub(crate) chain: String,
    pub(crate) key: String,
    /// In seconds since 1970.
    pub(crate) not_before: u64,
    pub(crate) not_after: u64,
    pub(crate) renew_at: u64,
}

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unusable {
    #[error("it is no certificate with its key")]
    Malformed,
    #[error("its key is another")]
    Mismatch,
}

impl Certificate {
    /// Without `renew_at`, if chain and key belong together.
    pub(crate) fn of(chain: String, key: String) -> Result<Self, Unusable> {
        let ders: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain.as_bytes()).collect();
        let ders = ders.map_err(|_pem| Unusable::Malformed)?;
        let leaf = ders.first().ok_or(Unusable::Malformed)?;
        let (_, parsed) = X509Certificate::from_der(leaf).map_err(|_x509| Unusable::Malformed)?;
        let seconds = |time: i64| u64::try_from(time).unwrap_or_default();
        let not_before = seconds(parsed.validity().not_before.timestamp());
        let not_after = seconds(parsed.validity().not_after.timestamp());
        let der = PrivateKeyDer::from_pem_slice(key.as_bytes());
        let der = der.map_err(|_pem| Unusable::Malformed)?;
        CertifiedKey::from_der(ders, der, &aws_lc_rs::default_provider())
            .map_err(|_other_key| Unusable::Mismatch)?;
        Ok(Self {
            chain,
            key,
            not_before,
            not_after,
            renew_at: not_after,
        })
    }

    /// Whether it is for each of these.
    pub(crate) fn is_for(&self, hosts: &[String]) -> bool {
        let names = self.names().unwrap_or_default();
        hosts.iter().all(|host| names.contains(host))
    }

    fn names(&self) -> Option<BTreeSet<String>> {
        let leaf = CertificateDer::from_pem_slice(self.chain.as_bytes()).ok()?;
        let (_, parsed) = X509Certificate::from_der(&leaf).ok()?;
        let names = parsed.subject_alternative_name().ok()??;
        let names = names.value.general_names.iter();
        let dns = names.filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
            _ => None,
        });
        Some(dns.collect())
    }

    pub(crate) fn not_after(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(self.not_after)
    }
}

impl Document {
    /// What is kept of another authority's, or for other names, is of no use any more; the certificate is served until
    /// there is a new one.
    pub(crate) fn fit(&mut self, directory: &str, hosts: &[String]) {
        if self.directory != directory {
            directory.clone_into(&mut self.directory);
            self.account = None;
            self.order = None;
            self.challenges.clear();
            self.tries = 0;
            self.not_before = 0;
        }
        if self
            .order
            .as_ref()
            .is_some_and(|order| order.hosts != hosts)
        {
            self.order = None;
            self.challenges.clear();
        }
    }
}
