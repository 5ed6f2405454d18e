//! Tokens of a server elsewhere, with the clients that people use.

use std::time::Duration;

use roadstead_oci::{Algorithm, Digest};
use roadstead_tests::image::{layout, noise};
use roadstead_tests::proxy::Proxy;
use roadstead_tests::tokens::{SERVICE, challenge, claims, now};
use roadstead_tests::tools::{Curled, curl, skopeo_fails};
use roadstead_tests::{Docker, Image, Options, Registry, Signer, TokenServer, scratch, wait_until};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::copy;

/// A registry that trusts a token server by a file in a directory of its own.
pub(super) struct Trusting {
    pub(super) server: TokenServer,
    pub(super) registry: Registry,
    pub(super) home: TempDir,
}

/// By the certificate of its authority.
fn by_certificate() -> Trusting {
    by_file(Signer::rs256(), "rootcertbundle", |signer| {
        signer.root().to_owned()
    })
}

/// By a file with its key.
pub(super) fn by_jwks_file(signer: Signer) -> Trusting {
    by_file(signer, "jwks", |signer| signer.jwks().to_string())
}

pub(super) fn by_file(signer: Signer, key: &str, content: impl Fn(&Signer) -> String) -> Trusting {
    let home = scratch();
    let file = home.path().join("trusted");
    std::fs::write(&file, content(&signer)).expect("a file");
    let server = TokenServer::start(signer);
    let yaml = server.yaml(&format!("{key}: {}", file.display()));
    Trusting {
        registry: Registry::roadstead(Options::default().yaml(&yaml)),
        server,
        home,
    }
}

impl Trusting {
    pub(super) fn curl(&self, token: Option<&str>, args: &[&str], path: &str) -> Curled {
        let url = format!("{}{path}", self.registry.url());
        let header = token.map(|token| format!("Authorization: Bearer {token}"));
        let header: Vec<&str> = header.iter().flat_map(|header| ["-H", header]).collect();
        curl(&[&header[..], args, &[&url]].concat())
    }

    /// A token from the server, as a client gets it.
    fn token(&self, user: &str, scopes: &str) -> String {
        let login = format!("{user}:{}", super::password(user));
        let scope = format!("scope={scopes}");
        let given = curl(&[
            "-G",
            "-u",
            &login,
            "--data-urlencode",
            &scope,
            &self.server.realm(),
        ]);
        let document = given.answer.expect_status(200).json();
        document["token"].as_str().expect("a token").to_owned()
    }

    fn push_and_pull(&self, name: &str) {
        let image = Image::new(43).layers(2).build();
        let (from, to) = (scratch(), scratch());
        layout::write(from.path(), "v1", &image);
        let [source, target] = [&from, &to].map(|dir| format!("oci:{}:v1", dir.path().display()));
        let name = format!("docker://{}", self.registry.image(name));
        copy(&source, &name, &["--dest-creds=ann:nna"]);
        copy(&name, &target, &["--src-creds=bob:bob"]);
        layout::assert_holds(to.path(), &image);
    }
}

/// What a token of ann's is to allow.
pub(super) fn access(name: &str, actions: &[&str]) -> Value {
    let mut claims = claims(now());
    claims["access"] = json!([{"type": "repository", "name": name, "actions": actions}]);
    claims
}

#[test]
fn skopeo_pushes_and_pulls_with_tokens_signed_under_a_certificate() {
    let trusting = by_certificate();
    trusting.push_and_pull("a/image:v1");
    let name = format!("docker://{}", trusting.registry.image("a/image:v2"));
    let oci = scratch();
    layout::write(oci.path(), "v1", &Image::new(44).build());
    let source = format!("oci:{}:v1", oci.path().display());
    for login in [
        "--dest-creds=bob:bob",
        "--dest-creds=ann:wrong",
        "--dest-no-creds",
    ] {
        let said = skopeo_fails(&["copy", "--dest-tls-verify=false", login, &source, &name]).said();
        let refused = [
            "unauthorized",
            "denied",
            "invalid username/password",
            "wrong user or password",
        ];
        assert!(refused.iter().any(|words| said.contains(words)), "{said}");
    }
    let log = trusting.registry.log();
    assert!(!log.contains("eyJ") && !log.contains("nna"), "{log}");
}

#[test]
fn docker_logs_in_pushes_mounts_and_pulls_with_tokens() {
    let trusting = by_certificate();
    let (registry, docker) = (&trusting.registry, Docker::start());
    let host = registry.addr().to_string();
    let [first, second] = ["one/image:v1", "two/image:v1"].map(|name| registry.image(name));
    docker.build(&first, &[("file", noise(3, 100_000))]);
    docker.fails(&["push", &first]);
    docker.fails(&["login", "-u", "ann", "-p", "wrong", &host]);
    docker.run(&["login", "-u", "ann", "-p", "nna", &host]);
    docker.run(&["push", &first]);
    docker.run(&["tag", &first, &second]);
    let said = docker.run(&["push", &second]).said();
    assert!(said.contains("Mounted from one/image"), "{said}");
    // docker writes the actions of a push in another order than the registry's challenge.
    let both = [
        "repository:two/image:push,pull",
        "repository:one/image:pull",
    ];
    let given = trusting.server.given();
    let asked_for_both = given.iter().any(|given| given.scopes == both);
    assert!(asked_for_both, "{given:?}");
    docker.run(&["image", "rm", &first, &second]);
    docker.run(&["login", "-u", "bob", "-p", "bob", &host]);
    docker.run(&["pull", &second]);
    let said = docker.fails(&["push", &second]).said();
    assert!(
        said.contains("denied") || said.contains("unauthorized"),
        "{said}"
    );
}

#[test]
fn a_key_in_a_file_is_replaced_without_a_restart() {
    let trusting = by_jwks_file(Signer::es256("first"));
    trusting.push_and_pull("a/image:v1");
    let old = trusting.token("ann", "repository:a/image:pull");
    let tags = |token: &str| {
        trusting
            .curl(Some(token), &[], "/v2/a/image/tags/list")
            .answer
            .status
    };
    assert_eq!(tags(&old), 200);

    let next = Signer::es256("second");
    let jwks = next.jwks().to_string();
    trusting.server.rotate(next);
    let new = trusting.token("ann", "repository:a/image:pull");
    assert_eq!(tags(&new), 401, "not known yet");
    std::fs::write(trusting.home.path().join("trusted"), jwks).expect("a file");
    wait_until("the new key is known", Duration::from_secs(10), || {
        tags(&new) == 200
    });
    assert_eq!(tags(&old), 401, "the old key is gone");
    trusting.push_and_pull("b/image:v1");
}

#[test]
fn a_key_at_a_url_is_replaced_without_a_restart() {
    let server = TokenServer::start(Signer::es256("first"));
    let yaml = server.yaml(&format!("jwks: {}", server.jwks_url()));
    let trusting = Trusting {
        registry: Registry::roadstead(Options::default().yaml(&yaml)),
        server,
        home: scratch(),
    };
    trusting.push_and_pull("a/image:v1");
    trusting.server.rotate(Signer::es256("second"));
    let new = trusting.token("ann", "repository:a/image:pull");
    // Unknown names are a reason to fetch the keys, but not at each request.
    wait_until("the new key is known", Duration::from_mins(1), || {
        let answer = trusting
            .curl(Some(&new), &[], "/v2/a/image/tags/list")
            .answer;
        answer.status == 200
    });
    trusting.push_and_pull("b/image:v1");
}

#[test]
fn what_a_token_does_not_allow_is_asked_for_in_the_challenge() {
    let trusting = by_jwks_file(Signer::es256("key"));
    let answer = trusting.curl(None, &[], "/v2/").answer.expect_status(401);
    let asked = challenge(answer.expect_header("www-authenticate"));
    let expected = [
        ("realm", trusting.server.realm()),
        ("service", SERVICE.to_owned()),
    ];
    assert_eq!(
        asked,
        expected
            .map(|(name, value)| (name.to_owned(), value))
            .into()
    );
    let token = trusting.token("ann", "repository:a:pull,push");
    let mount = format!(
        "/v2/a/blobs/uploads/?mount={}&from=b",
        Digest::of(Algorithm::Sha256, b"content")
    );
    let cases = [
        ("GET", "/v2/b/tags/list", "repository:b:pull"),
        ("HEAD", "/v2/b/manifests/v1", "repository:b:pull"),
        ("PUT", "/v2/b/manifests/v1", "repository:b:pull,push"),
        ("DELETE", "/v2/a/manifests/v1", "repository:a:delete"),
        ("GET", "/v2/_catalog", "registry:catalog:*"),
        ("POST", &mount, "repository:a:pull,push repository:b:pull"),
    ];
    for (method, path, scope) in cases {
        let method = if method == "HEAD" {
            vec!["-I"]
        } else {
            vec!["-X", method]
        };
        let answer = trusting
            .curl(Some(&token), &method, path)
            .answer
            .expect_status(401);
        let asked = challenge(answer.expect_header("www-authenticate"));
        assert_eq!(asked["error"], "insufficient_scope", "{path}");
        assert_eq!(asked["scope"], scope, "{path}");
    }
    // With both scopes it is made, or rather, as the blob is not there, sent.
    let both = trusting.token("ann", "repository:a:pull,push repository:b:pull");
    let answer = trusting.curl(Some(&both), &["-X", "POST"], &mount).answer;
    answer.expect_status(202);
}

#[test]
fn a_blob_is_mounted_with_both_scopes_and_with_no_less() {
    let trusting = by_jwks_file(Signer::es256("key"));
    let digest = Digest::of(Algorithm::Sha256, b"content");
    let push = trusting.token("ann", "repository:from:pull,push");
    let octets = "Content-Type: application/octet-stream";
    let path = format!("/v2/from/blobs/uploads/?digest={digest}");
    let sent = trusting.curl(Some(&push), &["-H", octets, "-d", "content"], &path);
    sent.answer.expect_status(201);
    let mount = format!("/v2/to/blobs/uploads/?mount={digest}&from=from");
    let cases = [
        ("repository:to:pull,push", 401),
        ("repository:from:pull,push", 401),
        ("repository:to:pull,push repository:from:push", 401),
        ("repository:to:pull,push repository:from:pull", 201),
    ];
    for (scopes, status) in cases {
        let token = trusting.token("ann", scopes);
        let answer = trusting.curl(Some(&token), &["-X", "POST"], &mount).answer;
        assert_eq!(answer.status, status, "{scopes}");
    }
}

/// Clients see by `issued_at` and `expires_in` that a token is over, and by the challenge that it was.
#[test]
fn a_token_that_is_over_is_replaced_by_the_client() {
    let signer = Signer::es256("key");
    let mut over = access("a", &["pull"]);
    over["exp"] = (now() - 61).into();
    let over = signer.token(&over);
    let trusting = by_jwks_file(signer);
    let answer = trusting
        .curl(Some(&over), &[], "/v2/a/tags/list")
        .answer
        .expect_status(401);
    let asked = challenge(answer.expect_header("www-authenticate"));
    assert_eq!(asked["error"], "invalid_token");
    let token = trusting.token("ann", &asked["scope"]);
    assert_eq!(
        trusting
            .curl(Some(&token), &[], "/v2/a/tags/list")
            .answer
            .status,
        404
    );

    trusting.push_and_pull("a/image:v1");
    let once = trusting.server.given().len();
    trusting.server.give_tokens_that_are_over();
    trusting.push_and_pull("b/image:v1");
    let again = trusting.server.given().len() - once;
    assert!(
        again > once,
        "asked {once} times, and {again} times for tokens that were over"
    );
}

/// The token server behind the same name as the registry, as `autoredirect` has it.
#[test]
fn autoredirect_sends_clients_to_the_host_that_they_asked() {
    let signer = Signer::rs256();
    let home = scratch();
    let bundle = home.path().join("bundle.pem");
    std::fs::write(&bundle, signer.root()).expect("a file");
    let server = TokenServer::start(signer);
    let more = format!(
        "rootcertbundle: {}\n    autoredirect: true\n    autoredirectpath: /auth/token",
        bundle.display()
    );
    let registry = Registry::roadstead(Options::default().yaml(&server.yaml(&more)));
    let headers = "proxy_set_header Host $http_host; proxy_set_header X-Forwarded-Proto $scheme;";
    let proxy = Proxy::nginx(
        registry.addr(),
        &format!(
            "proxy_pass http://UPSTREAM; proxy_http_version 1.1; {headers} }}
             location /auth/ {{ proxy_pass http://{};",
            server.addr()
        ),
    );
    let trusted = proxy.certificate();
    let trusted = trusted.to_str().expect("text");
    let ping = curl(&["--cacert", trusted, &format!("{}/v2/", proxy.url())]).answer;
    let asked = challenge(ping.expect_status(401).expect_header("www-authenticate"));
    assert_eq!(asked["realm"], format!("{}/auth/token", proxy.url()));

    let image = Image::new(45).layers(2).build();
    let (from, to) = (scratch(), scratch());
    layout::write(from.path(), "v1", &image);
    let [source, target] = [&from, &to].map(|dir| format!("oci:{}:v1", dir.path().display()));
    let name = format!("docker://{}/a/image:v1", proxy.addr());
    copy(&source, &name, &["--dest-creds=ann:nna"]);
    copy(&name, &target, &["--src-creds=bob:bob"]);
    layout::assert_holds(to.path(), &image);
    let docker = Docker::start();
    let host = proxy.addr().to_string();
    docker.run(&["login", "-u", "bob", "-p", "bob", &host]);
    docker.run(&["pull", &format!("{host}/a/image:v1")]);
}
