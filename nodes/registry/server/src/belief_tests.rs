//! Nodes over one store: what one removes, no other believes; and what they believe, the store is not asked.

use std::sync::atomic::{AtomicU64, AtomicUsize};

use bytes::Bytes;
use roadstead_cache::{Descriptors, Options as CacheOptions, Watch};
use roadstead_metadata::{
    ClusterCommand, Fingerprint, Hearing, Home, Joining, Local, Membership, NodeId, system_clock,
};
use roadstead_oci::{Algorithm, Digest, Name, Reference, Tag};
use roadstead_storage::{Driver, Error as StoreError, Memory, Metered, layout};
use roadstead_telemetry::metrics::Metrics;

use super::*;
use crate::body::Body;
use crate::collect::admission::{Flight, layer, of_blob, of_manifest};
use crate::link::{Already, link_to};
use crate::manifest_put::Push;
use crate::{Options, Registry};

const SOON: Duration = Duration::from_mins(1);

struct World {
    store: Arc<dyn Driver>,
    metadata: Arc<Local>,
    calls: Arc<AtomicUsize>,
    ended: CancellationToken,
}

struct Node {
    registry: Arc<Registry>,
    id: NodeId,
    /// Seconds on its clock.
    clock: Arc<AtomicU64>,
    _member: Membership,
}

fn name() -> Name {
    "a/b".parse().unwrap()
}

fn digest(content: &str) -> Digest {
    Digest::of(Algorithm::Sha256, content.as_bytes())
}

impl World {
    fn new() -> Self {
        let calls = Arc::<AtomicUsize>::default();
        let counted = Arc::clone(&calls);
        let meter = Arc::new(move |_driver, _action, _took| {
            counted.fetch_add(1, Ordering::Relaxed);
        });
        Self {
            store: Arc::new(Metered::new(Arc::new(Memory::new()), meter)),
            metadata: Arc::new(Local::open(Home::Memory, system_clock()).unwrap()),
            calls,
            ended: CancellationToken::new(),
        }
    }

    async fn join(&self, n: u8) -> Node {
        let metadata = || Arc::<Local>::clone(&self.metadata);
        let options = Options {
            delete_enabled: true,
            ..Options::default()
        };
        let registry = Registry::build(Arc::clone(&self.store), metadata(), options);
        let cache = CacheOptions {
            descriptors: Some(Descriptors::default()),
            ..CacheOptions::default()
        };
        let cache = Cache::build(cache, Watch::default()).await;
        let registry = registry.await.unwrap().with_cache(cache);
        let clock = Arc::new(AtomicU64::new(100));
        let seconds = Arc::clone(&clock);
        let hearing = Hearing {
            secrets: None,
            epochs: Some(registry.follows()),
        };
        let joining = Joining {
            address: format!("{n}:5000"),
            version: "1".to_owned(),
            fingerprint: Fingerprint {
                store: "s".to_owned(),
                secret: None,
                authentication: "none".to_owned(),
                redis: None,
            },
        };
        let elapsed = Arc::new(move || Duration::from_secs(seconds.load(Ordering::Relaxed)));
        let id = NodeId([n; 16]);
        let member = Membership::join(metadata(), id, joining, elapsed, hearing).await;
        let member = member.unwrap();
        Node {
            registry: Arc::new(registry.with_lease(member.lease())),
            id,
            clock,
            _member: member,
        }
    }

    /// A node that follows.
    async fn start(&self, n: u8) -> Node {
        let node = self.join(n).await;
        self.follow(&node);
        node
    }

    fn follow(&self, node: &Node) {
        let metrics = Metrics::new("1", roadstead_telemetry::system_clock()()).collection();
        let (registry, ended) = (Arc::clone(&node.registry), self.ended.clone());
        tokio::spawn(async move { registry.keep_following(metrics, ended).await });
    }

    /// The log finds that a node is gone.
    async fn expire(&self, node: &Node) {
        let epoch = self.metadata.fleet().await.unwrap().nodes[&node.id].epoch;
        let leave = Command::Cluster(ClusterCommand::Leave {
            node: node.id,
            epoch,
        });
        self.metadata.propose(leave).await.unwrap();
    }

    async fn pending(&self) -> usize {
        let told = self.metadata.invalidations(None, Duration::ZERO).await;
        told.unwrap().unwrap().pending.len()
    }

    /// How often a call asked the store.
    async fn asks<T>(&self, call: impl Future<Output = T>) -> usize {
        let before = self.calls.load(Ordering::Relaxed);
        call.await;
        self.calls.load(Ordering::Relaxed) - before
    }
}

impl Node {
    async fn push(&self, content: &str) {
        let pieces = futures::stream::iter([Ok(Bytes::from(content.to_owned()))]);
        let body = Body::new(pieces, SOON, false);
        let pushed = self
            .registry
            .push_whole(&name(), &digest(content), body)
            .await;
        pushed.unwrap();
    }

    /// Pushes an empty index under a tag.
    async fn tag(&self, tag: &Tag) -> Digest {
        let index = Bytes::from_static(
            br#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#,
        );
        let push = Push {
            name: &name(),
            reference: &Reference::Tag(tag.clone()),
            tags: Vec::new(),
            content_type: None,
            bytes: index,
        };
        self.registry.put_manifest(push).await.unwrap().digest
    }

    /// A request that was admitted, and has not written yet.
    async fn promise(&self, units: Vec<Unit>) -> Flight {
        let mut flight = self.registry.promise(units);
        assert_eq!(self.registry.admit(&mut flight).await.unwrap(), []);
        flight
    }

    async fn has(&self, content: &str) -> bool {
        match self.registry.blob(&name(), &digest(content)).await {
            Ok(_found) => true,
            Err(Error::BlobUnknown { .. }) => false,
            Err(error) => panic!("{error}"),
        }
    }

    async fn remove(&self, content: &str) -> Result<(), Error> {
        self.registry.remove_blob(&name(), &digest(content)).await
    }
}

async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let looked = async {
        while !holds().await {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(SOON, looked).await.expect(what);
}

#[tokio::test]
async fn a_warm_node_asks_the_store_nothing() {
    let world = World::new();
    let (one, other) = (world.start(1).await, world.start(2).await);
    one.push("blob").await;
    let manifest = one.tag(&"v1".parse().unwrap()).await;
    let (name, reference) = (name(), Reference::Digest(manifest.clone()));
    for node in [&one, &other] {
        // The first has to hear that the second tells of what it removes.
        until("it is warm", async || {
            let pull = async {
                let pulled = node.registry.manifest(&name, &reference).await;
                assert!(pulled.is_ok() && node.has("blob").await);
            };
            world.asks(pull).await == 0
        })
        .await;
    }
    let removed = one.registry.remove_manifest(&name, &manifest).await;
    removed.unwrap();
    for node in [&one, &other] {
        let pulled = node.registry.manifest(&name, &reference).await;
        assert!(matches!(pulled, Err(Error::ManifestUnknown { .. })));
    }
}

#[tokio::test]
async fn what_one_removes_is_gone_at_once_at_all_of_them() {
    let world = World::new();
    let nodes = [
        world.start(1).await,
        world.start(2).await,
        world.start(3).await,
    ];
    for round in 0..200 {
        let content = format!("blob {}", round % 3);
        nodes[round % 3].push(&content).await;
        let pulls = nodes.each_ref().map(|node| {
            let (registry, digest) = (Arc::clone(&node.registry), digest(&content));
            tokio::spawn(async move {
                // Until it is gone: always about to remember that it is there.
                while registry.blob(&name(), &digest).await.is_ok() {
                    tokio::task::yield_now().await;
                }
            })
        });
        nodes[(round / 3) % 3].remove(&content).await.unwrap();
        for node in &nodes {
            assert!(!node.has(&content).await, "round {round}");
        }
        for pull in pulls {
            pull.await.unwrap();
        }
    }
    assert_eq!(world.pending().await, 0);
}

#[tokio::test]
async fn a_removal_waits_for_a_node_that_is_paused_until_its_lease_is_over() {
    let world = World::new();
    let (one, paused) = (world.start(1).await, world.join(2).await);
    one.push("blob").await;
    assert!(paused.has("blob").await);
    assert_eq!(
        world.asks(paused.has("blob")).await,
        0,
        "it believes what it knows"
    );
    let registry = Arc::clone(&one.registry);
    let removing =
        tokio::spawn(async move { registry.remove_blob(&name(), &digest("blob")).await });
    until("it is told of", async || world.pending().await == 1).await;
    // It does not know yet, and nothing was removed that it may be writing to.
    assert!(!removing.is_finished());
    assert!(one.has("blob").await && paused.has("blob").await);
    paused.clock.fetch_add(8, Ordering::Relaxed);
    world.expire(&paused).await;
    removing.await.unwrap().unwrap();
    assert!(!paused.has("blob").await);
}

/// The client of such a request may have been served by another node meanwhile, and delete what it has pushed.
#[tokio::test]
async fn a_removal_waits_for_writes_that_began_before() {
    let world = World::new();
    let (one, other) = (world.start(1).await, world.join(2).await);
    one.push("blob").await;
    let flight = other.promise(of_blob(&name(), &digest("blob"))).await;
    let _pull = other.registry.lookup(of_blob(&name(), &digest("blob")));
    let registry = Arc::clone(&one.registry);
    let removing =
        tokio::spawn(async move { registry.remove_blob(&name(), &digest("blob")).await });
    until("it is told of", async || world.pending().await == 1).await;
    let (belief, epoch) = (other.registry.following.belief(), flight.epoch().unwrap());
    let acknowledges = async || {
        belief.follow(Duration::ZERO).await.unwrap();
        belief.acknowledge(epoch).await.unwrap();
        let told = world.metadata.invalidations(None, Duration::ZERO).await;
        !told.unwrap().unwrap().awaits(epoch)
    };
    assert!(!acknowledges().await && one.has("blob").await);
    let (registry, linked) = (&other.registry, digest("blob"));
    registry.link_blob(&name(), &linked, &flight).await.unwrap();
    drop(flight);
    assert!(acknowledges().await);
    removing.await.unwrap().unwrap();
    assert!(!one.has("blob").await && !other.has("blob").await);
}

/// Its clock stood still, as for a process that was stopped between its last look at the clock and the write.
#[tokio::test]
async fn nothing_comes_back_that_was_written_under_a_lease_that_is_over() {
    let world = World::new();
    let (one, paused) = (world.start(1).await, world.join(2).await);
    one.push("blob").await;
    let flight = paused.promise(of_blob(&name(), &digest("blob"))).await;
    world.expire(&paused).await;
    one.remove("blob").await.unwrap();
    let (registry, linked) = (&paused.registry, digest("blob"));
    let late = registry.link_blob(&name(), &linked, &flight).await;
    assert!(matches!(late, Err(Error::Store(StoreError::Fenced))));
    assert!(!one.has("blob").await);
}

/// The same of a tag, which no cache remembers.
#[tokio::test]
async fn a_tag_does_not_come_back_either() {
    let world = World::new();
    let (one, paused) = (world.start(1).await, world.join(2).await);
    let tag: Tag = "v1".parse().unwrap();
    let manifest = one.tag(&tag).await;
    let flight = paused.promise(of_manifest(&name(), &manifest)).await;
    world.expire(&paused).await;
    one.registry.remove_tag(&name(), &tag).await.unwrap();
    let link = link_to(layout::tag_current(&name(), &tag), &manifest);
    let late = paused
        .registry
        .write_under(&flight, vec![link], Already::IsReplaced)
        .await;
    assert!(matches!(late, Err(Error::Store(StoreError::Fenced))));
    let left = one.registry.tagged(&name(), &tag).await.unwrap();
    assert_eq!(left, None);
}

/// Its removal could hit what was pushed again since.
#[tokio::test]
async fn who_lost_its_lease_without_knowing_removes_nothing() {
    let world = World::new();
    let one = world.start(1).await;
    one.push("blob").await;
    let directory = layout::layer(&name(), &digest("blob"));
    let unit = layer(&name(), &digest("blob"));
    let (belief, lease) = (one.registry.following.belief(), one.registry.lease());
    let mut withdrawal = belief.withdraw(lease, unit).await.unwrap();
    withdrawal.begins().unwrap();
    world.expire(&one).await;
    let late = one.registry.remove_linked(&directory, Some(&withdrawal));
    assert!(matches!(late.await, Err(Error::Store(StoreError::Fenced))));
    let stat = world.store.stat(&layout::link_in(&directory)).await;
    assert!(stat.is_ok());
}

#[tokio::test]
async fn who_lost_its_lease_since_it_told_removes_nothing() {
    let world = World::new();
    let one = world.start(1).await;
    one.push("blob").await;
    let unit = layer(&name(), &digest("blob"));
    let (belief, lease) = (one.registry.following.belief(), one.registry.lease());
    let mut withdrawal = belief.withdraw(lease, unit).await.unwrap();
    one.clock.fetch_add(8, Ordering::Relaxed);
    assert!(withdrawal.begins().is_err());
    drop(withdrawal);
    until("it is settled", async || world.pending().await == 0).await;
    assert!(
        world
            .store
            .stat(&layout::layer_link(&name(), &digest("blob")))
            .await
            .is_ok()
    );
}

/// It has not asked the log whether that is condemned, nor does it keep it from being removed.
#[tokio::test]
async fn without_a_lease_a_node_sends_what_is_there_and_promises_and_remembers_nothing() {
    let world = World::new();
    let (one, other) = (world.start(1).await, world.start(2).await);
    one.push("blob").await;
    one.push("known").await;
    until("it remembers", async || {
        other.has("known").await && world.asks(other.has("known")).await == 0
    })
    .await;
    other.clock.fetch_add(8, Ordering::Relaxed);
    let (registry, name, digest) = (&other.registry, name(), digest("blob"));
    let asked = registry.promised_blob(&name, &digest).await;
    assert!(matches!(asked, Err(Error::Metadata(_))));
    let mut flight = registry.lookup(of_blob(&name, &digest));
    assert_eq!(registry.admit(&mut flight).await.unwrap(), []);
    // It has its lease again before the store has answered.
    other.clock.fetch_sub(8, Ordering::Relaxed);
    let read = registry.found_blob(&name, &digest, flight.ticket()).await;
    assert!(read.is_ok() && registry.stands(&flight).unwrap());
    assert!(
        world.asks(other.has("blob")).await > 0,
        "it is not remembered"
    );
    assert!(registry.promised_blob(&name, &digest).await.is_ok());
}

#[tokio::test]
async fn who_removes_and_loses_its_lease_in_between_tells_of_it_again() {
    let world = World::new();
    let (one, other) = (world.start(1).await, world.start(2).await);
    one.push("blob").await;
    let lease = one.registry.lease().clone();
    let unit = layer(&name(), &digest("blob"));
    let belief = one.registry.following.belief();
    let mut withdrawal = belief.withdraw(&lease, unit).await.unwrap();
    withdrawal.begins().unwrap();
    until("the other knows", async || {
        let asked = world.asks(other.has("blob")).await;
        asked > 0 && world.asks(other.has("blob")).await > 0
    })
    .await;
    world.expire(&one).await;
    until("the other believes again", async || {
        other.has("blob").await && world.asks(other.has("blob")).await == 0
    })
    .await;
    // It was paused here.
    let link = layout::layer_link(&name(), &digest("blob"));
    world.store.remove(&link).await.unwrap();
    assert!(other.has("blob").await);
    assert!(
        withdrawal.end().await.is_err(),
        "nobody is told that it is gone"
    );
    assert!(other.has("blob").await);
    let again = world.start(1).await;
    assert!(matches!(
        again.remove("blob").await,
        Err(Error::BlobUnknown { .. })
    ));
    assert!(!other.has("blob").await);
}

#[tokio::test]
async fn nothing_is_believed_beside_a_node_that_does_not_tell() {
    let world = World::new();
    let one = world.start(1).await;
    one.push("blob").await;
    let warm = async || one.has("blob").await && world.asks(one.has("blob")).await == 0;
    until("it believes", warm).await;
    // One of an earlier version.
    let join = Command::Cluster(ClusterCommand::Join {
        node: NodeId([2; 16]),
        address: "2:5000".to_owned(),
        version: "0".to_owned(),
        fingerprint: Fingerprint {
            store: "s".to_owned(),
            secret: None,
            authentication: "none".to_owned(),
            redis: None,
        },
    });
    world.metadata.propose(join).await.unwrap();
    until("it asks", async || world.asks(one.has("blob")).await > 0).await;
    let link = layout::layer_link(&name(), &digest("blob"));
    world.store.remove(&link).await.unwrap();
    assert!(!one.has("blob").await);
    let leave = Command::Cluster(ClusterCommand::Leave {
        node: NodeId([2; 16]),
        epoch: 2,
    });
    world.metadata.propose(leave).await.unwrap();
    one.push("another").await;
    until("it believes again", async || {
        one.has("another").await && world.asks(one.has("another")).await == 0
    })
    .await;
    assert!(!one.has("blob").await);
}
