//! `/v2/`, `/` and paths that are none; and what no answer carries.

use roadstead_tests::{Answer, Image, Registry, image::noise};

use super::steps::{blob, has, has_no, put, refused, roadstead, sha256};

/// O1, O36
#[test]
fn v2_says_that_this_is_a_registry() {
    let registry = roadstead();
    let answer = registry.client().get("/v2/").expect_status(200);
    assert_eq!(answer.text(), "{}");
    has(&answer, "content-type", "application/json");
    has(&answer, "content-length", "2");
    has(&answer, "docker-distribution-api-version", "registry/2.0");
    let head = registry.client().head("/v2/").expect_status(200);
    assert!(head.body.is_empty());
    has(&head, "content-length", "2");
}

/// O1: everything of the specification's four categories, by a client that starts with an empty registry.
#[test]
fn all_that_the_specification_names_can_be_done() {
    let registry = roadstead();
    let repository = registry.repository("whole/api");
    let content = Image::new(1).layer_size(2000).build();
    repository.push("latest", &content);
    repository.assert_serves("latest", &content);
    assert_eq!(repository.tags(), ["latest"]);
    assert_eq!(registry.client().catalog(), ["whole/api"]);
    let root = content.root();
    let referrer = Image::new(2).layers(0).subject(root).build();
    repository.push("signature", &referrer);
    let referrers = repository.referrers(&root.digest);
    assert_eq!(
        referrers[0]["digest"],
        referrer.root().digest.to_string().as_str()
    );
    repository.delete_manifest("signature").expect_status(202);
    let digest = root.digest.to_string();
    repository.delete_manifest(&digest).expect_status(202);
    for blob in content.blobs() {
        repository.delete_blob(&blob.digest).expect_status(202);
    }
    assert!(repository.tags().is_empty());
}

#[test]
fn the_root_is_200_for_balancers_that_know_nothing_else() {
    let registry = roadstead();
    let answer = registry.client().get("/").expect_status(200);
    assert!(answer.body.is_empty());
    has(&answer, "cache-control", "no-cache");
}

#[test]
fn a_path_of_nothing_is_404_in_plain_text() {
    let registry = roadstead();
    let nowhere = [
        "/v1/",
        "/v3/",
        "/v22",
        "/V2/",
        "/v2/a",
        "/v2/a/b/c",
        "/v2/tags/list",
        "/v2/a/tags",
        "/v2/a/tags/lists",
        "/v2/a/manifests",
        "/v2/a/blobs",
        "/v2/_catalog/x",
        "/v2/_nothing",
        "/etc/passwd",
        "/docker/registry/v2/repositories",
        "/metrics",
    ];
    for path in nowhere {
        let answer = registry.client().get(path).expect_status(404);
        assert_eq!(answer.text(), "404 page not found\n", "{path}");
        has(&answer, "content-type", "text/plain; charset=utf-8");
        has(&answer, "docker-distribution-api-version", "registry/2.0");
    }
}

#[test]
fn a_path_with_a_slash_too_many_or_too_few_is_moved_with_its_query() {
    let registry = roadstead();
    let digest = sha256(b"x");
    for (path, right) in [
        ("/v2", "/v2/"),
        ("/v2//", "/v2/"),
        ("/v2/_catalog/", "/v2/_catalog"),
        ("/v2/_catalog/?n=5&last=a", "/v2/_catalog?n=5&last=a"),
        ("/v2/a/tags/list/", "/v2/a/tags/list"),
        ("/v2/a/manifests/latest/", "/v2/a/manifests/latest"),
        ("/v2/a/%3Fb/tags/list/", "/v2/a/%3Fb/tags/list"),
        ("/v2/a%0D%0Ab/tags/list/", "/v2/a%0D%0Ab/tags/list"),
        (
            &format!("/v2/a/referrers/{digest}/"),
            &format!("/v2/a/referrers/{digest}"),
        ),
    ] {
        let answer = registry.client().get(path).expect_status(301);
        has(&answer, "location", right);
    }
}

/// A redirected `POST` would become a `GET`: this path is both.
#[test]
fn an_upload_is_opened_with_and_without_the_slash() {
    let registry = roadstead();
    for path in ["/v2/a/b/blobs/uploads/", "/v2/a/b/blobs/uploads"] {
        registry.client().post(path).expect_status(202);
    }
}

/// One answer of each kind.
fn answers(registry: &Registry) -> Vec<Answer> {
    let repository = registry.repository("kinds");
    let manifest = put(&repository, "tag");
    let digest = blob(&repository, &noise(1, 5000));
    let session = repository.open_upload();
    let client = registry.client();
    vec![
        client.get("/v2/"),
        client.get("/v2"),
        client.get("/nowhere"),
        client.get("/v2/_catalog"),
        repository.manifest("tag"),
        repository.push_manifest("again", &manifest),
        repository.blob(&digest),
        repository.blob(&sha256(b"absent")),
        client.get(&repository.path("tags/list")),
        client.get(&repository.path(&format!("referrers/{digest}"))),
        client.post("/v2/_catalog"),
        repository.patch(&session, b"x"),
        repository.patch(&session, b"x"),
        repository.delete_blob(&digest),
        repository.delete_manifest("again"),
    ]
}

/// O15, O35, O38, O39
#[test]
fn an_answer_carries_nothing_that_was_not_meant() {
    let registry = roadstead();
    for answer in answers(&registry) {
        has(&answer, "docker-distribution-api-version", "registry/2.0");
        has_no(&answer, "oci-chunk-min-length");
        has_no(&answer, "oci-namespace");
        has_no(&answer, "retry-after");
        has_no(&answer, "warning");
        has_no(&answer, "server");
        has_no(&answer, "set-cookie");
    }
}

/// O35: a proxy's parameter changes nothing here.
#[test]
fn ns_is_ignored() {
    let registry = roadstead();
    let repository = registry.repository("ns");
    let manifest = put(&repository, "tag");
    let answer = registry
        .client()
        .get(&repository.path("manifests/tag?ns=docker.io"));
    assert_eq!(answer.body, manifest.bytes);
    has_no(&answer, "oci-namespace");
    let absent = registry.client().get("/v2/other/tags/list?ns=docker.io");
    has_no(&refused(absent, 404, "NAME_UNKNOWN"), "oci-namespace");
}

/// O38: whoever asks often is answered each time.
#[test]
fn nobody_is_told_to_slow_down() {
    let registry = roadstead();
    let client = registry.client();
    for _ in 0..500 {
        client.get("/v2/").expect_status(200);
    }
}

/// O40: the bytes come from here, also to clients that would follow a redirect.
#[test]
fn content_is_served_and_not_redirected_to() {
    let registry = roadstead();
    let repository = registry.repository("redirects");
    let digest = blob(&repository, b"content");
    let path = repository.path(&format!("blobs/{digest}"));
    for agent in ["docker/28.0.0 go/go1.24", "containers/5.0", "curl/8.0"] {
        for method in ["GET", "HEAD"] {
            let call = registry.client().call(method, &path);
            let answer = call.header("user-agent", agent).send().expect_status(200);
            has_no(&answer, "location");
        }
    }
}
