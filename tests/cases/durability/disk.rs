//! A registry on a disk whose power can be cut, that can be full, read-only, or failing.

use std::path::PathBuf;

use roadstead_oci::{Algorithm, Digest};
use roadstead_powercut::PowerCut;
use roadstead_tests::{Options, Registry, image::noise};
use tempfile::TempDir;

/// A mounted disk, with a directory on it for the registry to store in.
pub(crate) struct Disk {
    power: PowerCut,
    /// Dropped after the disk.
    _mountpoint: TempDir,
}

impl Disk {
    pub(crate) fn mount() -> Self {
        let mountpoint = roadstead_tests::scratch();
        let power = PowerCut::mount(mountpoint.path()).expect("a disk whose power can be cut");
        Self {
            power,
            _mountpoint: mountpoint,
        }
    }

    pub(crate) fn power(&self) -> &PowerCut {
        &self.power
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.power.mountpoint().to_owned()
    }

    /// A registry that stores on the disk.
    pub(crate) fn registry(&self) -> Registry {
        Registry::roadstead(Options::default().root(self.root()))
    }
}

fn digest(bytes: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha256, bytes)
}

/// Pushes that fail say why, pulls go on, and when the fault is gone so do pushes, without a restart.
fn goes_on_after(reason: &str, begin: impl FnOnce(&PowerCut), end: impl FnOnce(&PowerCut)) {
    let disk = Disk::mount();
    let registry = disk.registry();
    let repository = registry.repository("fault");
    let (before, during) = (noise(1, 300_000), noise(2, 3_000_000));
    repository
        .push_blob(&before, &digest(&before))
        .expect_status(201);
    let session = repository.open_upload();
    let session = repository
        .patch(&session, &before)
        .expect_status(202)
        .location()
        .to_owned();
    begin(disk.power());
    let refused = repository
        .push_blob(&during, &digest(&during))
        .expect_status(503);
    assert_eq!(refused.codes(), ["UNAVAILABLE"]);
    assert!(refused.header("retry-after").is_some());
    assert!(
        refused.text().contains(reason),
        "{} should say {reason}",
        refused.text()
    );
    repository.patch(&session, &during).expect_status(503);
    repository.blob(&digest(&during)).expect_status(404);
    assert!(repository.blob(&digest(&before)).expect_status(200).body == before);
    end(disk.power());
    let session = repository
        .patch(&session, b"tail")
        .expect_status(202)
        .location()
        .to_owned();
    let whole = [before.as_slice(), b"tail"].concat();
    repository
        .close_upload(&session, &[], &digest(&whole))
        .expect_status(201);
    repository
        .push_blob(&during, &digest(&during))
        .expect_status(201);
    assert!(repository.blob(&digest(&during)).expect_status(200).body == during);
}

#[test]
fn a_full_disk_refuses_pushes_and_loses_nothing() {
    goes_on_after(
        "full",
        |disk| disk.fill_after(1_000_000),
        |disk| disk.set_capacity(None),
    );
}

#[test]
fn a_disk_without_a_byte_to_spare_refuses_pushes_and_loses_nothing() {
    goes_on_after(
        "full",
        |disk| disk.fill_after(0),
        |disk| disk.set_capacity(None),
    );
}

#[test]
fn a_disk_that_turned_read_only_refuses_pushes_and_loses_nothing() {
    goes_on_after(
        "read-only",
        |disk| disk.set_read_only(true),
        |disk| disk.set_read_only(false),
    );
}

#[test]
fn what_cannot_be_synced_is_not_acknowledged() {
    goes_on_after(
        "failed",
        |disk| disk.fail_sync(true),
        |disk| disk.fail_sync(false),
    );
}

#[test]
fn a_root_that_vanished_is_an_error_and_not_an_empty_registry() {
    let scratch = roadstead_tests::scratch();
    let (root, elsewhere) = (
        scratch.path().join("root"),
        scratch.path().join("elsewhere"),
    );
    let registry = Registry::roadstead(Options::default().root(&root));
    let repository = registry.repository("here");
    let bytes = noise(1, 10_000);
    repository
        .push_blob(&bytes, &digest(&bytes))
        .expect_status(201);
    std::fs::rename(&root, &elsewhere).expect("moved away");
    let refused = repository.push_blob(b"x", &digest(b"x")).expect_status(503);
    assert!(refused.text().contains("gone"), "{}", refused.text());
    repository.blob(&digest(b"y")).expect_status(503);
    std::fs::rename(&elsewhere, &root).expect("moved back");
    assert!(repository.blob(&digest(&bytes)).expect_status(200).body == bytes);
    repository.push_blob(b"x", &digest(b"x")).expect_status(201);
}

#[test]
fn a_read_only_directory_is_refused_at_start_and_served_where_that_is_configured() {
    let disk = Disk::mount();
    let bytes = noise(1, 10_000);
    disk.registry()
        .repository("there")
        .push_blob(&bytes, &digest(&bytes))
        .expect_status(201);
    disk.power().set_read_only(true);
    let config = roadstead_tests::scratch();
    let file = config.path().join("config.yml");
    let yaml = format!(
        "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: '127.0.0.1:0'}}\n",
        disk.root().display()
    );
    std::fs::write(&file, yaml).expect("a configuration");
    let refused = roadstead_tests::registry::command()
        .arg("serve")
        .arg(&file)
        .fails();
    assert!(
        refused.said().contains("storage.filesystem.rootdirectory"),
        "{}",
        refused.said()
    );
    assert!(
        refused.said().contains("storage.maintenance.readonly"),
        "{}",
        refused.said()
    );
    let read_only = Options::default()
        .root(disk.root())
        .env("REGISTRY_STORAGE_MAINTENANCE_READONLY", "{enabled: true}");
    let registry = Registry::roadstead(read_only);
    assert!(
        registry
            .repository("there")
            .blob(&digest(&bytes))
            .expect_status(200)
            .body
            == bytes
    );
    registry
        .client()
        .post("/v2/there/blobs/uploads/")
        .expect_status(405);
}
