//! Tokens, good and forged.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::EncodingKey;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::forge::{Holder, Kind, NOW, Signer, claims, now, part, x5c};
use super::*;
use crate::access::Wanted;

/// What tokens are shown to.
pub(super) struct Fixture {
    directory: TempDir,
    token: Token,
}

fn options(directory: &TempDir) -> TokenOptions {
    TokenOptions {
        realm: Realm::Fixed("https://auth.example/token".to_owned()),
        service: "reg".to_owned(),
        issuer: "auth".to_owned(),
        rootcertbundle: Some(directory.path().join("bundle.pem")),
        jwks: Some(Jwks::File(directory.path().join("jwks.json"))),
        signingalgorithms: Vec::new(),
    }
}

impl Fixture {
    pub(super) fn new(keys: &[Value], bundle: &[&Holder]) -> Self {
        Self::with(keys, bundle, |_| {})
    }

    pub(super) fn with(
        keys: &[Value],
        bundle: &[&Holder],
        change: impl FnOnce(&mut TokenOptions),
    ) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut options = options(&directory);
        if keys.is_empty() {
            options.jwks = None;
        }
        if bundle.is_empty() {
            options.rootcertbundle = None;
        }
        publish(&directory, keys);
        let pem: String = bundle.iter().map(|holder| holder.pem()).collect();
        fs::write(directory.path().join("bundle.pem"), pem).unwrap();
        change(&mut options);
        let token = Token::build(options, std::sync::Arc::new(now)).unwrap();
        Self { directory, token }
    }

    pub(super) async fn ask(&self, token: &str, wanted: &Wanted) -> Result<Granted, Denied> {
        self.header(&format!("Bearer {token}"), wanted).await
    }

    async fn header(&self, header: &str, wanted: &Wanted) -> Result<Granted, Denied> {
        let asked = asked(Some(header.as_bytes()), wanted);
        self.token.authorize(asked).await
    }

    /// Why a token is not good for anything, or `None` if it is.
    pub(super) async fn refusal(&self, token: &str) -> Option<Reason> {
        match self.ask(token, &Wanted::nothing()).await {
            Ok(_) => None,
            Err(Denied::Challenge { reason, .. }) => Some(reason),
            Err(other) => panic!("{other:?}"),
        }
    }

    pub(super) async fn refuses(&self, token: &str) -> bool {
        self.refusal(token).await == Some(Reason::InvalidToken)
    }
}

fn asked<'a>(authorization: Option<&'a [u8]>, wanted: &'a Wanted) -> Asked<'a> {
    Asked {
        authorization,
        wanted,
        came: None,
        client: IpAddr::V4(Ipv4Addr::LOCALHOST),
        scheme: "https",
        host: Some("registry.example:5000"),
        token_service: None,
    }
}

fn publish(directory: &TempDir, keys: &[Value]) {
    let set = json!({ "keys": keys }).to_string();
    fs::write(directory.path().join("jwks.json"), set).unwrap();
}

pub(super) fn push(name: &str) -> Wanted {
    Wanted::push(&name.parse().unwrap())
}

pub(super) fn kid(id: &str) -> Value {
    json!({ "kid": id })
}

/// One trusted key, by the name `k`.
pub(super) fn one(algorithm: Algorithm) -> (Signer, Fixture) {
    let signer = Signer::new(algorithm);
    let it = Fixture::new(&[signer.jwk("k")], &[]);
    (signer, it)
}

#[tokio::test]
async fn every_algorithm_is_verified() {
    for algorithm in ALGORITHMS {
        let (signer, it) = one(algorithm);
        let granted = it.ask(&signer.token(&kid("k")), &push("a")).await.unwrap();
        assert_eq!(granted.user(), Some("ann"), "{algorithm:?}");
        assert!(!granted.may(&push("b")) && !granted.may(&Wanted::catalog()));
        assert!(!granted.lists(&"a".parse().unwrap()));
        // The same bytes, signed by another of its kind.
        if !format!("{algorithm:?}").contains('S') || format!("{algorithm:?}").starts_with("ES") {
            let other = Signer::new(algorithm);
            assert!(it.refuses(&other.token(&kid("k"))).await, "{algorithm:?}");
        }
    }
}

#[tokio::test]
async fn challenges_say_what_is_missing() {
    let (signer, it) = one(Algorithm::EdDSA);
    let challenge = |error: &str| {
        format!(
            r#"Bearer realm="https://auth.example/token",service="reg",scope="repository:b:pull,push repository:a:pull"{error}"#
        )
    };
    let wanted = push("b").and(Wanted::pull(&"a".parse().unwrap()));
    let denied = |www_authenticate: String, reason| {
        Some(Denied::Challenge {
            www_authenticate,
            wanted: wanted.clone(),
            reason,
        })
    };
    for header in ["Basic YTpi", "Bearer", "Bearer ", "token"] {
        let missing = denied(challenge(""), Reason::Missing);
        assert_eq!(it.header(header, &wanted).await.err(), missing, "{header}");
    }
    let invalid = denied(challenge(r#",error="invalid_token""#), Reason::InvalidToken);
    assert_eq!(it.ask("a.b.c", &wanted).await.err(), invalid);
    let scope = denied(
        challenge(r#",error="insufficient_scope""#),
        Reason::InsufficientScope,
    );
    let token = signer.token(&kid("k"));
    assert_eq!(it.ask(&token, &wanted).await.err(), scope);
    // Of any repository, for nothing in particular.
    assert!(
        it.header(&format!("bEaReR {token}"), &Wanted::nothing())
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn claims_must_hold_here_and_now() {
    let (signer, it) = one(Algorithm::ES256);
    let with = |field: &str, value: Value| {
        let mut claims = claims();
        claims[field] = value;
        signer.sign(&signer.header(&kid("k")), &claims)
    };
    let bad = [
        ("iss", json!("other")),
        ("iss", json!("")),
        ("iss", Value::Null),
        ("aud", json!("other")),
        ("aud", json!(["other"])),
        ("aud", Value::Null),
        ("exp", json!(NOW - 61)),
        ("exp", json!("never")),
        ("exp", Value::Null),
        ("nbf", json!(NOW + 61)),
        (
            "access",
            json!({"type": "repository", "name": "a", "actions": ["pull"]}),
        ),
        ("access", json!("repository:a:pull")),
        ("access", json!([["repository", "a"], 1])),
        (
            "access",
            json!([{"type": "repository", "name": "a", "actions": "pull"}]),
        ),
    ];
    for (field, value) in bad {
        assert!(
            it.refuses(&with(field, value.clone())).await,
            "{field} {value}"
        );
    }
    let good = [
        ("aud", json!(["other", "reg"])),
        ("exp", json!(NOW - 59)),
        ("nbf", json!(NOW + 59)),
        ("nbf", Value::Null),
        ("access", Value::Null),
        ("sub", json!("")),
    ];
    for (field, value) in good {
        assert_eq!(
            it.refusal(&with(field, value.clone())).await,
            None,
            "{field} {value}"
        );
    }
    let usual = claims().to_string();
    let twice = format!(r#"{{"exp":{},{}"#, NOW + 300, usual.trim_start_matches('{'));
    let signed = format!(
        "{}.{}",
        part(&signer.header(&kid("k"))),
        URL_SAFE_NO_PAD.encode(twice)
    );
    assert!(it.refuses(&resigned(&signer, &signed)).await);
}

fn resigned(signer: &Signer, signed: &str) -> String {
    let pkcs8 = signer.pair().serialize_der();
    let key = EncodingKey::from_ec_der(&pkcs8);
    let signature = jsonwebtoken::crypto::sign(
        signed.as_bytes(),
        &key,
        signer.algorithm.of_library().unwrap(),
    );
    format!("{signed}.{}", signature.unwrap())
}

#[tokio::test]
async fn chains_lead_to_the_bundle_or_the_token_is_refused() {
    let root = Holder::self_signed(Kind::ROOT, Algorithm::ES256);
    let middle = Holder::below(&root, Kind::MIDDLE);
    let leaf = Holder::below(&middle, Kind::LEAF);
    let foreign = Holder::self_signed(Kind::ROOT, Algorithm::ES256);
    let of_foreign = Holder::below(&foreign, Kind::LEAF);
    let old = Holder::below(&root, Kind::MIDDLE.valid(-100, -1));
    let below_old = Holder::below(&old, Kind::LEAF);
    let it = Fixture::new(&[], &[&root]);
    let chained =
        |holder: &Holder, chain: &[&Holder]| holder.signer.token(&json!({ "x5c": x5c(chain) }));
    assert_eq!(it.refusal(&chained(&leaf, &[&leaf, &middle])).await, None);
    assert_eq!(it.refusal(&chained(&root, &[&root])).await, None);
    let mut jwk = leaf.signer.jwk("x");
    jwk["x5c"] = x5c(&[&leaf, &middle]);
    assert_eq!(
        it.refusal(&leaf.signer.token(&json!({ "jwk": jwk }))).await,
        None
    );
    let thumbprint = root.signer.thumbprint();
    assert_eq!(
        it.refusal(&root.signer.token(&kid(&thumbprint))).await,
        None
    );
    assert!(it.refuses(&chained(&leaf, &[&leaf])).await);
    assert!(
        it.refuses(&chained(&of_foreign, &[&of_foreign, &foreign]))
            .await
    );
    assert!(
        it.refuses(&chained(&of_foreign, &[&of_foreign, &root]))
            .await
    );
    assert!(it.refuses(&chained(&below_old, &[&below_old, &old])).await);
    // Somebody else's good chain in front of one's own key.
    assert!(it.refuses(&chained(&of_foreign, &[&leaf, &middle])).await);
    let junk = root.signer.token(&json!({"x5c": ["AAAA", "!"]}));
    assert!(it.refuses(&junk).await);
    let no_bundle = Fixture::new(&[root.signer.jwk("k")], &[]);
    assert!(no_bundle.refuses(&chained(&root, &[&root])).await);
}

#[tokio::test]
async fn only_listed_algorithms_are_accepted() {
    let (rs, ps) = (Signer::new(Algorithm::RS256), Signer::new(Algorithm::PS256));
    let it = Fixture::with(&[rs.jwk("k")], &[], |options| {
        options.signingalgorithms = vec!["PS256".to_owned()];
    });
    assert_eq!(it.refusal(&ps.token(&kid("k"))).await, None);
    assert!(it.refuses(&rs.token(&kid("k"))).await);
}

#[tokio::test]
async fn a_request_that_came_earlier_is_judged_as_of_then() {
    let (signer, it) = one(Algorithm::EdDSA);
    let wanted = Wanted::nothing();
    let bearer = |claims: &Value| {
        let token = signer.sign(&signer.header(&kid("k")), claims);
        format!("Bearer {token}")
    };
    let mut claims = claims();
    claims["exp"] = json!(NOW - 100);
    let header = bearer(&claims);
    let ago = |seconds| now().checked_sub(Duration::from_secs(seconds));
    for (came, is_good) in [(None, false), (ago(20), false), (ago(60), true)] {
        let asked = Asked {
            came,
            ..asked(Some(header.as_bytes()), &wanted)
        };
        assert_eq!(it.token.authorize(asked).await.is_ok(), is_good, "{came:?}");
    }
    // Nobody is judged as of a time to come.
    claims["exp"] = json!(NOW + 300);
    claims["nbf"] = json!(NOW + 200);
    let header = bearer(&claims);
    let asked = Asked {
        came: now().checked_add(Duration::from_secs(250)),
        ..asked(Some(header.as_bytes()), &wanted)
    };
    assert!(it.token.authorize(asked).await.is_err());
}

#[tokio::test]
async fn keys_and_certificates_change_without_a_restart() {
    let (one, two) = (Signer::new(Algorithm::ES256), Signer::new(Algorithm::EdDSA));
    let (old, new) = (
        Holder::self_signed(Kind::ROOT, Algorithm::ES256),
        Holder::self_signed(Kind::ROOT, Algorithm::ES256),
    );
    let it = Fixture::new(&[one.jwk("1")], &[&old]);
    let chained = |holder: &Holder| holder.signer.token(&json!({ "x5c": x5c(&[holder]) }));
    assert_eq!(it.refusal(&one.token(&kid("1"))).await, None);
    assert!(it.refuses(&two.token(&kid("2"))).await);
    publish(&it.directory, &[two.jwk("2")]);
    fs::write(it.directory.path().join("bundle.pem"), new.pem()).unwrap();
    assert_eq!(it.refusal(&two.token(&kid("2"))).await, None);
    assert!(it.refuses(&one.token(&kid("1"))).await);
    assert_eq!(it.refusal(&chained(&new)).await, None);
    assert!(it.refuses(&chained(&old)).await);
    fs::write(it.directory.path().join("jwks.json"), "{").unwrap();
    assert_eq!(it.refusal(&two.token(&kid("2"))).await, None);
}

#[tokio::test]
async fn without_the_token_server_s_keys_nobody_can_tell() {
    let signer = Signer::new(Algorithm::EdDSA);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    let it = Fixture::with(&[signer.jwk("k")], &[], |options| {
        options.jwks = Some(Jwks::Url(url));
    });
    let denied = it.ask(&signer.token(&kid("k")), &Wanted::nothing()).await;
    assert_eq!(
        denied.unwrap_err(),
        Denied::Unavailable(Unavailable::NoKeys)
    );
}

#[tokio::test]
async fn the_realm_may_be_on_the_host_that_was_asked() {
    let signer = Signer::new(Algorithm::EdDSA);
    let it = Fixture::with(&[signer.jwk("k")], &[], |options| {
        options.realm = Realm::SameHost {
            path: "/auth/token".to_owned(),
            otherwise: "https://fallback/token".to_owned(),
        };
    });
    let wanted = Wanted::nothing();
    let realms = [
        (
            "https",
            Some("registry.example:5000"),
            "https://registry.example:5000/auth/token",
        ),
        ("http", Some("[::1]:5000"), "http://[::1]:5000/auth/token"),
        ("https", None, "https://fallback/token"),
        ("https", Some(""), "https://fallback/token"),
        ("https", Some("a\",error=\"x"), "https://fallback/token"),
        ("https", Some("a/b@c"), "https://fallback/token"),
        ("javascript", Some("a"), "https://fallback/token"),
    ];
    for (scheme, host, realm) in realms {
        let asked = Asked {
            scheme,
            host,
            ..asked(None, &wanted)
        };
        let denied = it.token.authorize(asked).await.unwrap_err();
        let Denied::Challenge {
            www_authenticate, ..
        } = denied
        else {
            panic!("{denied:?}");
        };
        assert_eq!(
            www_authenticate,
            format!(r#"Bearer realm="{realm}",service="reg""#)
        );
    }
}

#[test]
fn options_that_cannot_be_meant_are_told() {
    let directory = tempfile::tempdir().unwrap();
    let told = |change: fn(&mut TokenOptions)| {
        let mut options = options(&directory);
        change(&mut options);
        Token::build(options, std::sync::Arc::new(now))
            .unwrap_err()
            .to_string()
    };
    let neither = told(|options| (options.jwks, options.rootcertbundle) = (None, None));
    assert!(
        neither.contains("name a rootcertbundle or jwks"),
        "{neither}"
    );
    assert!(told(|options| options.issuer.clear()).contains("needs an issuer"));
    assert!(told(|options| options.service.clear()).contains("needs a service"));
    assert!(told(|options| options.service.push('\r')).contains("control characters"));
    assert!(told(|_| {}).contains("bundle.pem: No such file"));
    let url = told(|options| {
        options.rootcertbundle = None;
        options.jwks = Some(Jwks::Url("ftp://user:HIDDEN@x".to_owned()));
    });
    assert!(url.contains("neither an https nor an http") && !url.contains("HIDDEN"));
    let algorithm = algorithms(&["ES999".to_owned()]).unwrap_err();
    assert!(
        algorithm
            .to_string()
            .contains(r#""ES999" is not supported"#)
    );
    assert!(algorithms(&["none".to_owned()]).is_err());
}

#[test]
fn only_the_algorithms_that_are_named_are_accepted() {
    let names = |list: &[&str]| {
        list.iter()
            .map(|name| (*name).to_owned())
            .collect::<Vec<_>>()
    };
    let found = algorithms(&names(&["RS256", "ES512"])).unwrap();
    assert_eq!(found, [Algorithm::RS256, Algorithm::ES512]);
    assert!(algorithms(&names(&["RS256", "none"])).is_err());
    // The default, as a configuration has it.
    let all = names(&[
        "EdDSA", "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "ES256", "ES384", "ES512",
        "PS256", "PS384", "PS512",
    ]);
    assert_eq!(algorithms(&all).unwrap(), ALGORITHMS);
}
