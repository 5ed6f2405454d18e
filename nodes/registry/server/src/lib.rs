//! A registry: what the HTTP API asks, over a storage driver and the metadata service.
//!
//! [`Registry`] holds the use cases, each in a file of its own, in the words of the distribution specification and
//! without HTTP. [`http`] parses requests, calls them and answers.

mod belief;
mod catalog;
mod collect;
mod doubtful;
mod error;
pub mod health;
pub mod http;
mod keys;
mod link;
mod maintenance;
mod manifest_put;
mod mount;
mod options;
mod pull;
mod receive;
mod referrers;
mod remove;
mod room;
mod session;
mod tags;
mod token;
mod upload;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use roadstead_cache::{Cache, TrustedWhile};
use roadstead_metadata::{ALONE, Command, Follows, Lease, Metadata, Outcome, Unavailable};
use roadstead_storage::Driver;
use tokio_util::task::TaskTracker;

use collect::following::Following;

pub use collect::{
    AskError, Asking, Audience, CollectError, CollectOptions, Collected, Collecting, DONE, Demand,
    Doubt, FAILED, Wish, cancel_through, collect,
};
pub use collect::{Finding, Marked, Marker, Policy, Reason, Unneeded, reap};
pub use error::Error;
pub use keys::Keys;
pub use maintenance::{Purging, Reclaimed};
pub use options::{Limits, ManifestRules, Options, Platforms, REDIRECT_FOR};
pub(crate) use roadstead_serve::body;
pub use roadstead_serve::body::{Body, BodyError};

/// One registry. Cheap to share behind an `Arc`.
pub struct Registry {
    store: Arc<dyn Driver>,
    metadata: Arc<dyn Metadata>,
    cache: Cache,
    options: Options,
    keys: Keys,
    referrers: referrers::Knowledge,
    manifests_in_memory: room::Rooms,
    turns: room::Turns,
    deletions: remove::Deletions,
    doubtful: doubtful::Doubtful,
    /// Refuses writes since somebody asked for it.
    read_only: AtomicBool,
    lease: Lease,
    /// What is being collected, as far as this process knows.
    following: Following,
    /// Work that goes on after its request was answered, or its client went away.
    background: TaskTracker,
}

impl Registry {
    /// A registry over this store. Without a configured secret, it takes the one that the metadata service keeps, and
    /// makes one if there is none.
    pub async fn build(
        store: Arc<dyn Driver>,
        metadata: Arc<dyn Metadata>,
        options: Options,
    ) -> Result<Self, Unavailable> {
        let keys = match &options.secret {
            Some(secret) => Keys::new(secret),
            None => adopted_keys(&*metadata).await?,
        };
        if !options.read_only {
            // What one that has the store for itself writes under; nodes of a cluster get others when they join.
            let begun = store.begin_epoch(ALONE).await;
            begun.map_err(Unavailable::because)?;
        }
        let cache = Cache::of_manifests(roadstead_cache::Options::default().manifest_bytes);
        Ok(Self {
            following: Following::new(Arc::clone(&store), Arc::clone(&metadata), cache.clone()),
            store,
            metadata,
            cache,
            options,
            keys,
            referrers: referrers::Knowledge::default(),
            manifests_in_memory: room::Rooms::of_kib(pull::MANIFESTS_IN_MEMORY),
            turns: room::Turns::new(),
            deletions: remove::Deletions::default(),
            doubtful: doubtful::Doubtful::default(),
            read_only: AtomicBool::new(false),
            lease: Lease::unlimited(),
            background: TaskTracker::new(),
        })
    }

    /// With this cache, instead of one that keeps manifests' bytes and nothing else.
    #[must_use]
    pub fn with_cache(self, cache: Cache) -> Self {
        let (store, metadata) = (Arc::clone(&self.store), Arc::clone(&self.metadata));
        let following = Following::new(store, metadata, cache.clone());
        Self {
            cache,
            following,
            ..self
        }
    }

    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    /// One of several nodes that serve the same store: it writes only while it holds this lease.
    #[must_use]
    pub fn with_lease(mut self, lease: Lease) -> Self {
        self.lease = lease.clone();
        let belief = self.following.belief().clone();
        let holds = move || lease.is_unlimited() || (lease.is_held() && belief.holds());
        self.cache.trust_while(TrustedWhile::new(holds));
        self
    }

    /// One of the nodes of this group, which is not the first that the store has seen. To be called before it joins.
    pub fn in_group(&self, id: [u8; 16]) {
        let [a, b, c, d, ..] = id;
        self.following.is_of(u32::from_be_bytes([a, b, c, d]));
    }

    /// Is to be told of each epoch that this node begins, before the lease.
    pub fn follows(&self) -> Arc<dyn Follows> {
        Arc::new(self.following.clone())
    }

    /// One that has the store for itself learns what its predecessor condemned. To be called before it serves.
    pub async fn begin_alone(&self) -> Result<(), Unavailable> {
        self.following.begin(ALONE).await
    }

    /// Whether this process may write, and should be sent requests.
    pub fn lease(&self) -> &Lease {
        &self.lease
    }

    pub fn options(&self) -> &Options {
        &self.options
    }

    /// From the secret that all nodes share.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Whether everything that writes is refused.
    pub fn is_read_only(&self) -> bool {
        self.options.read_only || self.read_only.load(Ordering::Relaxed)
    }

    /// Refuses new writes from now on, or takes them again. What was begun is finished.
    pub fn set_read_only(&self, read_only: bool) {
        self.read_only.store(read_only, Ordering::Relaxed);
    }

    /// Waits for work that goes on in the background.
    pub async fn quiesce(&self) {
        self.background.close();
        self.background.wait().await;
    }
}

/// Of the secret that the metadata service keeps, and of those that it replaced.
async fn adopted_keys(metadata: &dyn Metadata) -> Result<Keys, Unavailable> {
    let secret = token::random::<32>().to_vec();
    let adopt = Command::AdoptSecret {
        secret: secret.clone(),
    };
    let keys = match metadata.propose(adopt).await? {
        Outcome::Secret { secret } => Keys::new(&secret),
        _other => Keys::new(&secret),
    };
    keys.hear(&metadata.secrets().await?);
    Ok(keys)
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry")
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}
