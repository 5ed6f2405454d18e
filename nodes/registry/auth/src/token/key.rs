//! Trusted keys: what each may verify, and how it is called.

use std::collections::HashMap;
use std::fmt;

use aws_lc_rs::signature::{ECDSA_P521_SHA512_FIXED, ParsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::{
    AlgorithmParameters, EllipticCurve, EllipticCurveKeyParameters, Jwk, KeyOperations,
    PublicKeyUse, ThumbprintHash,
};

use super::algorithm::Algorithm;
use super::header::Compact;

/// Bytes of an RSA modulus: the library verifies with no smaller ones, and larger ones cost too much.
const RSA_BYTES: std::ops::RangeInclusive<usize> = 256..=1024;

/// A key that is trusted, with the algorithms that it was made for. Which one is used is never the token's choice alone:
/// a public key is no secret for HMAC.
#[derive(Clone)]
pub(crate) struct Key {
    kind: Kind,
    /// If the key says so itself.
    only: Option<Algorithm>,
    verifying: Verifying,
}

#[derive(Clone)]
enum Verifying {
    Library(DecodingKey),
    /// The JWT library has no P-521.
    P521(ParsedPublicKey),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Rsa,
    P256,
    P384,
    P521,
    Ed25519,
    Symmetric { bytes: usize },
}

/// Why a key cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unusable {
    #[error("its type or curve is not supported")]
    Kind,
    #[error("it is not for verifying signatures")]
    Purpose,
    #[error("its algorithm is not supported")]
    Algorithm,
    #[error("it is malformed")]
    Malformed,
    #[error("an RSA key must have 2048 to 8192 bits")]
    RsaSize,
    #[error("a symmetric key must have 256 bits at least")]
    SymmetricSize,
}

impl Key {
    /// `only` is the key's `alg`: the library reads one that it does not know as no name at all.
    pub(crate) fn from_jwk(jwk: &Jwk, only: Option<&str>) -> Result<Self, Unusable> {
        let operations = jwk.common.key_operations.as_ref();
        let verifies = operations.is_none_or(|all| all.contains(&KeyOperations::Verify));
        let purpose = jwk.common.public_key_use.as_ref();
        let signs = purpose.is_none_or(|purpose| *purpose == PublicKeyUse::Signature);
        if !verifies || !signs {
            return Err(Unusable::Purpose);
        }
        let only = only.map(str::parse).transpose();
        let key = Self {
            kind: kind_of(&jwk.algorithm)?,
            only: only.map_err(|_unknown| Unusable::Algorithm)?,
            verifying: Verifying::of(jwk)?,
        };
        match key.only {
            Some(only) if !key.kind.is_for(only) => Err(Unusable::Algorithm),
            _ => Ok(key),
        }
    }

    pub(crate) fn is_for(&self, algorithm: Algorithm) -> bool {
        self.only.is_none_or(|only| only == algorithm) && self.kind.is_for(algorithm)
    }

    /// Whether this key signed, with this algorithm.
    pub(crate) fn verify(&self, token: &Compact<'_>, algorithm: Algorithm) -> bool {
        self.is_for(algorithm) && self.verifying.verify(token, algorithm)
    }
}

impl Verifying {
    fn of(jwk: &Jwk) -> Result<Self, Unusable> {
        match &jwk.algorithm {
            AlgorithmParameters::EllipticCurve(point) if point.curve == EllipticCurve::P521 => {
                p521(point).map(Self::P521)
            }
            _ => DecodingKey::from_jwk(jwk)
                .map(Self::Library)
                .map_err(|_broken| Unusable::Malformed),
        }
    }

    fn verify(&self, token: &Compact<'_>, algorithm: Algorithm) -> bool {
        let message = token.signed.as_bytes();
        match (self, algorithm.of_library()) {
            (Self::Library(key), Some(algorithm)) => {
                jsonwebtoken::crypto::verify(token.signature, message, key, algorithm)
                    .unwrap_or(false)
            }
            // Two numbers of 66 bytes, as RFC 7518 section 3.4 has them: the crypto library takes no other length.
            (Self::P521(key), None) => URL_SAFE_NO_PAD
                .decode(token.signature)
                .is_ok_and(|signature| key.verify_sig(message, &signature).is_ok()),
            (Self::Library(_), None) | (Self::P521(_), Some(_)) => false,
        }
    }
}

/// A point that is on the curve, uncompressed (SEC 1 section 2.3.3).
fn p521(point: &EllipticCurveKeyParameters) -> Result<ParsedPublicKey, Unusable> {
    let bytes = [vec![4], decoded(&point.x)?, decoded(&point.y)?].concat();
    ParsedPublicKey::new(&ECDSA_P521_SHA512_FIXED, bytes).map_err(|_broken| Unusable::Malformed)
}

impl Kind {
    /// RFC 7518 section 3, with the hash's length as the least for an HMAC's key (section 3.2).
    fn is_for(self, algorithm: Algorithm) -> bool {
        match algorithm {
            Algorithm::RS256
            | Algorithm::RS384
            | Algorithm::RS512
            | Algorithm::PS256
            | Algorithm::PS384
            | Algorithm::PS512 => self == Self::Rsa,
            Algorithm::ES256 => self == Self::P256,
            Algorithm::ES384 => self == Self::P384,
            Algorithm::ES512 => self == Self::P521,
            Algorithm::EdDSA => self == Self::Ed25519,
            Algorithm::HS256 => self.is_secret_of(32),
            Algorithm::HS384 => self.is_secret_of(48),
            Algorithm::HS512 => self.is_secret_of(64),
        }
    }

    fn is_secret_of(self, least: usize) -> bool {
        matches!(self, Self::Symmetric { bytes } if bytes >= least)
    }
}

fn kind_of(parameters: &AlgorithmParameters) -> Result<Kind, Unusable> {
    match parameters {
        AlgorithmParameters::RSA(rsa) => {
            let modulus = decoded(&rsa.n)?;
            let size = modulus.iter().skip_while(|b| **b == 0).count();
            if RSA_BYTES.contains(&size) {
                Ok(Kind::Rsa)
            } else {
                Err(Unusable::RsaSize)
            }
        }
        AlgorithmParameters::EllipticCurve(point) => {
            let size = (decoded(&point.x)?.len(), decoded(&point.y)?.len());
            match (&point.curve, size) {
                (EllipticCurve::P256, (32, 32)) => Ok(Kind::P256),
                (EllipticCurve::P384, (48, 48)) => Ok(Kind::P384),
                (EllipticCurve::P521, (66, 66)) => Ok(Kind::P521),
                (EllipticCurve::P256 | EllipticCurve::P384 | EllipticCurve::P521, _) => {
                    Err(Unusable::Malformed)
                }
                _ => Err(Unusable::Kind),
            }
        }
        AlgorithmParameters::OctetKeyPair(pair) => match &pair.curve {
            EllipticCurve::Ed25519 if decoded(&pair.x)?.len() == 32 => Ok(Kind::Ed25519),
            EllipticCurve::Ed25519 => Err(Unusable::Malformed),
            _ => Err(Unusable::Kind),
        },
        AlgorithmParameters::OctetKey(secret) => match decoded(&secret.value)?.len() {
            bytes if bytes >= 32 => Ok(Kind::Symmetric { bytes }),
            _ => Err(Unusable::SymmetricSize),
        },
        _ => Err(Unusable::Kind),
    }
}

fn decoded(text: &str) -> Result<Vec<u8>, Unusable> {
    URL_SAFE_NO_PAD
        .decode(text)
        .map_err(|_other| Unusable::Malformed)
}

/// How a key without a name of its own is called: the SHA-256 thumbprint of RFC 7638.
pub(crate) fn thumbprint(jwk: &Jwk) -> Option<String> {
    jwk.thumbprint(ThumbprintHash::SHA256).ok()
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({:?})", self.kind)
    }
}

/// Keys by their names. Keys of different kinds may share one (RFC 7517 section 4.5).
#[derive(Debug, Default)]
pub(crate) struct KeySet(HashMap<String, Vec<Key>>);

impl KeySet {
    pub(crate) fn insert(&mut self, id: String, key: Key) {
        self.0.entry(id).or_default().push(key);
    }

    pub(crate) fn get(&self, id: &str) -> Vec<Key> {
        self.0.get(id).cloned().unwrap_or_default()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// RFC 7515 appendix A.4.
    #[test]
    fn the_rfc_s_es512_signature_is_verified() {
        let jwk = json!({"kty": "EC", "crv": "P-521",
            "x": "AekpBQ8ST8a8VcfVOTNl353vSrDCLLJXmPk06wTjxrrjcBpXp5EOnYG_NjFZ6OvLFV1jSfS9tsz4qUxcWceqwQGk",
            "y": "ADSmRA43Z1DSNx_RvcLI87cdL07l6jQyyBXMoxVg_l2Th-x3S1WDhjDly79ajL4Kkd0AZMaZmh9ubmf63e3kyMj2"});
        let key = Key::from_jwk(&serde_json::from_value(jwk).unwrap(), Some("ES512")).unwrap();
        let token = "eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA.AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOYaRI1bKPWROc-mZZqwqT2SI-KGDKB34XO0aw_7XdtAG8GaSwFKdCAPZgoXD2YBJZCPEX3xKpRwcdOO8KpEHwJjyqOgzDO7iKvU8vcnwNrmxYbSW9ERBXukOXolLzeO_Jn";
        let verified =
            |token: &str| key.verify(&Compact::parse(token.as_bytes()).unwrap(), Algorithm::ES512);
        assert!(verified(token));
        assert!(!verified(&token.replacen("UGF5", "UGF6", 1)));
    }
}
