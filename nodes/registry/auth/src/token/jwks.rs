//! A set of keys in JSON (RFC 7517 section 5).

use jsonwebtoken::jwk::Jwk;
use serde::Deserialize;
use serde_json::Value;

use super::key::{Key, KeySet, thumbprint};

/// Keys of a set at most.
const MAX_KEYS: usize = 1000;

/// Why a set cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JwksMistake {
    #[error("it is not a JSON object with a list of keys")]
    Malformed,
    #[error("it has more than {MAX_KEYS} keys")]
    TooMany,
    #[error("none of its keys can be used")]
    NoKeys,
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<Value>,
}

/// Keys that are not supported are passed over, as the RFC asks; that they are is logged.
pub(crate) fn parse(content: &[u8]) -> Result<KeySet, JwksMistake> {
    // What serde says of a mistake may quote a secret.
    let document: Document =
        serde_json::from_slice(content).map_err(|_other| JwksMistake::Malformed)?;
    if document.keys.len() > MAX_KEYS {
        return Err(JwksMistake::TooMany);
    }
    let mut keys = KeySet::default();
    for (number, value) in (1..).zip(document.keys) {
        let only = value.get("alg").and_then(Value::as_str).map(str::to_owned);
        let Ok(jwk) = serde_json::from_value::<Jwk>(value) else {
            tracing::warn!(number, "a key of the set is passed over: it is malformed");
            continue;
        };
        let named = jwk.common.key_id.clone().filter(|id| !id.is_empty());
        let key = Key::from_jwk(&jwk, only.as_deref());
        match (key, named.or_else(|| thumbprint(&jwk))) {
            (Ok(key), Some(id)) => keys.insert(id, key),
            (Err(reason), id) => {
                tracing::warn!(number, id, %reason, "a key of the set is passed over");
            }
            (Ok(_), None) => {}
        }
    }
    if keys.is_empty() {
        return Err(JwksMistake::NoKeys);
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::algorithm::{ALGORITHMS, Algorithm};
    use super::*;

    fn bytes(count: usize) -> String {
        URL_SAFE_NO_PAD.encode(vec![7; count])
    }

    fn of(key: &Value) -> Option<Key> {
        let set = json!({"keys": [key]}).to_string();
        parse(set.as_bytes()).ok()?.get("k").pop()
    }

    /// The public key of RFC 7520 section 3.1.
    const P521: (&str, &str) = (
        "AHKZLLOsCOzz5cY97ewNUajB957y-C-U88c3v13nmGZx6sYl_oJXu9A5RkTKqjqvjyekWF-7ytDyRXYgCF5cj0Kt",
        "AdymlHvOiLxXkEhayXQnNCvDX4h9htZaCJN34kfmC6pV5OhQHiraVySsUdaQkAgDPrwQrJmbnX9cwlGfP-HqHZR1",
    );

    #[test]
    fn each_kind_of_key_is_for_its_algorithms() {
        let kinds = [
            (
                json!({"kid": "k", "kty": "RSA", "n": bytes(256), "e": "AQAB"}),
                "RPS",
            ),
            (
                json!({"kid": "k", "kty": "EC", "crv": "P-256", "x": bytes(32), "y": bytes(32)}),
                "ES256",
            ),
            (
                json!({"kid": "k", "kty": "EC", "crv": "P-384", "x": bytes(48), "y": bytes(48)}),
                "ES384",
            ),
            (
                json!({"kid": "k", "kty": "EC", "crv": "P-521", "x": P521.0, "y": P521.1}),
                "ES512",
            ),
            (
                json!({"kid": "k", "kty": "EC", "crv": "P-521", "x": P521.0, "y": P521.1, "alg": "ES512"}),
                "ES512",
            ),
            (
                json!({"kid": "k", "kty": "OKP", "crv": "Ed25519", "x": bytes(32)}),
                "EdDSA",
            ),
            (
                json!({"kid": "k", "kty": "oct", "k": bytes(48)}),
                "HS256 HS384",
            ),
            (
                json!({"kid": "k", "kty": "oct", "k": bytes(64), "alg": "HS512"}),
                "HS512",
            ),
            (
                json!({"kid": "k", "kty": "RSA", "n": bytes(256), "e": "AQAB", "alg": "PS384", "use": "sig"}),
                "PS384",
            ),
        ];
        for (jwk, expected) in kinds {
            let key = of(&jwk).unwrap();
            for algorithm in ALGORITHMS {
                let name = format!("{algorithm:?}");
                let rsa = expected == "RPS" && (name.starts_with("RS") || name.starts_with("PS"));
                let expected = rsa || expected.split(' ').any(|one| one == name);
                assert_eq!(key.is_for(algorithm), expected, "{jwk} {algorithm:?}");
            }
        }
    }

    #[test]
    fn keys_that_cannot_be_used_are_passed_over() {
        let (x, y) = P521;
        let keys = [
            json!({"kid": "k", "kty": "RSA", "n": bytes(128), "e": "AQAB"}),
            json!({"kid": "k", "kty": "RSA", "n": bytes(256), "e": "AQAB", "use": "enc"}),
            json!({"kid": "k", "kty": "RSA", "n": bytes(256), "e": "AQAB", "key_ops": ["encrypt"]}),
            json!({"kid": "k", "kty": "RSA", "n": bytes(256), "e": "AQAB", "alg": "HS256"}),
            json!({"kid": "k", "kty": "RSA", "n": bytes(256), "e": "AQAB", "alg": "RSA-OAEP"}),
            json!({"kid": "k", "kty": "RSA", "n": "!", "e": "AQAB"}),
            json!({"kid": "k", "kty": "EC", "crv": "P-256", "x": bytes(31), "y": bytes(32)}),
            // The right lengths, and no point of the curve.
            json!({"kid": "k", "kty": "EC", "crv": "P-521", "x": bytes(66), "y": bytes(66)}),
            json!({"kid": "k", "kty": "EC", "crv": "P-521", "x": x, "y": bytes(65)}),
            json!({"kid": "k", "kty": "EC", "crv": "P-521", "x": x, "y": y, "alg": "ES384"}),
            json!({"kid": "k", "kty": "EC", "crv": "P-521", "x": x, "y": y, "alg": "ES999"}),
            json!({"kid": "k", "kty": "EC", "crv": "P-256", "x": x, "y": y}),
            json!({"kid": "k", "kty": "EC", "crv": "P-384", "x": bytes(48), "y": bytes(48), "alg": "ES512"}),
            json!({"kid": "k", "kty": "OKP", "crv": "X25519", "x": bytes(32)}),
            json!({"kid": "k", "kty": "oct", "k": bytes(31)}),
            json!({"kid": "k"}),
            json!(7),
        ];
        for key in keys {
            assert!(of(&key).is_none(), "{key}");
        }
    }

    #[test]
    fn other_fields_are_ignored_and_names_may_be_shared() {
        let set = json!({"keys": [
            {"kid": "k", "kty": "oct", "k": bytes(32), "x5t": "x", "more": {"a": 1}},
            {"kid": "k", "kty": "OKP", "crv": "Ed25519", "x": bytes(32)},
            {"kty": "future"}], "more": 1});
        assert_eq!(parse(set.to_string().as_bytes()).unwrap().get("k").len(), 2);
    }

    /// The key and thumbprint of RFC 7638 section 3.1.
    #[test]
    fn a_key_without_a_name_is_called_by_its_thumbprint() {
        let n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
        let set = json!({"keys": [{"kty": "RSA", "n": n, "e": "AQAB"}]}).to_string();
        let set = parse(set.as_bytes()).unwrap();
        let found = set.get("NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
        assert!(found[0].is_for(Algorithm::RS256));
    }

    #[test]
    fn a_document_of_another_shape_is_refused() {
        for text in ["", "{}", "[]", r#"{"keys":{}}"#, r#"{"keys":[]}"#, "\u{0}"] {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
        let many = json!({"keys": vec![1; MAX_KEYS + 1]}).to_string();
        assert!(matches!(parse(many.as_bytes()), Err(JwksMistake::TooMany)));
    }

    proptest! {
        #[test]
        fn no_document_panics(text in any::<String>(), field in any::<String>(), bytes in any::<Vec<u8>>()) {
            drop(parse(text.as_bytes()));
            drop(parse(&bytes));
            for kty in ["RSA", "EC", "OKP", "oct"] {
                let key = json!({"kty": kty, "crv": "P-256", "n": field, "e": field, "x": field, "y": field, "k": field});
                drop(parse(json!({"keys": [key]}).to_string().as_bytes()));
            }
        }
    }
}
