//! The tier in Redis, shared with the reference: its keys, and a field of our own.
//!
//! Nothing waits for Redis longer than a moment, and nothing fails because of it. What it says about existence counts
//! only under the current epoch; the order of a fill and a removal of the same content is kept by a lock, and whatever
//! went wrong halfway ends the epoch.

mod connect;
mod keeper;
mod keys;
mod link;

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use tokio::sync::{Mutex, MutexGuard, Semaphore};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use crate::epoch::Epoch;
use crate::fact::{Descriptor, Key};
use crate::memory::{Memory, Ticket};
use crate::options::{Patience, RedisOptions, Servers};
use crate::watch::{Seen, Tier, Watch};
use link::{Fault, Link};

/// Fills that are under way; what comes beyond them is not written.
const FILLS: usize = 64;

/// Content that shares a lock, which is held while one entry is written or cleared.
const STRIPES: usize = 256;

#[derive(Debug)]
pub(crate) struct Redis {
    link: Arc<Link>,
    epoch: Arc<Epoch>,
    patience: Patience,
    /// A cluster's client reconnects without telling: a replica that had not heard of a removal may stand in for its
    /// master unnoticed, so that no entry proves that anything exists.
    proves: bool,
    order: Box<[Mutex<()>]>,
    fills: Arc<Semaphore>,
    watch: Watch,
    _keeper: AbortOnDropHandle<()>,
}

/// What Redis said about a blob.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Nothing,
    /// Size and type, which hold for ever; not that it exists.
    Described(Descriptor),
    /// It exists.
    Proven(Descriptor),
    /// Redis did not answer.
    Failed,
}

impl Redis {
    /// Connects in the background; returns when that went well or ill, or took a moment.
    pub(crate) async fn build(options: RedisOptions, epoch: Arc<Epoch>, watch: Watch) -> Self {
        let patience = options.patience;
        let proves = !matches!(options.servers, Servers::Cluster(_));
        let link = Arc::new(Link::new(patience, watch.clone()));
        let keeper = keeper::start(options, Arc::clone(&link), Arc::clone(&epoch)).await;
        Self {
            link,
            epoch,
            patience,
            proves,
            order: (0..STRIPES).map(|_| Mutex::new(())).collect(),
            fills: Arc::new(Semaphore::new(FILLS)),
            watch,
            _keeper: keeper,
        }
    }

    pub(crate) fn is_up(&self) -> bool {
        self.link.is_up()
    }

    pub(crate) fn proves(&self) -> bool {
        self.proves
    }

    pub(crate) async fn find(&self, key: &Key) -> Found {
        let began = Instant::now();
        let asked = self.link.run(&keys::lookup(key), self.patience.read).await;
        self.took("Stat", began);
        let found = match asked {
            Ok(answers) => keys::parse(key, &answers),
            // What was never asked did not fail.
            Err(Fault::Down) => return Found::Nothing,
            Err(Fault::Refused | Fault::Unknown) => return Found::Failed,
        };
        match found {
            None => Found::Nothing,
            Some((descriptor, Some(epoch)))
                if self.proves && self.epoch.current() == Some(epoch) =>
            {
                Found::Proven(descriptor)
            }
            Some((descriptor, _)) => Found::Described(descriptor),
        }
    }

    /// Writes down what the store said, in the background. It is left out when there is much to write, and when
    /// something was forgotten since the ticket was taken.
    pub(crate) fn fill(
        self: &Arc<Self>,
        memory: &Arc<Memory>,
        ticket: Ticket,
        key: &Key,
        descriptor: &Descriptor,
    ) {
        if !self.is_up() {
            return;
        }
        let Ok(permit) = Arc::clone(&self.fills).try_acquire_owned() else {
            return;
        };
        let (redis, memory) = (Arc::clone(self), Arc::clone(memory));
        let (key, descriptor) = (key.clone(), descriptor.clone());
        tokio::spawn(async move {
            let _permit = permit;
            redis.write(&memory, ticket, &key, &descriptor).await;
        });
    }

    async fn write(&self, memory: &Memory, ticket: Ticket, key: &Key, descriptor: &Descriptor) {
        let _in_order = self.in_order(key).await;
        // A removal that began later waits for the lock. So what is written here is answered for, or its epoch is over,
        // before it clears the entry.
        if !memory.may_learn(ticket, key) {
            return;
        }
        let began = Instant::now();
        let commands = keys::fill(key, descriptor, self.epoch.current());
        let written = self.link.run(&commands, self.patience.write).await;
        self.took("SetDescriptor", began);
        if matches!(written, Err(Fault::Unknown)) {
            // It may be carried out after the next removal.
            self.epoch.doubt();
        }
    }

    /// Clears an entry. What cannot be cleared proves nothing any more.
    pub(crate) async fn clear(&self, key: &Key) -> bool {
        let _in_order = self.in_order(key).await;
        let began = Instant::now();
        let cleared = self.link.run(&keys::clear(key), self.patience.write).await;
        self.took("Clear", began);
        if cleared.is_err() {
            self.epoch.doubt();
        }
        cleared.is_ok()
    }

    pub(crate) async fn mark(&self, proposed: &str) -> Option<String> {
        let asked = self
            .link
            .run(&keys::mark(proposed), self.patience.write)
            .await;
        keys::parse_mark(&asked.ok()?)
    }

    async fn in_order(&self, key: &Key) -> MutexGuard<'_, ()> {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        let stripe = usize::try_from(hasher.finish() % STRIPES as u64).unwrap_or(0);
        self.order[stripe].lock().await
    }

    fn took(&self, operation: &'static str, began: Instant) {
        self.watch
            .tell(Seen::Took(Tier::Redis, operation, began.elapsed()));
    }
}
