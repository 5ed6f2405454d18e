//! The OCI image layout: a directory that skopeo, podman and buildah read and write.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use crate::image::{Content, Document};

/// Writes `content` as the image `tag` of a new layout in `dir`.
pub fn write(dir: &Path, tag: &str, content: &Content) {
    let blobs = dir.join("blobs/sha256");
    std::fs::create_dir_all(&blobs).expect("a directory for a layout");
    let put = |name: &str, bytes: &[u8]| {
        std::fs::write(dir.join(name), bytes).expect("a file of a layout");
    };
    for document in content.documents() {
        put(&blob(document), &document.bytes);
    }
    let mut root = content.root().descriptor();
    root["annotations"] = json!({"org.opencontainers.image.ref.name": tag});
    let index = json!({"schemaVersion": 2, "manifests": [root]});
    put("index.json", index.to_string().as_bytes());
    put("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#);
}

/// The digest of the only image of the layout in `dir`.
///
/// # Panics
/// When there is none, or more than one.
#[track_caller]
pub fn root(dir: &Path) -> String {
    let index = std::fs::read(dir.join("index.json")).expect("the index of a layout");
    let index: Value = serde_json::from_slice(&index).expect("JSON");
    let manifests = index["manifests"].as_array().expect("a list of manifests");
    assert_eq!(manifests.len(), 1, "one image: {index}");
    manifests[0]["digest"]
        .as_str()
        .expect("a digest")
        .to_owned()
}

/// That the layout in `dir` holds `content` under its root, byte for byte, and nothing else.
#[track_caller]
pub fn assert_holds(dir: &Path, content: &Content) {
    assert_eq!(root(dir), content.root().digest.to_string());
    let mut there = files(&dir.join("blobs/sha256"));
    for document in content.documents() {
        let bytes = there.remove(document.digest.hex());
        assert!(
            bytes.as_deref() == Some(&document.bytes),
            "{} ({}) is missing or differs",
            document.digest,
            document.media_type
        );
    }
    let more: Vec<&String> = there.keys().collect();
    assert!(more.is_empty(), "nobody pushed {more:?}");
}

fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(dir).expect("the blobs of a layout");
    entries
        .map(|entry| {
            let entry = entry.expect("an entry of a directory");
            let bytes = std::fs::read(entry.path()).expect("a blob of a layout");
            (entry.file_name().to_string_lossy().into_owned(), bytes)
        })
        .collect()
}

fn blob(document: &Document) -> String {
    format!("blobs/sha256/{}", document.digest.hex())
}
