//! What people use: each client pushes and pulls images of several layers and several platforms, and every byte counts.

mod curl;
mod docker;
mod oras;
mod podman;
mod skopeo;

use roadstead_tests::{Content, Family, Image, Options, Registry};

/// The registry that the clients talk to.
#[track_caller]
fn registry() -> Registry {
    Registry::under_test(Options::default())
}

/// An index over three platforms, whose images share no layer but those of one seed.
fn platforms(seed: u64) -> Content {
    let image = |architecture: &str| Image::new(seed).layers(3).architecture(architecture);
    Content::index(
        Family::Oci,
        &[
            image("amd64").build(),
            image("arm64").build(),
            Image::new(seed + 1).architecture("s390x").build(),
        ],
    )
}
