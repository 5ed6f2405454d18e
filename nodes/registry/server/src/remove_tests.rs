//! Deletions beside pushes, stopped at the worst moments.

use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use roadstead_metadata::{Home, Local, system_clock};
use roadstead_oci::{Algorithm, Reference};
use roadstead_storage::{
    Attempt, Driver, Entry, Memory, Opened, Publication, Put, Stage, Staged, Stat, StorePath,
};
use tokio::sync::Notify;

use super::*;
use crate::Options;
use crate::manifest_put::Push;

/// A store in memory, in which one call stops after it looked.
#[derive(Debug)]
struct Stopping {
    store: Memory,
    at: Moment,
    armed: Mutex<bool>,
    reached: Notify,
    go_on: Notify,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Moment {
    /// This file was read.
    Read(StorePath),
    /// The end of this directory was listed.
    ListedToTheEnd(StorePath),
}

impl Stopping {
    async fn pass(&self, here: impl FnOnce() -> Option<Moment>) {
        let stops = here().as_ref() == Some(&self.at) && std::mem::take(&mut *lock(&self.armed));
        if stops {
            self.reached.notify_one();
            self.go_on.notified().await;
        }
    }
}

type Result<T> = std::result::Result<T, StoreError>;

#[async_trait]
impl Driver for Stopping {
    fn name(&self) -> &'static str {
        self.store.name()
    }
    async fn stat(&self, path: &StorePath) -> Result<Stat> {
        self.store.stat(path).await
    }
    async fn get(&self, path: &StorePath, limit: usize) -> Result<Bytes> {
        let got = self.store.get(path, limit).await;
        self.pass(|| Some(Moment::Read(path.clone()))).await;
        got
    }
    async fn open(&self, path: &StorePath) -> Result<Opened> {
        self.store.open(path).await
    }
    async fn put(&self, writes: Vec<Put>) -> Result<()> {
        self.store.put(writes).await
    }
    async fn put_new(&self, write: Put) -> Result<bool> {
        self.store.put_new(write).await
    }
    async fn settle(&self, paths: &[StorePath]) -> Result<()> {
        self.store.settle(paths).await
    }
    async fn list(
        &self,
        directory: &StorePath,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Entry>> {
        let listed = self.store.list(directory, after, limit).await;
        let is_end = listed.as_ref().is_ok_and(Vec::is_empty);
        self.pass(|| is_end.then(|| Moment::ListedToTheEnd(directory.clone())))
            .await;
        listed
    }
    async fn remove(&self, path: &StorePath) -> Result<()> {
        self.store.remove(path).await
    }
    async fn remove_if(&self, path: &StorePath, content: &[u8]) -> Result<bool> {
        self.store.remove_if(path, content).await
    }
    async fn stage(&self, hint: &str) -> Result<Box<dyn Stage>> {
        self.store.stage(hint).await
    }
    async fn open_staged(&self, place: &str) -> Result<Opened> {
        self.store.open_staged(place).await
    }
    async fn publish(
        &self,
        places: &[Staged],
        target: &StorePath,
        attempt: Attempt,
    ) -> Result<Publication> {
        self.store.publish(places, target, attempt).await
    }
    async fn discard(&self, places: &[String]) -> Result<()> {
        self.store.discard(places).await
    }
    async fn staged(
        &self,
        before: SystemTime,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>> {
        self.store.staged(before, after, limit).await
    }
    async fn sweep(&self, before: SystemTime) -> Result<usize> {
        self.store.sweep(before).await
    }
}

struct Bench {
    registry: Arc<Registry>,
    store: Arc<Stopping>,
}

fn name() -> Name {
    "repository".parse().unwrap()
}

fn tag(text: &str) -> Tag {
    text.parse().unwrap()
}

/// A manifest like no other, with its digest.
fn manifest(which: &str) -> (Bytes, Digest) {
    let index = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[],"annotations":{{"which":"{which}"}}}}"#
    );
    let digest = Digest::of(Algorithm::Sha256, index.as_bytes());
    (index.into(), digest)
}

impl Bench {
    async fn stopping_at(at: Moment) -> Self {
        let store = Arc::new(Stopping {
            store: Memory::new(),
            at,
            armed: Mutex::new(false),
            reached: Notify::new(),
            go_on: Notify::new(),
        });
        let metadata = Arc::new(Local::open(Home::Memory, system_clock()).unwrap());
        let driver: Arc<dyn Driver> = Arc::<Stopping>::clone(&store);
        let options = Options {
            delete_enabled: true,
            ..Options::default()
        };
        let registry = Arc::new(Registry::build(driver, metadata, options).await.unwrap());
        Self { registry, store }
    }

    async fn push(&self, to: &str, which: &str) {
        let push = Push {
            name: &name(),
            reference: &Reference::Tag(tag(to)),
            tags: Vec::new(),
            content_type: None,
            bytes: manifest(which).0,
        };
        self.registry.put_manifest(push).await.unwrap();
    }

    /// Deletes the manifest, and does something else when the deletion comes by the moment.
    async fn delete_with(&self, which: &str, meanwhile: impl Future<Output = ()>) {
        *lock(&self.store.armed) = true;
        let registry = Arc::clone(&self.registry);
        let digest = manifest(which).1;
        let deletion =
            tokio::spawn(async move { registry.remove_manifest(&name(), &digest).await });
        self.store.reached.notified().await;
        meanwhile.await;
        self.store.go_on.notify_one();
        deletion.await.unwrap().unwrap();
    }

    async fn leads_to(&self, from: &str) -> Option<Digest> {
        self.registry.tagged(&name(), &tag(from)).await.unwrap()
    }

    async fn is_listed(&self, listed: &str) -> bool {
        let page = self.registry.tag_list(&name(), None, 100).await.unwrap();
        page.items.contains(&tag(listed))
    }
}

#[tokio::test]
async fn a_tag_that_moved_while_its_first_manifest_was_deleted_stays() {
    let moment = Moment::Read(layout::tag_current(&name(), &tag("moves")));
    let bench = Bench::stopping_at(moment).await;
    bench.push("moves", "first").await;
    bench
        .delete_with("first", bench.push("moves", "second"))
        .await;
    assert_eq!(bench.leads_to("moves").await, Some(manifest("second").1));
}

#[tokio::test]
async fn a_tag_that_was_pushed_behind_the_look_does_not_stay_without_its_manifest() {
    let bench = Bench::stopping_at(Moment::ListedToTheEnd(layout::tags(&name()))).await;
    bench.push("b", "same").await;
    bench.push("c", "other").await;
    bench.delete_with("same", bench.push("a", "same")).await;
    assert!(!bench.is_listed("a").await, "the manifest is gone");
    assert!(!bench.is_listed("b").await);
    assert_eq!(bench.leads_to("c").await, Some(manifest("other").1));
}
