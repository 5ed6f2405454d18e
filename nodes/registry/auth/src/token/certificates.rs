//! The bundle of trusted certificates (`rootcertbundle`), and chains that lead to it.

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{
    AlgorithmParameters, CommonParameters, EllipticCurve, EllipticCurveKeyParameters, Jwk,
    OctetKeyPairParameters, RSAKeyParameters,
};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use sha2::{Digest as _, Sha256};
use webpki::{EndEntityCert, ExtendedKeyUsageValidator, KeyPurposeIdIter};
use x509_parser::certificate::X509Certificate;
use x509_parser::oid_registry::{OID_EC_P256, OID_NIST_EC_P384, OID_NIST_EC_P521, OID_SIG_ED25519};
use x509_parser::prelude::FromDer as _;
use x509_parser::public_key::PublicKey;

use super::key::{Key, KeySet, Unusable, thumbprint};

/// Why a bundle cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BundleMistake {
    #[error("it is not PEM")]
    NotPem,
    #[error("it has no certificate")]
    Empty,
    #[error("certificate {0} is malformed")]
    Malformed(usize),
    #[error("certificate {0}: its key cannot be used: {1}")]
    Key(usize, Unusable),
}

/// Certificates that are trusted, and everything below them.
#[derive(Debug)]
pub(crate) struct Bundle {
    certificates: Vec<Trusted>,
    /// The keys of these certificates, by their thumbprints and by the names that older token servers use.
    pub(crate) keys: KeySet,
}

#[derive(Debug)]
struct Trusted {
    der: CertificateDer<'static>,
    anchor: TrustAnchor<'static>,
    valid: Validity,
    key: Key,
}

/// Seconds since 1970, both ends included.
#[derive(Debug, Clone, Copy)]
struct Validity {
    from: i64,
    to: i64,
}

impl Bundle {
    pub(crate) fn parse(content: &[u8]) -> Result<Self, BundleMistake> {
        let mut certificates = Vec::new();
        let mut keys = KeySet::default();
        for (number, der) in (1..).zip(CertificateDer::pem_slice_iter(content)) {
            let der = der.map_err(|_other| BundleMistake::NotPem)?;
            let (trusted, names) = Trusted::parse(&der, number)?;
            for name in names {
                keys.insert(name, trusted.key.clone());
            }
            certificates.push(trusted);
        }
        if certificates.is_empty() {
            return Err(BundleMistake::Empty);
        }
        Ok(Self { certificates, keys })
    }

    /// The key of a chain's first certificate, if the chain leads to the bundle today.
    pub(crate) fn key_of(&self, chain: &[Vec<u8>], now: SystemTime) -> Result<Key, &'static str> {
        let since = now.duration_since(SystemTime::UNIX_EPOCH);
        let now = since.map_err(|_before| "the clock stands before 1970")?;
        let (leaf, others) = chain.split_first().ok_or("the chain is empty")?;
        let valid = || {
            self.certificates
                .iter()
                .filter(|trusted| trusted.valid.holds(now))
        };
        // A certificate of the bundle itself, which is mostly self-signed and calls itself an authority: path validation
        // would not have it for a leaf.
        if let Some(same) = valid().find(|trusted| trusted.der.as_ref() == leaf.as_slice()) {
            return Ok(same.key.clone());
        }
        let leaf = CertificateDer::from(leaf.as_slice());
        let others: Vec<_> = others
            .iter()
            .map(|der| CertificateDer::from(der.as_slice()))
            .collect();
        let anchors: Vec<_> = valid().map(|trusted| trusted.anchor.clone()).collect();
        let end = EndEntityCert::try_from(&leaf).map_err(|_other| "the leaf is malformed")?;
        end.verify_for_usage(
            webpki::ALL_VERIFICATION_ALGS,
            &anchors,
            &others,
            UnixTime::since_unix_epoch(now),
            AnyUsage,
            None,
            None,
        )
        .map_err(|_reason| "the chain does not lead to the bundle, or is not valid now")?;
        let (_, parsed) =
            X509Certificate::from_der(&leaf).map_err(|_other| "the leaf is malformed")?;
        key_of(&parsed)
            .map(|(key, _)| key)
            .map_err(|_unusable| "the leaf's key cannot be used")
    }
}

impl Trusted {
    fn parse(
        der: &CertificateDer<'static>,
        number: usize,
    ) -> Result<(Self, Vec<String>), BundleMistake> {
        let malformed = || BundleMistake::Malformed(number);
        let anchor = webpki::anchor_from_trusted_cert(der).map_err(|_other| malformed())?;
        let (_, parsed) = X509Certificate::from_der(der).map_err(|_other| malformed())?;
        let (key, jwk) = key_of(&parsed).map_err(|reason| BundleMistake::Key(number, reason))?;
        let mut names = vec![libtrust_id(parsed.public_key().raw)];
        names.extend(thumbprint(&jwk));
        let valid = Validity {
            from: parsed.validity().not_before.timestamp(),
            to: parsed.validity().not_after.timestamp(),
        };
        let anchor = anchor.to_owned();
        let trusted = Self {
            der: der.clone(),
            anchor,
            valid,
            key,
        };
        Ok((trusted, names))
    }
}

impl Validity {
    fn holds(self, now: Duration) -> bool {
        i64::try_from(now.as_secs()).is_ok_and(|now| (self.from..=self.to).contains(&now))
    }
}

/// Certificates for tokens have no extended usage of their own; the reference accepts any too.
struct AnyUsage;

impl ExtendedKeyUsageValidator for AnyUsage {
    fn validate(&self, usages: KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        for usage in usages {
            usage?;
        }
        Ok(())
    }
}

/// A certificate's key, and the same as a JWK.
fn key_of(certificate: &X509Certificate<'_>) -> Result<(Key, Jwk), Unusable> {
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let info = certificate.public_key();
    let algorithm = match info.parsed() {
        Ok(PublicKey::RSA(rsa)) => AlgorithmParameters::RSA(RSAKeyParameters {
            n: encode(without_zeros(rsa.modulus)),
            e: encode(without_zeros(rsa.exponent)),
            ..RSAKeyParameters::default()
        }),
        Ok(PublicKey::EC(point)) => {
            let curve = info
                .algorithm
                .parameters
                .as_ref()
                .and_then(|any| any.as_oid().ok());
            let (curve, size) = match curve {
                Some(oid) if oid == OID_EC_P256 => (EllipticCurve::P256, 32),
                Some(oid) if oid == OID_NIST_EC_P384 => (EllipticCurve::P384, 48),
                Some(oid) if oid == OID_NIST_EC_P521 => (EllipticCurve::P521, 66),
                _ => return Err(Unusable::Kind),
            };
            let point = uncompressed(point.data()).ok_or(Unusable::Malformed)?;
            let (x, y) = point.split_at_checked(size).ok_or(Unusable::Malformed)?;
            AlgorithmParameters::EllipticCurve(EllipticCurveKeyParameters {
                curve,
                x: encode(x),
                y: encode(y),
                ..EllipticCurveKeyParameters::default()
            })
        }
        _ if info.algorithm.algorithm == OID_SIG_ED25519 => {
            AlgorithmParameters::OctetKeyPair(OctetKeyPairParameters {
                curve: EllipticCurve::Ed25519,
                x: encode(&info.subject_public_key.data),
                ..OctetKeyPairParameters::default()
            })
        }
        _ => return Err(Unusable::Kind),
    };
    let common = CommonParameters::default();
    let jwk = Jwk { common, algorithm };
    Ok((Key::from_jwk(&jwk, None)?, jwk))
}

fn without_zeros(bytes: &[u8]) -> &[u8] {
    let zeros = bytes.iter().take_while(|b| **b == 0).count();
    bytes.get(zeros..).unwrap_or_default()
}

/// The coordinates of a point (SEC 1 section 2.3.3).
fn uncompressed(point: &[u8]) -> Option<&[u8]> {
    point.strip_prefix(&[4])
}

/// How `registry:2` calls a key, and token servers that were written for it: the first 240 bits of the key's SHA-256 in
/// base 32, in groups of four.
fn libtrust_id(public_key_info: &[u8]) -> String {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let digest = Sha256::digest(public_key_info);
    let mut id = String::new();
    // Five bytes are eight letters.
    for (at, five) in digest.chunks_exact(5).enumerate() {
        let bits = five
            .iter()
            .fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
        for letter in 0..8 {
            if letter % 4 == 0 && (at, letter) != (0, 0) {
                id.push(':');
            }
            let index = bits >> (35 - 5 * letter) & 31;
            id.extend(
                usize::try_from(index)
                    .ok()
                    .and_then(|i| ALPHABET.get(i))
                    .map(|b| char::from(*b)),
            );
        }
    }
    id
}

#[cfg(test)]
#[path = "certificates_tests.rs"]
mod tests;
