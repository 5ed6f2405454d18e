//! Bodies that are no manifests: JSON of every other shape, and what is not even that.

use roadstead_tests::{Document, Registry, Repository};
use serde_json::{Value, json};

use super::steps::{CONFIG, INDEX, LAYER, MANIFEST, blob, descriptor, refused, roadstead, sha256};

#[track_caller]
fn is_refused(repository: &Repository, bytes: &[u8]) {
    for media_type in [MANIFEST, INDEX, ""] {
        let pushed = repository.push_manifest("tag", &Document::new(media_type, bytes));
        refused(pushed, 400, "MANIFEST_INVALID");
    }
}

/// The registry still answers, and none of it became anything.
fn is_well(registry: &Registry, name: &str) {
    registry.client().get("/v2/").expect_status(200);
    let listed = registry.client().get(&format!("/v2/{name}/tags/list"));
    refused(listed, 404, "NAME_UNKNOWN");
}

/// O22, O37
#[test]
fn a_body_that_is_not_json_is_refused() {
    let registry = roadstead();
    let repository = registry.repository("not/json");
    let bodies: [&[u8]; 18] = [
        b"",
        b" ",
        b"\0",
        b"{",
        b"}",
        b"{]",
        b"{\"",
        b"{\"schemaVersion\":2",
        b"{\"schemaVersion\":2,}",
        b"{'schemaVersion':2}",
        b"{schemaVersion:2}",
        b"{\"schemaVersion\":2}{}",
        b"{\"schemaVersion\":2}\0",
        b"\xef\xbb\xbf{\"schemaVersion\":2}",
        b"\xff\xfe{\0}\0",
        b"{\"schemaVersion\":2 /* comment */}",
        b"<manifest/>",
        b"--- {schemaVersion: 2}",
    ];
    for body in bodies {
        is_refused(&repository, body);
    }
    is_well(&registry, "not/json");
}

/// O37: other JSON.
#[test]
fn json_that_is_no_object_of_the_right_version_is_refused() {
    let registry = roadstead();
    let repository = registry.repository("not/manifest");
    for body in [
        json!(null),
        json!(true),
        json!(2),
        json!("manifest"),
        json!([]),
        json!({}),
        json!([{"schemaVersion": 2}]),
        json!({"schemaVersion": 1}),
        json!({"schemaVersion": 3, "manifests": []}),
        json!({"schemaVersion": -2, "manifests": []}),
        json!({"schemaVersion": 2.5, "manifests": []}),
        json!({"schemaVersion": "2", "manifests": []}),
        json!({"schemaVersion": null, "manifests": []}),
        json!({"schemaVersion": [2], "manifests": []}),
        json!({"schemaVersion": 2, "layers": []}),
        json!({"schemaVersion": 1, "name": "a", "tag": "b", "fsLayers": [], "history": [], "signatures": []}),
    ] {
        is_refused(&repository, body.to_string().as_bytes());
    }
    is_well(&registry, "not/manifest");
}

/// O37: deeper than any stack.
#[test]
fn json_without_a_bottom_is_refused() {
    let registry = roadstead();
    let repository = registry.repository("deep");
    for (open, close) in [("[", "]"), ("{\"a\":", "}"), ("[{\"a\":", "}]")] {
        let depth = 1_500_000 / open.len();
        is_refused(&repository, open.repeat(depth).as_bytes());
        let closed = format!("{}1{}", open.repeat(depth), close.repeat(depth));
        is_refused(&repository, closed.as_bytes());
        for field in [
            "layers",
            "config",
            "manifests",
            "subject",
            "annotations",
            "mediaType",
        ] {
            let body = format!("{{\"schemaVersion\":2,\"{field}\":{closed}}}");
            is_refused(&repository, body.as_bytes());
        }
    }
    is_well(&registry, "deep");
}

/// An image manifest that is right but for one field.
fn with(field: &str, value: &Value) -> Value {
    let mut manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": descriptor(CONFIG, b"{}"),
        "layers": [descriptor(LAYER, b"{}")],
    });
    manifest[field] = value.clone();
    manifest
}

/// O37: values of another type, in each field that has one.
#[test]
fn a_field_of_another_type_is_refused() {
    let registry = roadstead();
    let repository = registry.repository("types");
    blob(&repository, b"{}");
    let good = with("annotations", &json!({}));
    let good = Document::new(MANIFEST, good.to_string());
    let elsewhere = registry.repository("types/good");
    blob(&elsewhere, b"{}");
    elsewhere.push_manifest("tag", &good).expect_status(201);
    let wrong = |allowed: &[Value]| {
        let all = [
            json!(null),
            json!(true),
            json!(0),
            json!(-1),
            json!("x"),
            json!([]),
            json!({}),
            json!([[]]),
            json!([{}]),
            json!({"x": 1}),
        ];
        all.into_iter()
            .filter(|value| !allowed.contains(value))
            .collect::<Vec<_>>()
    };
    let null = json!(null);
    for (field, allowed) in [
        ("schemaVersion", vec![]),
        ("mediaType", vec![null.clone()]),
        ("config", vec![]),
        ("layers", vec![null.clone(), json!([])]),
        ("manifests", vec![null.clone()]),
        ("subject", vec![null.clone()]),
        ("annotations", vec![null.clone(), json!({})]),
        ("artifactType", vec![null, json!("x")]),
    ] {
        for value in wrong(&allowed) {
            let body = with(field, &value).to_string();
            let pushed = repository.push_manifest("tag", &Document::new(MANIFEST, body));
            refused(pushed, 400, "MANIFEST_INVALID");
        }
    }
    is_well(&registry, "types");
}

/// O37: descriptors with something wrong, wherever one stands.
#[test]
fn a_descriptor_that_is_none_is_refused() {
    let registry = roadstead();
    let repository = registry.repository("descriptors");
    blob(&repository, b"{}");
    let digest = sha256(b"{}").to_string();
    let of = |key: &str, value: Value| {
        let mut descriptor = descriptor(LAYER, b"{}");
        descriptor[key] = value;
        descriptor
    };
    let wrong = [
        json!({}),
        json!({"mediaType": LAYER, "size": 2}),
        json!({"mediaType": LAYER, "digest": digest}),
        of("digest", json!("")),
        of("digest", json!("sha256:x")),
        of("digest", json!("../../../etc/passwd")),
        of("digest", json!(digest.to_uppercase())),
        of("digest", json!("md5:d41d8cd98f00b204e9800998ecf8427e")),
        of("digest", json!(7)),
        of("digest", json!([digest])),
        of("size", json!(-1)),
        of("size", json!(2.5)),
        of("size", json!("2")),
        of("size", json!(null)),
        of("size", json!(1e300)),
        of("mediaType", json!(3)),
        of("urls", json!("https://example.com")),
        of("urls", json!([1])),
        of("annotations", json!({"a": 1})),
        of("annotations", json!([])),
        of("artifactType", json!({})),
        of("platform", json!("linux")),
        of("platform", json!({"os": 1})),
    ];
    for descriptor in wrong {
        for (field, value) in [
            ("config", descriptor.clone()),
            ("layers", json!([descriptor])),
            ("subject", descriptor.clone()),
        ] {
            let body = with(field, &value).to_string();
            let pushed = repository.push_manifest("tag", &Document::new(MANIFEST, body));
            refused(pushed, 400, "MANIFEST_INVALID");
        }
        let list = json!({"schemaVersion": 2, "manifests": [descriptor]});
        let pushed = repository.push_manifest("tag", &Document::new(INDEX, list.to_string()));
        refused(pushed, 400, "MANIFEST_INVALID");
    }
    is_well(&registry, "descriptors");
}

/// O37: a document that reads as two things, to two readers.
#[test]
fn a_document_that_means_two_things_is_refused() {
    let registry = roadstead();
    let repository = registry.repository("two");
    blob(&repository, b"{}");
    let text = with("x", &json!(1)).to_string();
    let twice = |key: &str, value: &str| {
        let again = format!("{{\"{key}\":{value},");
        Document::new(MANIFEST, text.replacen('{', &again, 1))
    };
    for (key, value) in [
        ("schemaVersion", "2"),
        ("mediaType", "\"x/y\""),
        ("config", "null"),
        ("layers", "[]"),
    ] {
        let pushed = repository.push_manifest("tag", &twice(key, value));
        refused(pushed, 400, "MANIFEST_INVALID");
    }
    let both = with("manifests", &json!([])).to_string();
    is_refused(&repository, both.as_bytes());
    is_well(&registry, "two");
}

/// O37: numbers that fit into nothing.
#[test]
fn a_size_that_no_number_holds_is_refused() {
    let registry = roadstead();
    let repository = registry.repository("numbers");
    blob(&repository, b"{}");
    let text = with("x", &json!(1)).to_string();
    for number in [
        "18446744073709551616",
        "1e99",
        "1e999999",
        "-0.5",
        "0x2",
        "02",
        "2.",
        "NaN",
        "Infinity",
        &"9".repeat(100_000),
    ] {
        let body = text.replace("\"size\":2", &format!("\"size\":{number}"));
        assert_ne!(body, text);
        is_refused(&repository, body.as_bytes());
    }
    is_well(&registry, "numbers");
    let largest = text.replacen("\"size\":2", "\"size\":18446744073709551615", 1);
    let pushed = repository.push_manifest("tag", &Document::new(MANIFEST, largest));
    pushed.expect_status(201);
}
