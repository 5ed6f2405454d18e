//! Collections that somebody asks for, looks at, and ends.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use roadstead_metadata::{ALONE, Home, Local, Metadata as _, system_clock};
use roadstead_oci::{Algorithm, Digest, Name};
use roadstead_storage::{Driver, Filesystem, Memory, Pace, layout};
use roadstead_telemetry::metrics::{CollectionMetrics, Metrics};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::desk::{DONE, Demand, FAILED, Wish};
use super::mail::{AskError, Asking, cancel_through};
use crate::body::Body;
use crate::{Collecting, Options, Registry};

const SOON: Duration = Duration::from_mins(1);
const OFTEN: Duration = Duration::from_millis(50);

/// A registry with a blob that nothing names, which collects when it is asked to.
struct Bench {
    store: Arc<dyn Driver>,
    registry: Arc<Registry>,
    metadata: Arc<Local>,
    demands: mpsc::Sender<Demand>,
    ended: CancellationToken,
    tasks: JoinSet<()>,
}

fn metrics() -> CollectionMetrics {
    Metrics::new("1", roadstead_telemetry::system_clock()()).collection()
}

fn lost() -> Digest {
    Digest::of(Algorithm::Sha256, b"lost")
}

impl Bench {
    async fn new(window: Duration) -> Self {
        let metadata = Arc::new(Local::open(Home::Memory, system_clock()).unwrap());
        let store: Arc<dyn Driver> = Arc::new(Memory::new());
        let service = Arc::<Local>::clone(&metadata);
        let registry = Registry::build(Arc::clone(&store), service, Options::default());
        let registry = Arc::new(registry.await.unwrap());
        registry.begin_alone().await.unwrap();
        let (demands, asked) = mpsc::channel(1);
        let mut bench = Self {
            store,
            registry,
            metadata,
            demands,
            ended: CancellationToken::new(),
            tasks: JoinSet::new(),
        };
        bench.push("lost").await;
        let manifest = Digest::of(Algorithm::Sha256, b"none");
        let kept = layout::revision_link(&name(), &manifest);
        // A repository that manifests were pushed to.
        let empty = roadstead_storage::Put {
            path: kept.parent().unwrap().join("note").unwrap(),
            content: "".into(),
        };
        bench.store.put(vec![empty]).await.unwrap();
        bench.serve(window, asked);
        bench
    }

    async fn push(&self, content: &'static str) {
        let pieces = futures::stream::iter([Ok(Bytes::from(content))]);
        let body = Body::new(pieces, SOON, false);
        let digest = Digest::of(Algorithm::Sha256, content.as_bytes());
        let pushed = self.registry.push_whole(&name(), &digest, body).await;
        pushed.unwrap();
    }

    fn serve(&mut self, window: Duration, asked: mpsc::Receiver<Demand>) {
        let how = Collecting {
            interval: None,
            grace: Duration::ZERO,
            push_window: window,
            untagged: false,
            pace: Pace::default(),
        };
        let (registry, ended) = (Arc::clone(&self.registry), self.ended.clone());
        self.tasks.spawn(async move {
            let collecting = registry.keep_collecting(how, asked, metrics(), ended.clone());
            tokio::join!(
                registry.keep_following(metrics(), ended.clone()),
                collecting
            );
        });
        let (registry, ended) = (Arc::clone(&self.registry), self.ended.clone());
        let demands = self.demands.clone();
        self.tasks.spawn(async move {
            registry.keep_reading_mail(OFTEN, demands, ended).await;
        });
    }

    async fn ask(&self, wish: Wish) -> mpsc::UnboundedReceiver<String> {
        let (tell, told) = mpsc::unbounded_channel();
        let demand = Demand {
            wish,
            untagged: false,
            tell,
        };
        self.demands.send(demand).await.unwrap();
        told
    }

    async fn is_condemned(&self) -> bool {
        let collection = self.metadata.collection(None, Duration::ZERO).await;
        collection.unwrap().unwrap().run().is_some()
    }

    async fn until_condemned(&self, is: bool) {
        let looked = async {
            while self.is_condemned().await != is {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(SOON, looked).await.expect("it is");
    }

    async fn has_lost(&self) -> bool {
        self.store.stat(&layout::blob_data(&lost())).await.is_ok()
    }

    async fn end(mut self) {
        self.ended.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
    }
}

fn name() -> Name {
    "a/b".parse().unwrap()
}

async fn heard(mut told: mpsc::UnboundedReceiver<String>) -> Vec<String> {
    let mut lines = Vec::new();
    let listening = async {
        while let Some(line) = told.recv().await {
            lines.push(line);
        }
    };
    let listened = tokio::time::timeout(SOON, listening).await;
    listened.expect("it says how it ended");
    lines
}

fn says(lines: &[String], words: &str) -> bool {
    lines.iter().any(|line| line.contains(words))
}

#[tokio::test]
async fn one_looks_while_a_collection_waits_and_ends_it() {
    let bench = Bench::new(Duration::from_hours(1)).await;
    let collecting = bench.ask(Wish::Collect).await;
    bench.until_condemned(true).await;
    let looked = heard(bench.ask(Wish::Look).await).await;
    let eligible = format!(
        "blob eligible for deletion: {} (no manifest names it)",
        lost()
    );
    assert!(says(&looked, &eligible), "{looked:?}");
    assert_eq!(looked.last().unwrap(), DONE);
    assert_eq!(heard(bench.ask(Wish::Cancel).await).await, [DONE]);
    let collected = heard(collecting).await;
    let last = format!("{FAILED}it was cancelled");
    assert_eq!(collected.last(), Some(&last), "{collected:?}");
    bench.until_condemned(false).await;
    assert!(bench.has_lost().await);
    bench.end().await;
}

#[tokio::test]
async fn what_is_asked_through_the_store_is_answered_there() {
    let bench = Bench::new(Duration::ZERO).await;
    let ask = async |dry_run| {
        let asking = Asking::begin(Arc::clone(&bench.store), dry_run, false).await;
        let (mut asking, mut lines) = (asking.unwrap(), Vec::new());
        while lines.last().is_none_or(|line| line != DONE) {
            let said = tokio::time::timeout(SOON, asking.hear()).await;
            lines.append(&mut said.expect("it goes on").unwrap());
        }
        asking.end().await.unwrap();
        lines
    };
    let looked = ask(true).await;
    let eligible = format!("blob eligible for deletion: {}", lost());
    assert!(says(&looked, &eligible), "{looked:?}");
    assert!(bench.has_lost().await);
    let collected = ask(false).await;
    assert!(
        says(&collected, "2 removed, 4 bytes freed"),
        "{collected:?}"
    );
    assert!(!bench.has_lost().await);
    let mail = "/roadstead/collect".parse().unwrap();
    let left = bench.store.list(&mail, None, 10).await;
    assert!(left.map_or(true, |left| left.is_empty()));
    bench.end().await;
}

#[tokio::test]
async fn a_collection_that_was_asked_for_is_cancelled_through_the_store() {
    let bench = Bench::new(Duration::from_hours(1)).await;
    let asking = Asking::begin(Arc::clone(&bench.store), false, false).await;
    let mut asking = asking.unwrap();
    bench.until_condemned(true).await;
    let other = Asking::begin(Arc::clone(&bench.store), false, true).await;
    assert!(matches!(other, Err(AskError::Another)));
    cancel_through(&*bench.store).await.unwrap();
    let mut last = String::new();
    while !last.starts_with(FAILED) {
        let said = tokio::time::timeout(SOON, asking.hear()).await;
        last = said.expect("it goes on").unwrap().pop().unwrap_or_default();
    }
    assert_eq!(last, format!("{FAILED}it was cancelled"));
    bench.until_condemned(false).await;
    assert!(bench.has_lost().await);
    bench.end().await;
}

/// What nobody answers is taken back, and so is the wish to cancel.
#[tokio::test(start_paused = true)]
async fn a_question_that_nobody_hears_is_taken_back() {
    let store: Arc<dyn Driver> = Arc::new(Memory::new());
    let asking = Asking::begin(Arc::clone(&store), false, false).await;
    let unheard = asking.unwrap().hear().await;
    assert!(matches!(unheard, Err(AskError::Unheard)), "{unheard:?}");
    let cancelled = cancel_through(&*store).await;
    assert!(matches!(cancelled, Err(AskError::Unheard)), "{cancelled:?}");
    let mail = "/roadstead/collect".parse().unwrap();
    let left = store.list(&mail, None, 10).await;
    assert!(left.map_or(true, |left| left.is_empty()));
}

/// A group that is made anew counts its leases from one again.
#[tokio::test]
async fn epochs_of_a_group_that_had_the_store_before_are_others_and_are_ended() {
    let root = tempfile::tempdir().unwrap();
    let store: Arc<dyn Driver> = Arc::new(Filesystem::open(root.path()).unwrap());
    let make = async |group: u8| {
        let metadata = Arc::new(Local::open(Home::Memory, system_clock()).unwrap());
        let registry = Registry::build(Arc::clone(&store), metadata, Options::default());
        let registry = registry.await.unwrap();
        registry.in_group([group; 16]);
        let begun = registry.follows().begin(1).await;
        assert!(begun.is_err(), "the log knows no such lease");
        registry
    };
    let (_old, new) = (make(1).await, make(2).await);
    assert_eq!(store.epochs().await.unwrap().len(), 3);
    new.following.end_epochs().await.unwrap();
    assert_eq!(store.epochs().await.unwrap(), [ALONE]);
}
