//! Names, digests and sessions that are none: each is refused with the status that it deserves, and leaves nothing.

use roadstead_tests::Registry;

use super::steps::{put, refused, roadstead, session_of, sha256};
use crate::raw::ask;

/// Names that are none.
fn names() -> Vec<String> {
    let mut names: Vec<String> = [
        "A",
        "a/B",
        "-a",
        "a-",
        "_a",
        "a_",
        ".a",
        "a.",
        "a..b",
        "a___b",
        "a._b",
        "a/-b",
        "a/b-",
        "a//b",
        "a/./b",
        ".",
        "..",
        "../..",
        "a/../b",
        "a%2F..%2Fb",
        "%2e%2e",
        "%2e%2e/%2e%2e/etc",
        "a%00b",
        "a%0d%0aX-Injected:%20yes",
        "a%20b",
        "a+b",
        "a:b",
        "a@b",
        "a*",
        "a%25",
        "%C3%A4",
        "a%5Cb",
        "a~b",
        "_catalog",
        "a/_manifests/b",
        "_uploads",
        "~root",
    ]
    .map(str::to_owned)
    .to_vec();
    names.push("a".repeat(256));
    names.push(format!("{}a", "a/".repeat(128)));
    names
}

/// O2, O37: wherever a name stands.
#[test]
fn a_name_that_is_none_is_400() {
    let registry = roadstead();
    let digest = sha256(b"x");
    let routes = [
        ("GET", "tags/list".to_owned()),
        ("GET", "manifests/tag".to_owned()),
        ("PUT", format!("manifests/{digest}")),
        ("DELETE", "manifests/tag".to_owned()),
        ("GET", format!("blobs/{digest}")),
        ("DELETE", format!("blobs/{digest}")),
        ("POST", "blobs/uploads/".to_owned()),
        ("GET", "blobs/uploads/some-id".to_owned()),
        ("PATCH", "blobs/uploads/some-id?_state=x".to_owned()),
        (
            "PUT",
            format!("blobs/uploads/some-id?_state=x&digest={digest}"),
        ),
        ("DELETE", "blobs/uploads/some-id?_state=x".to_owned()),
        ("GET", format!("referrers/{digest}")),
    ];
    for name in names() {
        for (method, rest) in &routes {
            let path = format!("/v2/{name}/{rest}");
            let answer = registry.client().call(method, &path).send();
            let answer = refused(answer, 400, "NAME_INVALID");
            assert_eq!(answer.header("x-injected"), None);
        }
        let from = format!("/v2/to/blobs/uploads/?mount={digest}&from={name}");
        refused(registry.client().post(&from), 400, "NAME_INVALID");
    }
    assert!(registry.client().catalog().is_empty());
}

/// O2: names of up to 255 bytes, of the alphabet that the specification has, and of its reserved words.
#[test]
fn a_name_is_any_that_the_specification_lets_pass() {
    let registry = roadstead();
    let longest = "a".repeat(255);
    let deepest = format!("{}a", "a/".repeat(127));
    for name in [
        "a",
        "0",
        "a/b/c",
        "a.b",
        "a_b",
        "a__b",
        "a-b",
        "a---b",
        "0.0/1_1/2__2/3-3",
        "tags/list",
        "manifests",
        "blobs/uploads",
        "v2",
        "v2/v2",
        "a/manifests/b",
        "a/tags/list",
        "sha256",
        &longest,
        &deepest,
    ] {
        let repository = registry.repository(name);
        put(&repository, "tag");
        assert_eq!(repository.tags(), ["tag"], "{name}");
        repository.manifest("tag").expect_status(200);
        let session = repository.open_upload();
        registry
            .client()
            .get(session_of(&session))
            .expect_status(204);
    }
    assert_eq!(registry.client().catalog().len(), 19);
}

/// O10, O37: wherever a digest stands.
#[test]
fn a_digest_that_is_none_is_400() {
    let registry = roadstead();
    let repository = registry.repository("digests");
    put(&repository, "tag");
    let hex = sha256(b"").hex().to_owned();
    let [hex32, hex62, hex63] = [32, 62, 63].map(|digits| "a".repeat(digits));
    let digests = [
        "sha256:".to_owned(),
        ":".to_owned(),
        format!(":{hex}"),
        format!("sha256:{hex}0"),
        format!("sha256:{hex63}"),
        format!("sha256:{}", hex.to_uppercase()),
        format!("sha256:{hex63}g"),
        format!("sha256::{hex}"),
        format!("sha256:{hex}:"),
        format!("sha256%3A{hex}%00"),
        format!("sha512:{hex}"),
        format!("md5:{hex32}"),
        format!("sha256:{}", "../".repeat(21) + "x").replace('/', "%5C"),
        format!("sha256:%2e%2e{hex62}"),
        format!("sha256:{}", "a".repeat(5000)),
    ];
    let client = registry.client();
    for digest in &digests {
        for (method, rest) in [
            ("GET", format!("blobs/{digest}")),
            ("HEAD", format!("blobs/{digest}")),
            ("DELETE", format!("blobs/{digest}")),
            ("GET", format!("manifests/{digest}")),
            ("PUT", format!("manifests/{digest}")),
            ("DELETE", format!("manifests/{digest}")),
            ("GET", format!("referrers/{digest}")),
            ("POST", format!("blobs/uploads/?digest={digest}")),
            ("POST", format!("blobs/uploads/?mount={digest}")),
        ] {
            let answer = client.call(method, &repository.path(&rest)).send();
            if method == "HEAD" {
                answer.expect_status(400);
            } else {
                refused(answer, 400, "DIGEST_INVALID");
            }
        }
    }
}

/// O11: an id of a session that was never opened.
#[test]
fn a_session_that_is_none_is_404() {
    let registry = roadstead();
    let long = "a".repeat(5000);
    for id in [
        "x",
        "0",
        "..",
        ".",
        "%2e%2e",
        "%00",
        "-",
        "_uploads",
        "a%20b",
        "%C3%A4",
        "a:b",
        "00000000-0000-0000-0000-000000000000",
        "ffffffff-ffff-ffff-ffff-ffffffffffff",
        "0192a8d0-1234-8abc-8def-0123456789ab",
        &long,
    ] {
        for method in ["GET", "PATCH", "PUT", "DELETE"] {
            let path = format!("/v2/some/blobs/uploads/{id}?_state=x");
            let answer = registry.client().call(method, &path).send();
            refused(answer, 404, "BLOB_UPLOAD_UNKNOWN");
        }
    }
}

/// A store that was asked for nonsense holds none of it.
#[test]
fn nonsense_leaves_nothing_behind() {
    let registry = roadstead();
    put(&registry.repository("only"), "tag");
    let tree = |registry: &Registry| {
        let listed = roadstead_tests::Run::new("find")
            .arg(registry.root().join("docker"))
            .ok();
        listed.text()
    };
    let before = tree(&registry);
    for name in names() {
        for (method, rest) in [
            ("PUT", "manifests/x"),
            ("POST", "blobs/uploads/"),
            ("DELETE", "manifests/x"),
        ] {
            let target = format!("/v2/{name}/{rest}");
            ask(&registry, method, &target, "Content-Length: 0\r\n");
        }
    }
    assert_eq!(tree(&registry), before);
}
