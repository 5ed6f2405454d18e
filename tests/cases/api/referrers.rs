//! Referrers: the manifests whose subject is another.

use roadstead_tests::{Answer, Document, Registry};
use serde_json::{Value, json};

use super::steps::{
    CONFIG, INDEX, MANIFEST, has, has_no, image, index, pages, put, put_with, refused, roadstead,
    sha256,
};

fn list(registry: &Registry, subject: &Document, query: &str) -> Answer {
    let path = format!("/v2/r/referrers/{}{query}", subject.digest);
    let answer = registry.client().get(&path).expect_status(200);
    has(&answer, "content-type", INDEX);
    let document = answer.json();
    assert_eq!(document["schemaVersion"], 2);
    assert_eq!(document["mediaType"], INDEX);
    answer
}

fn manifests(answer: &Answer) -> Vec<Value> {
    answer.json()["manifests"]
        .as_array()
        .expect("a list")
        .clone()
}

/// A referrer of this subject with an artifact type, pushed.
fn refer(registry: &Registry, subject: &Document, kind: &str, n: usize) -> Document {
    let fields = json!({
        "subject": subject.descriptor(),
        "artifactType": kind,
        "annotations": {"n": n.to_string()},
    });
    put_with(&registry.repository("r"), &format!("r{n}"), &fields)
}

fn subject(registry: &Registry) -> Document {
    put(&registry.repository("r"), "subject")
}

/// The digests of descriptors, or of documents, in their order.
fn sorted(documents: &[Document]) -> Vec<String> {
    let mut digests: Vec<String> = documents.iter().map(|d| d.digest.to_string()).collect();
    digests.sort_unstable();
    digests
}

fn digests(descriptors: &[Value]) -> Vec<String> {
    let text = |descriptor: &Value| descriptor["digest"].as_str().expect("a digest").to_owned();
    descriptors.iter().map(text).collect()
}

/// O30
#[test]
fn nothing_refers_to_what_was_not_heard_of() {
    let registry = roadstead();
    let subject = subject(&registry);
    assert!(manifests(&list(&registry, &subject, "")).is_empty());
    let absent = sha256(b"absent");
    for name in ["r", "unheard/of"] {
        assert!(registry.repository(name).referrers(&absent).is_empty());
    }
    let path = format!("/v2/r/referrers/{absent}");
    let head = registry.client().head(&path).expect_status(200);
    assert!(head.body.is_empty());
}

/// O30
#[test]
fn a_subject_that_is_no_digest_is_400() {
    let registry = roadstead();
    subject(&registry);
    for nonsense in [
        "subject",
        "sha256",
        "sha256:",
        "sha256:x",
        "md5:d41d8cd98f00b204e9800998ecf8427e",
        "%00",
        "..",
    ] {
        let answer = registry
            .client()
            .get(&format!("/v2/r/referrers/{nonsense}"));
        refused(answer, 400, "DIGEST_INVALID");
    }
    let answer = registry
        .client()
        .get(&format!("/v2/R/referrers/{}", sha256(b"")));
    refused(answer, 400, "NAME_INVALID");
}

/// O31: its own artifact type, else its config's type; none for an index that does not say.
#[test]
fn a_descriptor_says_what_kind_of_artifact_it_is() {
    let mut registry = roadstead();
    let subject = subject(&registry);
    let repository = registry.repository("r");
    let annotations = json!({"org.example": "ä", "empty": ""});
    let named = json!({"subject": subject.descriptor(), "artifactType": "application/vnd.example+json", "annotations": annotations});
    let unnamed = json!({"subject": subject.descriptor()});
    let empty = json!({"subject": subject.descriptor(), "artifactType": "", "layers": []});
    let cases = [
        (
            image(&repository, &named),
            Some("application/vnd.example+json"),
            annotations.clone(),
        ),
        (image(&repository, &unnamed), Some(CONFIG), Value::Null),
        (image(&repository, &empty), Some(CONFIG), Value::Null),
        (
            index(&[], &named),
            Some("application/vnd.example+json"),
            annotations,
        ),
        (index(&[], &unnamed), None, Value::Null),
    ];
    for (referrer, _, _) in &cases {
        let reference = referrer.digest.to_string();
        repository
            .push_manifest(&reference, referrer)
            .expect_status(201);
    }
    for _ in 0..2 {
        let listed = manifests(&list(&registry, &subject, ""));
        assert_eq!(listed.len(), cases.len());
        for (referrer, kind, annotations) in &cases {
            let digest = referrer.digest.to_string();
            let found = listed
                .iter()
                .find(|entry| entry["digest"] == digest.as_str());
            let found = found.expect("the referrer");
            assert_eq!(found["mediaType"], referrer.media_type.as_str());
            assert_eq!(found["size"], referrer.bytes.len());
            assert_eq!(found.get("artifactType").and_then(Value::as_str), *kind);
            assert_eq!(
                found.get("annotations").unwrap_or(&Value::Null),
                annotations
            );
        }
        registry.restart();
    }
}

/// O32
#[test]
fn referrers_are_filtered_by_their_artifact_type() {
    let registry = roadstead();
    let subject = subject(&registry);
    let signatures: Vec<_> = (0..3)
        .map(|n| refer(&registry, &subject, "application/vnd.sig+json", n))
        .collect();
    let sboms: Vec<_> = (3..5)
        .map(|n| refer(&registry, &subject, "application/spdx", n))
        .collect();
    for (kind, expected) in [
        ("application/vnd.sig+json", sorted(&signatures)),
        ("application%2Fvnd.sig%2Bjson", sorted(&signatures)),
        ("application/spdx", sorted(&sboms)),
        ("application/none", vec![]),
        ("application/*", vec![]),
    ] {
        let answer = list(&registry, &subject, &format!("?artifactType={kind}"));
        has(&answer, "oci-filters-applied", "artifactType");
        assert_eq!(digests(&manifests(&answer)), expected, "{kind}");
    }
    for query in ["", "?artifactType=", "?artifacttype=application/spdx"] {
        let answer = list(&registry, &subject, query);
        has_no(&answer, "oci-filters-applied");
        assert_eq!(manifests(&answer).len(), 5, "{query}");
    }
}

/// O32
#[test]
fn a_page_of_referrers_links_to_the_next() {
    let registry = roadstead();
    let subject = subject(&registry);
    let all: Vec<_> = (0..5)
        .map(|n| refer(&registry, &subject, "application/a+b", n))
        .collect();
    let path = format!("/v2/r/referrers/{}", subject.digest);
    for filter in ["", "&artifactType=application/a%2Bb"] {
        for n in 1..=6 {
            let pages = pages(&registry, &format!("{path}?n={n}{filter}"), "manifests");
            assert_eq!(digests(&pages.concat()), sorted(&all));
            assert!(pages.iter().all(|page| (1..=n).contains(&page.len())));
        }
    }
    let first = list(&registry, &subject, "?n=2&artifactType=application/a%2Bb");
    has(&first, "oci-filters-applied", "artifactType");
    let next = registry
        .client()
        .get(&super::steps::next_page(&first).expect("more"));
    has(
        &next.expect_status(200),
        "oci-filters-applied",
        "artifactType",
    );
    let none = list(&registry, &subject, "?n=0");
    assert!(manifests(&none).is_empty());
    has_no(&none, "link");
    for nonsense in ["-1", "x", "1.5"] {
        let answer = registry.client().get(&format!("{path}?n={nonsense}"));
        refused(answer, 400, "PAGINATION_NUMBER_INVALID");
    }
}

/// O32: descriptors with much in them are spread over pages, each of which is a manifest of bearable size.
#[test]
fn large_descriptors_are_spread_over_pages() {
    let registry = roadstead();
    let subject = subject(&registry);
    let large = |n: usize| {
        let annotations = json!({"n": n.to_string(), "long": "x".repeat(1_500_000)});
        let fields = json!({"subject": subject.descriptor(), "annotations": annotations});
        put_with(&registry.repository("r"), &format!("r{n}"), &fields)
    };
    let all: Vec<_> = (0..4).map(large).collect();
    let path = format!("/v2/r/referrers/{}", subject.digest);
    let pages = pages(&registry, &path, "manifests");
    assert!(pages.len() > 1);
    assert_eq!(digests(&pages.concat()), sorted(&all));
}

/// O30, O33: those that come are there at once; those that go are gone at once; each repository has its own.
#[test]
fn referrers_come_and_go_with_their_manifests() {
    let mut registry = roadstead();
    let subject = subject(&registry);
    let first = refer(&registry, &subject, "a/b", 1);
    assert_eq!(
        digests(&manifests(&list(&registry, &subject, ""))),
        sorted(std::slice::from_ref(&first))
    );
    let second = refer(&registry, &subject, "a/b", 2);
    let both = sorted(&[first.clone(), second.clone()]);
    assert_eq!(digests(&manifests(&list(&registry, &subject, ""))), both);
    assert!(
        registry
            .repository("other")
            .referrers(&subject.digest)
            .is_empty()
    );
    registry.restart();
    assert_eq!(digests(&manifests(&list(&registry, &subject, ""))), both);
    let repository = registry.repository("r");
    // A tag that goes leaves its manifest.
    repository.delete_manifest("r1").expect_status(202);
    assert_eq!(digests(&manifests(&list(&registry, &subject, ""))), both);
    let gone = first.digest.to_string();
    repository.delete_manifest(&gone).expect_status(202);
    assert_eq!(
        digests(&manifests(&list(&registry, &subject, ""))),
        [second.digest.to_string()]
    );
    repository.push_manifest(&gone, &first).expect_status(201);
    assert_eq!(digests(&manifests(&list(&registry, &subject, ""))), both);
    // Referrers stay when their subject goes.
    let digest = subject.digest.to_string();
    repository.delete_manifest(&digest).expect_status(202);
    assert_eq!(digests(&manifests(&list(&registry, &subject, ""))), both);
}

/// O30: a chain, and a manifest that refers to itself through others.
#[test]
fn referrers_have_referrers() {
    let registry = roadstead();
    let subject = subject(&registry);
    let signature = refer(&registry, &subject, "a/sig", 1);
    let of_signature = refer(&registry, &signature, "a/sig", 2);
    assert_eq!(
        digests(&manifests(&list(&registry, &signature, ""))),
        [of_signature.digest.to_string()]
    );
    assert_eq!(manifests(&list(&registry, &subject, "")).len(), 1);
    assert_eq!(of_signature.media_type, MANIFEST);
}
