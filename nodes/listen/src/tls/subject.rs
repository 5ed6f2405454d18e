//! What is read of a certificate besides its signature.

use std::time::{Duration, SystemTime};

use rustls::pki_types::{CertificateDer, UnixTime};
use x509_cert::certificate::{CertificateInner, Raw};
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::der::{Decode as _, Encode as _};
use x509_cert::ext::pkix::ExtendedKeyUsage;

/// `id-at-commonName` (RFC 5280, appendix A.1).
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");

/// `id-kp-clientAuth` and `anyExtendedKeyUsage` (RFC 5280, section 4.2.1.12).
const CLIENT_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.2");
const ANY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37.0");

/// A certificate, taken apart. Version 1 and odd serial numbers are read too: there are clients that accept them.
pub(super) struct Certificate(CertificateInner<Raw>);

impl Certificate {
    /// None if it is not a certificate.
    pub(super) fn parse(der: &CertificateDer<'_>) -> Option<Self> {
        CertificateInner::from_der(der).ok().map(Self)
    }

    /// The public key, as DER of a `SubjectPublicKeyInfo`.
    pub(super) fn public_key(&self) -> Option<Vec<u8>> {
        let key = self.0.tbs_certificate().subject_public_key_info();
        key.to_der().ok()
    }

    pub(super) fn not_after(&self) -> SystemTime {
        self.0
            .tbs_certificate()
            .validity()
            .not_after
            .to_system_time()
    }

    pub(super) fn is_valid_at(&self, now: UnixTime) -> bool {
        let validity = self.0.tbs_certificate().validity();
        let now = Duration::from_secs(now.as_secs());
        validity.not_before.to_unix_duration() <= now
            && now <= validity.not_after.to_unix_duration()
    }

    /// Whether it says nothing of what it is for, or clients among it (RFC 5280, section 4.2.1.12).
    pub(super) fn is_for_clients(&self) -> bool {
        match self.0.tbs_certificate().get_extension::<ExtendedKeyUsage>() {
            Ok(None) => true,
            Ok(Some((_critical, usage))) => {
                usage.0.contains(&CLIENT_AUTH) || usage.0.contains(&ANY_USAGE)
            }
            Err(_malformed) => false,
        }
    }

    /// The common name, unless there is none, or several and no telling which is meant.
    pub(super) fn common_name(&self) -> Option<String> {
        let subject = self.0.tbs_certificate().subject();
        let names = subject.iter().filter(|part| part.oid == COMMON_NAME);
        if names.count() != 1 {
            return None;
        }
        let name = subject.common_name().ok()??;
        Some(name.value().into_owned())
    }
}
