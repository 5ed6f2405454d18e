//! Debian's `docker-registry` on the same bucket, before and after.

use roadstead_tests::{Content, Family, Image, Kind, Options, Registry, Seaweed};

use super::serve;

/// The reference's purge of uploads begins at a random minute, the first one included, and panics on what its own uploads
/// leave in `SeaweedFS`: an empty directory, which is listed as an object with a name that ends in a slash, and the purge
/// takes the first letter of what follows the slash. A bucket that Roadstead never saw is enough.
const NO_PURGE: &str = "  maintenance:
    uploadpurging:
      enabled: false
";

#[test]
fn both_registries_take_turns_on_one_bucket() {
    let seaweed = Seaweed::start();
    let storage = seaweed.storage("turns") + NO_PURGE;
    let mut reference = Registry::start(Kind::Reference, Options::default().storage(storage));
    let theirs = Image::new(1).family(Family::Docker).layers(3).build();
    let child = |n: u64| Image::new(n).build();
    let index = Content::index(
        Family::Docker,
        &[Image::new(2).family(Family::Docker).build()],
    );
    reference.repository("their/image").push("v1", &theirs);
    reference.repository("their/list").push("v1", &index);
    reference.stop();

    let mut registry = serve(&seaweed, "turns");
    registry
        .repository("their/image")
        .assert_serves("v1", &theirs);
    registry
        .repository("their/list")
        .assert_serves("v1", &index);
    let (ours, over_theirs) = (
        child(4),
        Image::new(1).family(Family::Docker).layers(4).build(),
    );
    registry.repository("our/image").push("v1", &ours);
    registry.repository("their/image").push("v2", &over_theirs);
    registry.repository("their/image").push("v1", &over_theirs);
    assert_eq!(
        registry.client().catalog(),
        ["our/image", "their/image", "their/list"]
    );
    registry.stop();

    reference.restart();
    reference.repository("our/image").assert_serves("v1", &ours);
    for tag in ["v1", "v2"] {
        let image = reference.repository("their/image");
        image.assert_serves(tag, &over_theirs);
    }
    let digest = theirs.root().digest.to_string();
    reference
        .repository("their/image")
        .manifest(&digest)
        .expect_status(200);
    let mut tags = reference.repository("their/image").tags();
    tags.sort_unstable();
    assert_eq!(tags, ["v1", "v2"]);
    reference.stop();
}
