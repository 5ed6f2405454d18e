//! Manifests: exact bytes, what they may name, tags, subjects, and their size.

use roadstead_oci::{Algorithm, Digest};
use roadstead_tests::{Content, Document, Family, Image, Options, Registry, Repository};
use serde_json::{Value, json};

use super::{is_refused, push, registry, sha256};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

fn document(media_type: &str, json: &Value) -> Document {
    Document::new(media_type, json.to_string().into_bytes())
}

/// An image manifest on one small config, with more fields.
fn manifest(repository: &Repository, more: &Value) -> Value {
    let config = push(repository, b"{}");
    let mut manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": config.to_string(), "size": 2},
        "layers": [],
    });
    for (key, value) in more.as_object().expect("fields") {
        manifest[key] = value.clone();
    }
    manifest
}

/// O3, O4, O5, O7, O22, O23: bytes, type and digest come back as they were pushed.
#[test]
fn a_manifest_comes_back_byte_for_byte() {
    let registry = registry();
    let repository = registry.repository("exact");
    // White space, order, unknown fields and numbers that a parser would write otherwise.
    let text = manifest(
        &repository,
        &json!({"com.example": [1.50, {"a": null}], "annotations": {"k": "v"}}),
    )
    .to_string();
    let odd = Document::new(
        MANIFEST,
        format!(" \n{}\t", text.replace("1.5", "1.50e0")).into_bytes(),
    );
    let path = repository.path("manifests/odd");
    let pushed = registry.client().call("PUT", &path).header(
        "content-type",
        "application/vnd.oci.image.manifest.v1+json; charset=utf-8",
    );
    let pushed = pushed.body(odd.bytes.clone()).send().expect_status(201);
    assert_eq!(
        pushed.header("docker-content-digest"),
        Some(odd.digest.to_string().as_str())
    );
    for place in [
        pushed.location(),
        &path,
        &repository.path(&format!("manifests/{}", odd.digest)),
    ] {
        let pulled = registry.client().get(place).expect_status(200);
        assert_eq!(pulled.body, odd.bytes);
        assert_eq!(pulled.header("content-type"), Some(MANIFEST));
        assert_eq!(
            pulled.header("docker-content-digest"),
            Some(odd.digest.to_string().as_str())
        );
        let head = registry.client().head(place).expect_status(200);
        assert_eq!(
            head.header("content-length"),
            Some(odd.bytes.len().to_string().as_str())
        );
        assert_eq!(head.header("content-type"), Some(MANIFEST));
        let held = registry
            .client()
            .call("GET", place)
            .header("if-none-match", &format!("\"{}\"", odd.digest))
            .send();
        held.expect_status(304);
    }
}

/// O3: unknown tags, digests and repositories.
#[test]
fn what_is_not_there_is_404() {
    let registry = registry();
    registry
        .repository("there")
        .push("tag", &Image::new(1).build());
    for name in ["there", "no/where"] {
        for reference in ["other", ".not-a-tag", &sha256(b"x").to_string()] {
            is_refused(
                registry.repository(name).manifest(reference),
                404,
                "MANIFEST_UNKNOWN",
            );
        }
    }
}

/// An image without two of its layers, an index without its child, and an image with a layer that lies elsewhere.
fn sparse_documents(repository: &Repository) -> [Document; 3] {
    let layer = "application/vnd.oci.image.layer.v1.tar";
    let absent = |media_type: &str, n: u8| json!({"mediaType": media_type, "digest": sha256(&[n]).to_string(), "size": 1});
    let mut foreign = absent("application/vnd.oci.image.layer.nondistributable.v1.tar", 4);
    foreign["urls"] = json!(["https://example.com/f"]);
    let layers = manifest(
        repository,
        &json!({"layers": [absent(layer, 1), absent(layer, 2)]}),
    );
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [absent(MANIFEST, 3)]});
    let foreign = manifest(repository, &json!({"layers": [foreign]}));
    [
        document(MANIFEST, &layers),
        document(INDEX, &index),
        document(MANIFEST, &foreign),
    ]
}

/// O9: what a manifest names must be there; each that is not has an entry of its own.
#[test]
fn references_must_be_there() {
    let registry = registry();
    let repository = registry.repository("strict");
    let [layers, index, foreign] = sparse_documents(&repository);
    let refused = repository.push_manifest("t", &layers).expect_status(400);
    assert_eq!(
        refused.codes(),
        ["MANIFEST_BLOB_UNKNOWN", "MANIFEST_BLOB_UNKNOWN"]
    );
    for absent in [sha256(&[1]), sha256(&[2])] {
        assert!(
            refused.text().contains(&absent.to_string()),
            "{}",
            refused.text()
        );
    }
    is_refused(
        repository.push_manifest("t", &index),
        400,
        "MANIFEST_BLOB_UNKNOWN",
    );
    is_refused(
        repository.push_manifest("t", &foreign),
        400,
        "MANIFEST_INVALID",
    );
    repository.manifest("t").expect_status(404);
}

/// O9, O41: unless the registry is told otherwise, of everything or of some.
#[test]
fn references_may_be_absent_where_that_is_configured() {
    let open = Registry::roadstead(Options::default().yaml("validation: {disabled: true}"));
    let repository = open.repository("open");
    for sparse in sparse_documents(&repository) {
        repository.push_manifest("t", &sparse).expect_status(201);
        assert_eq!(
            repository.manifest("t").expect_status(200).body,
            sparse.bytes
        );
    }
    let some = "validation: {manifests: {indexes: {platforms: none}, urls: {allow: ['^https://example\\.com/']}}}";
    let some = Registry::roadstead(Options::default().yaml(some));
    let repository = some.repository("some");
    let [layers, index, foreign] = sparse_documents(&repository);
    assert_eq!(
        repository
            .push_manifest("t", &layers)
            .expect_status(400)
            .codes()
            .len(),
        2
    );
    repository.push_manifest("t", &index).expect_status(201);
    repository.push_manifest("t", &foreign).expect_status(201);
}

/// O8, O26: a subject need not be there, and the registry says that it saw it.
#[test]
fn a_subject_may_arrive_later() {
    let registry = registry();
    let repository = registry.repository("subject");
    let subject = json!({"mediaType": MANIFEST, "digest": sha256(b"later").to_string(), "size": 5});
    let referrer = document(
        MANIFEST,
        &manifest(&repository, &json!({"subject": subject})),
    );
    for reference in ["tag", &referrer.digest.to_string()] {
        let pushed = repository
            .push_manifest(reference, &referrer)
            .expect_status(201);
        assert_eq!(
            pushed.header("oci-subject"),
            Some(sha256(b"later").to_string().as_str())
        );
    }
    let plain = document(MANIFEST, &manifest(&repository, &json!({})));
    assert_eq!(
        repository
            .push_manifest("plain", &plain)
            .expect_status(201)
            .header("oci-subject"),
        None
    );
}

/// O24: four mebibytes are taken, more is 413 with and without a length.
#[test]
fn a_manifest_has_a_size_limit() {
    let registry = registry();
    let repository = registry.repository("large");
    let padded = |size: usize| {
        let mut bytes = manifest(&repository, &json!({})).to_string().into_bytes();
        bytes.resize(size, b' ');
        Document::new(MANIFEST, bytes)
    };
    repository
        .push_manifest("largest", &padded(4 << 20))
        .expect_status(201);
    let larger = padded((4 << 20) + 1);
    is_refused(
        repository.push_manifest("larger", &larger),
        413,
        "MANIFEST_INVALID",
    );
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), &larger.bytes).expect("written");
    let url = format!("{}/v2/large/manifests/larger", registry.url());
    let path = file.path().display().to_string();
    let chunked = [
        "-X",
        "PUT",
        "-T",
        &path,
        "-H",
        "Transfer-Encoding: chunked",
        "-H",
        "Expect:",
        "-H",
        &format!("Content-Type: {MANIFEST}"),
        &url,
    ];
    roadstead_tests::tools::curl(&chunked)
        .answer
        .expect_status(413);
}

/// O25: a manifest pushed by its digest can be given tags, each confirmed.
#[test]
fn tags_are_set_with_a_manifest() {
    let registry = registry();
    let repository = registry.repository("tagged");
    let document = document(MANIFEST, &manifest(&repository, &json!({})));
    let put = |tags: &[String]| {
        let query: Vec<String> = tags.iter().map(|tag| format!("tag={tag}")).collect();
        let path = repository.path(&format!(
            "manifests/{}?{}",
            document.digest,
            query.join("&")
        ));
        registry
            .client()
            .call("PUT", &path)
            .header("content-type", MANIFEST)
            .body(document.bytes.clone())
            .send()
    };
    let tags: Vec<String> = (0..12).map(|n| format!("t{n}")).collect();
    let answer = put(&tags).expect_status(201);
    let confirmed: Vec<&str> = answer
        .headers
        .get_all("oci-tag")
        .iter()
        .map(|tag| tag.to_str().expect("a tag"))
        .collect();
    assert_eq!(confirmed, tags);
    for tag in &tags {
        assert_eq!(
            repository.manifest(tag).expect_status(200).body,
            document.bytes
        );
    }
    put(&(0..65).map(|n| format!("many{n}")).collect::<Vec<_>>()).expect_status(414);
    repository.manifest("many0").expect_status(404);
    is_refused(put(&["not/a/tag".to_owned()]), 400, "TAG_INVALID");
}

/// O14, O22, O41: manifests by sha512, also under a tag.
#[test]
fn a_manifest_addressed_by_sha512() {
    let registry = registry();
    let repository = registry.repository("sha512");
    let document = document(MANIFEST, &manifest(&repository, &json!({})));
    let digest = Digest::of(Algorithm::Sha512, &document.bytes);
    let pushed = repository
        .push_manifest(&format!("{digest}?tag=long"), &document)
        .expect_status(201);
    assert_eq!(
        pushed.header("docker-content-digest"),
        Some(digest.to_string().as_str())
    );
    for reference in ["long", &digest.to_string()] {
        let pulled = repository.manifest(reference).expect_status(200);
        assert_eq!(pulled.body, document.bytes);
        assert_eq!(
            pulled.header("docker-content-digest"),
            Some(digest.to_string().as_str())
        );
    }
    repository
        .manifest(&document.digest.to_string())
        .expect_status(404);
}

/// O42: indexes of indexes, artifacts, embedded data, no layers, both families.
#[test]
fn shapes_of_all_kinds() {
    let registry = registry();
    let repository = registry.repository("shapes");
    for family in [Family::Oci, Family::Docker] {
        let images = [1, 2].map(|seed| {
            Image::new(seed)
                .family(family)
                .layers(2)
                .layer_size(500)
                .build()
        });
        let index = Content::index(family, &images);
        let nested = Content::index(
            family,
            &[index.clone(), Image::new(3).family(family).build()],
        );
        for (tag, content) in [
            ("image", &images[0]),
            ("index", &index),
            ("nested", &nested),
        ] {
            repository.push(tag, content);
            repository.assert_serves(tag, content);
        }
    }
    let artifact = json!({"artifactType": "application/vnd.example", "layers": [
        {"mediaType": "application/octet-stream", "digest": push(&repository, b"data").to_string(), "size": 4, "data": "ZGF0YQ=="}]});
    for more in [artifact, json!({"layers": []}), json!({"layers": null})] {
        let document = document(MANIFEST, &manifest(&repository, &more));
        repository
            .push_manifest("artifact", &document)
            .expect_status(201);
        assert_eq!(
            repository.manifest("artifact").expect_status(200).body,
            document.bytes
        );
    }
    let empty = document(
        INDEX,
        &json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [], "artifactType": "x/y"}),
    );
    repository.push_manifest("empty", &empty).expect_status(201);
}

/// O22, O10: a reference that is a digest must be the content's.
#[test]
fn a_manifest_under_a_wrong_digest_is_refused() {
    let registry = registry();
    let repository = registry.repository("wrong");
    let document = document(MANIFEST, &manifest(&repository, &json!({})));
    is_refused(
        repository.push_manifest(&sha256(b"other").to_string(), &document),
        400,
        "DIGEST_INVALID",
    );
    is_refused(
        repository.push_manifest("sha256:nonsense", &document),
        400,
        "DIGEST_INVALID",
    );
    is_refused(
        repository.push_manifest(".not-a-tag", &document),
        400,
        "TAG_INVALID",
    );
    is_refused(
        repository.manifest("sha256:nonsense"),
        400,
        "DIGEST_INVALID",
    );
}
