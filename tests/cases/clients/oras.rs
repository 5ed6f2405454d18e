//! oras: artifacts with annotations, in whole blobs and in chunks, and those that refer to others.

use std::path::Path;

use roadstead_tests::image::noise;
use roadstead_tests::{Image, scratch, tools};
use serde_json::{Value, json};

use super::registry;

/// Runs one step of `oras_steps.py` with its arguments as JSON; what it says is JSON.
fn oras(step: &str, arguments: &Value, dir: &Path) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases/oras_steps.py");
    tools::python(&script, &[step, &arguments.to_string()], dir).json()
}

#[test]
fn an_artifact_comes_back_with_its_annotations() {
    let registry = registry();
    for (tag, chunked, seed) in [("whole", false, 40), ("chunked", true, 41)] {
        let target = registry.image(&format!("artifacts/docs:{tag}"));
        let (here, there) = (scratch(), scratch());
        let files = ["manual.bin", "readme.bin"];
        for (name, size) in files.iter().zip([100_000, 90_000]) {
            std::fs::write(here.path().join(name), noise(seed, size)).unwrap();
        }
        let annotations = json!({"org.example.kind": "documentation"});
        let push = json!({"target": target, "files": files, "annotations": annotations, "chunked": chunked});
        oras("push", &push, here.path());
        oras("pull", &json!({"target": target}), there.path());
        for name in files {
            let read = |dir: &Path| std::fs::read(dir.join(name)).unwrap();
            assert!(read(here.path()) == read(there.path()), "{name} of {tag}");
        }
        let manifest = oras("manifest", &json!({"target": target}), here.path());
        assert_eq!(manifest["annotations"], annotations);
    }
    let target = registry.image("artifacts/docs:whole");
    let tags = oras("tags", &json!({"target": target}), scratch().path());
    let mut tags: Vec<&str> = tags
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    tags.sort_unstable();
    assert_eq!(tags, ["chunked", "whole"]);
}

#[test]
fn an_attached_artifact_is_found_by_its_subject() {
    let registry = registry();
    if registry.kind() == roadstead_tests::Kind::Reference {
        return; // It has no referrers API: this case is Roadstead's alone.
    }
    let repository = registry.repository("artifacts/signed");
    let image = Image::new(42).build();
    repository.push("v1", &image);
    let dir = scratch();
    std::fs::write(dir.path().join("signature"), noise(43, 500)).unwrap();
    let attached = oras(
        "attach",
        &json!({
            "target": registry.image("artifacts/signed:signature"),
            "file": "signature",
            "artifact_type": "application/vnd.example.signature",
            "annotations": {"org.example.signer": "someone"},
            "subject": image.root().descriptor(),
        }),
        dir.path(),
    );
    assert_eq!(attached["subject"], image.root().digest.to_string());

    let referrers = repository.referrers(&image.root().digest);
    assert_eq!(referrers.len(), 1, "{referrers:?}");
    assert_eq!(referrers[0]["digest"], attached["digest"]);
    assert_eq!(
        referrers[0]["artifactType"],
        "application/vnd.example.signature"
    );
    assert_eq!(
        referrers[0]["annotations"],
        json!({"org.example.signer": "someone"})
    );
}
