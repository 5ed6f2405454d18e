//! Keys, certificates and tokens for tests, made anew each time.

use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::EncodingKey;
use jsonwebtoken::jwk::Jwk;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, RsaKeySize};
use serde_json::{Value, json};

use super::algorithm::Algorithm;

/// The present, in all tests: 2030.
pub(super) const NOW: u64 = 1_893_456_000;

pub(super) fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(NOW)
}

/// A key pair that signs with one algorithm.
#[derive(Clone)]
pub(super) struct Signer {
    pub(super) algorithm: Algorithm,
    /// PKCS #8; a symmetric key has none.
    pkcs8: Option<Vec<u8>>,
    /// `None` is P-521, which the JWT library has not.
    encoding: Option<EncodingKey>,
}

/// Large primes take their time: one pair for all tests.
static RSA: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let pair = KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_2048);
    pair.unwrap().serialize_der()
});

impl Signer {
    pub(super) fn new(algorithm: Algorithm) -> Self {
        let generate = |kind| KeyPair::generate_for(kind).unwrap().serialize_der();
        let pkcs8 = match algorithm {
            Algorithm::ES256 => Some(generate(&rcgen::PKCS_ECDSA_P256_SHA256)),
            Algorithm::ES384 => Some(generate(&rcgen::PKCS_ECDSA_P384_SHA384)),
            Algorithm::ES512 => Some(generate(&rcgen::PKCS_ECDSA_P521_SHA512)),
            Algorithm::EdDSA => Some(generate(&rcgen::PKCS_ED25519)),
            Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => None,
            _ => Some(RSA.clone()),
        };
        let encoding = match (algorithm, &pkcs8) {
            (_, None) => Some(EncodingKey::from_secret(&[7; 64])),
            (Algorithm::ES256 | Algorithm::ES384, Some(der)) => Some(EncodingKey::from_ec_der(der)),
            (Algorithm::ES512, Some(_)) => None,
            (Algorithm::EdDSA, Some(der)) => Some(EncodingKey::from_ed_der(&first_version(der))),
            // PKCS #1 lies in PKCS #8 behind its version and algorithm.
            (_, Some(der)) => Some(EncodingKey::from_rsa_der(&der[26..])),
        };
        Self {
            algorithm,
            pkcs8,
            encoding,
        }
    }

    pub(super) fn jwk(&self, id: &str) -> Value {
        let Some(encoding) = &self.encoding else {
            let pair = self.pair();
            let point = rcgen::PublicKeyData::der_bytes(&pair);
            let (x, y) = point[1..].split_at(66);
            let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
            return json!({"kty": "EC", "crv": "P-521", "x": x, "y": y, "kid": id});
        };
        let mut jwk =
            Jwk::from_encoding_key(encoding, self.algorithm.of_library().unwrap()).unwrap();
        jwk.common.key_id = Some(id.to_owned());
        jwk.common.key_algorithm = None;
        serde_json::to_value(jwk).unwrap()
    }

    pub(super) fn thumbprint(&self) -> String {
        let jwk = serde_json::from_value(self.jwk("")).unwrap();
        super::key::thumbprint(&jwk).unwrap()
    }

    pub(super) fn pair(&self) -> KeyPair {
        KeyPair::try_from(self.pkcs8.as_deref().unwrap()).unwrap()
    }

    /// Signs whatever it is given, with this algorithm, whatever the header says.
    pub(super) fn sign(&self, header: &Value, claims: &Value) -> String {
        let signed = format!("{}.{}", part(header), part(claims));
        let signature = self.signature(signed.as_bytes());
        format!("{signed}.{signature}")
    }

    fn signature(&self, message: &[u8]) -> String {
        if let Some(encoding) = &self.encoding {
            let algorithm = self.algorithm.of_library().unwrap();
            return jsonwebtoken::crypto::sign(message, encoding, algorithm).unwrap();
        }
        let pkcs8 = self.pkcs8.as_deref().unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P521_SHA512_FIXED_SIGNING, pkcs8).unwrap();
        let signature = pair.sign(&SystemRandom::new(), message).unwrap();
        URL_SAFE_NO_PAD.encode(signature)
    }

    /// A token with a header that names `extra`, and the usual claims.
    pub(super) fn token(&self, extra: &Value) -> String {
        self.sign(&self.header(extra), &claims())
    }

    pub(super) fn header(&self, extra: &Value) -> Value {
        let mut header = json!({"typ": "JWT", "alg": self.algorithm.name()});
        let fields = extra.as_object().unwrap().clone();
        header.as_object_mut().unwrap().extend(fields);
        header
    }
}

/// An Ed25519 key without its public half, which `Jwk::from_encoding_key` does not expect.
fn first_version(pkcs8: &[u8]) -> Vec<u8> {
    let head = [
        0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20,
    ];
    [&head, &pkcs8[16..48]].concat()
}

pub(super) fn part(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

/// Good for pulling from and pushing to the repository `a`.
pub(super) fn claims() -> Value {
    json!({"iss": "auth", "aud": "reg", "sub": "ann", "exp": NOW + 300, "nbf": NOW, "iat": NOW, "jti": "1",
        "access": [{"type": "repository", "name": "a", "actions": ["pull", "push"]}]})
}

/// A certificate and its key.
pub(super) struct Holder {
    pub(super) signer: Signer,
    params: CertificateParams,
    pub(super) der: Vec<u8>,
}

/// What a certificate is to be.
#[derive(Clone, Copy)]
pub(super) struct Kind {
    pub(super) name: &'static str,
    pub(super) is_authority: bool,
    /// Seconds from now.
    pub(super) valid: (i64, i64),
}

impl Kind {
    pub(super) const ROOT: Self = Self {
        name: "root",
        is_authority: true,
        valid: (-1000, 1000),
    };
    pub(super) const MIDDLE: Self = Self {
        name: "middle",
        ..Self::ROOT
    };
    pub(super) const LEAF: Self = Self {
        name: "leaf",
        is_authority: false,
        ..Self::ROOT
    };

    pub(super) fn valid(self, from: i64, to: i64) -> Self {
        Self {
            valid: (from, to),
            ..self
        }
    }

    fn params(self) -> CertificateParams {
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, self.name);
        if self.is_authority {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        let at = |seconds| {
            let now = i64::try_from(NOW).unwrap();
            time::OffsetDateTime::from_unix_timestamp(now + seconds).unwrap()
        };
        (params.not_before, params.not_after) = (at(self.valid.0), at(self.valid.1));
        params
    }
}

impl Holder {
    pub(super) fn self_signed(kind: Kind, algorithm: Algorithm) -> Self {
        let (signer, params) = (Signer::new(algorithm), kind.params());
        let der = params.self_signed(&signer.pair()).unwrap().der().to_vec();
        Self {
            signer,
            params,
            der,
        }
    }

    pub(super) fn below(above: &Self, kind: Kind) -> Self {
        Self::below_of(above, kind, Algorithm::ES256)
    }

    pub(super) fn below_of(above: &Self, kind: Kind, algorithm: Algorithm) -> Self {
        let (signer, params) = (Signer::new(algorithm), kind.params());
        let issuer_key = above.signer.pair();
        let issuer = Issuer::from_params(&above.params, &issuer_key);
        let der = params.signed_by(&signer.pair(), &issuer).unwrap();
        Self {
            signer,
            der: der.der().to_vec(),
            params,
        }
    }

    pub(super) fn pem(&self) -> String {
        let body = STANDARD.encode(&self.der);
        format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n")
    }
}

/// The `x5c` of these certificates.
pub(super) fn x5c(chain: &[&Holder]) -> Value {
    chain
        .iter()
        .map(|holder| STANDARD.encode(&holder.der))
        .collect()
}
