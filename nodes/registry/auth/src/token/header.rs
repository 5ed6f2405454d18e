//! A token's three parts, and its header: what it says about the key that signed it. Nothing of it is trusted yet.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::algorithm::Algorithm;

/// Certificates in a chain at most: each costs verifying a signature.
const MAX_CHAIN: usize = 8;

/// What is not a token in the compact form (RFC 7515 section 7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("it does not have three parts")]
    Parts,
    #[error("a part is not base64url")]
    Base64,
    #[error("its header is not what RFC 7515 says")]
    Header,
    #[error("its header has extensions that must be understood")]
    Critical,
    #[error("its chain of certificates is malformed or too long")]
    Chain,
}

/// The parts of a token, still encoded.
pub(crate) struct Compact<'a> {
    pub(crate) header: &'a str,
    pub(crate) claims: &'a str,
    /// What the signature is over.
    pub(crate) signed: &'a str,
    pub(crate) signature: &'a str,
}

impl<'a> Compact<'a> {
    pub(crate) fn parse(token: &'a [u8]) -> Result<Self, Malformed> {
        let token = str::from_utf8(token).map_err(|_other| Malformed::Base64)?;
        let (signed, signature) = token.rsplit_once('.').ok_or(Malformed::Parts)?;
        let (header, claims) = signed.split_once('.').ok_or(Malformed::Parts)?;
        if claims.contains('.')
            || [header, claims, signature]
                .iter()
                .any(|part| part.is_empty())
        {
            return Err(Malformed::Parts);
        }
        Ok(Self {
            header,
            claims,
            signed,
            signature,
        })
    }
}

/// A part's JSON object.
pub(crate) fn object(encoded: &str) -> Result<Vec<u8>, Malformed> {
    let json = URL_SAFE_NO_PAD
        .decode(encoded)
        .map_err(|_other| Malformed::Base64)?;
    // serde would read a list into a struct as well.
    match json.trim_ascii_start().first() {
        Some(b'{') => Ok(json),
        _ => Err(Malformed::Header),
    }
}

pub(crate) struct Header {
    /// `None` is one that is not supported; `none` is among them.
    pub(crate) algorithm: Option<Algorithm>,
    pub(crate) origin: Origin,
}

/// Where the key is to be found. A key that the token brings along itself is none of these.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// DER certificates; the first one's key signed.
    Chain(Vec<Vec<u8>>),
    Id(String),
    Nothing,
}

/// The header's fields. A field that is there twice is an error, so no two readers can understand it differently.
#[derive(Deserialize)]
struct Fields {
    alg: String,
    kid: Option<String>,
    x5c: Option<Vec<String>>,
    jwk: Option<KeyFields>,
    crit: Option<IgnoredAny>,
}

/// Of a key in the header only what leads to a trusted one: by name, or by a chain to the bundle.
#[derive(Deserialize)]
struct KeyFields {
    kid: Option<String>,
    x5c: Option<Vec<String>>,
}

impl Header {
    pub(crate) fn parse(encoded: &str) -> Result<Self, Malformed> {
        let json = object(encoded)?;
        let fields: Fields = serde_json::from_slice(&json).map_err(|_other| Malformed::Header)?;
        if fields.crit.is_some() {
            return Err(Malformed::Critical);
        }
        let named = |id: Option<String>| id.filter(|id| !id.is_empty()).map(Origin::Id);
        let origin = match (fields.x5c, fields.jwk) {
            (Some(chain), _) if !chain.is_empty() => decoded(&chain)?,
            (_, Some(jwk)) => match jwk.x5c {
                Some(chain) if !chain.is_empty() => decoded(&chain)?,
                _ => named(jwk.kid).unwrap_or(Origin::Nothing),
            },
            (_, None) => named(fields.kid).unwrap_or(Origin::Nothing),
        };
        Ok(Self {
            algorithm: fields.alg.parse().ok(),
            origin,
        })
    }
}

/// Certificates are in plain base64, not base64url (RFC 7515 section 4.1.6).
fn decoded(chain: &[String]) -> Result<Origin, Malformed> {
    if chain.len() > MAX_CHAIN {
        return Err(Malformed::Chain);
    }
    let certificates = chain.iter().map(|text| STANDARD.decode(text));
    let certificates: Result<_, _> = certificates.collect();
    certificates
        .map(Origin::Chain)
        .map_err(|_other| Malformed::Chain)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(json: &str) -> Result<(Option<Algorithm>, Origin), Malformed> {
        let header = Header::parse(&URL_SAFE_NO_PAD.encode(json))?;
        Ok((header.algorithm, header.origin))
    }

    #[test]
    fn the_key_is_found_in_the_reference_s_order() {
        let rs256 = Some(Algorithm::RS256);
        let id = |id: &str| Ok((rs256, Origin::Id(id.to_owned())));
        let chain = || Ok((rs256, Origin::Chain(vec![vec![1, 2, 3]])));
        assert_eq!(parse(r#"{"alg":"RS256"}"#), Ok((rs256, Origin::Nothing)));
        assert_eq!(
            parse(r#"{"alg":"RS256","kid":""}"#),
            Ok((rs256, Origin::Nothing))
        );
        assert_eq!(parse(r#"{"alg":"RS256","kid":"a"}"#), id("a"));
        assert_eq!(
            parse(r#"{"alg":"RS256","kid":"a","jwk":{"kid":"b"}}"#),
            id("b")
        );
        assert_eq!(
            parse(r#"{"alg":"RS256","kid":"a","jwk":{"kid":"b","x5c":["AQID"]}}"#),
            chain()
        );
        assert_eq!(
            parse(r#"{"alg":"RS256","kid":"a","x5c":["AQID"]}"#),
            chain()
        );
        // A key by itself leads nowhere.
        let smuggled = r#"{"alg":"RS256","jwk":{"kty":"RSA","n":"AQAB","e":"AQAB"}}"#;
        assert_eq!(parse(smuggled), Ok((rs256, Origin::Nothing)));
    }

    #[test]
    fn headers_that_two_readers_could_understand_differently_are_refused() {
        for json in [
            r#"{"alg":"none","alg":"RS256"}"#,
            r#"{"alg":"RS256","kid":"a","kid":"b"}"#,
            r#"["RS256","a"]"#,
            r#"{"kid":"a"}"#,
            r#"{"alg":1}"#,
            r#"{"alg":"RS256"} x"#,
            "",
        ] {
            assert_eq!(parse(json).unwrap_err(), Malformed::Header, "{json}");
        }
        let critical = r#"{"alg":"RS256","kid":"a","crit":["b64"],"b64":false}"#;
        assert_eq!(parse(critical).unwrap_err(), Malformed::Critical);
        let long = format!(
            r#"{{"alg":"RS256","x5c":[{}"AQID"]}}"#,
            r#""AQID","#.repeat(8)
        );
        assert_eq!(parse(&long).unwrap_err(), Malformed::Chain);
    }

    #[test]
    fn none_is_no_algorithm() {
        for name in ["none", "None", "rs256", "es512", "ES999", "ES512 ", ""] {
            let parsed = parse(&format!(r#"{{"alg":"{name}"}}"#)).unwrap();
            assert_eq!(parsed.0, None, "{name}");
        }
    }

    #[test]
    fn a_token_has_three_parts() {
        for token in ["", ".", "..", "a.b", "a.b.", "a..c", ".b.c", "a.b.c.d"] {
            assert!(Compact::parse(token.as_bytes()).is_err(), "{token}");
        }
        let compact = Compact::parse(b"a.b.c").unwrap();
        assert_eq!((compact.signed, compact.signature), ("a.b", "c"));
    }

    proptest! {
        #[test]
        fn no_token_panics(bytes in any::<Vec<u8>>(), json in any::<String>()) {
            drop(Compact::parse(&bytes));
            drop(Header::parse(&URL_SAFE_NO_PAD.encode(&bytes)));
            drop(Header::parse(&json));
        }
    }
}
