//! Keys, certificates, and tokens signed with them: right ones, and whatever an attacker would sign.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, RsaKeySize};
use serde_json::{Value, json};

/// A key pair, and how tokens that it signed name it.
#[derive(Clone)]
pub struct Signer {
    algorithm: Algorithm,
    key: EncodingKey,
    /// `kid` or `x5c`.
    named: Value,
    /// The certificate of the authority over it, and of itself.
    root: Option<String>,
    /// The public key, as a PEM document.
    public: String,
}

impl Signer {
    /// An RSA key with a certificate of an authority made for it: RS256 with `x5c`.
    #[track_caller]
    pub fn rs256() -> Self {
        let authority = KeyPair::generate().expect("a key");
        let mut params = params("the authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = params.self_signed(&authority).expect("a certificate");
        let issuer = Issuer::new(params, authority);
        let pair = KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_2048);
        let pair = pair.expect("a key");
        let leaf = self::params("the token server").signed_by(&pair, &issuer);
        let leaf = leaf.expect("a certificate");
        // PKCS #1 lies in PKCS #8 behind its version and algorithm.
        let pkcs1 = pair.serialize_der().split_off(26);
        Self {
            algorithm: Algorithm::RS256,
            key: EncodingKey::from_rsa_der(&pkcs1),
            named: json!({"x5c": [STANDARD.encode(leaf.der())]}),
            root: Some(root.pem()),
            public: pair.public_key_pem(),
        }
    }

    /// A P-256 key that goes by this name: ES256 with `kid`.
    #[track_caller]
    pub fn es256(id: &str) -> Self {
        let pair = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).expect("a key");
        Self {
            algorithm: Algorithm::ES256,
            key: EncodingKey::from_ec_der(&pair.serialize_der()),
            named: json!({"kid": id}),
            root: None,
            public: pair.public_key_pem(),
        }
    }

    /// A secret: what somebody signs with who takes a public key for one.
    pub fn hs256(secret: &[u8], named: Value) -> Self {
        Self {
            algorithm: Algorithm::HS256,
            key: EncodingKey::from_secret(secret),
            named,
            root: None,
            public: String::new(),
        }
    }

    /// The bundle that trusts it.
    #[track_caller]
    pub fn root(&self) -> &str {
        self.root.as_deref().expect("a key with a certificate")
    }

    pub fn public(&self) -> &str {
        &self.public
    }

    /// How its tokens name it: `kid` or `x5c`.
    pub fn named(&self) -> Value {
        self.named.clone()
    }

    /// The set of keys that holds its public half; none for a key that is known by its certificate.
    pub fn jwks(&self) -> Value {
        let Some(id) = self.named["kid"].as_str() else {
            return json!({"keys": []});
        };
        let mut jwk = Jwk::from_encoding_key(&self.key, self.algorithm).expect("a public key");
        jwk.common.key_id = Some(id.to_owned());
        json!({"keys": [jwk]})
    }

    /// A token with these claims.
    pub fn token(&self, claims: &Value) -> String {
        self.sign(&self.header(), claims)
    }

    /// The header of its tokens.
    pub fn header(&self) -> Value {
        let mut header = json!({"typ": "JWT", "alg": self.algorithm});
        if let (Some(header), Value::Object(named)) = (header.as_object_mut(), self.named.clone()) {
            header.extend(named);
        }
        header
    }

    /// Signs whatever it is given, with its own algorithm, whatever the header says.
    pub fn sign(&self, header: &Value, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(header), part(claims));
        let signature = jsonwebtoken::crypto::sign(signed.as_bytes(), &self.key, self.algorithm);
        format!("{signed}.{}", signature.expect("a signature"))
    }
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer")
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}
