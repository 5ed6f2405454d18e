//! Routes, methods, and the form of errors.

use roadstead_tests::{Options, Registry};

use super::{is_refused, registry, sha256};

const API_VERSION: (&str, Option<&str>) = ("docker-distribution-api-version", Some("registry/2.0"));

/// O1, O36: this is a registry.
#[test]
fn the_base_says_that_this_is_a_registry() {
    let registry = registry();
    let base = registry.client().get("/v2/").expect_status(200);
    assert_eq!(
        (base.body.as_slice(), base.header("content-type")),
        (b"{}".as_slice(), Some("application/json"))
    );
    assert_eq!(base.header("content-length"), Some("2"));
    assert_eq!(base.header(API_VERSION.0), API_VERSION.1);
    registry.client().head("/v2/").expect_status(200);
    let root = registry.client().get("/").expect_status(200);
    assert_eq!(
        (root.body.len(), root.header("cache-control")),
        (0, Some("no-cache"))
    );
}

#[test]
fn paths_that_are_spelled_otherwise_are_sent_on() {
    let registry = registry();
    for (path, right) in [
        ("/v2", "/v2/"),
        ("/v2/a/tags/list/", "/v2/a/tags/list"),
        ("/v2/_catalog/", "/v2/_catalog"),
    ] {
        assert_eq!(
            registry.client().get(path).expect_status(301).location(),
            right
        );
    }
    let nowhere = registry.client().get("/v2/a").expect_status(404);
    assert_eq!(nowhere.text(), "404 page not found\n");
    assert_eq!(nowhere.header(API_VERSION.0), API_VERSION.1);
}

/// O37: methods that a path does not know, and those that it does.
#[test]
fn methods_are_told() {
    let registry = registry();
    let digest = sha256(b"x");
    let paths = [
        ("/v2/".to_owned(), "GET, HEAD"),
        ("/v2/_catalog".to_owned(), "GET, HEAD"),
        ("/v2/a/tags/list".to_owned(), "GET, HEAD"),
        (format!("/v2/a/referrers/{digest}"), "GET, HEAD"),
        ("/v2/a/manifests/b".to_owned(), "DELETE, GET, HEAD, PUT"),
        (format!("/v2/a/blobs/{digest}"), "DELETE, GET, HEAD"),
        ("/v2/a/blobs/uploads/".to_owned(), "POST"),
        (
            "/v2/a/blobs/uploads/x".to_owned(),
            "DELETE, GET, HEAD, PATCH, PUT",
        ),
    ];
    for (path, allowed) in paths {
        let options = registry
            .client()
            .call("OPTIONS", &path)
            .send()
            .expect_status(200);
        assert_eq!(options.header("allow"), Some(allowed), "{path}");
        for method in ["PROPFIND", "TRACE", "BREW"] {
            let refused = is_refused(
                registry.client().call(method, &path).send(),
                405,
                "UNSUPPORTED",
            );
            assert_eq!(refused.header("allow"), Some(allowed), "{path}");
        }
    }
}

/// O2: names that are none, in every route.
#[test]
fn names_that_are_none_are_refused() {
    let registry = registry();
    let long = "a".repeat(256);
    let digest = sha256(b"x");
    for name in [
        "UPPER",
        "a..b",
        "a/_b",
        "-a",
        "a//b",
        "a%20b",
        "%2e%2e/%2e%2e/etc",
        "..",
        "a/../b",
        "%00",
        "%ff%fe",
        "ä",
        long.as_str(),
    ] {
        for rest in [
            "tags/list".to_owned(),
            "manifests/tag".to_owned(),
            format!("blobs/{digest}"),
            format!("referrers/{digest}"),
        ] {
            let answer = registry.client().get(&format!("/v2/{name}/{rest}"));
            assert!(
                matches!(answer.status, 400 | 404),
                "{name}/{rest}: {}",
                answer.status
            );
        }
    }
    for name in ["UPPER", "a..b", "a%2F..%2Fb", "..", long.as_str()] {
        is_refused(
            registry.client().get(&format!("/v2/{name}/tags/list")),
            400,
            "NAME_INVALID",
        );
        is_refused(
            registry
                .client()
                .post(&format!("/v2/{name}/blobs/uploads/")),
            400,
            "NAME_INVALID",
        );
    }
    registry
        .client()
        .get(&format!("/v2/{}/tags/list", "a".repeat(255)))
        .expect_status(404);
}

/// What the registry is told to say, and where it sends clients.
#[test]
fn prefixes_hosts_relative_locations_and_headers() {
    let options = Options::default().yaml("catalog: {maxentries: 10}");
    let options = options.env("REGISTRY_HTTP_PREFIX", "/reg/").env(
        "REGISTRY_HTTP_HEADERS",
        "{X-Content-Type-Options: [nosniff]}",
    );
    let registry = Registry::roadstead(options);
    let opened = registry
        .client()
        .post("/reg/v2/a/blobs/uploads/")
        .expect_status(202);
    assert!(
        opened
            .location()
            .starts_with(&format!("{}/reg/v2/a/", registry.url())),
        "{}",
        opened.location()
    );
    assert_eq!(opened.header("x-content-type-options"), Some("nosniff"));
    registry.client().get("/v2/").expect_status(404);
    registry.client().get("/").expect_status(200);
    let told = Registry::roadstead(
        Options::default().env("REGISTRY_HTTP_HOST", "https://registry.example.com:8443"),
    );
    let opened = told
        .client()
        .post("/v2/a/blobs/uploads/")
        .expect_status(202);
    assert!(
        opened
            .location()
            .starts_with("https://registry.example.com:8443/v2/a/"),
        "{}",
        opened.location()
    );
    let relative =
        Registry::roadstead(Options::default().env("REGISTRY_HTTP_RELATIVEURLS", "true"));
    let opened = relative
        .client()
        .post("/v2/a/blobs/uploads/")
        .expect_status(202);
    assert!(
        opened.location().starts_with("/v2/a/"),
        "{}",
        opened.location()
    );
}
