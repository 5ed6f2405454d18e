//! What a node answers while something that a request names is condemned, or being reaped.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use roadstead_cache::{Cache, Descriptors, Options as CacheOptions, Watch};
use roadstead_metadata::{
    ALONE, CollectCommand, CollectOutcome, Collection, Command, Home, Local, Metadata as _,
    Outcome, Unit, system_clock,
};
use roadstead_oci::{Algorithm, Digest, Name, Reference};
use roadstead_storage::{Memory, Pace, Put, layout};
use roadstead_telemetry::metrics::Metrics;
use tokio_util::sync::CancellationToken;

use super::admission::of_blob;
use crate::body::Body;
use crate::error::Error;
use crate::manifest_put::Push;
use crate::{Audience, Collecting, Options, Registry};

const SOON: Duration = Duration::from_mins(1);

struct Bench {
    registry: Arc<Registry>,
    metadata: Arc<Local>,
    ended: CancellationToken,
}

fn name() -> Name {
    "a/b".parse().unwrap()
}

fn digest(content: &str) -> Digest {
    Digest::of(Algorithm::Sha256, content.as_bytes())
}

impl Bench {
    /// It remembers what exists.
    async fn new() -> Self {
        let metadata = Arc::new(Local::open(Home::Memory, system_clock()).unwrap());
        let service = Arc::<Local>::clone(&metadata);
        let registry = Registry::build(Arc::new(Memory::new()), service, Options::default());
        let options = CacheOptions {
            descriptors: Some(Descriptors::default()),
            ..CacheOptions::default()
        };
        let cache = Cache::build(options, Watch::default()).await;
        let registry = Arc::new(registry.await.unwrap().with_cache(cache));
        registry.begin_alone().await.unwrap();
        Self {
            registry,
            metadata,
            ended: CancellationToken::new(),
        }
    }

    fn follow(&self) {
        let metrics = Metrics::new("1", roadstead_telemetry::system_clock()()).collection();
        let (registry, ended) = (Arc::clone(&self.registry), self.ended.clone());
        tokio::spawn(async move { registry.keep_following(metrics, ended).await });
    }

    async fn propose(&self, command: CollectCommand) -> CollectOutcome {
        match self.metadata.propose(Command::Collect(command)).await {
            Ok(Outcome::Collect(outcome)) => outcome,
            other => panic!("{other:?}"),
        }
    }

    async fn collection(&self) -> Collection {
        let asked = self.metadata.collection(None, Duration::ZERO).await;
        asked.unwrap().unwrap()
    }

    async fn condemned(&self) -> Vec<Unit> {
        let collection = self.collection().await;
        let run = collection.run();
        run.map_or_else(Vec::new, |run| run.condemned().iter().cloned().collect())
    }

    /// Condemns a blob with its link. Answers with the version.
    async fn condemn(&self, content: &str) -> u64 {
        let CollectOutcome::Began { term } =
            self.propose(CollectCommand::Begin { epoch: ALONE }).await
        else {
            panic!("nobody else leads");
        };
        let condemn = CollectCommand::Condemn {
            term,
            after: self.collection().await.version(),
            units: of_blob(&name(), &digest(content)),
            wait: Duration::ZERO,
        };
        let CollectOutcome::Condemned { version } = self.propose(condemn).await else {
            panic!("it leads");
        };
        version
    }

    async fn until(&self, what: &str, holds: impl AsyncFn(&Self) -> bool) {
        let looked = async {
            while !holds(self).await {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(SOON, looked).await.expect(what);
    }

    async fn reap(&self, content: &str, version: u64) {
        self.until("it is ripe", async |bench| {
            let collection = bench.collection().await;
            let reap = CollectCommand::Reap {
                term: collection.term(),
                version,
                units: of_blob(&name(), &digest(content)),
            };
            matches!(bench.propose(reap).await, CollectOutcome::Reaping { units } if units.len() == 2)
        })
        .await;
    }

    async fn finish(&self, version: u64) {
        let term = self.collection().await.term();
        let finish = CollectCommand::Finish { term, version };
        assert_eq!(self.propose(finish).await, CollectOutcome::Finished);
    }

    async fn push(&self, content: &'static str) -> Result<(), Error> {
        let pieces = futures::stream::iter([Ok(Bytes::from(content))]);
        let body = Body::new(pieces, SOON, false);
        let digest = digest(content);
        self.registry.push_whole(&name(), &digest, body).await
    }

    async fn put(&self, layer: &str) -> Result<(), Error> {
        let layer = digest(layer);
        let json = format!(
            r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{"mediaType":"a/config","digest":"{layer}","size":1}},"layers":[]}}"#
        );
        let push = Push {
            name: &name(),
            reference: &Reference::Tag("v1".parse().unwrap()),
            tags: Vec::new(),
            content_type: None,
            bytes: json.into(),
        };
        self.registry.put_manifest(push).await.map(|_pushed| ())
    }
}

#[tokio::test]
async fn whatever_promises_or_names_it_rescues_it() {
    let bench = Bench::new().await;
    bench.follow();
    bench.push("blob").await.unwrap();
    for round in 0..4 {
        let version = bench.condemn("blob").await;
        bench
            .until("the node knows", async |bench| {
                bench.registry.following.view().stamp.version == version
            })
            .await;
        assert_eq!(bench.condemned().await.len(), 2);
        let (name, digest) = (name(), digest("blob"));
        match round {
            0 => drop(bench.registry.blob(&name, &digest).await.unwrap()),
            1 => bench.push("blob").await.unwrap(),
            2 => bench.put("blob").await.unwrap(),
            _ => assert!(bench.registry.mount(&name, &digest, None).await.unwrap()),
        }
        assert_eq!(bench.condemned().await, [], "round {round}");
        bench.finish(version).await;
    }
}

#[tokio::test]
async fn what_a_request_in_flight_names_is_vetoed() {
    let bench = Bench::new().await;
    bench.push("blob").await.unwrap();
    bench.push("other").await.unwrap();
    let flight = bench.registry.lookup(of_blob(&name(), &digest("blob")));
    bench.condemn("blob").await;
    let version = bench.condemn("other").await;
    bench.follow();
    bench
        .until("the node has acknowledged", async |bench| {
            bench.collection().await.run().unwrap().ripe().is_some()
        })
        .await;
    let left = bench.condemned().await;
    assert_eq!(left, {
        let mut other = of_blob(&name(), &digest("other"));
        other.sort_unstable();
        other
    });
    drop(flight);
    bench.finish(version).await;
}

#[tokio::test]
async fn what_is_condemned_meanwhile_is_seen_before_the_answer() {
    let bench = Bench::new().await;
    let registry = &bench.registry;
    bench.push("blob").await.unwrap();
    let mut flight = registry.promise(of_blob(&name(), &digest("blob")));
    assert_eq!(registry.admit(&mut flight).await.unwrap(), []);
    bench.condemn("other").await;
    registry.following.follow().await.unwrap();
    assert!(registry.stands(&flight).unwrap(), "it does not name that");
    bench.condemn("blob").await;
    assert!(registry.stands(&flight).unwrap(), "the node does not know");
    registry.following.follow().await.unwrap();
    assert!(!registry.stands(&flight).unwrap());
    assert_eq!(registry.admit(&mut flight).await.unwrap(), []);
    assert!(registry.stands(&flight).unwrap(), "rescued");
}

#[tokio::test]
async fn what_is_being_reaped_does_not_exist_and_can_be_pushed_when_that_is_over() {
    let bench = Bench::new().await;
    bench.follow();
    bench.push("blob").await.unwrap();
    let version = bench.condemn("blob").await;
    bench.reap("blob", version).await;
    let (name, digest) = (name(), digest("blob"));
    let looked = bench.registry.blob(&name, &digest).await;
    assert!(matches!(looked, Err(Error::BlobUnknown { .. })));
    assert!(!bench.registry.mount(&name, &digest, None).await.unwrap());
    let refused = bench.put("blob").await;
    assert!(matches!(refused, Err(Error::ReferencesUnknown(missing)) if missing == [digest]));
    let finishing = async {
        bench
            .until("it is pushed", async |bench| {
                // The chunk is stored, and it waits.
                let flights = bench.registry.following.in_flight();
                flights > 0
            })
            .await;
        bench.finish(version).await;
    };
    let (pushed, ()) = tokio::join!(bench.push("blob"), finishing);
    pushed.unwrap();
    bench.put("blob").await.unwrap();
}

/// Its client goes away, so nothing vetoes what it read; and when that is removed, the run goes on.
#[tokio::test]
async fn what_a_request_read_that_was_not_admitted_again_is_not_remembered() {
    let bench = Bench::new().await;
    bench.push("blob").await.unwrap();
    let (registry, name, digest) = (&bench.registry, name(), digest("blob"));
    let mut flight = registry.lookup(of_blob(&name, &digest));
    assert_eq!(registry.admit(&mut flight).await.unwrap(), []);
    let version = bench.condemn("blob").await;
    registry.following.follow().await.unwrap();
    let found = registry.found_blob(&name, &digest, flight.ticket()).await;
    assert!(found.is_ok(), "it is there still");
    drop((found, flight));
    bench.follow();
    bench.reap("blob", version).await;
    for gone in [
        layout::layer_link(&name, &digest),
        layout::blob_data(&digest),
    ] {
        registry.store.remove(&gone).await.unwrap();
    }
    let removed = CollectCommand::Removed {
        term: bench.collection().await.term(),
        version,
        units: of_blob(&name, &digest),
    };
    assert_eq!(bench.propose(removed).await, CollectOutcome::Removed);
    let looked = registry.blob(&name, &digest).await;
    assert!(matches!(looked, Err(Error::BlobUnknown { .. })));
    bench.push("blob").await.unwrap();
    assert!(registry.blob(&name, &digest).await.is_ok());
}

/// Marked, condemned, waited for, marked again, reaped: by the clock.
#[tokio::test]
async fn the_coordinator_collects_what_nothing_names() {
    let bench = Bench::new().await;
    bench.follow();
    bench.push("named").await.unwrap();
    bench.put("named").await.unwrap();
    bench.push("lost").await.unwrap();
    let store = Arc::clone(&bench.registry.store);
    let link = layout::layer_link(&name(), &digest("named"));
    let torn = Put {
        path: link.clone(),
        content: "sha256:12".into(),
    };
    store.put(vec![torn]).await.unwrap();
    let how = Collecting {
        interval: Some(Duration::from_millis(1)),
        grace: Duration::ZERO,
        push_window: Duration::ZERO,
        untagged: false,
        pace: Pace::default(),
    };
    let audience = Audience {
        metrics: Metrics::new("1", roadstead_telemetry::system_clock()()).collection(),
        notices: None,
    };
    let (registry, ended) = (Arc::clone(&bench.registry), bench.ended.clone());
    let (_nobody, demands) = tokio::sync::mpsc::channel(1);
    let collecting = tokio::spawn(async move {
        registry
            .keep_collecting(how, demands, audience, ended)
            .await;
    });
    bench
        .until("it is gone", async |bench| {
            let data = layout::blob_data(&digest("lost"));
            !bench.registry.exists(&data).await.unwrap()
        })
        .await;
    bench
        .until("the run is over", async |bench| {
            bench.collection().await.run().is_none()
        })
        .await;
    let whole = digest("named").to_string();
    bench
        .until("the torn link is mended", async |_| {
            store.get(&link, 100).await.unwrap() == whole
        })
        .await;
    bench.ended.cancel();
    collecting.await.unwrap();
    let named = bench.registry.blob(&name(), &digest("named")).await;
    assert!(named.is_ok());
    bench.push("lost").await.unwrap();
}
