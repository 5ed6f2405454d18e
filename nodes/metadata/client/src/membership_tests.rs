//! Joining, losing the lease, and coming back.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use async_trait::async_trait;
use roadstead_machine::{Collection, Invalidated, Segment, SessionId, Stamp, Standing, Timestamp};

use super::*;
use crate::{Fleet, Home, Local, system_clock};

/// A service that can be away.
#[derive(Debug)]
struct Service {
    local: Local,
    is_away: AtomicBool,
    renewals: AtomicU64,
    proposed: Mutex<Vec<Command>>,
}

impl Service {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            local: Local::open(Home::Memory, system_clock()).unwrap(),
            is_away: AtomicBool::new(false),
            renewals: AtomicU64::new(0),
            proposed: Mutex::default(),
        })
    }

    fn there(&self) -> Result<&Local, Unavailable> {
        if self.is_away.load(Ordering::Relaxed) {
            Err(Unavailable::because("it is away"))
        } else {
            Ok(&self.local)
        }
    }

    async fn epochs(&self) -> Vec<u64> {
        let nodes = self.local.fleet().await.unwrap().nodes;
        nodes.values().map(|node| node.epoch).collect()
    }
}

#[async_trait]
impl Metadata for Service {
    async fn propose(&self, command: Command) -> Result<Outcome, Unavailable> {
        self.proposed.lock().unwrap().push(command.clone());
        self.there()?.propose(command).await
    }
    async fn session(&self, id: SessionId) -> Result<Option<Standing>, Unavailable> {
        self.there()?.session(id).await
    }
    async fn segments(&self, id: SessionId) -> Result<Vec<Segment>, Unavailable> {
        self.there()?.segments(id).await
    }
    async fn open_sessions(&self) -> Result<usize, Unavailable> {
        self.there()?.open_sessions().await
    }
    async fn is_fresh(&self, opened: Timestamp) -> Result<bool, Unavailable> {
        self.there()?.is_fresh(opened).await
    }
    async fn unheld(&self, places: Vec<String>) -> Result<Vec<String>, Unavailable> {
        self.there()?.unheld(places).await
    }
    async fn renew(&self, node: NodeId, epoch: u64) -> Result<Renewal, Unavailable> {
        let renewed = self.there()?.renew(node, epoch).await;
        self.renewals.fetch_add(1, Ordering::Relaxed);
        renewed
    }
    async fn fleet(&self) -> Result<Fleet, Unavailable> {
        self.there()?.fleet().await
    }
    async fn secrets(&self) -> Result<Secrets, Unavailable> {
        self.there()?.secrets().await
    }
    async fn collection(
        &self,
        known: Option<Stamp>,
        wait: Duration,
    ) -> Result<Option<Collection>, Unavailable> {
        self.there()?.collection(known, wait).await
    }
    async fn invalidations(
        &self,
        known: Option<u64>,
        wait: Duration,
    ) -> Result<Option<Invalidated>, Unavailable> {
        self.there()?.invalidations(known, wait).await
    }
    async fn now(&self) -> Result<Timestamp, Unavailable> {
        self.there()?.now().await
    }
}

fn joining(store: &str) -> Joining {
    Joining {
        address: "a:5000".to_owned(),
        version: "1".to_owned(),
        fingerprint: Fingerprint {
            store: store.to_owned(),
            secret: None,
            authentication: "none".to_owned(),
            redis: None,
        },
    }
}

/// The paused clock of the runtime.
fn elapsed() -> Elapsed {
    let begun = tokio::time::Instant::now();
    Arc::new(move || begun.elapsed())
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let looked = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(Duration::from_mins(10), looked).await.expect(what);
}

async fn joined(service: &Arc<Service>) -> Membership {
    let metadata: Arc<dyn Metadata> = Arc::<Service>::clone(service);
    Membership::join(
        metadata,
        NodeId([1; 16]),
        joining("s"),
        elapsed(),
        Hearing::default(),
    )
    .await
    .unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_renewed_and_given_back() {
    let service = Service::new();
    let member = joined(&service).await;
    let (lease, ended) = (member.lease(), CancellationToken::new());
    assert_eq!(lease.epoch(), Some(1));
    let kept = tokio::spawn(member.keep(ended.clone()));
    until("many leases' time", || {
        assert_eq!(lease.epoch(), Some(1));
        service.renewals.load(Ordering::Relaxed) >= 20
    })
    .await;
    ended.cancel();
    kept.await.unwrap();
    assert!(!lease.is_held());
    assert_eq!(service.epochs().await, [0; 0]);
}

#[tokio::test(start_paused = true)]
async fn without_the_service_the_lease_runs_out_and_comes_back_in_another_epoch() {
    let service = Service::new();
    let member = joined(&service).await;
    let (lease, ended) = (member.lease(), CancellationToken::new());
    let kept = tokio::spawn(member.keep(ended.clone()));
    service.is_away.store(true, Ordering::Relaxed);
    until("it ran out", || !lease.is_held()).await;
    // The service takes it for gone meanwhile.
    let node = NodeId([1; 16]);
    let expire = ClusterCommand::Leave { node, epoch: 1 };
    service
        .local
        .propose(Command::Cluster(expire))
        .await
        .unwrap();
    service.is_away.store(false, Ordering::Relaxed);
    until("it is back", || lease.is_held()).await;
    assert_eq!(lease.epoch(), Some(2));
    assert_eq!(service.epochs().await, [2]);
    ended.cancel();
    kept.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_node_is_told_to_drain() {
    let service = Service::new();
    let member = joined(&service).await;
    let (lease, ended) = (member.lease(), CancellationToken::new());
    let kept = tokio::spawn(member.keep(ended.clone()));
    for on in [true, false] {
        let drain = ClusterCommand::Drain {
            address: "a:5000".to_owned(),
            on,
        };
        service
            .local
            .propose(Command::Cluster(drain))
            .await
            .unwrap();
        until("it knows", || lease.is_draining() == on).await;
        assert!(lease.is_held());
    }
    ended.cancel();
    kept.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_node_that_differs_is_told_where() {
    let service = Service::new();
    let _first = joined(&service).await;
    let metadata: Arc<dyn Metadata> = Arc::<Service>::clone(&service);
    let other = Joining {
        address: "b:5000".to_owned(),
        ..joining("another")
    };
    let refused = Membership::join(
        metadata,
        NodeId([2; 16]),
        other,
        elapsed(),
        Hearing::default(),
    )
    .await;
    let told = refused.unwrap_err().to_string();
    assert!(told.contains(": storage must be the same"), "{told}");
}

/// The proposal of a process that was killed is carried out when the next one has joined at its address.
#[tokio::test(start_paused = true)]
async fn who_was_killed_while_it_joined_takes_no_lease_away() {
    let service = Service::new();
    let before = service.proposed.lock().unwrap().len();
    drop(joined(&service).await);
    let joins = service.proposed.lock().unwrap().split_off(before);
    let metadata: Arc<dyn Metadata> = Arc::<Service>::clone(&service);
    let node = NodeId([2; 16]);
    let next = Membership::join(metadata, node, joining("s"), elapsed(), Hearing::default()).await;
    let (lease, ended) = (next.as_ref().unwrap().lease(), CancellationToken::new());
    let kept = tokio::spawn(next.unwrap().keep(ended.clone()));
    assert_eq!(joins.len(), 1, "{joins:?}");
    for late in joins {
        service.local.propose(late).await.unwrap();
    }
    let renewed = service.renewals.load(Ordering::Relaxed);
    until("it asked again", || {
        service.renewals.load(Ordering::Relaxed) > renewed + 1
    })
    .await;
    assert_eq!(lease.epoch(), Some(2));
    assert_eq!(service.epochs().await, [2]);
    ended.cancel();
    kept.await.unwrap();
}
