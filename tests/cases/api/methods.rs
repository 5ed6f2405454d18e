//! Methods: which path knows which, and what the others are told.

use roadstead_tests::{Options, Registry};

use super::steps::{blob, has, has_no, put, refused, roadstead, sha256};

const METHODS: [&str; 8] = [
    "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE", "BREW",
];

/// Each kind of path, with what its `Allow` says.
fn targets() -> Vec<(String, &'static str)> {
    let digest = sha256(b"x");
    vec![
        ("/v2/_catalog".to_owned(), "GET, HEAD"),
        ("/v2/m/tags/list".to_owned(), "GET, HEAD"),
        (format!("/v2/m/referrers/{digest}"), "GET, HEAD"),
        ("/v2/m/manifests/tag".to_owned(), "DELETE, GET, HEAD, PUT"),
        (
            format!("/v2/m/manifests/{digest}"),
            "DELETE, GET, HEAD, PUT",
        ),
        (format!("/v2/m/blobs/{digest}"), "DELETE, GET, HEAD"),
        ("/v2/m/blobs/uploads/".to_owned(), "POST"),
        (
            "/v2/m/blobs/uploads/some-id".to_owned(),
            "DELETE, GET, HEAD, PATCH, PUT",
        ),
    ]
}

/// O1, O37
#[test]
fn a_method_that_a_path_does_not_know_is_405_with_those_that_it_does() {
    let registry = roadstead();
    for (path, allowed) in targets() {
        for method in METHODS {
            let answer = registry.client().call(method, &path).send();
            if allowed.split(", ").any(|known| known == method) {
                assert_ne!(answer.status, 405, "{method} {path}");
                continue;
            }
            has(&answer, "allow", allowed);
            if method == "HEAD" {
                assert!(answer.expect_status(405).body.is_empty());
            } else {
                refused(answer, 405, "UNSUPPORTED");
            }
        }
    }
}

/// As with the reference: whoever asks in whatever way is told that somebody is there.
#[test]
fn the_root_and_the_base_answer_every_method() {
    let registry = roadstead();
    for (path, body) in [("/", ""), ("/v2/", "{}")] {
        for method in METHODS.into_iter().chain(["OPTIONS"]) {
            let answer = registry
                .client()
                .call(method, path)
                .send()
                .expect_status(200);
            let body = if method == "HEAD" { "" } else { body };
            assert_eq!(answer.text(), body, "{method} {path}");
            has_no(&answer, "allow");
        }
    }
}

#[test]
fn options_are_answered_with_the_methods_of_the_path() {
    let registry = roadstead();
    for (path, allowed) in targets() {
        let answer = registry.client().call("OPTIONS", &path).send();
        has(&answer.clone().expect_status(200), "allow", allowed);
        assert!(answer.body.is_empty(), "{path}");
    }
    let nowhere = registry.client().call("OPTIONS", "/nowhere").send();
    nowhere.expect_status(404);
}

/// A name that is none has no methods of its own: what is wrong with it is said by those that would use it.
#[test]
fn a_method_is_looked_at_before_the_name() {
    let registry = roadstead();
    let answer = registry.client().post("/v2/NO/tags/list");
    refused(answer, 405, "UNSUPPORTED");
    let answer = registry.client().get("/v2/NO/tags/list");
    refused(answer, 400, "NAME_INVALID");
}

#[test]
fn a_registry_that_is_read_only_serves_and_refuses_every_write() {
    let root = roadstead_tests::scratch();
    let writable = Registry::roadstead(Options::default().root(root.path()));
    let repository = writable.repository("kept");
    let (digest, manifest) = (blob(&repository, b"kept"), put(&repository, "tag"));
    drop(writable);
    let variable = "REGISTRY_STORAGE_MAINTENANCE_READONLY_ENABLED";
    let registry = Registry::roadstead(Options::default().root(root.path()).env(variable, "true"));
    let repository = registry.repository("kept");
    assert_eq!(
        repository.manifest("tag").expect_status(200).body,
        manifest.bytes
    );
    assert_eq!(repository.blob(&digest).expect_status(200).body, b"kept");
    let writes = [
        registry.client().post(&repository.path("blobs/uploads/")),
        repository.push_manifest("other", &manifest),
        repository.delete_manifest("tag"),
        repository.delete_blob(&digest),
    ];
    for answer in writes {
        refused(answer, 405, "UNSUPPORTED");
    }
    assert_eq!(repository.tags(), ["tag"]);
}
