//! What a mark finds, and what it reads for that.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt as _;
use roadstead_oci::{Algorithm, Digest, Name};
use roadstead_storage::{Filesystem, Memory as InMemory, layout};

use super::super::reap;
use super::*;

const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
const HOUR: Duration = Duration::from_hours(1);

/// A store that is written to as registries do, file by file.
struct Bench {
    store: Arc<dyn Driver>,
    marker: Marker,
    _root: Option<tempfile::TempDir>,
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn of(text: &str) -> Digest {
    Digest::of(Algorithm::Sha256, text.as_bytes())
}

fn revision(repository: &str, digest: &Digest) -> Unit {
    Unit::Revision {
        repository: name(repository),
        digest: digest.clone(),
    }
}

fn layer(repository: &str, digest: &Digest) -> Unit {
    Unit::Layer {
        repository: name(repository),
        digest: digest.clone(),
    }
}

fn data(digest: &Digest) -> Unit {
    let digest = digest.clone();
    Unit::Data { digest }
}

fn refers(subject: &Digest) -> String {
    format!(r#","subject":{{"mediaType":"{IMAGE}","digest":"{subject}","size":1}}"#)
}

impl Bench {
    fn all() -> [Self; 2] {
        let root = tempfile::tempdir().unwrap();
        let disk = Filesystem::open(root.path()).unwrap();
        [
            Self::of(Arc::new(InMemory::new()), None),
            Self::of(Arc::new(disk), Some(root)),
        ]
    }

    fn of(store: Arc<dyn Driver>, root: Option<tempfile::TempDir>) -> Self {
        Self {
            store,
            marker: Marker::new(),
            _root: root,
        }
    }

    async fn put(&self, path: StorePath, content: impl Into<Bytes>) {
        let content = content.into();
        self.store.put(vec![Put { path, content }]).await.unwrap();
    }

    async fn blob(&self, to: &str, text: &str) -> Digest {
        let digest = of(text);
        self.put(layout::blob_data(&digest), text.to_owned()).await;
        self.put(layout::layer_link(&name(to), &digest), digest.to_string())
            .await;
        digest
    }

    async fn manifest(&self, to: &str, tag: Option<&str>, json: String) -> Digest {
        let digest = of(&json);
        self.put(layout::blob_data(&digest), json).await;
        self.put(
            layout::revision_link(&name(to), &digest),
            digest.to_string(),
        )
        .await;
        if let Some(tag) = tag {
            let tag = tag.parse().unwrap();
            for link in [
                layout::tag_current(&name(to), &tag),
                layout::tag_index(&name(to), &tag, &digest),
            ] {
                self.put(link, digest.to_string()).await;
            }
        }
        digest
    }

    async fn image(&self, to: &str, tag: Option<&str>, layer: &Digest, more: &str) -> Digest {
        let json = format!(
            r#"{{"schemaVersion":2,"config":{{"digest":"{layer}","size":1}},"layers":[]{more}}}"#
        );
        self.manifest(to, tag, json).await
    }

    async fn index(&self, to: &str, tag: Option<&str>, child: &Digest) -> Digest {
        let json = format!(
            r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"{IMAGE}","digest":"{child}","size":1}}]}}"#
        );
        self.manifest(to, tag, json).await
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the age of files, as the file system tells it"
    )]
    async fn mark_with(&mut self, grace: Duration, later: Duration) -> Marked {
        let policy = Policy {
            untagged: true,
            grace,
            now: SystemTime::now() + later,
            among: None,
            most: usize::MAX,
        };
        let marked = self.marker.mark(&*self.store, &policy);
        fn can_be_spawned<T: Send>(_: &T) {}
        can_be_spawned(&marked);
        marked.await.unwrap()
    }

    async fn mark(&mut self) -> Marked {
        self.mark_with(HOUR, 2 * HOUR).await
    }

    async fn units(&mut self) -> Vec<Unit> {
        let marked = self.mark().await;
        marked.unneeded.into_iter().map(|it| it.unit).collect()
    }

    async fn reap(&self, units: &[Unit]) {
        let left = reap(&*self.store, units, &|| std::future::ready(true).boxed()).await;
        assert_eq!(left.unwrap(), []);
    }

    async fn has(&self, path: &StorePath) -> bool {
        self.store.stat(path).await.is_ok()
    }
}

fn sorted(mut units: Vec<Unit>) -> Vec<Unit> {
    units.sort();
    units
}

#[tokio::test]
async fn trees_go_from_the_top_in_one_run_after_another() {
    for mut bench in Bench::all() {
        let (one, two, stays) = (
            bench.blob("a", "one").await,
            bench.blob("a", "two").await,
            bench.blob("a", "stays").await,
        );
        bench.image("a", Some("t"), &stays, "").await;
        let child = bench.image("a", None, &one, "").await;
        let index = bench.index("a", None, &child).await;
        let signature = bench.image("a", None, &two, &refers(&child)).await;
        let runs = [
            vec![revision("a", &index), data(&index)],
            vec![revision("a", &child), data(&child)],
            sorted(vec![
                revision("a", &signature),
                layer("a", &one),
                data(&one),
                data(&signature),
            ]),
            vec![layer("a", &two), data(&two)],
            vec![],
        ];
        for expected in runs {
            let units = bench.units().await;
            assert_eq!(sorted(units.clone()), expected);
            bench.reap(&units).await;
        }
        assert!(bench.has(&layout::layer_link(&name("a"), &stays)).await);
    }
}

#[tokio::test]
async fn what_is_young_stays_with_all_that_it_names() {
    for mut bench in Bench::all() {
        let orphan = bench.blob("a", "orphan").await;
        let content = bench.blob("a", "content").await;
        let image = bench.image("a", None, &content, "").await;
        let young = bench.mark_with(HOUR, Duration::ZERO).await;
        assert_eq!(young.unneeded, []);
        assert_eq!(young.named, 3);
        let old = sorted(bench.units().await);
        let all = [
            revision("a", &image),
            layer("a", &orphan),
            data(&orphan),
            data(&image),
        ];
        assert_eq!(old, sorted(all.to_vec()));
    }
}

#[tokio::test]
async fn a_blob_goes_where_nothing_names_it_and_stays_elsewhere() {
    for mut bench in Bench::all() {
        let shared = bench.blob("a", "shared").await;
        bench.blob("b/c", "shared").await;
        bench.image("a", Some("t"), &shared, "").await;
        let marked = bench.mark().await;
        assert_eq!(marked.unneeded.len(), 1);
        let only = &marked.unneeded[0];
        assert_eq!(
            (&only.unit, only.reason),
            (&layer("b/c", &shared), Reason::NotNamedHere)
        );
        bench.blob("b/c", "freed").await;
        let marked = bench.mark().await;
        let freed: BTreeMap<Unit, u64> = marked
            .unneeded
            .into_iter()
            .map(|it| (it.unit, it.bytes))
            .collect();
        assert_eq!(freed.get(&data(&of("freed"))), Some(&5));
    }
}

#[tokio::test]
async fn a_second_mark_is_asked_about_some() {
    for mut bench in Bench::all() {
        let orphans = [bench.blob("a", "1").await, bench.blob("a", "2").await];
        let kept = bench.blob("a", "kept").await;
        let image = bench.image("a", Some("t"), &kept, "").await;
        let both = [layer("a", &orphans[0]), data(&orphans[0])];
        let others = [data(&orphans[1]), data(&image), data(&kept)];
        let asked: BTreeSet<Unit> = both.iter().chain(&others).cloned().collect();
        let mut policy = Policy {
            untagged: true,
            grace: Duration::ZERO,
            now: SystemTime::UNIX_EPOCH,
            among: Some(&asked),
            most: 1000,
        };
        let marked = bench.marker.mark(&*bench.store, &policy).await.unwrap();
        let units: Vec<Unit> = marked.unneeded.into_iter().map(|it| it.unit).collect();
        assert_eq!(units, both, "the other is still linked");
        assert!(!marked.has_more);
        (policy.among, policy.most) = (None, 1);
        let marked = bench.marker.mark(&*bench.store, &policy).await.unwrap();
        assert!(marked.has_more);
        let [link, blob] = marked.unneeded.as_slice() else {
            panic!("one link, one blob: {:?}", marked.unneeded);
        };
        let digest = orphans.iter().find(|it| link.unit == layer("a", it));
        assert_eq!(
            blob.unit,
            data(digest.unwrap()),
            "and no bytes of a link that stays"
        );
    }
}

#[tokio::test]
async fn later_runs_read_what_is_new() {
    for mut bench in Bench::all() {
        for n in 0..10 {
            let content = bench.blob("a", &n.to_string()).await;
            bench.image("a", Some(&format!("t{n}")), &content, "").await;
        }
        // Ten of manifests, of their links, of their tags, of layers.
        assert_eq!(bench.mark().await.read, 40);
        assert_eq!(bench.mark().await.read, 0);
        let content = bench.blob("a", "new").await;
        let image = bench.image("a", Some("t3"), &content, "").await;
        let marked = bench.mark().await;
        assert_eq!(marked.read, 4);
        assert_eq!(marked.unneeded.len(), 2, "what t3 had led to");
        let units: Vec<Unit> = marked.unneeded.into_iter().map(|it| it.unit).collect();
        bench.reap(&units).await;
        assert_eq!(bench.units().await, [layer("a", &of("3")), data(&of("3"))]);
        bench
            .store
            .remove(&layout::revision_link(&name("a"), &image))
            .await
            .unwrap();
        let units = sorted(bench.units().await);
        let new = [layer("a", &content), data(&content), data(&image)];
        let three = [layer("a", &of("3")), data(&of("3"))];
        assert_eq!(
            units,
            sorted([&new[..], &three].concat()),
            "a deleted manifest is not remembered"
        );
    }
}

#[tokio::test]
async fn links_that_hold_another_digest_go_before_what_they_hold() {
    for mut bench in Bench::all() {
        let content = bench.blob("a", "content").await;
        bench
            .image("a", Some("t"), &bench.blob("a", "else").await, "")
            .await;
        bench
            .store
            .remove(&layout::layer_link(&name("a"), &content))
            .await
            .unwrap();
        let named = Digest::of(Algorithm::Sha512, b"content");
        bench
            .put(layout::layer_link(&name("a"), &named), content.to_string())
            .await;
        assert_eq!(bench.units().await, [layer("a", &named)]);
        bench.reap(&[layer("a", &named)]).await;
        assert_eq!(bench.units().await, [data(&content)]);
    }
}

#[tokio::test]
async fn a_torn_link_to_a_layer_is_told_with_what_mends_it() {
    for mut bench in Bench::all() {
        let content = bench.blob("a", "content").await;
        bench.image("a", Some("t"), &content, "").await;
        let link = layout::layer_link(&name("a"), &content);
        bench.put(link.clone(), "").await;
        let marked = bench.mark().await;
        let [finding] = marked.findings.as_slice() else {
            panic!("one finding: {:?}", marked.findings);
        };
        assert_eq!((&finding.place, &finding.doubt), (&link, &Doubt::TornLink));
        bench
            .store
            .put(vec![finding.mend.clone().unwrap()])
            .await
            .unwrap();
        assert_eq!(bench.mark().await.findings, []);
    }
}

#[tokio::test]
async fn tags_forget_a_manifest_that_goes() {
    for mut bench in Bench::all() {
        let content = bench.blob("a", "content").await;
        let before = bench.image("a", Some("t"), &content, "").await;
        let after = bench.image("a", Some("t"), &content, " ").await;
        let units = bench.units().await;
        assert_eq!(units, [revision("a", &before), data(&before)]);
        bench.reap(&units).await;
        let index = |digest| layout::tag_index(&name("a"), &"t".parse().unwrap(), digest);
        assert!(!bench.has(&index(&before)).await);
        assert!(bench.has(&index(&after)).await);
    }
}
