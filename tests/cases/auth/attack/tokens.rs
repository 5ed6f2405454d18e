//! Tokens that the token server did not sign, or not for this, or not for now.

use roadstead_tests::Signer;
use roadstead_tests::tokens::{challenge, now};
use serde_json::{Value, json};

use super::super::tokens::{Trusting, access, by_file, by_jwks_file};

const PATH: &str = "/v2/a/tags/list";

impl Trusting {
    /// Whether the token opens what it says: the repository is empty.
    fn status(&self, token: &str) -> u16 {
        self.curl(Some(token), &[], PATH).answer.status
    }

    #[track_caller]
    fn refuses(&self, what: &str, token: &str) {
        let answer = self.curl(Some(token), &[], PATH).answer;
        assert_eq!(answer.status, 401, "{what}");
        let asked = challenge(answer.expect_header("www-authenticate"));
        assert_eq!(asked["error"], "invalid_token", "{what}");
    }
}

fn by_bundle(signer: Signer) -> Trusting {
    by_file(signer, "rootcertbundle", |signer| signer.root().to_owned())
}

fn with(mut document: Value, field: &str, value: Value) -> Value {
    document[field] = value;
    document
}

/// The header and claims of one token with the signature of another, or none.
fn unsigned(token: &str) -> &str {
    token.rsplit_once('.').expect("three parts").0
}

#[test]
fn a_claim_that_is_not_for_here_and_now_is_refused() {
    let signer = Signer::rs256();
    let trusting = by_bundle(signer.clone());
    let good = access("a", &["pull"]);
    assert_eq!(trusting.status(&signer.token(&good)), 404);
    let now = now();
    let wrong = [
        ("aud", json!("another")),
        ("aud", json!([])),
        ("aud", json!(["another"])),
        ("aud", Value::Null),
        ("iss", json!("another")),
        ("iss", Value::Null),
        ("exp", json!(now - 61)),
        ("exp", json!(-1)),
        ("exp", Value::Null),
        ("exp", json!("never")),
        ("nbf", json!(now + 300)),
        ("access", json!("all")),
    ];
    for (field, value) in wrong {
        let what = format!("{field}: {value}");
        let token = signer.token(&with(good.clone(), field, value));
        trusting.refuses(&what, &token);
    }
}

#[test]
fn a_signature_that_is_none_is_refused() {
    let signer = Signer::rs256();
    let trusting = by_bundle(signer.clone());
    let claims = access("a", &["pull", "push"]);
    let good = signer.token(&claims);
    for alg in ["none", "None", "NONE", "nOnE", ""] {
        let header = with(signer.header(), "alg", json!(alg));
        let token = signer.sign(&header, &claims);
        trusting.refuses(alg, &token);
        trusting.refuses(alg, &format!("{}.", unsigned(&token)));
    }
    let other = signer.token(&access("b", &["pull"]));
    let signature = other.rsplit_once('.').expect("three parts").1;
    for token in [
        format!("{}.", unsigned(&good)),
        unsigned(&good).to_owned(),
        format!("{}.{signature}", unsigned(&good)),
        format!("{good}."),
        format!("{good}.{signature}"),
        format!("{good}=="),
        format!("{good}A"),
        "..".to_owned(),
    ] {
        trusting.refuses("a signature of something else", &token);
    }
    assert_eq!(trusting.status(&good), 404);
}

#[test]
fn a_public_key_is_no_secret_to_sign_with() {
    let rsa = Signer::rs256();
    let claims = access("a", &["pull", "push"]);
    let trusting = by_bundle(rsa.clone());
    let x5c = rsa.named()["x5c"][0].as_str().expect("base64").to_owned();
    let der = {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.decode(x5c)
    };
    let secrets: [&[u8]; 5] = [
        rsa.public().as_bytes(),
        rsa.public().trim_end().as_bytes(),
        rsa.root().as_bytes(),
        &der.expect("a certificate"),
        b"",
    ];
    for secret in secrets {
        let forger = Signer::hs256(secret, rsa.named());
        trusting.refuses("HS256", &forger.token(&claims));
        let header = with(forger.header(), "alg", json!("RS256"));
        trusting.refuses("HS256 that says RS256", &forger.sign(&header, &claims));
    }

    let ec = Signer::es256("key");
    let jwks = ec.jwks();
    let trusting = by_jwks_file(ec.clone());
    assert_eq!(trusting.status(&ec.token(&claims)), 404);
    let coordinate = jwks["keys"][0]["x"].as_str().expect("a coordinate");
    for secret in [ec.public(), &jwks.to_string(), coordinate] {
        let forger = Signer::hs256(secret.as_bytes(), ec.named());
        trusting.refuses("HS256", &forger.token(&claims));
    }
}

#[test]
fn a_key_that_a_token_brings_along_is_not_trusted() {
    let (rsa, foreign) = (Signer::rs256(), Signer::rs256());
    let claims = access("a", &["pull", "push"]);
    let trusting = by_bundle(rsa.clone());
    trusting.refuses("a foreign chain", &foreign.token(&claims));
    let header = with(foreign.header(), "x5c", rsa.named()["x5c"].clone());
    trusting.refuses("another's chain", &foreign.sign(&header, &claims));
    let both = [&foreign, &rsa].map(|signer| signer.named()["x5c"][0].clone());
    let header = with(foreign.header(), "x5c", json!(both));
    trusting.refuses("a chain of both", &foreign.sign(&header, &claims));

    let (ec, stranger) = (Signer::es256("key"), Signer::es256("key"));
    let trusting = by_jwks_file(ec.clone());
    trusting.refuses("another key of the same name", &stranger.token(&claims));
    let jwk = stranger.jwks()["keys"][0].clone();
    let brought = json!({"alg": "ES256", "typ": "JWT", "jwk": jwk});
    trusting.refuses("jwk", &stranger.sign(&brought, &claims));
    let url = trusting.server.jwks_url();
    for field in ["jku", "x5u"] {
        let header = with(stranger.header(), field, json!(url));
        trusting.refuses(field, &stranger.sign(&header, &claims));
    }
    for id in ["", "../key", "key\0", "other"] {
        let header = with(ec.header(), "kid", json!(id));
        trusting.refuses(id, &ec.sign(&header, &claims));
    }
    assert_eq!(trusting.status(&ec.token(&claims)), 404);
}

#[test]
fn several_tokens_are_none() {
    let signer = Signer::es256("key");
    let trusting = by_jwks_file(signer.clone());
    let token = signer.token(&access("a", &["pull"]));
    let header = format!("Authorization: Bearer {token}");
    let twice = trusting.curl(Some(&token), &["-H", &header], PATH);
    twice.answer.expect_status(401);
    let joined = trusting.curl(Some(&format!("{token}, Bearer {token}")), &[], PATH);
    joined.answer.expect_status(401);
    assert_eq!(trusting.status(&token), 404);
}
