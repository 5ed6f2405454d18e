//! A node of a cluster: it finds the metadata service, marks the store, proves that it shares both, and joins.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use roadstead_config::{Auth, Config, DriverKind};
use roadstead_listen::Listener;
use roadstead_metadata::{
    BUDGET, ClusterCommand, ClusterId, ClusterOutcome, Command, Fingerprint, Hearing, Hears,
    JoinError, Joining, Lease, Membership, Metadata, NodeId, Outcome, Remote, RemoteOptions,
    boot_time,
};
use roadstead_registry::Registry;
use roadstead_storage::claim::{Claim, Claimant, Held};
use roadstead_storage::{Driver, Error as StoreError, Put, StorePath};
use roadstead_telemetry::metrics::Place;
use uuid::Uuid;

use super::store::{self, Shared, Store};
use crate::debug::TellPlace;
use crate::metadata;

/// An object that tells one store from another: beside the claim, out of the reference's layout.
const MARK: &str = "/roadstead/store";
const MARK_BYTES: usize = 64;

/// The cluster that serves the store, for as long as nobody takes it away.
const CLUSTER: &str = "/roadstead/cluster";

/// Of nodes that write it at the same time, one does. In a bucket that ignores conditions each does, and what the last one
/// wrote stays: after so long, all have.
const SETTLE: Duration = Duration::from_secs(2);

/// The metadata service may start after its nodes.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// What a node has before it joins.
#[derive(Debug)]
pub(crate) struct Node {
    metadata: Arc<dyn Metadata>,
    /// The same, for its figures.
    remote: Arc<Remote>,
    cluster: ClusterId,
    /// The driver, and what the mark in its store says.
    store: String,
}

/// Opens the store that the nodes share. Waits for the metadata service as long as it takes.
pub(crate) async fn open(config: &Config) -> Result<Store> {
    if matches!(config.storage.driver, DriverKind::Unnamed) {
        bail!(store::UNNAMED);
    }
    let remote = Remote::build(
        RemoteOptions {
            members: metadata::members(config)?,
            identity: metadata::identity(config.cluster.as_ref())?,
            budget: BUDGET,
        },
        boot_time(),
    )?;
    let remote = Arc::new(remote);
    let metadata: Arc<dyn Metadata> = Arc::<Remote>::clone(&remote);
    let cluster = identify(&*metadata).await?;
    remote.belong_to(cluster);
    let Shared {
        driver,
        lock,
        events,
    } = store::shared(config).await?;
    let name = cluster.to_string();
    // All nodes claim it under the cluster's name, and each renews the claim.
    let claimant = Claimant {
        owner: Some(name.clone()),
        instance: name.clone(),
        host: format!("cluster {cluster}"),
    };
    let claim = Claim::take(Arc::clone(&driver), claimant).await;
    let claim = claim.with_context(|| match &config.storage.driver {
        DriverKind::Filesystem { root, .. } => {
            format!("storage.filesystem.rootdirectory: {}", root.display())
        }
        DriverKind::S3(_) | DriverKind::InMemory | DriverKind::Unnamed => {
            "storage.s3.rootdirectory".to_owned()
        }
    })?;
    let marked = async {
        let marked = mark(&*driver).await;
        marked.context("the store cannot be marked")
    };
    let (mark, ()) = tokio::try_join!(marked, check_cluster(&*driver, &name))?;
    let store = format!("{} {mark}", driver.name());
    Ok(Store {
        driver: Arc::new(Held::new(driver, claim.lease())),
        metadata: Arc::clone(&metadata),
        own: None,
        claim: Some(claim),
        lock,
        events,
        node: Some(Node {
            metadata,
            remote,
            cluster,
            store,
        }),
    })
}

/// The cluster's name, which the first process to ask gives it.
async fn identify(metadata: &dyn Metadata) -> Result<ClusterId> {
    let mut told = false;
    loop {
        let id = ClusterId(*Uuid::new_v4().as_bytes());
        let identify = Command::Cluster(ClusterCommand::Identify { id });
        match metadata.propose(identify).await {
            Ok(Outcome::Cluster(ClusterOutcome::Identified { id })) => return Ok(id),
            Ok(other) => bail!("cluster.metadata: it answered {other:?}"),
            Err(error) if !told => {
                tracing::warn!(%error, "waiting for the metadata service");
                told = true;
            }
            Err(error) => tracing::debug!(%error, "the metadata service is not there yet"),
        }
        tokio::time::sleep(ASK_AGAIN_AFTER).await;
    }
}

/// A metadata service that forgot everything has another name: what it was told by nodes is lost, and somebody has to know.
async fn check_cluster(store: &dyn Driver, name: &str) -> Result<()> {
    let found = first_written(store, CLUSTER, name).await;
    let found = found.context("the store cannot be read")?;
    if found == name {
        return Ok(());
    }
    bail!(
        "cluster.metadata: it is of cluster {name}, and the storage was served by cluster {}. If no member of that is left, \
         remove roadstead/cluster from the storage: uploads in progress are lost",
        String::from_utf8_lossy(&found).escape_debug()
    )
}

/// What is written in the store, by this node if it is the first.
async fn mark(store: &dyn Driver) -> Result<String, StoreError> {
    let proposed = Uuid::new_v4().simple().to_string();
    let mark = first_written(store, MARK, &proposed).await?;
    Ok(String::from_utf8_lossy(&mark).escape_debug().collect())
}

/// What a file of the store holds; where there is none, this.
async fn first_written(
    store: &dyn Driver,
    path: &str,
    proposed: &str,
) -> Result<Bytes, StoreError> {
    let path: StorePath = path.parse().map_err(|_malformed| StoreError::Damaged)?;
    if let Err(StoreError::NotFound(_)) = store.get(&path, MARK_BYTES).await {
        let (path, content) = (path.clone(), Bytes::from(proposed.to_owned()));
        if store.put_new(Put { path, content }).await? {
            // For stores that know no conditions.
            tokio::time::sleep(SETTLE).await;
        }
    }
    // Another may have just written it.
    store.get_settled(&path, MARK_BYTES).await
}

impl Node {
    /// Where the node stands, by its lease, when somebody asks.
    pub(crate) fn place(&self, lease: Lease) -> TellPlace {
        let remote = Arc::clone(&self.remote);
        Box::new(move || {
            let (stats, last) = (remote.stats(), lease.last());
            Place {
                is_held: lease.is_held(),
                epoch: last.map_or(0, |(epoch, _)| epoch),
                renewed: last.map(|(_, since)| since),
                is_draining: lease.is_draining(),
                retries: stats.retries,
                leader_changes: stats.leader_changes,
            }
        })
    }

    /// Becomes a member. Waits for the service as long as it takes; a node that is configured otherwise than the others
    /// is told so.
    pub(crate) async fn join(
        &self,
        registry: &Registry,
        config: &Config,
        listeners: &[Listener],
    ) -> Result<Membership> {
        registry.in_group(self.cluster.0);
        let id = NodeId(*Uuid::new_v4().as_bytes());
        let keys = registry.keys().clone();
        let hears: Hears = Arc::new(move |secrets| keys.hear(secrets));
        let hearing = Hearing {
            secrets: config.http.secret.is_none().then_some(hears),
            epochs: Some(registry.follows()),
        };
        loop {
            let joining = self.joining(registry, config, listeners).await;
            let metadata = Arc::clone(&self.metadata);
            match Membership::join(metadata, id, joining, boot_time(), hearing.clone()).await {
                Err(JoinError::Unavailable(error)) => {
                    tracing::warn!(%error, "waiting for the metadata service");
                    tokio::time::sleep(ASK_AGAIN_AFTER).await;
                }
                joined => return Ok(joined?),
            }
        }
    }

    /// Over the cluster's id, with the configured secret.
    fn code(&self, registry: &Registry) -> [u8; 32] {
        let label = format!("node of cluster {}", self.cluster);
        let keys = registry.keys().keys_for(&label);
        keys.first().copied().unwrap_or_default()
    }

    async fn joining(
        &self,
        registry: &Registry,
        config: &Config,
        listeners: &[Listener],
    ) -> Joining {
        let port = listeners
            .iter()
            .find_map(|listener| Some(listener.local_addr()?.port()));
        let advertised = config
            .cluster
            .as_ref()
            .and_then(|cluster| cluster.advertise.clone());
        let address = advertised.unwrap_or_else(|| match port {
            Some(port) => format!("{}:{port}", super::host()),
            None => super::host(),
        });
        let proposed = Uuid::new_v4().simple().to_string();
        let redis = registry.cache().redis_mark(&proposed).await;
        Joining {
            address,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            fingerprint: Fingerprint {
                store: self.store.clone(),
                secret: config.http.secret.is_some().then(|| self.code(registry)),
                authentication: kind(&config.auth).to_owned(),
                redis,
            },
        }
    }
}

fn kind(auth: &Auth) -> &'static str {
    match auth {
        Auth::None => "none",
        Auth::Silly { .. } => "silly",
        Auth::Htpasswd { .. } => "htpasswd",
        Auth::Token(_) => "token",
    }
}
