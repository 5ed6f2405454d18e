//! podman and buildah: pulled, built, pushed under another name, and lists of several platforms.

use roadstead_tests::image::noise;
use roadstead_tests::{Image, Podman, scratch};

use super::{platforms, registry};

#[test]
fn podman_pulls_what_others_pushed_and_pushes_it_on() {
    let registry = registry();
    let image = Image::new(30).layers(4).build();
    registry.repository("library/thing").push("v1", &image);
    let podman = Podman::new();
    let (there, moved) = (
        registry.image("library/thing:v1"),
        registry.image("moved/thing:v2"),
    );
    podman.pull(&there);
    assert_eq!(podman.id(&there), image.config().digest.hex());
    podman.push(&there, &moved);

    let other = Podman::new();
    other.pull(&moved);
    assert_eq!(other.id(&moved), image.config().digest.hex());
    let layers = other.run(&[
        "image",
        "inspect",
        "--format",
        "{{len .RootFS.Layers}}",
        &moved,
    ]);
    assert_eq!(layers.text(), "4");
}

#[test]
fn podman_builds_and_pushes() {
    let registry = registry();
    let context = scratch();
    for name in ["one", "two"] {
        std::fs::write(context.path().join(name), noise(31, 50_000)).unwrap();
    }
    let recipe = "FROM scratch\nCOPY one /one\nCOPY two /two\n";
    std::fs::write(context.path().join("Containerfile"), recipe).unwrap();
    let image = registry.image("built/by/podman:v1");
    let podman = Podman::new();
    let dir = context.path().display().to_string();
    podman.run(&[
        "build",
        "--layers",
        "--signature-policy",
        &podman.policy(),
        "--tag",
        &image,
        &dir,
    ]);
    let digests = context.path().join("digest");
    let digestfile = format!("--digestfile={}", digests.display());
    podman.run(&[
        "push",
        "--tls-verify=false",
        "--signature-policy",
        &podman.policy(),
        &digestfile,
        &image,
    ]);

    let answer = registry.repository("built/by/podman").manifest("v1");
    let digest = std::fs::read_to_string(&digests).unwrap();
    assert_eq!(answer.header("docker-content-digest"), Some(digest.trim()));
    let other = Podman::new();
    other.pull(&image);
    assert_eq!(other.id(&image), podman.id(&image));
}

#[test]
fn podman_pushes_a_manifest_list_with_all_below_it() {
    let registry = registry();
    let index = platforms(32);
    registry.repository("source").push("v1", &index);
    let podman = Podman::new();
    let children = &index.manifests()[..3];
    podman.run(&["manifest", "create", "list"]);
    for child in children {
        let child = format!(
            "docker://{}",
            registry.image(&format!("source@{}", child.digest))
        );
        podman.run(&["manifest", "add", "--tls-verify=false", "list", &child]);
    }
    let destination = format!("docker://{}", registry.image("lists/copy:v1"));
    podman.run(&[
        "manifest",
        "push",
        "--all",
        "--tls-verify=false",
        "list",
        &destination,
    ]);

    let copy = registry.repository("lists/copy");
    let list = copy.manifest("v1").expect_status(200).json();
    let listed = list["manifests"].as_array().unwrap();
    assert_eq!(listed.len(), children.len());
    for (entry, child) in listed.iter().zip(children) {
        assert_eq!(entry["digest"], child.digest.to_string());
        let pulled = copy.manifest(&child.digest.to_string());
        assert_eq!(pulled.expect_status(200).body, child.bytes);
    }
    for blob in index.blobs() {
        assert_eq!(copy.blob(&blob.digest).expect_status(200).body, blob.bytes);
    }
}

#[test]
fn buildah_commits_and_pushes() {
    let registry = registry();
    let podman = Podman::new();
    let policy = podman.policy();
    let dir = scratch();
    let file = dir.path().join("noise");
    std::fs::write(&file, noise(33, 500_000)).unwrap();
    let container = podman.buildah(&["from", "scratch"]).text();
    podman.buildah(&["copy", &container, &file.display().to_string(), "/noise"]);
    podman.buildah(&[
        "commit",
        "--signature-policy",
        &policy,
        &container,
        "committed",
    ]);
    let image = registry.image("built/by/buildah:v1");
    podman.buildah(&[
        "push",
        "--tls-verify=false",
        "--signature-policy",
        &policy,
        "committed",
        &image,
    ]);
    podman.buildah(&["rm", &container]);

    let other = Podman::new();
    other.buildah(&[
        "pull",
        "--tls-verify=false",
        "--signature-policy",
        &other.policy(),
        &image,
    ]);
    assert_eq!(other.id(&image), podman.id("committed"));
}
