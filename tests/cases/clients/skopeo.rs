//! skopeo: images of several platforms copied in, out and across, byte for byte.

use roadstead_tests::image::layout;
use roadstead_tests::tools::skopeo;
use roadstead_tests::{Content, Image, Kind, Registry, scratch};
use serde_json::Value;

use super::{platforms, registry};

/// Pushes `content` from an image layout, with everything below it.
fn push(registry: &Registry, name: &str, content: &Content) {
    let dir = scratch();
    layout::write(dir.path(), "pushed", content);
    let from = format!("oci:{}:pushed", dir.path().display());
    copy(&from, &docker(registry, name), &["--dest-tls-verify=false"]);
}

/// Pulls into an empty image layout and compares it with `content`.
fn pull_and_compare(registry: &Registry, name: &str, content: &Content) {
    let dir = scratch();
    let to = format!("oci:{}:pulled", dir.path().display());
    copy(&docker(registry, name), &to, &["--src-tls-verify=false"]);
    layout::assert_holds(dir.path(), content);
}

fn copy(from: &str, to: &str, flags: &[&str]) {
    let copy = ["copy", "--all", "--preserve-digests"];
    skopeo(&[copy.as_slice(), flags, &[from, to]].concat());
}

fn docker(registry: &Registry, name: &str) -> String {
    format!("docker://{}", registry.image(name))
}

#[test]
fn an_index_comes_back_byte_for_byte() {
    let registry = registry();
    let index = platforms(10);
    push(&registry, "deep/er/name:v1", &index);
    pull_and_compare(&registry, "deep/er/name:v1", &index);
    pull_and_compare(
        &registry,
        &format!("deep/er/name@{}", index.root().digest),
        &index,
    );
    registry
        .repository("deep/er/name")
        .assert_serves("v1", &index);
}

#[test]
fn an_image_of_many_layers_comes_back_byte_for_byte() {
    let registry = registry();
    let image = Image::new(11).layers(12).layer_size(300_000).build();
    push(&registry, "many-layers:v1", &image);
    pull_and_compare(&registry, "many-layers:v1", &image);
}

#[test]
fn an_image_is_copied_between_repositories_of_one_registry() {
    let registry = registry();
    let index = platforms(12);
    push(&registry, "here/a:v1", &index);
    copy(
        &docker(&registry, "here/a:v1"),
        &docker(&registry, "there/b:v2"),
        &["--src-tls-verify=false", "--dest-tls-verify=false"],
    );
    pull_and_compare(&registry, "there/b:v2", &index);
}

#[test]
fn an_image_is_converted_on_its_way() {
    let registry = registry();
    let image = Image::new(13).build();
    push(&registry, "converted:oci", &image);
    skopeo(&[
        "copy",
        "--format=v2s2",
        "--src-tls-verify=false",
        "--dest-tls-verify=false",
        &docker(&registry, "converted:oci"),
        &docker(&registry, "converted:docker"),
    ]);
    let converted = registry.repository("converted").manifest("docker");
    assert_eq!(
        converted.json()["mediaType"],
        "application/vnd.docker.distribution.manifest.v2+json"
    );
    assert_eq!(
        converted.json()["config"]["digest"],
        image.config().digest.to_string(),
    );
}

#[test]
fn inspect_reads_digest_layers_and_raw_bytes() {
    let registry = registry();
    let image = Image::new(14).layers(3).build();
    push(&registry, "inspected:v1", &image);
    push(&registry, "inspected:v2", &Image::new(15).build());

    let name = docker(&registry, "inspected:v1");
    let said = skopeo(&["inspect", "--tls-verify=false", &name]).json();
    assert_eq!(said["Digest"], image.root().digest.to_string());
    assert_eq!(said["RepoTags"], serde_json::json!(["v1", "v2"]));
    let layers = said["Layers"].as_array().unwrap();
    let expected: Vec<String> = image
        .blobs()
        .iter()
        .skip(1)
        .map(|l| l.digest.to_string())
        .collect();
    assert_eq!(layers, &expected);

    let raw = skopeo(&["inspect", "--raw", "--tls-verify=false", &name]);
    assert_eq!(raw.stdout, image.root().bytes);
    let config = skopeo(&["inspect", "--raw", "--config", "--tls-verify=false", &name]);
    assert_eq!(config.stdout, image.config().bytes);
}

#[test]
fn tags_are_listed_in_order() {
    let registry = registry();
    let image = Image::new(16).build();
    let tags = ["v1", "latest", "v10", "v2", "V3"];
    let repository = registry.repository("tagged/often");
    for tag in tags {
        repository.push(tag, &image);
    }
    let name = docker(&registry, "tagged/often");
    let said = skopeo(&["list-tags", "--tls-verify=false", &name]).json();
    let listed = said["Tags"].as_array().unwrap().clone();
    let mut listed: Vec<&str> = listed.iter().filter_map(Value::as_str).collect();
    if registry.kind() == Kind::Reference {
        listed.sort_unstable(); // Version 2 lists them in the order of the directory.
    }
    assert_eq!(listed, ["V3", "latest", "v1", "v10", "v2"]);
}

#[test]
fn a_deleted_image_is_gone() {
    let registry = registry();
    let (kept, deleted) = (Image::new(17).build(), Image::new(18).build());
    push(&registry, "shrinking:kept", &kept);
    push(&registry, "shrinking:deleted", &deleted);
    let name = docker(&registry, "shrinking:deleted");
    skopeo(&["delete", "--tls-verify=false", &name]);

    let repository = registry.repository("shrinking");
    repository.manifest("deleted").expect_status(404);
    let digest = deleted.root().digest.to_string();
    repository.manifest(&digest).expect_status(404);
    assert_eq!(repository.tags(), ["kept"]);
    pull_and_compare(&registry, "shrinking:kept", &kept);
}
