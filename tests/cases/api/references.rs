//! What a manifest names: what must be there first, and what need not.

use roadstead_tests::{Document, Registry, Repository};
use serde_json::{Value, json};

use super::steps::{
    CONFIG, INDEX, LAYER, MANIFEST, blob, configured, descriptor, document, has, image, index, put,
    refused, roadstead, sha256,
};

const FOREIGN: &str = "application/vnd.oci.image.layer.nondistributable.v1.tar";

/// An image with these layers.
fn layered(repository: &Repository, layers: &[Value]) -> Document {
    image(repository, &json!({ "layers": layers }))
}

fn foreign(url: &str) -> Value {
    let mut layer = descriptor(FOREIGN, b"lies elsewhere");
    layer["urls"] = json!([url]);
    layer
}

/// An index over a child that was not pushed.
fn sparse() -> Document {
    let mut child = descriptor(MANIFEST, b"absent");
    child["platform"] = json!({"architecture": "arm64", "os": "linux"});
    index(&[child], &json!({}))
}

#[track_caller]
fn accepted(registry: &Registry, name: &str, manifest: &Document) {
    let repository = registry.repository(name);
    repository.push_manifest("t", manifest).expect_status(201);
    let pulled = repository.manifest("t").expect_status(200);
    assert_eq!(pulled.body, manifest.bytes);
}

/// O9: each that is not there has an entry of its own, with its digest.
#[test]
fn blobs_that_are_not_there_are_named_one_by_one() {
    let registry = roadstead();
    let repository = registry.repository("layers");
    let there = blob(&repository, b"there");
    let layers = [
        descriptor(LAYER, b"there"),
        descriptor(LAYER, b"one"),
        descriptor(LAYER, b"two"),
        descriptor(LAYER, b"one"),
    ];
    let manifest = layered(&repository, &layers);
    let pushed = repository.push_manifest("tag", &manifest);
    let pushed = super::steps::is_error(pushed.expect_status(400));
    assert_eq!(
        pushed.codes(),
        ["MANIFEST_BLOB_UNKNOWN", "MANIFEST_BLOB_UNKNOWN"]
    );
    let errors = pushed.json()["errors"].as_array().expect("a list").clone();
    let mut named: Vec<_> = errors
        .iter()
        .map(|error| error["detail"]["digest"].as_str().expect("a digest"))
        .collect();
    named.sort_unstable();
    let mut missing = [sha256(b"one").to_string(), sha256(b"two").to_string()];
    missing.sort_unstable();
    assert_eq!(named, missing);
    assert!(!pushed.text().contains(&there.to_string()));
    refused(repository.manifest("tag"), 404, "MANIFEST_UNKNOWN");
    blob(&repository, b"one");
    blob(&repository, b"two");
    repository
        .push_manifest("tag", &manifest)
        .expect_status(201);
}

/// O9: the config is named like a layer, and what another repository has does not count.
#[test]
fn what_only_another_repository_has_is_not_there() {
    let registry = roadstead();
    let manifest = image(&registry.repository("has"), &json!({}));
    let repository = registry.repository("has/not");
    let pushed = repository.push_manifest("tag", &manifest);
    refused(pushed, 400, "MANIFEST_BLOB_UNKNOWN");
    let mount = format!("blobs/uploads/?mount={}&from=has", sha256(b"{}"));
    let mounted = registry.client().post(&repository.path(&mount));
    mounted.expect_status(201);
    repository
        .push_manifest("tag", &manifest)
        .expect_status(201);
}

/// O9, O41: an index with children that are absent.
#[test]
fn a_sparse_index_is_refused_unless_the_registry_is_told_otherwise() {
    let registry = roadstead();
    let pushed = registry.repository("sparse").push_manifest("t", &sparse());
    refused(pushed, 400, "MANIFEST_BLOB_UNKNOWN");
    for yaml in [
        "validation: {disabled: true}",
        "validation: {manifests: {indexes: {platforms: none}}}",
        "validation: {manifests: {indexes: {platforms: list, platformlist: [{os: linux, architecture: amd64}]}}}",
    ] {
        accepted(&configured(yaml), "sparse", &sparse());
    }
    let yaml = "validation: {manifests: {indexes: {platforms: list, platformlist: [{os: linux, architecture: arm64}]}}}";
    let pushed = configured(yaml)
        .repository("sparse")
        .push_manifest("t", &sparse());
    refused(pushed, 400, "MANIFEST_BLOB_UNKNOWN");
}

/// O9: which children may be absent says nothing of layers.
#[test]
fn layers_must_be_there_also_where_indexes_may_be_sparse() {
    let registry = configured("validation: {manifests: {indexes: {platforms: none}}}");
    let repository = registry.repository("layers");
    let manifest = layered(&repository, &[descriptor(LAYER, b"absent")]);
    let pushed = repository.push_manifest("t", &manifest);
    refused(pushed, 400, "MANIFEST_BLOB_UNKNOWN");
    let all = configured("validation: {disabled: true}");
    accepted(&all, "layers", &manifest);
}

/// O9: a child is a manifest of the repository, or at least a blob of it.
#[test]
fn the_children_of_an_index_are_pushed_before_it() {
    let registry = roadstead();
    let repository = registry.repository("index");
    let child = put(&repository, "child");
    blob(&repository, b"of another registry's making");
    let parent = index(
        &[
            child.descriptor(),
            descriptor(MANIFEST, b"of another registry's making"),
        ],
        &json!({}),
    );
    accepted(&registry, "index", &parent);
    let grandparent = index(&[parent.descriptor()], &json!({}));
    accepted(&registry, "index", &grandparent);
    let elsewhere = registry.repository("other").push_manifest("t", &parent);
    assert_eq!(elsewhere.expect_status(400).codes().len(), 2);
}

/// O9, O42: layers that lie elsewhere are fetched from elsewhere, if the operator allows it.
#[test]
fn foreign_urls_are_refused_unless_they_are_allowed() {
    let url = "https://example.com/layer";
    let push = |registry: &Registry, url: &str| {
        let repository = registry.repository("foreign");
        let manifest = layered(&repository, &[foreign(url)]);
        repository.push_manifest("t", &manifest)
    };
    refused(push(&roadstead(), url), 400, "MANIFEST_INVALID");
    let sparse_only = configured("validation: {manifests: {indexes: {platforms: none}}}");
    refused(push(&sparse_only, url), 400, "MANIFEST_INVALID");
    push(&configured("validation: {disabled: true}"), url).expect_status(201);
    let yaml =
        "validation: {manifests: {urls: {allow: ['^https?://example\\.com/'], deny: ['/secret']}}}";
    let ruled = configured(yaml);
    push(&ruled, url).expect_status(201);
    for refused_url in [
        "https://example.org/layer",
        "https://example.com/secret",
        "https://example.com/layer#fragment",
        "ftp://example.com/layer",
        "file:///etc/passwd",
        "",
    ] {
        refused(push(&ruled, refused_url), 400, "MANIFEST_INVALID");
    }
}

/// O42: without URLs a layer of such a type is a layer like all others.
#[test]
fn a_nondistributable_layer_without_urls_must_be_there() {
    let registry = roadstead();
    let repository = registry.repository("nondistributable");
    let manifest = layered(&repository, &[descriptor(FOREIGN, b"here")]);
    let pushed = repository.push_manifest("t", &manifest);
    refused(pushed, 400, "MANIFEST_BLOB_UNKNOWN");
    blob(&repository, b"here");
    accepted(&registry, "nondistributable", &manifest);
}

/// O8, O26: a signature may come before what it signs.
#[test]
fn a_subject_need_not_be_there() {
    let mut registry = roadstead();
    let repository = registry.repository("subject");
    let subject = put(&registry.repository("elsewhere"), "tag");
    let fields = json!({"subject": subject.descriptor()});
    let (signature, list) = (image(&repository, &fields), index(&[], &fields));
    for referrer in [&signature, &list] {
        for reference in ["tag", &referrer.digest.to_string()] {
            let pushed = repository.push_manifest(reference, referrer);
            let digest = subject.digest.to_string();
            has(&pushed.expect_status(201), "oci-subject", &digest);
        }
    }
    registry.restart();
    let repository = registry.repository("subject");
    assert_eq!(repository.referrers(&subject.digest).len(), 2);
    let absent = repository.manifest(&subject.digest.to_string());
    refused(absent, 404, "MANIFEST_UNKNOWN");
}

/// O26: a subject of another kind, and one that is there.
#[test]
fn a_subject_is_confirmed_whatever_it_is() {
    let registry = roadstead();
    let repository = registry.repository("kinds");
    let there = put(&repository, "there");
    for subject in [
        there.descriptor(),
        descriptor(INDEX, b"an index"),
        descriptor(CONFIG, b"a blob"),
        descriptor("", b"nobody knows"),
    ] {
        let referrer = document(&json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": descriptor(CONFIG, b"{}"),
            "layers": [],
            "subject": subject,
        }));
        let pushed = repository.push_manifest("referrer", &referrer);
        let digest = subject["digest"].as_str().expect("a digest");
        has(&pushed.expect_status(201), "oci-subject", digest);
    }
}
