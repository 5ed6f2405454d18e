//! Users with passwords, and what they may do.

mod anonymous;
mod attack;
mod tokens;

use std::path::Path;

use roadstead_oci::{Algorithm, Digest};
use roadstead_tests::image::layout;
use roadstead_tests::tools::{Curled, curl, skopeo};
use roadstead_tests::{Image, Options, Registry, scratch};
use tempfile::TempDir;

const COST: u32 = 4;

/// A registry with these users.
struct Guarded {
    registry: Registry,
    home: TempDir,
}

fn password(user: &str) -> String {
    user.chars().rev().collect()
}

fn guarded(users: &[&str], yaml: &str) -> Guarded {
    guarded_with(users, Options::default().yaml(yaml))
}

fn guarded_with(users: &[&str], options: Options) -> Guarded {
    let home = scratch();
    let file = home.path().join("htpasswd");
    let lines: Vec<String> = users
        .iter()
        .map(|user| {
            format!(
                "{user}:{}\n",
                bcrypt::hash(password(user), COST).expect("a hash")
            )
        })
        .collect();
    std::fs::write(&file, lines.concat()).expect("a file");
    let yaml = format!(
        "auth:\n  htpasswd:\n    realm: Registry Realm\n    path: {}\n",
        file.display()
    );
    Guarded {
        registry: Registry::roadstead(options.yaml(&yaml)),
        home,
    }
}

impl Guarded {
    fn curl(&self, user: Option<&str>, args: &[&str], path: &str) -> Curled {
        let login = user.map(|user| format!("{user}:{}", password(user)));
        let login: Vec<&str> = login.iter().flat_map(|login| ["-u", login]).collect();
        let url = format!("{}{path}", self.registry.url());
        curl(&[&login[..], args, &[&url]].concat())
    }

    fn status(&self, user: Option<&str>, method: &str, path: &str) -> u16 {
        let head = if method == "HEAD" {
            vec!["-I"]
        } else {
            vec!["-X", method]
        };
        self.curl(user, &head, path).answer.status
    }

    fn push_blob(&self, user: &str, name: &str, content: &str) -> (Digest, u16) {
        let digest = Digest::of(Algorithm::Sha256, content.as_bytes());
        let path = format!("/v2/{name}/blobs/uploads/?digest={digest}");
        let octets = "Content-Type: application/octet-stream";
        let args = ["-X", "POST", "-H", octets, "-d", content];
        (digest, self.curl(Some(user), &args, &path).answer.status)
    }
}

fn copy(from: &str, to: &str, flags: &[&str]) {
    let copy = [
        "copy",
        "--all",
        "--preserve-digests",
        "--src-tls-verify=false",
        "--dest-tls-verify=false",
    ];
    skopeo(&[&copy[..], flags, &[from, to]].concat());
}

#[test]
fn a114_a115_every_path_of_the_api_asks_for_a_login() {
    let guarded = guarded(&["ann"], "");
    let digest = Digest::of(Algorithm::Sha256, b"");
    let paths = [
        "/v2/".to_owned(),
        "/v2/_catalog".to_owned(),
        "/v2/a/tags/list".to_owned(),
        "/v2/a/manifests/latest".to_owned(),
        format!("/v2/a/blobs/{digest}"),
        format!("/v2/a/referrers/{digest}"),
        "/v2/a/blobs/uploads/".to_owned(),
        "/v2/a/blobs/uploads/some-id".to_owned(),
        "/v2/NO/tags/list".to_owned(),
        "/v2/nowhere".to_owned(),
        "/v2/a/b/c/d".to_owned(),
    ];
    for path in paths {
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW"] {
            let answer = guarded
                .curl(None, &["-X", method], &path)
                .answer
                .expect_status(401);
            let challenge = answer.header("www-authenticate");
            assert_eq!(
                challenge,
                Some("Basic realm=\"Registry Realm\""),
                "{method} {path}"
            );
            let version = answer.header("docker-distribution-api-version");
            assert_eq!(version, Some("registry/2.0"), "{method} {path}");
            assert_eq!(answer.json()["errors"][0]["code"], "UNAUTHORIZED");
        }
    }
    for open in ["/", "/livez", "/readyz"] {
        assert_eq!(guarded.status(None, "GET", open), 200, "{open}");
    }
}

#[test]
fn a119_a413_who_logs_in_pushes_and_pulls() {
    let guarded = guarded(&["annabel", "bob"], "");
    let image = Image::new(41).layers(2).build();
    let (from, to) = (scratch(), scratch());
    layout::write(from.path(), "v1", &image);
    let [source, target] =
        [&from, &to].map(|dir: &TempDir| format!("oci:{}:v1", Path::new(dir.path()).display()));
    let name = format!("docker://{}", guarded.registry.image("a/image:v1"));
    copy(&source, &name, &["--dest-creds=annabel:lebanna"]);
    copy(&name, &target, &["--src-creds=bob:bob"]);
    layout::assert_holds(to.path(), &image);
    assert_eq!(guarded.status(Some("annabel"), "GET", "/v2/"), 200);
    let with_login = format!("http://annabel:lebanna@{}/v2/", guarded.registry.addr());
    assert_eq!(curl(&[&with_login]).answer.status, 200);
    let wrong = format!("http://annabel:guessed@{}/v2/", guarded.registry.addr());
    assert_eq!(curl(&[&wrong]).answer.status, 401);
    let log = guarded.registry.log();
    assert!(
        !log.contains("lebanna") && !log.contains("guessed"),
        "{log}"
    );
}

const RULES: &str = "
access:
  groups:
    builders: [bob]
  rules:
    - {repositories: [public/**], anonymous: true, actions: [pull]}
    - {repositories: [team/*], groups: [builders], actions: [pull, push]}
    - {repositories: [private/ann/**], users: [ann], actions: ['*']}
";

#[test]
fn c12_rules_part_what_each_may_do() {
    let guarded = guarded(&["ann", "bob"], RULES);
    let tags = |name: &str| format!("/v2/{name}/tags/list");
    // (user, repository, pull)
    let pulls = [
        (None, "public/a", 404),
        (None, "team/a", 401),
        (None, "private/ann/a", 401),
        (Some("bob"), "public/a", 404),
        (Some("bob"), "team/a", 404),
        (Some("bob"), "team/a/b", 403),
        (Some("bob"), "private/ann/a", 403),
        (Some("ann"), "private/ann/a/b", 404),
        (Some("ann"), "team/a", 403),
    ];
    for (user, name, status) in pulls {
        assert_eq!(
            guarded.status(user, "GET", &tags(name)),
            status,
            "{user:?} {name}"
        );
    }
    // (user, repository, push, delete)
    let writes = [
        ("ann", "private/ann/x", 201, 202),
        ("ann", "public/x", 403, 403),
        ("bob", "team/x", 201, 403),
        ("bob", "public/x", 403, 403),
    ];
    for (user, name, push, delete) in writes {
        let (digest, pushed) = guarded.push_blob(user, name, name);
        assert_eq!(pushed, push, "{user} {name}");
        let path = format!("/v2/{name}/blobs/{digest}");
        assert_eq!(
            guarded.status(Some(user), "DELETE", &path),
            delete,
            "{user} {name}"
        );
    }
}

#[test]
fn what_one_may_not_pull_is_not_had_by_its_digest_a_mount_or_the_catalogue() {
    let guarded = guarded(&["ann", "bob"], RULES);
    let (secret, pushed) = guarded.push_blob("ann", "private/ann/x", "secret");
    assert_eq!(pushed, 201);
    let index = r#"{"schemaVersion":2,"manifests":[]}"#;
    let index_type = "Content-Type: application/vnd.oci.image.index.v1+json";
    for (user, name) in [("ann", "private/ann/x"), ("bob", "team/x")] {
        let put = ["-X", "PUT", "-H", index_type, "-d", index];
        let path = format!("/v2/{name}/manifests/v1");
        assert_eq!(guarded.curl(Some(user), &put, &path).answer.status, 201);
    }
    let blob = format!("/v2/team/x/blobs/{secret}");
    assert_eq!(guarded.status(Some("bob"), "GET", &blob), 404);
    for mount in [
        format!("/v2/team/x/blobs/uploads/?mount={secret}&from=private/ann/x"),
        format!("/v2/team/x/blobs/uploads/?mount={secret}"),
    ] {
        assert_eq!(
            guarded.status(Some("bob"), "POST", &mount),
            202,
            "sent instead: {mount}"
        );
        assert_eq!(guarded.status(Some("bob"), "GET", &blob), 404);
    }
    // A manifest that names it is refused: it is not in the repository.
    let image = format!(
        r#"{{"schemaVersion":2,"config":{{"mediaType":"a/b","size":6,"digest":"{secret}"}},"layers":[]}}"#
    );
    let image_type = "Content-Type: application/vnd.oci.image.manifest.v1+json";
    let put = ["-X", "PUT", "-H", image_type, "-d", &image];
    let refused = guarded
        .curl(Some("bob"), &put, "/v2/team/x/manifests/v2")
        .answer;
    assert_eq!(refused.json()["errors"][0]["code"], "MANIFEST_BLOB_UNKNOWN");
    let listed = |user: Option<&str>| {
        let answer = guarded.curl(user, &[], "/v2/_catalog").answer;
        answer.expect_status(200).json()["repositories"].clone()
    };
    assert_eq!(listed(Some("ann")), serde_json::json!(["private/ann/x"]));
    assert_eq!(listed(Some("bob")), serde_json::json!(["team/x"]));
}

#[test]
fn a_mount_from_where_one_may_pull_is_made() {
    let guarded = guarded(&["ann", "bob"], "");
    let (digest, _) = guarded.push_blob("ann", "one", "content");
    for (target, from) in [("two", "&from=one"), ("three", "")] {
        let mount = format!("/v2/{target}/blobs/uploads/?mount={digest}{from}");
        assert_eq!(guarded.status(Some("bob"), "POST", &mount), 201, "{mount}");
    }
}

#[test]
fn the_file_is_read_again_and_its_mistakes_are_named() {
    let guarded = guarded(&["ann"], "");
    assert_eq!(guarded.status(Some("bob"), "GET", "/v2/"), 401);
    let file = guarded.home.path().join("htpasswd");
    let both: Vec<String> = ["ann", "bob"]
        .iter()
        .map(|user| {
            format!(
                "{user}:{}\n",
                bcrypt::hash(password(user), COST).expect("a hash")
            )
        })
        .collect();
    std::fs::write(&file, both.concat()).expect("a file");
    roadstead_tests::wait_until("bob is let in", std::time::Duration::from_secs(10), || {
        guarded.status(Some("bob"), "GET", "/v2/") == 200
    });
    std::fs::write(&file, "ann:$apr1$salt$hash\n").expect("a file");
    let told = std::time::Duration::from_secs(10);
    roadstead_tests::wait_until("the mistake is logged", told, || {
        guarded.status(Some("ann"), "GET", "/v2/");
        guarded.registry.log().contains("bcrypt")
    });
    assert_eq!(
        guarded.status(Some("ann"), "GET", "/v2/"),
        200,
        "the last good file stays"
    );
}
