//! What a collection refuses, with the place in its message and everything left where it was; and what it reads all the
//! same.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use roadstead_oci::Algorithm;
use roadstead_storage::Filesystem;

use super::*;

const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
const UNTAGGED: CollectOptions = CollectOptions {
    dry_run: false,
    delete_untagged: true,
};

/// A store on the disk, as another registry may have left it.
struct Store {
    root: tempfile::TempDir,
}

fn of(content: &str) -> Digest {
    Digest::of(Algorithm::Sha256, content.as_bytes())
}

impl Store {
    /// With an image, and with a blob that goes unless the collection refuses.
    fn new() -> Self {
        let store = Self {
            root: tempfile::tempdir().unwrap(),
        };
        store.image("right", Some("t"), "right");
        store.blob("orphan");
        store
    }

    fn at(&self, path: &str) -> PathBuf {
        self.root.path().join("docker/registry/v2").join(path)
    }

    fn write(&self, path: &str, content: &str) {
        let path = self.at(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn data(digest: &Digest) -> String {
        layout::blob_data(digest)
            .relative()
            .trim_start_matches("docker/registry/v2/")
            .to_owned()
    }

    fn blob(&self, content: &str) -> Digest {
        let digest = of(content);
        self.write(&Self::data(&digest), content);
        digest
    }

    fn layer(&self, repository: &str, content: &str) -> Digest {
        let digest = self.blob(content);
        let link = format!("repositories/{repository}/_layers/{}/link", at(&digest));
        self.write(&link, &digest.to_string());
        digest
    }

    fn manifest(&self, repository: &str, tag: Option<&str>, json: &str) -> Digest {
        let digest = self.blob(json);
        let manifests = format!("repositories/{repository}/_manifests");
        let revision = format!("{manifests}/revisions/{}/link", at(&digest));
        self.write(&revision, &digest.to_string());
        if let Some(tag) = tag {
            let tag = format!("{manifests}/tags/{tag}");
            self.write(&format!("{tag}/current/link"), &digest.to_string());
            self.write(
                &format!("{tag}/index/{}/link", at(&digest)),
                &digest.to_string(),
            );
        }
        digest
    }

    /// With one layer of this content.
    fn image(&self, repository: &str, tag: Option<&str>, content: &str) -> Digest {
        let config = self.layer(repository, "{}");
        let layer = self.layer(repository, content);
        let json = format!(
            r#"{{"schemaVersion":2,"mediaType":"{IMAGE}","config":{{"digest":"{config}","size":2}},
                "layers":[{{"digest":"{layer}","size":-1}}]}}"#
        );
        self.manifest(repository, tag, &json)
    }

    fn index_of(&self, repository: &str, tag: &str, child: &Digest) -> Digest {
        let json = format!(
            r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"{IMAGE}","digest":"{child}","size":1}}]}}"#
        );
        self.manifest(repository, Some(tag), &json)
    }

    fn has(&self, content: &str) -> bool {
        self.at(&Self::data(&of(content))).is_file()
    }

    fn files(&self) -> Vec<PathBuf> {
        let (mut files, mut waiting) = (Vec::new(), vec![self.at("")]);
        while let Some(directory) = waiting.pop() {
            for entry in fs::read_dir(directory).unwrap() {
                let entry = entry.unwrap();
                if entry.file_type().unwrap().is_dir() {
                    waiting.push(entry.path());
                }
                files.push(entry.path());
            }
        }
        files.sort();
        files
    }

    async fn collect(&self, options: CollectOptions) -> Result<Collected, CollectError> {
        let driver = Filesystem::open(self.root.path()).unwrap();
        collect(&driver, options, &mut |_| {}).await
    }

    /// The message says where and what, and nothing went.
    async fn refuses(&self, options: CollectOptions, said: &[&str]) {
        let before = self.files();
        let message = self.collect(options).await.unwrap_err().to_string();
        for said in said.iter().chain(&["nothing was removed"]) {
            assert!(message.contains(said), "{said}: {message}");
        }
        assert_eq!(self.files(), before);
    }

    /// The blob that nothing names goes, and nothing else does.
    async fn collects(&self, options: CollectOptions) {
        let mut before = self.files();
        let collected = self.collect(options).await.unwrap();
        assert_eq!((collected.blobs, collected.manifests), (1, 0));
        assert!(!self.has("orphan"));
        let gone = self.at(&Self::data(&of("orphan")));
        before.retain(|path| *path != gone && Some(path.as_path()) != gone.parent());
        assert_eq!(self.files(), before);
    }
}

const BOTH: [CollectOptions; 2] = [
    CollectOptions {
        dry_run: false,
        delete_untagged: false,
    },
    UNTAGGED,
];

#[tokio::test]
async fn repositories_stay_whose_names_are_not_served() {
    let long = format!("{}/{}", "a".repeat(200), "b".repeat(100));
    for name in ["Foo/bar", "MyCompany.com/app", "UP/a/b", "a..b", &long] {
        for options in BOTH {
            let store = Store::new();
            store.image(name, Some("t"), name);
            store.collects(options).await;
        }
    }
}

#[tokio::test]
async fn directories_that_no_path_leads_to_stop_everything() {
    for options in BOTH {
        for name in ["q (copy)", "example.com:5000", "q\u{1b}"] {
            let store = Store::new();
            store.image(&format!("{name}/bar"), Some("t"), "strange");
            let place = format!("repositories/{}", name.escape_debug());
            store.refuses(options, &[&place]).await;
        }
        let store = Store::new();
        store.image("q", Some("t"), "not UTF-8");
        let name = std::ffi::OsStr::from_bytes(b"q\xff");
        fs::rename(
            store.at("repositories/q"),
            store.at("repositories").join(name),
        )
        .unwrap();
        store.refuses(options, &["repositories/q\u{fffd}"]).await;
    }
}

#[tokio::test]
async fn what_is_no_directory_and_what_a_disk_check_makes_are_nothing() {
    let store = Store::new();
    for path in [
        "repositories/.DS_Store",
        "repositories/right/_manifests/tags/.DS_Store",
        "repositories/right/_manifests/revisions/sha256/.DS_Store",
        "blobs/sha256/.DS_Store",
        "blobs/lost+found/#1",
        "blobs/sha256/zz/strange/data",
        "repositories/lost+found/#1",
    ] {
        store.write(path, "");
    }
    store.collects(UNTAGGED).await;
}

#[tokio::test]
async fn links_that_lead_nowhere_stop_everything() {
    for path in [
        "repositories/elsewhere",
        "repositories/x/_manifests",
        "repositories/right/_manifests/revisions/sha512",
        "repositories/right/_manifests/tags/elsewhere",
    ] {
        let store = Store::new();
        let link = store.at(path);
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        symlink("/nonexistent", link).unwrap();
        store.refuses(UNTAGGED, &[path]).await;
    }
}

#[tokio::test]
async fn torn_links_of_manifests_stop_everything() {
    for options in BOTH {
        for torn in ["", "sha256:12", "\u{0}"] {
            let store = Store::new();
            let digest = store.image("r", Some("t"), "r");
            let link = format!("repositories/r/_manifests/revisions/{}/link", at(&digest));
            store.write(&link, torn);
            store.refuses(options, &[&link, "digest"]).await;
            fs::remove_file(store.at(&link)).unwrap();
            fs::create_dir(store.at(&link)).unwrap();
            store.refuses(options, &[&link]).await;
        }
    }
}

#[tokio::test]
async fn torn_tags_stop_what_goes_by_tags() {
    let store = Store::new();
    let digest = store.image("r", Some("t"), "r");
    let link = "repositories/r/_manifests/tags/t/current/link";
    for torn in ["", &digest.to_string().split_off(40)] {
        store.write(link, torn);
        store.refuses(UNTAGGED, &[link]).await;
    }
    store.collects(CollectOptions::default()).await;
}

#[tokio::test]
async fn tags_that_nobody_could_push_keep_what_they_point_to_or_stop_what_goes_by_tags() {
    let store = Store::new();
    store.image("r", Some("-copy"), "r");
    store.collects(UNTAGGED).await;
    store.blob("orphan");
    store.image("r", Some("t (copy)"), "other");
    store.refuses(UNTAGGED, &["_manifests/tags/t (copy)"]).await;
}

#[tokio::test]
async fn a_tag_without_a_link_is_none() {
    let store = Store::new();
    fs::create_dir_all(store.at("repositories/right/_manifests/tags/begun/index")).unwrap();
    store.collects(UNTAGGED).await;
}

#[tokio::test]
async fn a_torn_link_to_a_layer_stands_for_the_blob_of_its_name() {
    let store = Store::new();
    let layer = of("right");
    let link = format!("repositories/right/_layers/{}/link", at(&layer));
    store.write(&link, "");
    store.collects(UNTAGGED).await;
    store.blob("orphan");
    fs::remove_file(store.at(&Store::data(&layer))).unwrap();
    store.refuses(UNTAGGED, &[&link]).await;
}

#[tokio::test]
async fn manifests_whose_bytes_are_not_there_stop_everything() {
    for options in BOTH {
        let store = Store::new();
        let digest = store.image("r", Some("t"), "r");
        let data = store.at(&Store::data(&digest));
        fs::remove_file(&data).unwrap();
        store
            .refuses(options, &["repositories/r/", &digest.to_string()])
            .await;
        fs::create_dir(&data).unwrap();
        store.refuses(options, &[&digest.to_string()]).await;
        let blob = data.parent().unwrap();
        let upper = blob.with_file_name(digest.hex().to_uppercase());
        fs::rename(blob, upper).unwrap();
        store.refuses(options, &[&digest.to_string()]).await;
    }
}

#[tokio::test]
async fn manifests_that_cannot_be_read_stop_everything() {
    for options in BOTH {
        for torn in ["", "{\"schemaVer", r#"{"schemaVersion":2}"#] {
            let store = Store::new();
            let digest = store.image("r", Some("t"), "r");
            store.write(&Store::data(&digest), torn);
            store
                .refuses(options, &["repositories/r/", &digest.to_string()])
                .await;
        }
    }
}

#[tokio::test]
async fn half_a_store_stops_everything() {
    for half in ["blobs", "repositories"] {
        for options in BOTH {
            let store = Store::new();
            fs::rename(store.at(half), store.root.path().join("unmounted")).unwrap();
            store.refuses(options, &[]).await;
            fs::create_dir(store.at(half)).unwrap();
            store.refuses(options, &[]).await;
        }
    }
    let store = Store::new();
    fs::remove_dir_all(store.at("repositories")).unwrap();
    fs::remove_dir_all(store.at("blobs")).unwrap();
    store
        .refuses(UNTAGGED, &["repositories: there is no such"])
        .await;
}

#[tokio::test]
async fn layer_links_stay_when_no_blobs_are_there() {
    let store = Store::new();
    fs::remove_dir_all(store.at("repositories")).unwrap();
    store.layer("x", "alone");
    fs::create_dir_all(store.at("repositories/x/_manifests")).unwrap();
    fs::remove_dir_all(store.at("blobs")).unwrap();
    store.refuses(UNTAGGED, &["v2/blobs"]).await;
}

#[tokio::test]
async fn manifests_are_read_as_the_reference_reads_them() {
    let store = Store::new();
    let (config, one, two) = (
        store.layer("r", "config"),
        store.layer("r", "one"),
        store.layer("r", "two"),
    );
    let json = format!(
        r#"{{"schemaVersion":2,"mediaType":"{IMAGE}","Config":{{"digest":"{config}","size":-1}},
            "Layers":[{{"Digest":"{one}"}}],"Layers":[{{"digest":"{two}"}}]}}"#
    );
    store.manifest("r", Some("t"), &json);
    store.collects(UNTAGGED).await;
}

#[tokio::test]
async fn children_stay_that_only_another_repository_has() {
    // Whichever of the two is looked at first.
    for (has, names) in [("a", "z"), ("z", "a")] {
        let store = Store::new();
        let child = store.image(has, None, "child");
        let inner = store.index_of("between", "deleted", &child);
        fs::remove_dir_all(store.at("repositories/between/_manifests/tags")).unwrap();
        store.index_of(names, "t", &inner);
        store.collects(UNTAGGED).await;
    }
}
