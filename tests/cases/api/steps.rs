//! What the cases of the API have in common.

#![expect(clippy::panic, reason = "a step fails its case where it stands")]

use roadstead_oci::{Algorithm, Digest};
use roadstead_tests::{Answer, Document, Options, Registry, Repository};
use serde_json::{Value, json};

pub(super) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(super) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(super) const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
pub(super) const CONFIG: &str = "application/vnd.example.config";
pub(super) const BYTES: &str = "application/octet-stream";

#[track_caller]
pub(super) fn roadstead() -> Registry {
    Registry::roadstead(Options::default())
}

/// One with these keys in its configuration.
#[track_caller]
pub(super) fn configured(yaml: &str) -> Registry {
    Registry::roadstead(Options::default().yaml(yaml))
}

pub(super) fn sha256(bytes: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha256, bytes)
}

pub(super) fn sha512(bytes: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha512, bytes)
}

/// Pushes a blob, and answers with its digest.
#[track_caller]
pub(super) fn blob(repository: &Repository, bytes: &[u8]) -> Digest {
    let digest = sha256(bytes);
    repository.push_blob(bytes, &digest).expect_status(201);
    digest
}

pub(super) fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": sha256(bytes).to_string(), "size": bytes.len()})
}

pub(super) fn document(value: &Value) -> Document {
    let media_type = value["mediaType"].as_str().expect("a media type");
    Document::new(media_type, value.to_string())
}

/// An image manifest without layers, on a config that is pushed, with these fields besides.
#[track_caller]
pub(super) fn image(repository: &Repository, fields: &Value) -> Document {
    blob(repository, b"{}");
    let mut manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": descriptor(CONFIG, b"{}"),
        "layers": [],
    });
    merge(&mut manifest, fields);
    document(&manifest)
}

pub(super) fn index(children: &[Value], fields: &Value) -> Document {
    let mut index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": children});
    merge(&mut index, fields);
    document(&index)
}

fn merge(into: &mut Value, fields: &Value) {
    for (key, value) in fields.as_object().into_iter().flatten() {
        into[key] = value.clone();
    }
}

/// Pushes a manifest that stands alone, under this reference.
#[track_caller]
pub(super) fn put(repository: &Repository, reference: &str) -> Document {
    put_with(repository, reference, &json!({}))
}

#[track_caller]
pub(super) fn put_with(repository: &Repository, reference: &str, fields: &Value) -> Document {
    let manifest = image(repository, fields);
    repository
        .push_manifest(reference, &manifest)
        .expect_status(201);
    manifest
}

/// All values of a header.
#[track_caller]
pub(super) fn values<'a>(answer: &'a Answer, name: &str) -> Vec<&'a str> {
    let values = answer.headers.get_all(name).iter();
    values.map(|value| value.to_str().expect("text")).collect()
}

/// An answer that has this header with just this value.
#[track_caller]
pub(super) fn has(answer: &Answer, name: &str, value: &str) {
    assert_eq!(
        values(answer, name),
        [value],
        "{name} of {}: {:?}",
        answer.request,
        answer.headers
    );
}

#[track_caller]
pub(super) fn has_no(answer: &Answer, name: &str) {
    assert_eq!(answer.header(name), None, "{name} of {}", answer.request);
}

/// A refusal: this status, and the document of the specification with one error of this code.
#[track_caller]
pub(super) fn refused(answer: Answer, status: u16, code: &str) -> Answer {
    let answer = is_error(answer.expect_status(status));
    assert_eq!(answer.codes(), [code], "{}", answer.request);
    answer
}

/// An error document, with all that belongs to one.
#[track_caller]
pub(super) fn is_error(answer: Answer) -> Answer {
    has(&answer, "content-type", "application/json");
    has(&answer, "docker-distribution-api-version", "registry/2.0");
    let length = answer.body.len().to_string();
    has(&answer, "content-length", &length);
    let document = answer.json();
    let keys: Vec<&String> = document.as_object().expect("an object").keys().collect();
    assert_eq!(keys, ["errors"], "{}", answer.request);
    let errors = document["errors"].as_array().expect("a list");
    assert!(!errors.is_empty(), "{}", answer.request);
    for error in errors {
        let code = error["code"].as_str().expect("a code");
        assert!(
            code.bytes().all(|b| b.is_ascii_uppercase() || b == b'_'),
            "{code}"
        );
        assert!(
            error["message"].as_str().is_some_and(|m| !m.is_empty()),
            "{error}"
        );
        let known = ["code", "message", "detail"];
        let mut keys = error.as_object().expect("an object").keys();
        assert!(keys.all(|key| known.contains(&key.as_str())), "{error}");
    }
    answer
}

/// The path and query of the next page, which the `Link` header names relative to the host.
#[track_caller]
pub(super) fn next_page(answer: &Answer) -> Option<String> {
    let link = answer.header("link")?;
    let target = link
        .strip_prefix('<')
        .and_then(|rest| rest.strip_suffix(">; rel=\"next\""))
        .unwrap_or_else(|| panic!("not a link to a next page: {link}"));
    assert!(target.starts_with("/v2/"), "{link}");
    Some(target.to_owned())
}

/// All pages from this one on: the list under `key` of each.
#[track_caller]
pub(super) fn pages(registry: &Registry, first: &str, key: &str) -> Vec<Vec<Value>> {
    let mut pages = Vec::new();
    let mut next = Some(first.to_owned());
    while let Some(target) = next {
        let answer = registry.client().get(&target).expect_status(200);
        pages.push(answer.json()[key].as_array().expect("a list").clone());
        next = next_page(&answer);
        assert!(pages.len() < 100, "pages without an end");
    }
    pages
}

/// A session's address without its state: what `GET` needs.
#[track_caller]
pub(super) fn session_of(location: &str) -> &str {
    location.split_once('?').expect("a location with a state").0
}
