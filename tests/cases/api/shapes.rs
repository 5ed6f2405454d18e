//! Manifests of every shape that the specification lets pass.

use roadstead_tests::{Content, Document, Family, Image, Registry};
use serde_json::{Value, json};

use super::steps::{INDEX, blob, descriptor, image, index, roadstead, sha256};

#[track_caller]
fn comes_back(registry: &mut Registry, manifests: &[Document]) {
    let push = |registry: &Registry, manifest: &Document| {
        let reference = manifest.digest.to_string();
        let repository = registry.repository("shapes");
        repository
            .push_manifest(&reference, manifest)
            .expect_status(201);
    };
    for manifest in manifests {
        push(registry, manifest);
    }
    registry.restart();
    for manifest in manifests {
        let repository = registry.repository("shapes");
        let pulled = repository.manifest(&manifest.digest.to_string());
        let pulled = pulled.expect_status(200);
        assert_eq!(pulled.body, manifest.bytes);
        assert_eq!(
            pulled.header("content-type"),
            Some(manifest.media_type.as_str())
        );
    }
}

/// O42
#[test]
fn images_and_indexes_of_indexes_of_both_families() {
    let mut registry = roadstead();
    let mut contents = Vec::new();
    for family in [Family::Oci, Family::Docker] {
        let image = |seed| Image::new(seed).family(family).layer_size(500);
        let images = [image(1).build(), image(2).architecture("arm64").build()];
        let flat = Content::index(family, &images);
        let nested = Content::index(family, &[flat.clone(), image(3).build()]);
        let deeper = Content::index(family, &[nested.clone(), flat.clone()]);
        contents.extend(images.into_iter().chain([flat, nested, deeper]));
    }
    for (n, content) in contents.iter().enumerate() {
        registry.repository("trees").push(&format!("t{n}"), content);
    }
    registry.restart();
    let repository = registry.repository("trees");
    for (n, content) in contents.iter().enumerate() {
        repository.assert_serves(&format!("t{n}"), content);
    }
}

/// O42: artifacts, in all the ways in which tools have written them.
#[test]
fn artifacts() {
    let mut registry = roadstead();
    let repository = registry.repository("shapes");
    for bytes in [b"data".as_slice(), b"", b"{}"] {
        blob(&repository, bytes);
    }
    let empty = "application/vnd.oci.empty.v1+json";
    let mut inline = descriptor("application/vnd.example.data", b"data");
    inline["data"] = json!("ZGF0YQ==");
    inline["annotations"] = json!({"org.opencontainers.image.title": "a/b.txt"});
    let mut config = descriptor(empty, b"{}");
    config["data"] = json!("e30=");
    let shapes: [Value; 8] = [
        json!({"artifactType": "application/vnd.example"}),
        json!({"artifactType": "application/vnd.example", "config": config, "layers": [descriptor(empty, b"{}")]}),
        json!({"layers": [inline]}),
        json!({"layers": [descriptor("application/vnd.example", b"")]}),
        json!({"layers": [descriptor("", b"data")]}),
        json!({"layers": null}),
        json!({"annotations": {"": "", "ä": "\u{1F600}", "long": "x".repeat(10_000)}}),
        json!({"annotations": null, "subject": null, "artifactType": null}),
    ];
    let manifests: Vec<Document> = shapes
        .iter()
        .map(|fields| image(&repository, fields))
        .collect();
    comes_back(&mut registry, &manifests);
}

/// O42: fields of nobody's are kept, whatever they hold.
#[test]
fn fields_that_are_not_known() {
    let mut registry = roadstead();
    let repository = registry.repository("shapes");
    let custom = [
        json!({"com.example": {"deep": [[[[[{"a": [1, 2.5, -3, null, true]}]]]]]}}),
        json!({"signatures": [], "history": [], "fsLayers": "x", "name": 1, "tag": {}}),
        json!({"schemaversion": "three", "MediaType": 4, "CONFIG": []}),
    ];
    let mut manifests: Vec<Document> = custom
        .iter()
        .map(|fields| image(&repository, fields))
        .collect();
    // Numbers and texts that no parser could write back as they stand.
    let text = String::from_utf8(manifests[0].bytes.clone()).expect("text");
    for odd in [
        "1e999",
        "-0.0",
        "123456789012345678901234567890",
        "\"\\ud800\"",
    ] {
        let bytes = text.replace("2.5", odd);
        manifests.push(Document::new(&manifests[0].media_type, bytes));
    }
    comes_back(&mut registry, &manifests);
}

/// O42
#[test]
fn indexes_without_children_and_with_all_kinds_of_them() {
    let mut registry = roadstead();
    let repository = registry.repository("shapes");
    let child = image(&repository, &json!({}));
    let mut entry = child.descriptor();
    entry["platform"] = json!({
        "architecture": "arm",
        "os": "linux",
        "os.version": "1",
        "os.features": ["x"],
        "variant": "v7",
    });
    entry["artifactType"] = json!("application/vnd.example");
    entry["annotations"] = json!({"a": "b"});
    let twice = [entry.clone(), entry.clone()];
    let mut bare = child.descriptor();
    bare["platform"] = json!({});
    let documents = [
        child.clone(),
        index(&[], &json!({})),
        index(
            &[],
            &json!({"artifactType": "application/vnd.example", "annotations": {"a": "b"}}),
        ),
        index(&[entry], &json!({})),
        index(&twice, &json!({})),
        index(&[bare], &json!({"subject": child.descriptor()})),
    ];
    comes_back(&mut registry, &documents);
}

/// O42: a thousand layers, and a thousand children.
#[test]
fn manifests_that_name_much() {
    let mut registry = roadstead();
    let repository = registry.repository("shapes");
    let layer = |n: usize| n.to_string().into_bytes();
    for n in 0..20 {
        blob(&repository, &layer(n));
    }
    let layers: Vec<Value> = (0..1000)
        .map(|n| descriptor("application/vnd.example", &layer(n % 20)))
        .collect();
    let many = image(&repository, &json!({ "layers": layers }));
    let children: Vec<Value> = (0..1000).map(|_| many.descriptor()).collect();
    let list = index(&children, &json!({}));
    assert_eq!(list.media_type, INDEX);
    assert_ne!(many.digest, sha256(b""));
    comes_back(&mut registry, &[many, list]);
}
