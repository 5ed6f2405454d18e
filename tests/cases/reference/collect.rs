//! Collecting garbage in a directory that was left: the reference's collector after Roadstead, and Roadstead's own, which
//! says and does the same.

use std::path::{Path, PathBuf};

use roadstead_oci::{Algorithm, Digest};
use roadstead_tests::registry::command;
use roadstead_tests::{Image, Options, Registry, Run, scratch};

use super::stock::Stock;

#[test]
fn the_references_collector_keeps_what_is_tagged() {
    let root = scratch();
    let mut registry = Registry::under_test(Options::default().root(root.path()));
    let mut stock = Stock::new(5_000);
    stock.push(&registry);
    let repository = registry.repository("collected");
    let (kept, deleted) = (Image::new(5_100).build(), Image::new(5_101).build());
    repository.push("kept", &kept);
    repository.push("deleted", &deleted);
    let digest = deleted.root().digest.to_string();
    repository.delete_manifest(&digest).expect_status(202);
    stock.add("collected", "kept", kept);
    super::leave(&mut registry);
    for document in deleted.documents() {
        assert!(
            data(root.path(), &document.digest),
            "{} before",
            document.digest
        );
    }

    Run::new("docker-registry")
        .arg("garbage-collect")
        .arg(registry.config())
        .ok();
    for document in deleted.documents() {
        assert!(
            !data(root.path(), &document.digest),
            "{} after",
            document.digest
        );
    }

    let mut reference = Registry::reference(root.path());
    stock.assert_served_by(&reference);
    reference.stop();
    registry.restart();
    stock.assert_served_by(&registry);

    // What was collected can be pushed again.
    registry.repository("collected").push("deleted", &deleted);
    stock.add("collected", "deleted", deleted);
    stock.assert_served_by(&registry);
}

/// The lines that a collector says, without the order in which it comes by things, and without the reference's spaces.
fn said(collector: Run) -> Vec<String> {
    let text = collector.ok().text();
    let lines = text.lines().map(|line| line.trim_end().to_owned());
    let mut lines: Vec<String> = lines.filter(|line| !line.is_empty()).collect();
    lines.sort_unstable();
    lines.dedup();
    lines
}

/// Debian's version does not know layer links; later ones say this.
fn is_of_later_versions(line: &str) -> bool {
    line.contains("layer link eligible")
}

/// Of what is left below `root`, the files.
fn files(root: &Path) -> Vec<String> {
    let found = Run::new("find")
        .dir(root)
        .args(["docker", "-type", "f", "-not", "-path", "*/_layers/*"])
        .ok();
    let mut files: Vec<String> = found.text().lines().map(str::to_owned).collect();
    files.sort_unstable();
    files
}

/// The same store again, and a configuration for it.
fn copied(registry: &Registry, from: &Path, to: &Path) -> PathBuf {
    Run::new("cp")
        .arg("-a")
        .arg(from.join("docker"))
        .arg(to)
        .ok();
    let configuration = to.join("config.yml");
    let text = std::fs::read_to_string(registry.config()).expect("a configuration");
    let [from, to] = [from, to].map(|root| root.display().to_string());
    std::fs::write(&configuration, text.replace(&from, &to)).expect("a configuration");
    configuration
}

/// As the reference would: the same lines, and afterwards the same files, for both of its ways. (Where untagged manifests
/// go, Debian's version takes the children of tagged indexes with them. That is not done after it.)
#[test]
fn our_collector_says_and_does_what_the_references_does() {
    for untagged in [false, true] {
        let (ours, theirs) = (scratch(), scratch());
        let mut registry = Registry::roadstead(Options::default().root(ours.path()));
        let mut stock = if untagged {
            Stock::none()
        } else {
            Stock::new(6_000)
        };
        stock.push(&registry);
        let repository = registry.repository("collected");
        let images: Vec<_> = (0..3).map(|n| Image::new(6_100 + n).build()).collect();
        repository.push("kept", &images[0]);
        repository.push("deleted", &images[1]);
        repository.push(&images[2].root().digest.to_string(), &images[2]);
        let digest = images[1].root().digest.to_string();
        repository.delete_manifest(&digest).expect_status(202);
        repository.push_blob(b"orphan", &Digest::of(Algorithm::Sha256, b"orphan"));
        stock.add("collected", "kept", images[0].clone());
        super::leave(&mut registry);
        let reference = copied(&registry, ours.path(), theirs.path());
        let flag: &[&str] = if untagged {
            &["--delete-untagged"]
        } else {
            &[]
        };
        let ours_with = |flags: &[&str]| {
            let collector = command().arg("garbage-collect").args(flags);
            collector.args(flag).arg(registry.config())
        };
        let theirs_with = |flags: &[&str]| {
            let collector = Run::new("docker-registry")
                .arg("garbage-collect")
                .args(flags);
            collector.args(flag).arg(&reference)
        };
        let mut we = said(ours_with(&["--dry-run"]));
        we.retain(|line| !is_of_later_versions(line));
        assert!(we == said(theirs_with(&["--dry-run"])), "{we:#?}");
        assert_eq!(files(ours.path()), files(theirs.path()), "nothing went");
        assert_eq!(ours_with(&["--quiet"]).ok().text(), "");
        theirs_with(&[]).ok();
        assert_eq!(
            files(ours.path()),
            files(theirs.path()),
            "untagged: {untagged}"
        );
        registry.restart();
        stock.assert_served_by(&registry);
        let gone = registry
            .repository("collected")
            .manifest(&images[2].root().digest.to_string());
        assert_eq!(gone.status, if untagged { 404 } else { 200 });
    }
}

/// As with the reference, and nothing is made there.
#[test]
fn what_is_no_store_is_not_collected() {
    let mut registry = Registry::roadstead(Options::default());
    registry.stop();
    let elsewhere = scratch();
    let misspelt = elsewhere.path().join("misspelt");
    let collected = |collector: Run| {
        let said = collector
            .arg("garbage-collect")
            .arg(registry.config())
            .env("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", &misspelt)
            .fails()
            .said();
        assert!(matches!(misspelt.try_exists(), Ok(false)), "{said}");
        said
    };
    let said = collected(command());
    assert!(
        said.contains("rootdirectory") && said.contains("misspelt"),
        "{said}"
    );
    collected(Run::new("docker-registry"));
}

/// Whether the bytes of `digest` are in the store.
fn data(root: &Path, digest: &Digest) -> bool {
    let hex = digest.hex();
    let first: String = hex.chars().take(2).collect();
    root.join("docker/registry/v2/blobs/sha256")
        .join(first)
        .join(hex)
        .join("data")
        .is_file()
}
