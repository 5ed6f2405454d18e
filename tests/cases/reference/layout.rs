//! The same pushes and deletions leave the same files, byte for byte, whoever served them.

use std::collections::BTreeMap;
use std::path::Path;

use roadstead_tests::{Image, Kind, Options, Registry};

use super::stock::Stock;

#[test]
fn the_same_requests_leave_the_same_files() {
    let [roadstead, reference] = [Kind::under_test(), Kind::Reference].map(|kind| {
        let mut registry = Registry::start(kind, Options::default());
        requests(&registry);
        registry.stop();
        files(&registry.root().join("docker/registry/v2"))
    });
    let paths = |files: &BTreeMap<String, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(paths(&roadstead), paths(&reference));
    for (path, bytes) in &reference {
        assert!(&roadstead[path] == bytes, "{path} differs");
    }
}

fn requests(registry: &Registry) {
    Stock::new(4_000).push(registry);
    let repository = registry.repository("changing");
    let (first, second) = (Image::new(4_100).build(), Image::new(4_101).build());
    repository.push("moved", &first);
    repository.push("moved", &second);
    repository.push("deleted", &first);
    let digest = first.root().digest.to_string();
    repository.delete_manifest(&digest).expect_status(202);
    let layer = &first.blobs()[1].digest;
    repository.delete_blob(layer).expect_status(202);

    let other = registry.repository("mounted");
    let layer = &second.blobs()[1].digest;
    let mount = format!("blobs/uploads/?mount={layer}&from=changing");
    let mounted = registry.client().post(&other.path(&mount));
    mounted.expect_status(201);
}

/// Every file below `dir`, but for those of upload sessions, which only the one who opened them continues.
fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut directories = vec![dir.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(&directory).expect("a directory of the storage") {
            let path = entry.expect("an entry of a directory").path();
            if path.is_dir() {
                directories.push(path);
            } else {
                let name = path.strip_prefix(dir).expect("a path below");
                let bytes = std::fs::read(&path).expect("a file of the storage");
                files.insert(name.display().to_string(), bytes);
            }
        }
    }
    files.retain(|name, _| !name.contains("/_uploads/"));
    files
}
