//! docker: built here, pushed, removed, pulled back; and what only docker does, such as mounting and manifest lists.

use roadstead_tests::image::noise;
use roadstead_tests::{Docker, Registry, scratch};
use serde_json::json;

use super::{platforms, registry};

/// One engine for all cases: it takes a second to start.
#[test]
fn docker_pushes_and_pulls() {
    let registry = registry();
    let docker = Docker::start();
    a_built_image_is_pulled_back(&docker, &registry);
    layers_known_to_the_registry_are_not_pushed_again(&docker, &registry);
    an_imported_image_is_pulled_back_by_digest(&docker, &registry);
    a_manifest_list_is_pushed(&docker, &registry);
    the_engines_own_platform_is_chosen_from_an_index(&docker, &registry);
    an_unknown_image_is_refused(&docker, &registry);
}

fn a_built_image_is_pulled_back(docker: &Docker, registry: &Registry) {
    let image = registry.image("deep/name/img:v1");
    let files = ["one", "two", "three"].map(|name| (name, noise(name.len() as u64, 200_000)));
    docker.build(&image, &files);
    let id = docker.id(&image);
    let digest = push(docker, &image);

    docker.run(&["image", "rm", &image]);
    docker.fails(&["image", "inspect", &image]);
    let said = docker.run(&["pull", &image]).said();
    assert!(said.contains(&format!("Digest: {digest}")), "{said}");
    assert_eq!(docker.id(&image), id);
    assert_eq!(
        repo_digests(docker, &image),
        json!([registry.image(&format!("deep/name/img@{digest}"))])
    );
    let history = docker.run(&["history", "--quiet", &image]).text();
    assert_eq!(history.lines().count(), files.len());
}

fn layers_known_to_the_registry_are_not_pushed_again(docker: &Docker, registry: &Registry) {
    let first = registry.image("deep/name/img:v1");
    let said = docker.run(&["push", &first]).said();
    assert_eq!(said.matches("Layer already exists").count(), 3, "{said}");

    let second = registry.image("other/name:v1");
    docker.run(&["tag", &first, &second]);
    let said = docker.run(&["push", &second]).said();
    assert_eq!(
        said.matches("Mounted from deep/name/img").count(),
        3,
        "{said}"
    );
    docker.run(&["image", "rm", &first, &second]);
    docker.run(&["pull", &second]);
}

fn an_imported_image_is_pulled_back_by_digest(docker: &Docker, registry: &Registry) {
    let image = registry.image("imported:latest");
    let dir = scratch();
    let path = dir.path().join("root.tar");
    std::fs::write(&path, archive("etc/noise", &noise(7, 1 << 20))).expect("an archive");
    docker.run(&["import", &path.display().to_string(), &image]);
    let id = docker.id(&image);
    let digest = push(docker, &image);

    docker.run(&["image", "rm", &image]);
    let by_digest = registry.image(&format!("imported@{digest}"));
    docker.run(&["pull", &by_digest]);
    assert_eq!(docker.id(&by_digest), id);
}

fn a_manifest_list_is_pushed(docker: &Docker, registry: &Registry) {
    let list = registry.image("listed:all");
    let mut digests = Vec::new();
    for architecture in ["amd64", "arm64"] {
        let image = registry.image(&format!("listed:{architecture}"));
        docker.build(&image, &[(architecture, noise(9, 1000))]);
        digests.push(push(docker, &image));
        docker.run(&["manifest", "create", "--insecure", "--amend", &list, &image]);
        docker.run(&[
            "manifest",
            "annotate",
            "--arch",
            architecture,
            &list,
            &image,
        ]);
    }
    let pushed = docker
        .run(&["manifest", "push", "--insecure", &list])
        .text();

    let answer = registry.repository("listed").manifest("all");
    assert_eq!(
        answer.header("docker-content-digest"),
        Some(pushed.as_str())
    );
    let listed = answer.expect_status(200).json();
    assert_eq!(
        listed["mediaType"],
        "application/vnd.docker.distribution.manifest.list.v2+json"
    );
    for (child, digest) in listed["manifests"]
        .as_array()
        .expect("a list")
        .iter()
        .zip(digests)
    {
        assert_eq!(child["digest"], digest);
    }
    let inspected = docker.run(&["manifest", "inspect", "--insecure", &list]);
    assert_eq!(inspected.json(), listed);
}

fn the_engines_own_platform_is_chosen_from_an_index(docker: &Docker, registry: &Registry) {
    let index = platforms(20);
    registry.repository("platforms").push("v1", &index);
    let image = registry.image("platforms:v1");
    for (architecture, child) in ["amd64", "arm64"].iter().zip(index.manifests()) {
        let platform = format!("linux/{architecture}");
        docker.run(&["pull", "--platform", &platform, &image]);
        let manifest: serde_json::Value = serde_json::from_slice(&child.bytes).expect("JSON");
        assert_eq!(docker.id(&image), manifest["config"]["digest"]);
    }
}

fn an_unknown_image_is_refused(docker: &Docker, registry: &Registry) {
    let said = docker
        .fails(&["pull", &registry.image("no/such/image:v1")])
        .said();
    assert!(
        said.contains("not found") || said.contains("manifest unknown"),
        "{said}"
    );
}

fn archive(name: &str, content: &[u8]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_size(content.len() as u64);
    archive
        .append_data(&mut header, name, content)
        .and_then(|()| archive.into_inner())
        .expect("memory takes writes")
}

/// Pushes, and returns the digest that the engine saw.
fn push(docker: &Docker, image: &str) -> String {
    let said = docker.run(&["push", image]).text();
    let (_, rest) = said.split_once(": digest: ").expect("the digest of a push");
    let (digest, _) = rest.split_once(' ').expect("a digest and a size");
    digest.to_owned()
}

fn repo_digests(docker: &Docker, image: &str) -> serde_json::Value {
    docker
        .run(&[
            "image",
            "inspect",
            "--format",
            "{{json .RepoDigests}}",
            image,
        ])
        .json()
}
