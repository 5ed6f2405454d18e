//! Both tiers as one.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use roadstead_oci::Digest;
use tokio::time::Instant;

use crate::epoch::Epoch;
use crate::fact::{Descriptor, Key, Kind};
use crate::memory::{Memory, Stats, Ticket};
use crate::options::{Options, TrustedWhile};
use crate::redis::{Found, Redis};
use crate::watch::{Answer, Seen, Tier, Watch};

/// What the store need not be asked again. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Cache(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    memory: Arc<Memory>,
    redis: Option<Arc<Redis>>,
    epoch: Arc<Epoch>,
    trusted_while: TrustedWhile,
    /// Besides.
    and_while: OnceLock<TrustedWhile>,
    /// Descriptors are kept at all.
    describes: bool,
    watch: Watch,
}

impl Cache {
    /// Waits a moment for Redis, if there is one, and goes on without it.
    pub async fn build(options: Options, watch: Watch) -> Self {
        let epoch = Arc::new(Epoch::new(options.epoch, watch.clone()));
        let redis = match options.redis {
            Some(redis) => {
                let redis = Redis::build(redis, Arc::clone(&epoch), watch.clone());
                Some(Arc::new(redis.await))
            }
            None => None,
        };
        let memory = Memory::new(options.descriptors, options.manifest_bytes, options.trusted);
        Self(Arc::new(Inner {
            memory: Arc::new(memory),
            describes: options.descriptors.is_some() || redis.is_some(),
            redis,
            epoch,
            trusted_while: options.trusted_while,
            and_while: OnceLock::new(),
            watch,
        }))
    }

    /// Manifests only, in so many bytes.
    pub fn of_manifests(bytes: usize) -> Self {
        let epoch = Epoch::new(crate::EpochSource::Own, Watch::default());
        Self(Arc::new(Inner {
            memory: Arc::new(Memory::new(None, bytes, true)),
            redis: None,
            epoch: Arc::new(epoch),
            trusted_while: TrustedWhile::default(),
            and_while: OnceLock::new(),
            describes: false,
            watch: Watch::default(),
        }))
    }

    /// To be taken before the store is asked, or written, and before whatever else has to hold is looked at: what is learnt
    /// is dropped if it was forgotten since.
    pub fn begin(&self) -> Ticket {
        self.0.memory.begin()
    }

    /// What exists, as far as it is known. What Redis says is learnt with the ticket.
    pub async fn find(&self, ticket: Ticket, key: &Key) -> Option<Descriptor> {
        let Inner {
            memory,
            redis,
            watch,
            ..
        } = &*self.0;
        if !self.0.describes || !memory.is_trusted() || !self.0.holds() {
            return None;
        }
        let began = Instant::now();
        let known = memory.get(key);
        watch.tell(Seen::Took(Tier::Memory, "Stat", began.elapsed()));
        if known.is_some() {
            watch.tell(Seen::Asked(Answer::Hit));
            return known;
        }
        let found = match redis {
            Some(redis) if key.kind == Kind::Blob => {
                match redis.find(key).await {
                    // Not if it was removed since the ticket was taken.
                    Found::Proven(descriptor)
                        if self.0.holds() && memory.learn(ticket, key, &descriptor) =>
                    {
                        Ok(Some(descriptor))
                    }
                    Found::Failed => Err(()),
                    Found::Proven(_) | Found::Described(_) | Found::Nothing => Ok(None),
                }
            }
            _ => Ok(None),
        };
        watch.tell(Seen::Asked(match &found {
            Ok(Some(_)) => Answer::Hit,
            Ok(None) => Answer::Miss,
            Err(()) => Answer::Error,
        }));
        found.unwrap_or_default()
    }

    /// Size and type of content that is known to exist, from whoever has ever known them.
    pub async fn describe(&self, key: &Key) -> Option<Descriptor> {
        if let Some(known) = self.0.memory.get(key) {
            return Some(known);
        }
        let redis = self.0.redis.as_ref()?;
        match redis.find(key).await {
            Found::Proven(descriptor) | Found::Described(descriptor) => Some(descriptor),
            Found::Nothing | Found::Failed => None,
        }
    }

    /// The store said, or was made to say, that this exists. Redis is told in the background.
    pub fn learn(&self, ticket: Ticket, key: &Key, descriptor: &Descriptor) {
        let Inner { memory, redis, .. } = &*self.0;
        if !self.0.describes || !self.0.holds() || !memory.learn(ticket, key, descriptor) {
            return;
        }
        if let Some(redis) = redis
            && key.kind == Kind::Blob
        {
            redis.fill(memory, ticket, key, descriptor);
        }
    }

    /// To be held while content is removed from the store: nothing is known of it from here on, and what others learnt
    /// meanwhile is not believed.
    pub async fn removing(&self, key: &Key) -> Removal {
        self.0.memory.begin_removal(key);
        let removal = Removal {
            cache: self.clone(),
            key: key.clone(),
            ended: false,
        };
        removal.clear().await;
        removal
    }

    /// A manifest's bytes.
    pub fn manifest(&self, digest: &Digest) -> Option<Bytes> {
        self.0.memory.manifest(digest)
    }

    /// Keeps a manifest's bytes, if they are what the digest says: what was torn on the disk must be read again.
    pub fn keep_manifest(&self, digest: &Digest, bytes: &Bytes) {
        if Digest::of(digest.algorithm(), bytes) == *digest {
            self.0.memory.keep_manifest(digest, bytes);
        }
    }

    /// Forgets all that is said to exist.
    pub fn forget_all(&self) {
        self.0.memory.forget_all();
        self.0.epoch.doubt();
    }

    /// Whether this process knows of every deletion in the store from now on. If not, nothing is said to exist.
    pub fn trust(&self, trusted: bool) {
        self.0.memory.trust(trusted);
    }

    /// One more condition, asked each time. The first one that is given stays.
    pub fn trust_while(&self, condition: TrustedWhile) {
        let _first = self.0.and_while.set(condition);
    }

    /// Whether entries in Redis prove anything, if their epoch is right.
    pub fn has_proofs(&self) -> bool {
        self.0.redis.as_ref().is_some_and(|redis| redis.proves())
    }

    /// Whether they prove nothing until there is another epoch.
    pub fn is_in_doubt(&self) -> bool {
        self.has_proofs() && self.0.epoch.current().is_none()
    }

    /// How often an epoch ended because of a doubt.
    pub fn doubts(&self) -> u64 {
        self.0.epoch.doubts()
    }

    /// An epoch of [`crate::EpochSource::Given`] that nobody had before there were so many doubts. Not taken if there was
    /// one more since.
    pub fn begin_epoch(&self, epoch: u64, doubts: u64) {
        self.0.epoch.begin(epoch, doubts);
    }

    /// Another epoch in place of the present one. Not taken while in doubt: it may be from before that.
    pub fn replace_epoch(&self, epoch: u64) {
        self.0.epoch.replace(epoch);
    }

    /// `None` without Redis.
    pub fn redis_is_up(&self) -> Option<bool> {
        self.0.redis.as_ref().map(|redis| redis.is_up())
    }

    /// What tells this Redis from another: the first mark that anybody proposed to it. `None` without one, or when it does
    /// not answer.
    pub async fn redis_mark(&self, proposed: &str) -> Option<String> {
        self.0.redis.as_ref()?.mark(proposed).await
    }

    pub fn stats(&self) -> Stats {
        self.0.memory.stats()
    }
}

impl Inner {
    fn holds(&self) -> bool {
        self.trusted_while.holds() && self.and_while.get().is_none_or(TrustedWhile::holds)
    }
}

/// Content that is being removed from the store.
#[derive(Debug)]
#[must_use = "held while the store removes it, and then brought to an end"]
pub struct Removal {
    cache: Cache,
    key: Key,
    ended: bool,
}

impl Removal {
    /// The store removed it, or did not. Answers whether Redis has nothing of it any more; if not, its entries of the
    /// epoch until now prove nothing, and whoever gives epochs has to give another before the removal is acknowledged.
    pub async fn end(mut self) -> bool {
        let cleared = self.clear().await;
        self.ended = true;
        self.cache.0.memory.end_removal(&self.key);
        cleared
    }

    async fn clear(&self) -> bool {
        match &self.cache.0.redis {
            Some(redis) if self.key.kind == Kind::Blob => redis.clear(&self.key).await,
            _ => true,
        }
    }
}

/// Its request was dropped on the way: nobody knows how far it came.
impl Drop for Removal {
    fn drop(&mut self) {
        if !self.ended {
            self.cache.0.epoch.doubt();
            self.cache.0.memory.end_removal(&self.key);
        }
    }
}
