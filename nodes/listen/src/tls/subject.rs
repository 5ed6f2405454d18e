//! What is read of a certificate besides its signature.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::pki_types::{CertificateDer, UnixTime};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;
use x509_parser::time::ASN1Time;

/// A certificate, taken apart. Version 1 is read too: there are clients that accept it.
pub(super) struct Certificate<'a>(X509Certificate<'a>);

impl<'a> Certificate<'a> {
    /// None if it is not a certificate, and nothing else.
    pub(super) fn parse(der: &'a CertificateDer<'_>) -> Option<Self> {
        match X509Certificate::from_der(der) {
            Ok(([], parsed)) => Some(Self(parsed)),
            _other => None,
        }
    }

    /// The public key, as DER of a `SubjectPublicKeyInfo`.
    pub(super) fn public_key(&self) -> &[u8] {
        self.0.public_key().raw
    }

    pub(super) fn not_after(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds(self.0.validity().not_after))
    }

    pub(super) fn is_valid_at(&self, now: UnixTime) -> bool {
        let validity = self.0.validity();
        (seconds(validity.not_before)..=seconds(validity.not_after)).contains(&now.as_secs())
    }

    /// Whether it says nothing of what it is for, or clients among it (RFC 5280, section 4.2.1.12).
    pub(super) fn is_for_clients(&self) -> bool {
        match self.0.extended_key_usage() {
            Ok(None) => true,
            Ok(Some(usage)) => usage.value.client_auth || usage.value.any,
            Err(_malformed_or_twice) => false,
        }
    }

    /// The names that it is for, in lower case.
    pub(super) fn dns_names(&self) -> Vec<String> {
        let Ok(Some(names)) = self.0.subject_alternative_name() else {
            return Vec::new();
        };
        let names = names.value.general_names.iter();
        names
            .filter_map(|name| match name {
                GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
                _other => None,
            })
            .collect()
    }

    /// The common name, unless there is none, or several and no telling which is meant.
    pub(super) fn common_name(&self) -> Option<String> {
        let mut names = self.0.subject().iter_common_name();
        let name = names.next()?;
        if names.next().is_some() {
            return None;
        }
        name.as_str().ok().map(str::to_owned)
    }
}

/// Since 1970; what was before counts as 1970.
fn seconds(time: ASN1Time) -> u64 {
    u64::try_from(time.timestamp()).unwrap_or(0)
}
