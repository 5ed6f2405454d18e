//! What an attacker who knows everything but a trusted private key may try.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::EncodingKey;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::algorithm::{ALGORITHMS, Algorithm};
use super::forge::{Holder, Kind, Signer, claims, part, x5c};
use super::tests::{Fixture, kid, one, push};
use crate::authenticator::Reason;

#[tokio::test]
async fn unsigned_tokens_are_refused() {
    let (signer, it) = one(Algorithm::RS256);
    let good = signer.token(&kid("k"));
    assert_eq!(it.refusal(&good).await, None);
    for name in ["none", "None", "NONE", "nOnE", ""] {
        let header = part(&json!({"alg": name, "kid": "k"}));
        let unsigned = format!("{header}.{}.", part(&claims()));
        assert!(it.refuses(&unsigned).await, "{name}");
        let (_, signature) = good.rsplit_once('.').unwrap();
        assert!(
            it.refuses(&format!("{unsigned}{signature}")).await,
            "{name}"
        );
    }
    let (signed, _) = good.rsplit_once('.').unwrap();
    assert!(it.refuses(signed).await && it.refuses(&format!("{signed}.")).await);
}

/// The classical confusion: what everybody knows of an RSA key, used as an HMAC's secret.
#[tokio::test]
async fn a_public_key_is_no_secret() {
    let root = Holder::self_signed(Kind::ROOT, Algorithm::RS256);
    let jwk = root.signer.jwk("k");
    let it = Fixture::new(std::slice::from_ref(&jwk), &[&root]);
    assert_eq!(it.refusal(&root.signer.token(&kid("k"))).await, None);
    let public = rcgen::PublicKeyData::subject_public_key_info(&root.signer.pair());
    let modulus = jwk["n"].as_str().unwrap();
    let secrets = [
        public,
        rcgen::PublicKeyData::der_bytes(&root.signer.pair()).to_vec(),
        root.signer.pair().public_key_pem().into_bytes(),
        root.pem().into_bytes(),
        root.der.clone(),
        modulus.as_bytes().to_vec(),
        URL_SAFE_NO_PAD.decode(modulus).unwrap(),
        Vec::new(),
    ];
    for secret in secrets {
        for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
            let mut headers = vec![kid("k"), json!({"x5c": x5c(&[&root])}), json!({})];
            headers.push(json!({"jwk": jwk}));
            headers.push(
                json!({"jwk": {"kty": "oct", "k": URL_SAFE_NO_PAD.encode(&secret), "kid": "k"}}),
            );
            for mut header in headers {
                header["alg"] = json!(algorithm.name());
                let signed = format!("{}.{}", part(&header), part(&claims()));
                let key = EncodingKey::from_secret(&secret);
                let signature = jsonwebtoken::crypto::sign(
                    signed.as_bytes(),
                    &key,
                    algorithm.of_library().unwrap(),
                );
                let forged = format!("{signed}.{}", signature.unwrap());
                assert!(it.refuses(&forged).await, "{header}");
            }
        }
    }
}

#[tokio::test]
async fn a_key_is_for_its_algorithm() {
    let signers = ALGORITHMS.map(Signer::new);
    let named = |signer: &Signer| format!("{:?}", signer.algorithm);
    let keys = signers.each_ref().map(|signer| {
        let mut jwk = signer.jwk(&named(signer));
        jwk["alg"] = json!(signer.algorithm.name());
        jwk
    });
    let it = Fixture::new(&keys, &[]);
    for signer in &signers {
        for other in &signers {
            let token = signer.token(&kid(&named(other)));
            let same = signer.algorithm == other.algorithm;
            assert_eq!(
                it.refusal(&token).await.is_none(),
                same,
                "{} {}",
                named(signer),
                named(other)
            );
        }
    }
    // A header that lies about the algorithm.
    let lie = signers[0].sign(&json!({"alg": "RS256", "kid": "EdDSA"}), &claims());
    assert!(it.refuses(&lie).await);
}

const CURVES: [Algorithm; 3] = [Algorithm::ES256, Algorithm::ES384, Algorithm::ES512];

/// A curve's key is for its curve's algorithm, under whatever name the token asks for it.
#[tokio::test]
async fn curves_are_not_confused() {
    let root = Holder::self_signed(Kind::ROOT, Algorithm::ES512);
    for algorithm in CURVES {
        let leaf = Holder::below_of(&root, Kind::LEAF, algorithm);
        let it = Fixture::new(&[leaf.signer.jwk("k")], &[&root]);
        for extra in [kid("k"), json!({"x5c": x5c(&[&leaf])})] {
            assert_eq!(it.refusal(&leaf.signer.token(&extra)).await, None);
            for other in CURVES.into_iter().filter(|other| *other != algorithm) {
                let mut lie = leaf.signer.header(&extra);
                lie["alg"] = json!(other.name());
                assert!(it.refuses(&leaf.signer.sign(&lie, &claims())).await);
                let stranger = Signer::new(other);
                assert!(it.refuses(&stranger.token(&extra)).await);
                let mut lie = stranger.header(&extra);
                lie["alg"] = json!(algorithm.name());
                assert!(it.refuses(&stranger.sign(&lie, &claims())).await);
            }
        }
    }
}

/// An ES512 signature has one form (RFC 7518 section 3.4), and its numbers are neither zero nor the curve's order.
#[tokio::test]
async fn signatures_of_p_521_have_one_form() {
    let (signer, it) = one(Algorithm::ES512);
    let good = signer.token(&kid("k"));
    assert_eq!(it.refusal(&good).await, None);
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let raw = URL_SAFE_NO_PAD.decode(signature).unwrap();
    assert_eq!(raw.len(), 132);
    let (r, s) = raw.split_at(66);
    let padded = [&[0], r, &[0], s].concat();
    let short: Vec<u8> = raw.iter().copied().skip(1).collect();
    let forms = [
        Vec::new(),
        vec![0; 132],
        vec![0xff; 132],
        [r, &[0; 66]].concat(),
        [&[0; 66], s].concat(),
        [s, r].concat(),
        [raw.as_slice(), &[0]].concat(),
        padded,
        short,
        raw[..131].to_vec(),
        raw[..96].to_vec(),
    ];
    for form in forms {
        let forged = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(&form));
        assert!(it.refuses(&forged).await, "{form:?}");
    }
    // ASN.1, as X.509 has it.
    let pair = signer.pair();
    let asn1 = rcgen::SigningKey::sign(&pair, signed.as_bytes()).unwrap();
    let forged = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(asn1));
    assert!(it.refuses(&forged).await);
    assert!(it.refuses(&format!("{good}=")).await);
    // Of other words.
    let other = format!("{}.{}", part(&signer.header(&kid("k"))), part(&json!({})));
    assert!(it.refuses(&format!("{other}.{signature}")).await);
}

#[tokio::test]
async fn a_key_that_the_token_brings_along_is_not_trusted() {
    let (signer, it) = one(Algorithm::ES256);
    let attacker = Signer::new(Algorithm::ES256);
    let foreign = Holder::self_signed(Kind::ROOT, Algorithm::ES256);
    let mut chained = attacker.jwk("k");
    chained["x5c"] = x5c(&[&foreign]);
    let headers = [
        json!({}),
        kid(""),
        kid("other"),
        kid("k"),
        json!({"jwk": attacker.jwk("k")}),
        json!({"jwk": attacker.jwk("other")}),
        json!({"kid": "k", "jwk": attacker.jwk("k")}),
        json!({"jwk": chained}),
        json!({"kid": "k", "jku": "https://attacker.example/jwks", "x5u": "https://attacker.example"}),
    ];
    for header in headers {
        assert!(it.refuses(&attacker.token(&header)).await, "{header}");
    }
    // A trusted key's own words about itself are harmless.
    assert_eq!(
        it.refusal(&signer.token(&json!({"jwk": signer.jwk("k")})))
            .await,
        None
    );
    assert!(it.refuses(&signer.token(&json!({}))).await);
}

#[tokio::test]
async fn a_token_with_one_letter_changed_is_refused() {
    let (signer, it) = one(Algorithm::EdDSA);
    let good = signer.token(&kid("k"));
    assert_eq!(it.refusal(&good).await, None);
    for at in 0..good.len() {
        let mut bytes = good.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(bytes).unwrap();
        assert!(it.refuses(&changed).await, "{at}");
    }
    assert!(it.refuses(&format!("{good}A")).await && it.refuses(&format!("{good}=")).await);
}

#[tokio::test]
async fn huge_tokens_are_not_read() {
    let (signer, it) = one(Algorithm::EdDSA);
    let mut header = kid("k");
    header["padding"] = json!("x".repeat(crate::MAX_HEADER));
    let refusal = it.refusal(&signer.token(&header)).await;
    assert_eq!(refusal, Some(Reason::Missing));
    header["padding"] = json!("x".repeat(crate::MAX_HEADER / 2));
    assert_eq!(it.refusal(&signer.token(&header)).await, None);
    let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
    let deep = format!(r#"{{"alg":"EdDSA","kid":"k","x":{deep}}}"#);
    let token = format!("{}.{}.AAAA", URL_SAFE_NO_PAD.encode(deep), part(&claims()));
    assert!(it.refuses(&token).await);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Signed by the trusted key, or by nobody, with whatever in it.
    #[test]
    fn no_token_panics(text in any::<String>(), field in "alg|kid|jwk|x5c|crit|iss|aud|exp|nbf|sub|access", number in any::<i64>()) {
        let (signer, it) = one(Algorithm::EdDSA);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            drop(it.ask(&text, &push("a")).await);
            for value in [json!(text), json!(number), json!([text, number]), json!({"kid": text, "x5c": [text]}), Value::Null] {
                let mut header = signer.header(&kid("k"));
                let mut claims = claims();
                header[&field] = value.clone();
                claims[&field] = value;
                drop(it.ask(&signer.sign(&header, &claims), &push("a")).await);
                drop(it.ask(&signer.sign(&signer.header(&kid("k")), &claims), &push("a")).await);
            }
        });
    }
}
