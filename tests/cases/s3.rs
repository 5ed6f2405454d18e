//! Images in a bucket of a real object store, served by the program itself.

mod basics;
mod costs;
mod faults;
mod reference;
mod starts;

use std::time::Duration;

use roadstead_tests::{Options, Registry, Seaweed};

/// For what the store, or the registry, does in its own time.
const SOON: Duration = Duration::from_mins(1);

/// A registry in this part of the bucket, which sends blobs itself.
#[track_caller]
fn serve(seaweed: &Seaweed, root: &str) -> Registry {
    Registry::roadstead(Options::default().storage(seaweed.storage(root)))
}

/// The same storage, with clients sent to the store.
fn redirecting(storage: &str) -> String {
    storage.replace("disable: true", "disable: false")
}

/// Bytes that tell where they stand.
fn pattern(length: usize) -> Vec<u8> {
    let byte = |at: usize| (at.wrapping_mul(31) ^ (at >> 8) ^ (at >> 16)).to_le_bytes()[0];
    (0..length).map(byte).collect()
}
