//! Anybody pulls what is public, and who pushes logs in: with the clients that people use.

use roadstead_tests::image::{layout, noise};
use roadstead_tests::tokens::challenge;
use roadstead_tests::tools::skopeo_fails;
use roadstead_tests::{Docker, Image, Options, Podman, Registry, scratch};
use serde_json::Value;

use super::{Guarded, copy, guarded, guarded_with};

const RULES: &str = "
access:
  rules:
    - {repositories: [public/**], anonymous: true, actions: [pull]}
    - {repositories: ['**'], users: [ann], actions: [pull, push]}
";

fn public() -> Guarded {
    guarded(&["ann", "bob"], RULES)
}

/// The engine's classic image store asks `/v2/` first, and believes the challenge that it gets there.
#[test]
fn docker_pulls_what_is_public_and_logs_in_to_push() {
    let guarded = public();
    let (registry, docker) = (&guarded.registry, Docker::start());
    let host = registry.addr().to_string();
    let image = registry.image("public/a:v1");
    docker.build(&image, &[("file", noise(1, 100_000))]);
    let id = docker.id(&image);

    let said = docker.fails(&["push", &image]).said();
    assert!(is_refusal(&said), "{said}");
    let said = docker
        .fails(&["login", "-u", "ann", "-p", "guessed", &host])
        .said();
    assert!(
        said.contains("wrong user or password") || is_refusal(&said),
        "{said}"
    );
    docker.fails(&["push", &image]);

    docker.run(&["login", "-u", "ann", "-p", "nna", &host]);
    docker.run(&["push", &image]);
    let private = registry.image("private/a:v1");
    docker.run(&["tag", &image, &private]);
    docker.run(&["push", &private]);
    docker.run(&["logout", &host]);

    docker.run(&["image", "rm", &image, &private]);
    docker.run(&["pull", &image]);
    assert_eq!(docker.id(&image), id);
    let said = docker.fails(&["pull", &private]).said();
    assert!(is_refusal(&said), "{said}");

    // Bob is known, and may not push: that is told, and no password would help.
    docker.run(&["login", "-u", "bob", "-p", "bob", &host]);
    let said = docker.fails(&["push", &image]).said();
    assert!(said.contains("denied"), "{said}");
    docker.run(&["pull", &image]);
    assert_no_secret_in(registry);
}

#[test]
fn skopeo_and_podman_pull_what_is_public_and_log_in_to_push() {
    let guarded = public();
    let registry = &guarded.registry;
    let image = Image::new(42).layers(2).build();
    let (from, to) = (scratch(), scratch());
    layout::write(from.path(), "v1", &image);
    let [source, target] = [&from, &to].map(|dir| format!("oci:{}:v1", dir.path().display()));
    let [public, private] =
        ["public/s:v1", "private/s:v1"].map(|name| format!("docker://{}", registry.image(name)));
    let plain = ["--src-tls-verify=false", "--dest-tls-verify=false"];
    let refused = |flags: &[&str], from: &str, to: &str| {
        let args = [&["copy"], &plain[..], flags, &[from, to]].concat();
        let said = skopeo_fails(&args).said();
        assert!(is_refusal(&said), "{said}");
    };
    refused(&[], &source, &public);
    refused(&["--dest-creds=ann:guessed"], &source, &public);
    refused(&["--dest-creds=bob:bob"], &source, &public);
    copy(&source, &public, &["--dest-creds=ann:nna"]);
    copy(&source, &private, &["--dest-creds=ann:nna"]);
    copy(&public, &target, &[]);
    layout::assert_holds(to.path(), &image);
    refused(&[], &private, &target);
    refused(&["--src-creds=bob:bob"], &private, &target);

    let podman = Podman::new();
    let [public, private] = ["public/s:v1", "private/s:v1"].map(|name| registry.image(name));
    podman.pull(&public);
    let said = podman.pull_fails(&private).said();
    assert!(is_refusal(&said), "{said}");
    let again = registry.image("public/p:v1");
    let said = podman.push_fails(&public, &again).said();
    assert!(is_refusal(&said), "{said}");
    let host = registry.addr().to_string();
    let login = |password| ["login", "--tls-verify=false", "-u", "ann", "-p", password];
    let said = podman
        .fails(&[&login("guessed")[..], &[&host]].concat())
        .said();
    assert!(said.contains("invalid username/password"), "{said}");
    podman.run(&[&login("nna")[..], &[&host]].concat());
    podman.push(&public, &again);
    podman.pull(&private);
    assert_no_secret_in(registry);
}

/// What each client says where the registry lets it do nothing.
fn is_refusal(said: &str) -> bool {
    let refusals = [
        "unauthorized",
        "denied",
        "authentication required",
        "invalid username/password",
    ];
    refusals.iter().any(|words| said.contains(words))
}

fn assert_no_secret_in(registry: &Registry) {
    let log = registry.log();
    assert!(!log.contains("guessed"), "{log}");
}

const PREFIXED: &str = "/reg/auth/token";

fn below_a_prefix() -> Guarded {
    let options = Options::default()
        .yaml(RULES)
        .env("REGISTRY_HTTP_PREFIX", "/reg/");
    guarded_with(&["ann"], options)
}

impl Guarded {
    /// What the registry says to `/v2/` with this token.
    fn ping(&self, path: &str, given: &Value) -> u16 {
        let token = given["token"].as_str().expect("a token");
        let header = format!("Authorization: Bearer {token}");
        self.curl(None, &["-H", &header], path).answer.status
    }
}

#[test]
fn a_token_is_asked_for_by_challenge_and_given() {
    let guarded = below_a_prefix();
    let url = guarded.registry.url();
    let answer = guarded.curl(None, &["-X", "POST"], "/reg/v2/public/a/blobs/uploads/");
    let answer = answer.answer.expect_status(401);
    let asked = challenge(answer.expect_header("www-authenticate"));
    let expected = [
        ("realm", format!("{url}{PREFIXED}")),
        ("service", "Registry Realm".to_owned()),
        ("scope", "repository:public/a:pull,push".to_owned()),
    ];
    let expected = expected.map(|(name, value)| (name.to_owned(), value));
    assert_eq!(asked, expected.into());

    let path = format!("{PREFIXED}?service=x&scope=y");
    let given = guarded.curl(None, &[], &path).answer.expect_status(200);
    assert_eq!(given.header("cache-control"), Some("no-store"));
    let given = given.json();
    assert_eq!(given["token"], given["access_token"]);
    assert_eq!(given["expires_in"], 300);
    let issued = given["issued_at"].as_str().expect("a time");
    assert!(issued.ends_with('Z') && issued.len() == 20, "{issued}");
    assert_eq!(guarded.ping("/reg/v2/", &given), 200);
    let of_ann = guarded.curl(Some("ann"), &[], PREFIXED).answer;
    let of_ann = of_ann.expect_status(200).json();
    assert_eq!(guarded.ping("/reg/v2/", &of_ann), 200);
}

#[test]
fn a_token_is_given_for_a_form_too_and_for_nothing_else() {
    let guarded = below_a_prefix();
    let form = |fields: &str| guarded.curl(None, &["-d", fields], PREFIXED).answer;
    let of_ann = form("grant_type=password&username=ann&password=nna&service=x&client_id=c");
    let of_ann = of_ann.expect_status(200).json();
    assert_eq!(guarded.ping("/reg/v2/", &of_ann), 200);
    let wrong = form("grant_type=password&username=ann&password=x").expect_status(401);
    let challenge = wrong.header("www-authenticate");
    assert_eq!(challenge, Some("Basic realm=\"Registry Realm\""));
    form("grant_type=refresh_token&refresh_token=x").expect_status(400);
    let long = format!("grant_type=password&username={}", "a".repeat(20_000));
    form(&long).expect_status(413);
    for (method, status) in [("PUT", 405), ("DELETE", 405), ("OPTIONS", 200)] {
        let answer = guarded.curl(None, &["-X", method], PREFIXED).answer;
        let answer = answer.expect_status(status);
        assert_eq!(answer.header("allow"), Some("GET, POST"));
    }
    // Below the prefix, and only there.
    assert_eq!(guarded.status(None, "GET", "/auth/token"), 404);
}

#[test]
fn without_anonymous_rules_there_is_no_such_place() {
    let guarded = guarded(&["ann"], "");
    assert_eq!(guarded.status(None, "GET", "/auth/token"), 404);
    assert_eq!(guarded.status(Some("ann"), "GET", "/auth/token"), 404);
}

/// The key comes from the secret that nodes share, or that the store keeps.
#[test]
fn a_token_outlives_the_process_and_is_good_at_other_nodes_with_the_secret() {
    let shared = || {
        Options::default()
            .yaml(RULES)
            .env("REGISTRY_HTTP_SECRET", "shared")
    };
    let mut one = guarded_with(&["ann"], shared());
    let two = guarded_with(&["ann"], shared());
    let other = guarded(&["ann"], RULES);
    let given = one.curl(None, &[], "/auth/token").answer;
    let given = given.expect_status(200).json();
    let pings = [&one, &two, &other].map(|at| at.ping("/v2/", &given));
    assert_eq!(pings, [200, 200, 401]);
    one.registry.restart();
    assert_eq!(one.ping("/v2/", &given), 200);
}
