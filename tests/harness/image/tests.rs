//! That what is made from a seed is what it says.

use std::io::Read;

use super::*;

#[test]
fn a_seed_makes_the_same_bytes_each_time() {
    let image = Image::new(1).layers(3);
    assert_eq!(image.build().root(), image.build().root());
    assert_ne!(
        image.build().root().digest,
        Image::new(2).layers(3).build().root().digest
    );
}

#[test]
fn layers_are_archives_with_the_digests_that_the_configuration_names() {
    let image = Image::new(1).layers(3).build();
    let config: Value = serde_json::from_slice(&image.config().bytes).unwrap();
    let diff_ids = config["rootfs"]["diff_ids"].as_array().unwrap();
    assert_eq!(image.blobs().len(), 1 + 3);
    for (layer, diff_id) in image.blobs().iter().skip(1).zip(diff_ids) {
        let mut archive = Vec::new();
        flate2::read::GzDecoder::new(layer.bytes.as_slice())
            .read_to_end(&mut archive)
            .unwrap();
        assert_eq!(
            Digest::of(Algorithm::Sha256, &archive).to_string(),
            diff_id.as_str().unwrap()
        );
        let mut archive = tar::Archive::new(archive.as_slice());
        assert_eq!(archive.entries().unwrap().count(), 2);
    }
}

#[test]
fn an_index_holds_each_blob_once() {
    let images = ["amd64", "arm64"].map(|a| Image::new(1).architecture(a).build());
    let index = Content::index(Family::Oci, &images);
    assert_eq!(index.manifests().len(), 3);
    assert_eq!(
        index.blobs().len(),
        2 + 2,
        "two configurations, shared layers"
    );
    let nested = Content::index(Family::Oci, &[index, Image::new(2).build()]);
    assert_eq!(nested.manifests().len(), 5);
    assert_eq!(nested.root().media_type, Family::Oci.index());
}

#[test]
fn a_layout_is_read_as_it_was_written() {
    let dir = crate::scratch();
    let image = Image::new(3).build();
    layout::write(dir.path(), "v1", &image);
    layout::assert_holds(dir.path(), &image);
}
