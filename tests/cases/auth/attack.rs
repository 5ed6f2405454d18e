//! Whoever may do little tries to do more: with other people's digests, sessions, paths, tokens and headers.

mod guesses;
mod paths;
mod tokens;

use roadstead_oci::Digest;
use roadstead_tests::client::Call;
use roadstead_tests::{Answer, Image};
use serde_json::json;

use super::{Guarded, guarded, password};

/// Ann's is nobody else's; bob and eve share a team; everybody reads what is public.
const RULES: &str = "
access:
  rules:
    - {repositories: [private/ann/**], users: [ann], actions: ['*']}
    - {repositories: [team/**], users: [bob, eve], actions: ['*']}
    - {repositories: [public/**], anonymous: true, actions: [pull]}
";

fn three() -> Guarded {
    guarded(&["ann", "bob", "eve"], RULES)
}

/// `Basic …`, with the right password.
fn basic(user: &str) -> String {
    use base64::Engine as _;
    let login = format!("{user}:{}", password(user));
    let login = base64::engine::general_purpose::STANDARD.encode(login);
    format!("Basic {login}")
}

impl Guarded {
    fn call(&self, user: Option<&str>, method: &str, target: &str) -> Call {
        let call = self.registry.client().call(method, target);
        match user {
            Some(user) => call.header("authorization", &basic(user)),
            None => call,
        }
    }

    #[track_caller]
    fn send(&self, user: &str, method: &str, target: &str) -> Answer {
        self.call(Some(user), method, target).send()
    }

    /// An image of ann's, and the digests of all that it consists of.
    #[track_caller]
    fn secrets(&self) -> (String, Vec<Digest>) {
        let image = Image::new(50).layers(2).build();
        let at = "/v2/private/ann/x";
        for blob in image.blobs() {
            let target = format!("{at}/blobs/uploads/?digest={}", blob.digest);
            let call = self.call(Some("ann"), "POST", &target);
            let call = call.header("content-type", "application/octet-stream");
            call.body(blob.bytes.clone()).send().expect_status(201);
        }
        let manifest = image.root();
        let call = self.call(Some("ann"), "PUT", &format!("{at}/manifests/secret-tag"));
        let call = call.header("content-type", &manifest.media_type);
        call.body(manifest.bytes.clone()).send().expect_status(201);
        let blobs = image.blobs().iter().map(|blob| blob.digest.clone());
        (manifest.digest.to_string(), blobs.collect())
    }
}

#[test]
fn a_digest_alone_opens_nothing() {
    let guarded = three();
    let (manifest, blobs) = guarded.secrets();
    for digest in &blobs {
        for method in ["GET", "HEAD"] {
            let own = format!("/v2/team/x/blobs/{digest}");
            assert_eq!(guarded.send("bob", method, &own).status, 404);
            let there = format!("/v2/private/ann/x/blobs/{digest}");
            assert_eq!(guarded.send("bob", method, &there).status, 403);
        }
    }
    for target in ["manifests", "blobs"] {
        let own = format!("/v2/team/x/{target}/{manifest}");
        assert_eq!(guarded.send("bob", "GET", &own).status, 404, "{target}");
    }
    let referrers = format!("/v2/team/x/referrers/{manifest}");
    let listed = guarded.send("bob", "GET", &referrers).expect_status(200);
    assert_eq!(listed.json()["manifests"], json!([]));
    let there = format!("/v2/private/ann/x/referrers/{manifest}");
    guarded.send("bob", "GET", &there).expect_status(403);
    // What names them is refused, and takes nothing along.
    for kind in ["layer", "config", "child"] {
        let body = naming(kind, &manifest, &blobs);
        let put = guarded.call(Some("bob"), "PUT", "/v2/team/x/manifests/mine");
        let put = put.header("content-type", body["mediaType"].as_str().expect("a type"));
        let refused = put.body(body.to_string()).send();
        let codes = refused.codes();
        assert!(
            codes.iter().all(|code| code == "MANIFEST_BLOB_UNKNOWN"),
            "{kind}: {codes:?}"
        );
        assert!(!codes.is_empty(), "{kind}");
    }
    for digest in &blobs {
        let own = format!("/v2/team/x/blobs/{digest}");
        guarded.send("bob", "GET", &own).expect_status(404);
    }
}

/// A manifest that names what is ann's.
fn naming(kind: &str, manifest: &str, blobs: &[Digest]) -> serde_json::Value {
    let image = "application/vnd.oci.image.manifest.v1+json";
    let one =
        json!({"mediaType": "application/octet-stream", "size": 7, "digest": blobs[0].to_string()});
    if kind == "child" {
        return json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [{"mediaType": image, "size": 7, "digest": manifest}]});
    }
    let layers = if kind == "layer" {
        json!([one])
    } else {
        json!([])
    };
    json!({"schemaVersion": 2, "mediaType": image, "config": one, "layers": layers})
}

#[test]
fn a_mount_takes_nothing_from_where_one_may_not_pull() {
    let guarded = three();
    let (_, blobs) = guarded.secrets();
    let digest = &blobs[0];
    let sources = [
        "",
        "&from=private/ann/x",
        "&from=private%2Fann%2Fx",
        "&from=team/x&from=private/ann/x",
        "&from=private/ann/x&from=team/x",
        "&from=",
        "&from",
        "&from=team/../private/ann/x",
        "&from=PRIVATE/ann/x",
        "&from=/private/ann/x",
        "&From=private/ann/x",
        "&from=private/ann/x%00",
        "&mount=x&from=private/ann/x",
    ];
    for source in sources {
        let mount = format!("/v2/team/x/blobs/uploads/?mount={digest}{source}");
        let status = guarded.send("bob", "POST", &mount).status;
        assert!(
            status == 202 || (400..500).contains(&status),
            "{source}: {status}"
        );
        let own = format!("/v2/team/x/blobs/{digest}");
        assert_eq!(guarded.send("bob", "GET", &own).status, 404, "{source}");
        let anonymous = guarded.call(None, "POST", &mount).send();
        assert_eq!(anonymous.status, 401, "{source}");
    }
    // Nor is anything put into a repository where one may not push.
    let mount = format!("/v2/private/ann/x/blobs/uploads/?mount={digest}&from=team/x");
    guarded.send("bob", "POST", &mount).expect_status(403);
}

#[test]
fn an_upload_session_belongs_to_its_repository() {
    let guarded = three();
    let open = |user, name: &str| {
        let target = format!("/v2/{name}/blobs/uploads/");
        let answer = guarded.send(user, "POST", &target).expect_status(202);
        let location = answer.location();
        let (_, path) = location.split_once("/v2/").expect("a path");
        format!("/v2/{path}")
    };
    let session = open("ann", "private/ann/x");
    for method in ["GET", "PATCH", "PUT", "DELETE"] {
        assert_eq!(
            guarded.send("bob", method, &session).status,
            403,
            "{method}"
        );
        let anonymous = guarded.call(None, method, &session).send();
        assert_eq!(anonymous.status, 401, "{method}");
        // Its id and state in a repository where bob may push.
        let moved = session.replace("private/ann/x", "team/x");
        assert_eq!(guarded.send("bob", method, &moved).status, 404, "{method}");
    }
    let patch = guarded.call(Some("ann"), "PATCH", &session).body("content");
    patch.send().expect_status(202);

    // Who may push to a repository may go on with each of its sessions: the protocol knows no owner of one, and clients
    // change their tokens while they upload.
    let shared = open("bob", "team/x");
    let patch = guarded.call(Some("eve"), "PATCH", &shared).body("content");
    patch.send().expect_status(202);
}

#[test]
fn several_credentials_are_none() {
    let guarded = three();
    let (ann, bob) = (basic("ann"), basic("bob"));
    let pairs = [
        [ann.as_str(), &ann],
        [&bob, &ann],
        [&ann, "Bearer x"],
        [&ann, ""],
        ["", &ann],
        ["Basic", &ann],
        ["Bearer x", &ann],
    ];
    for [first, second] in pairs {
        let call = guarded.call(None, "GET", "/v2/private/ann/x/tags/list");
        let answer = call
            .header("authorization", first)
            .header("authorization", second)
            .send();
        assert_eq!(answer.status, 401, "{first:.6} {second:.6}");
    }
    let one = guarded.send("ann", "GET", "/v2/private/ann/x/tags/list");
    assert_eq!(one.status, 404, "one of them is right");
}

#[test]
fn long_credentials_are_refused_and_harm_nobody() {
    let guarded = three();
    for scheme in ["Basic", "Bearer", "Nonsense"] {
        for length in [10_000, 17_000, 60_000, 1_000_000] {
            let header = format!("{scheme} {}", "A".repeat(length));
            let call = guarded
                .call(None, "GET", "/v2/")
                .header("authorization", &header);
            // The connection may be closed before all of it was sent.
            if let Some(answer) = call.try_send() {
                assert!(
                    [400, 401, 431].contains(&answer.status),
                    "{scheme} {length}"
                );
            }
        }
    }
    guarded.send("ann", "GET", "/v2/").expect_status(200);
    assert!(!guarded.registry.log().contains("panicked"));
}
