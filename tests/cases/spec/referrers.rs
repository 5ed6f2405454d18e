//! Referrers: found from the manifests themselves, filtered, in pages, and kept true when manifests come and go.

use roadstead_oci::{Algorithm, Digest, Tag};
use roadstead_tests::{Content, Document, Family, Image, Options, Registry, Repository};
use serde_json::{Value, json};

use super::{is_refused, registry, sha256};

fn refers_to(subject: &Document, seed: u64, kind: &str) -> Content {
    Image::new(seed)
        .artifact_type(kind)
        .annotation("seed", &seed.to_string())
        .subject(subject)
        .build()
}

fn push(repository: &Repository, content: &Content) -> String {
    let digest = content.root().digest.to_string();
    repository.push(&digest, content);
    digest
}

fn digests(descriptors: &[Value]) -> Vec<&str> {
    descriptors
        .iter()
        .map(|descriptor| descriptor["digest"].as_str().expect("a digest"))
        .collect()
}

/// O30, O31: what refers to a manifest, with kind and annotations.
#[test]
fn referrers_are_listed_with_their_kind_and_annotations() {
    let registry = registry();
    let repository = registry.repository("referrers");
    let subject = Image::new(1).build();
    assert_eq!(
        repository.referrers(&subject.root().digest),
        [Value::Null; 0],
        "none, before anything was pushed"
    );
    repository.push("subject", &subject);
    let signature = refers_to(subject.root(), 2, "application/vnd.example.signature");
    let digest = push(&repository, &signature);
    let expected = json!({
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": digest,
        "size": signature.root().bytes.len(),
        "annotations": {"seed": "2"},
        "artifactType": "application/vnd.example.signature",
    });
    assert_eq!(repository.referrers(&subject.root().digest), [expected]);
    let plain = Image::new(3).subject(subject.root()).build();
    push(&repository, &plain);
    let listed = repository.referrers(&subject.root().digest);
    let of_plain = listed
        .iter()
        .find(|listed| listed["digest"] == plain.root().digest.to_string())
        .expect("listed");
    assert_eq!(
        of_plain["artifactType"], "application/vnd.oci.image.config.v1+json",
        "an image's config tells its kind"
    );
    assert_eq!(
        registry
            .repository("other")
            .referrers(&subject.root().digest),
        [Value::Null; 0],
        "each repository has its own"
    );
}

/// O31: an index without a kind has none in the list.
#[test]
fn an_index_that_says_no_kind_has_none() {
    let registry = registry();
    let repository = registry.repository("index");
    let subject = sha256(b"subject");
    let index = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [],
        "subject": {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": subject.to_string(), "size": 7},
    });
    let index = Document::new(
        "application/vnd.oci.image.index.v1+json",
        index.to_string().into_bytes(),
    );
    repository.push_manifest("index", &index).expect_status(201);
    let listed = repository.referrers(&subject);
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].get("artifactType"), None);
}

/// O32: filters, and pages.
#[test]
fn referrers_are_filtered_and_paged() {
    let registry = registry();
    let repository = registry.repository("pages");
    let subject = Image::new(1).build();
    let mut all: Vec<String> = (2..9)
        .map(|seed| {
            push(
                &repository,
                &refers_to(
                    subject.root(),
                    seed,
                    if seed % 2 == 0 { "a/even" } else { "a/odd+x" },
                ),
            )
        })
        .collect();
    all.sort_unstable();
    let path = repository.path(&format!("referrers/{}", subject.root().digest));
    for (filter, count) in [
        ("a/even", 4),
        ("a%2Fodd%2Bx", 3),
        ("a/odd+x", 3),
        ("none", 0),
    ] {
        let answer = registry
            .client()
            .get(&format!("{path}?artifactType={filter}"))
            .expect_status(200);
        assert_eq!(answer.header("oci-filters-applied"), Some("artifactType"));
        assert_eq!(
            answer.json()["manifests"].as_array().expect("a list").len(),
            count,
            "{filter}"
        );
    }
    assert_eq!(
        registry
            .client()
            .get(&path)
            .expect_status(200)
            .header("oci-filters-applied"),
        None
    );
    let (mut paged, mut target) = (Vec::new(), Some(format!("{path}?n=3")));
    while let Some(page) = target {
        let answer = registry.client().get(&page).expect_status(200);
        let manifests = answer.json()["manifests"]
            .as_array()
            .expect("a list")
            .clone();
        assert!(manifests.len() <= 3);
        paged.extend(digests(&manifests).into_iter().map(str::to_owned));
        let link = answer
            .header("link")
            .map(|link| link.trim_start_matches('<').to_owned());
        target = link.map(|link| link.split_once('>').expect("a target").0.to_owned());
    }
    assert_eq!(paged, all);
}

/// O30: a digest that is none; a subject that nobody knows.
#[test]
fn malformed_subjects_are_refused_and_unknown_ones_have_no_referrers() {
    let registry = registry();
    let repository = registry.repository("unknown");
    for subject in [
        "nonsense",
        "sha256:abc",
        "md5:d41d8cd98f00b204e9800998ecf8427e",
    ] {
        is_refused(
            registry
                .client()
                .get(&repository.path(&format!("referrers/{subject}"))),
            400,
            "DIGEST_INVALID",
        );
    }
    for algorithm in Algorithm::ALL {
        assert_eq!(
            repository.referrers(&Digest::of(algorithm, b"nobody")),
            [Value::Null; 0]
        );
    }
}

/// O33: what clients listed under the referrers tag is counted in, as long as it is there.
#[test]
fn manifests_listed_under_the_referrers_tag_are_counted_in() {
    let registry = registry();
    let repository = registry.repository("fallback");
    let subject = Image::new(1).build();
    let own = refers_to(subject.root(), 2, "a/own");
    let listed = Image::new(3).artifact_type("a/listed").build();
    let stranger = refers_to(Image::new(9).build().root(), 4, "a/stranger");
    for content in [&own, &listed, &stranger] {
        push(&repository, content);
    }
    let index = Content::index(Family::Oci, &[own.clone(), listed.clone(), stranger]);
    let tag = Tag::of_referrers(&subject.root().digest);
    repository
        .push_manifest(tag.as_str(), index.root())
        .expect_status(201);
    let mut expected = [
        own.root().digest.to_string(),
        listed.root().digest.to_string(),
    ];
    expected.sort_unstable();
    assert_eq!(
        digests(&repository.referrers(&subject.root().digest)),
        expected
    );
    repository
        .delete_manifest(&listed.root().digest.to_string())
        .expect_status(202);
    assert_eq!(
        digests(&repository.referrers(&subject.root().digest)),
        [own.root().digest.to_string()]
    );
}

/// Referrers come and go with their manifests, at once, and are there after a restart.
#[test]
fn the_list_is_true_at_every_moment() {
    let mut registry = Registry::roadstead(Options::default());
    let subject = Image::new(1).build();
    let mut present = Vec::new();
    for seed in 2..12 {
        let repository = registry.repository("true");
        present.push(push(&repository, &refers_to(subject.root(), seed, "a/b")));
        if seed % 3 == 0 {
            let gone = present.remove(0);
            repository.delete_manifest(&gone).expect_status(202);
        }
        present.sort_unstable();
        assert_eq!(
            digests(&repository.referrers(&subject.root().digest)),
            present
        );
    }
    registry.kill();
    registry.restart();
    let repository = registry.repository("true");
    assert_eq!(
        digests(&repository.referrers(&subject.root().digest)),
        present
    );
    // Deleted and pushed again.
    let again = refers_to(subject.root(), 11, "a/b");
    repository
        .delete_manifest(&again.root().digest.to_string())
        .expect_status(202);
    assert_eq!(
        repository.referrers(&subject.root().digest).len(),
        present.len() - 1
    );
    push(&repository, &again);
    assert_eq!(
        digests(&repository.referrers(&subject.root().digest)),
        present
    );
}
