//! What every storage must do, in a bucket: push, pull, go on, delete, list, collect; and sending clients to the store.

use roadstead_oci::{Algorithm, Digest};
use roadstead_tests::image::layout;
use roadstead_tests::tools::{curl, skopeo};
use roadstead_tests::{Content, Family, Image, Options, Registry, Seaweed, registry, scratch};

use super::{SOON, pattern, redirecting, serve};

#[test]
fn images_in_a_bucket() {
    let seaweed = Seaweed::start();
    pushed_pulled_listed_and_deleted(&seaweed);
    uploads_go_on_after_kill(&seaweed);
    clients_are_sent_to_the_store(&seaweed);
    skopeo_pushes_and_pulls(&seaweed);
    collected_when_nobody_serves(&seaweed);
}

fn pushed_pulled_listed_and_deleted(seaweed: &Seaweed) {
    let registry = serve(seaweed, "basics");
    let image = Image::new(1).layers(3).build();
    let child = |a: &str| Image::new(2).architecture(a).build();
    let index = Content::index(Family::Oci, &[child("amd64"), child("arm64")]);
    let repository = registry.repository("library/app");
    for tag in ["v1", "v10", "v2"] {
        repository.push(tag, &image);
    }
    repository.push("multi", &index);
    repository.assert_serves("v1", &image);
    repository.assert_serves("multi", &index);
    let signature = Image::new(3).layers(1).subject(image.root()).build();
    let digest = signature.root().digest.to_string();
    repository.push(&digest, &signature);
    let referrers = repository.referrers(&image.root().digest);
    assert_eq!(referrers[0]["digest"], digest);
    assert_eq!(repository.tags(), ["multi", "v1", "v10", "v2"]);
    registry.repository("library").push("v1", &image);
    assert_eq!(registry.client().catalog(), ["library", "library/app"]);

    let layer = &image.blobs()[1];
    let mounted = registry.repository("mounted");
    let mount = format!("blobs/uploads/?mount={}&from=library/app", layer.digest);
    let answer = registry.client().post(&mounted.path(&mount));
    answer.expect_status(201);
    assert_eq!(mounted.blob(&layer.digest).body, layer.bytes);
    let part = registry
        .client()
        .call("GET", &mounted.path(&format!("blobs/{}", layer.digest)))
        .header("range", "bytes=5-9")
        .send()
        .expect_status(206);
    assert_eq!(part.body, layer.bytes[5..10]);

    repository.delete_manifest("v10").expect_status(202);
    repository.manifest("v10").expect_status(404);
    let root = image.root().digest.to_string();
    repository.delete_manifest(&root).expect_status(202);
    repository.manifest("v1").expect_status(404);
    assert_eq!(repository.tags(), ["multi"]);
    mounted.delete_blob(&layer.digest).expect_status(202);
    mounted.blob(&layer.digest).expect_status(404);
    repository.assert_serves("multi", &index);
    registry.repository("library").assert_serves("v1", &image);
}

/// A chunk that was acknowledged is there after `kill -9`, and the server is back at once.
fn uploads_go_on_after_kill(seaweed: &Seaweed) {
    let mut registry = serve(seaweed, "killed");
    let bytes = pattern(12 << 20);
    let digest = Digest::of(Algorithm::Sha256, &bytes);
    let (first, rest) = bytes.split_at(11 << 20);
    let (second, third) = rest.split_at(7);
    let repository = registry.repository("killed");
    let session = repository.open_upload();
    let session = repository.patch(&session, first).expect_status(202);
    let location = session.location().to_owned();
    registry.kill();
    registry.restart();
    let path = location.split_once("/v2/").expect("a path").1;
    let path = format!("/v2/{path}");
    let repository = registry.repository("killed");
    let stands = registry
        .client()
        .get(path.split('?').next().expect("a path"));
    let stands = stands.expect_status(204);
    assert_eq!(
        stands.expect_header("range"),
        format!("0-{}", first.len() - 1)
    );
    let session = repository.patch(&path, second).expect_status(202);
    let closed = repository.close_upload(session.location(), third, &digest);
    closed.expect_status(201);
    assert!(repository.blob(&digest).body == bytes);
}

fn clients_are_sent_to_the_store(seaweed: &Seaweed) {
    let storage = redirecting(&seaweed.storage("redirects"));
    let registry = Registry::roadstead(Options::default().storage(storage));
    let image = Image::new(4).layers(3).build();
    let repository = registry.repository("redirected");
    repository.push("v1", &image);
    let layer = &image.blobs()[1];
    let path = repository.path(&format!("blobs/{}", layer.digest));
    for method in ["GET", "HEAD"] {
        let sent = registry.client().call(method, &path).send();
        let sent = sent.expect_status(307);
        let to = sent.location();
        assert!(
            to.starts_with(&format!("http://{}/", seaweed.addr())),
            "{to}"
        );
        assert!(to.contains("X-Amz-Expires=1200"), "20 minutes: {to}");
        assert!(!to.contains("a-secret-of-the-tests"));
        assert_eq!(
            sent.header("docker-content-digest"),
            Some(&*layer.digest.to_string())
        );
        assert!(sent.header("etag").is_none());
    }
    let url = format!("{}{path}", registry.url());
    let followed = curl(&["--location", &url]);
    assert_eq!(followed.answer.status, 200);
    assert!(followed.answer.body == layer.bytes);
    let part = curl(&["--location", "--range", "3-8", &url]);
    assert_eq!(part.answer.status, 206);
    assert_eq!(part.answer.body, layer.bytes[3..9]);
    let head = curl(&["--location", "--head", &url]);
    assert_eq!(head.answer.status, 200);
    assert_eq!(
        head.answer.header("content-length"),
        Some(&*layer.bytes.len().to_string())
    );
    // The store has it, this repository has not.
    registry
        .repository("stranger")
        .blob(&layer.digest)
        .expect_status(404);
    let held = registry.client().call("GET", &path);
    let held = held.header("if-none-match", &format!("\"{}\"", layer.digest));
    held.send().expect_status(304);
    repository.manifest("v1").expect_status(200);
}

fn skopeo_pushes_and_pulls(seaweed: &Seaweed) {
    let storage = redirecting(&seaweed.storage("skopeo"));
    let registry = Registry::roadstead(Options::default().storage(storage));
    let image = Image::new(5).layers(6).layer_size(400_000).build();
    let (pushed, pulled) = (scratch(), scratch());
    layout::write(pushed.path(), "pushed", &image);
    let name = format!("docker://{}", registry.image("skopeo/image:v1"));
    let copy = ["copy", "--all", "--preserve-digests"];
    let from = format!("oci:{}:pushed", pushed.path().display());
    skopeo(&[&copy[..], &["--dest-tls-verify=false", &from, &name]].concat());
    let to = format!("oci:{}:pulled", pulled.path().display());
    skopeo(&[&copy[..], &["--src-tls-verify=false", &name, &to]].concat());
    layout::assert_holds(pulled.path(), &image);
}

fn collected_when_nobody_serves(seaweed: &Seaweed) {
    let mut registry = serve(seaweed, "collected");
    let (kept, deleted) = (Image::new(6).build(), Image::new(7).build());
    let repository = registry.repository("collected");
    repository.push("kept", &kept);
    repository.push("deleted", &deleted);
    let digest = deleted.root().digest.to_string();
    repository.delete_manifest(&digest).expect_status(202);
    // Who serves is asked, and spares what is young.
    let asked = registry::command()
        .arg("garbage-collect")
        .arg(registry.config())
        .env("REGISTRY_METADATA_DIR", "elsewhere")
        .dir(registry.config().parent().expect("a directory"))
        .deadline(SOON);
    let said = asked.ok().text();
    assert!(said.contains("0 blobs and 0 manifests eligible"), "{said}");
    registry.stop();
    let said = registry::command()
        .arg("garbage-collect")
        .arg(registry.config())
        .dir(registry.config().parent().expect("a directory"))
        .ok();
    let config = deleted.config().digest.to_string();
    let expected = format!("blob eligible for deletion: {config}");
    assert!(said.text().contains(&expected), "{}", said.text());
    let data = |digest: &str| {
        let hex = digest.split_once(':').expect("a digest").1;
        let (shard, _) = hex.split_at(2);
        format!("collected/docker/registry/v2/blobs/sha256/{shard}/{hex}/data")
    };
    assert!(!seaweed.has(&data(&config)));
    assert!(seaweed.has(&data(&kept.config().digest.to_string())));
    registry.restart();
    registry
        .repository("collected")
        .assert_serves("kept", &kept);
}
