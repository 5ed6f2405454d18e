//! The tag under which clients kept referrers where a registry had no list of them.

use roadstead_oci::Tag;
use roadstead_tests::{Document, Registry, Repository};
use serde_json::{Value, json};

use super::steps::{document, image, index, put, roadstead, sha512};

/// The index that a client keeps: the descriptors of `referrers`, under the tag of the subject.
fn keep(repository: &Repository, subject: &Document, referrers: &[&Document]) {
    let children: Vec<Value> = referrers.iter().map(|r| r.descriptor()).collect();
    let tag = Tag::of_referrers(&subject.digest);
    let kept = index(&children, &json!({}));
    let pushed = repository.push_manifest(tag.as_str(), &kept);
    pushed.expect_status(201);
}

fn listed(registry: &Registry, subject: &Document) -> Vec<String> {
    let referrers = registry.repository("old").referrers(&subject.digest);
    let digest = |entry: &Value| entry["digest"].as_str().expect("a digest").to_owned();
    referrers.iter().map(digest).collect()
}

fn sorted(documents: &[&Document]) -> Vec<String> {
    let mut digests: Vec<String> = documents.iter().map(|d| d.digest.to_string()).collect();
    digests.sort_unstable();
    digests
}

/// O33: as cosign did: the manifest itself does not say whose it is, the tag does.
#[test]
fn what_a_client_kept_under_the_tag_is_listed() {
    let mut registry = roadstead();
    let repository = registry.repository("old");
    let subject = put(&repository, "subject");
    let annotations = json!({"kind": "kept"});
    let kept = super::steps::put_with(&repository, "kept", &json!({"annotations": annotations}));
    keep(&repository, &subject, &[&kept]);
    let said = image(
        &repository,
        &json!({"subject": subject.descriptor(), "artifactType": "a/b"}),
    );
    let digest = said.digest.to_string();
    repository.push_manifest(&digest, &said).expect_status(201);
    for _ in 0..2 {
        assert_eq!(listed(&registry, &subject), sorted(&[&kept, &said]));
        let entries = registry.repository("old").referrers(&subject.digest);
        let of_tag = entries
            .iter()
            .find(|entry| entry["digest"] == kept.digest.to_string().as_str());
        assert_eq!(of_tag.expect("listed")["annotations"], annotations);
        registry.restart();
    }
}

/// O33: one that stands in both lists is one.
#[test]
fn a_referrer_that_is_under_the_tag_as_well_is_listed_once() {
    let registry = roadstead();
    let repository = registry.repository("old");
    let subject = put(&repository, "subject");
    let fields = json!({"subject": subject.descriptor()});
    let said = super::steps::put_with(&repository, "said", &fields);
    keep(&repository, &subject, &[&said, &said]);
    assert_eq!(listed(&registry, &subject), sorted(&[&said]));
}

/// O33: the tag cannot make a manifest say what it does not, nor bring back one that is gone.
#[test]
fn what_is_another_subjects_or_gone_is_not_listed() {
    let registry = roadstead();
    let repository = registry.repository("old");
    let subject = put(&repository, "subject");
    let another = image(&repository, &json!({"annotations": {"other": "subject"}}));
    let theirs = image(&repository, &json!({"subject": another.descriptor()}));
    let gone = image(&repository, &json!({"annotations": {"is": "gone"}}));
    for manifest in [&theirs, &gone] {
        let reference = manifest.digest.to_string();
        repository
            .push_manifest(&reference, manifest)
            .expect_status(201);
    }
    keep(&repository, &subject, &[&theirs, &gone]);
    assert_eq!(listed(&registry, &subject), sorted(&[&gone]));
    let digest = gone.digest.to_string();
    repository.delete_manifest(&digest).expect_status(202);
    assert!(listed(&registry, &subject).is_empty());
}

/// O33: what lies under the tag may be anything.
#[test]
fn a_tag_that_is_no_list_of_referrers_is_no_list() {
    let registry = roadstead();
    let repository = registry.repository("old");
    let subject = put(&repository, "subject");
    let tag = Tag::of_referrers(&subject.digest);
    put(&repository, tag.as_str());
    assert!(listed(&registry, &subject).is_empty());
    let pulled = repository.manifest(tag.as_str());
    pulled.expect_status(200);
}

/// O33: a digest that is longer than a tag may be is cut.
#[test]
fn the_tag_of_a_sha512_subject() {
    let registry = roadstead();
    let repository = registry.repository("old");
    let subject = sha512(b"subject");
    let kept = put(&repository, "kept");
    let hex: String = subject.hex().chars().take(64).collect();
    let list = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [kept.descriptor()],
    });
    let pushed = repository.push_manifest(&format!("sha512-{hex}"), &document(&list));
    pushed.expect_status(201);
    let listed = repository.referrers(&subject);
    assert_eq!(listed[0]["digest"], kept.digest.to_string().as_str());
}
