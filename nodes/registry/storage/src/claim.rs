//! One server for one store, where no file lock says so: a bucket, or a directory that machines share.
//!
//! A server writes its name to `/roadstead/server` and writes it anew every [`BEAT`]. Another that finds a name waits until it is
//! certain that nobody writes it any more: seen to change, the other is alive; older than [`DEAD_AFTER`] by the store's
//! own clock, or unchanged for as long, it is not. A server that comes back takes its own name for its own, by what it
//! keeps in a directory that is locked: [`Claimant::owner`].
//!
//! A store has no compare-and-set that all of them know, so a claim is read, written and read again, and each beat reads
//! before it writes: of two that raced, the one that finds the other's name ends. What fences writes is [`Held`]: none
//! begins unless a beat that was begun within [`HELD_FOR`] went through. So a server that was paused for longer writes
//! nothing before it has asked; one write that was begun before may end late.

mod held;
mod record;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

pub use held::Held;
use record::Record;

use crate::{Driver, Error, Put, StorePath};

/// From one beat to the next.
const BEAT: Duration = Duration::from_secs(10);
/// A beat that failed is tried again this soon.
const AGAIN: Duration = Duration::from_secs(2);
/// Or this soon, while somebody wants to write: the store may be back.
const SOON: Duration = Duration::from_millis(200);
/// A beat that is not answered for so long has failed: several fit into [`HELD_FOR`].
const ANSWERED_WITHIN: Duration = Duration::from_secs(7);
/// A claim counts for its owner from when its beat was begun.
const HELD_FOR: Duration = Duration::from_secs(30);
/// A claim counts for others: longer, since clocks run at different rates and stores tell whole seconds.
const DEAD_AFTER: Duration = Duration::from_secs(40);
/// How often somebody who waits looks.
const LOOK: Duration = Duration::from_secs(1);
/// Between writing a claim and reading it again.
const SETTLE: Duration = Duration::from_millis(500);

/// Who wants the store for itself.
#[derive(Debug, Clone)]
pub struct Claimant {
    /// The same after a restart, and nobody else's at the same time. `None` where nothing is kept that could be locked.
    pub owner: Option<String>,
    /// This process's alone.
    pub instance: String,
    /// For those who are refused.
    pub host: String,
}

/// Why the store is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    #[error("is in use by another roadstead on {host}")]
    InUse { host: String },
    #[error(
        "{path} is not what a roadstead writes there; remove it if no other server uses the bucket"
    )]
    Strange { path: StorePath },
    #[error(transparent)]
    Store(#[from] Error),
}

/// A store that this process has for itself.
#[derive(Debug, Clone)]
pub struct Claim {
    store: Arc<dyn Driver>,
    record: Record,
    lease: Lease,
}

/// Until when a claim counts.
#[derive(Debug, Clone)]
pub struct Lease(Arc<Standing>);

#[derive(Debug)]
struct Standing {
    /// When the last beat that went through was begun.
    renewed: Mutex<Option<Instant>>,
    /// A write was refused.
    wanted: Notify,
}

impl Lease {
    fn begun(renewed: Instant) -> Self {
        Self(Arc::new(Standing {
            renewed: Mutex::new(Some(renewed)),
            wanted: Notify::new(),
        }))
    }

    /// Whether a beat that was begun lately went through.
    pub fn is_held(&self) -> bool {
        let renewed = *self
            .0
            .renewed
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        renewed.is_some_and(|renewed| renewed.elapsed() < HELD_FOR)
    }

    fn set(&self, renewed: Option<Instant>) {
        *self
            .0
            .renewed
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = renewed;
    }

    /// Somebody is refused for want of it: the next beat is not put off.
    fn want(&self) {
        self.0.wanted.notify_one();
    }

    /// Until the next beat.
    async fn rest(&self, wait: Duration) {
        let soon = SOON.min(wait);
        sleep(soon).await;
        let _time_or_want = timeout(wait.saturating_sub(soon), self.0.wanted.notified()).await;
    }
}

impl Claim {
    /// Whether anybody has claimed the store and not given it up; whether they are alive is another question.
    pub async fn is_made(store: &dyn Driver) -> Result<bool, ClaimError> {
        Ok(record::read(store).await?.is_some())
    }

    /// Takes the store, as soon as nobody has it. Waits for that where another may have died.
    pub async fn take(store: Arc<dyn Driver>, claimant: Claimant) -> Result<Self, ClaimError> {
        let Claimant {
            owner,
            instance,
            host,
        } = claimant;
        if let Some(other) = record::read(&*store).await?
            && owner.as_ref() != Some(&other.owner)
        {
            wait_out(&*store, &other).await?;
        }
        let record = Record {
            owner: owner.unwrap_or_else(|| instance.clone()),
            instance,
            host,
            beat: 0,
        };
        let begun = Instant::now();
        record::write(&*store, &record).await?;
        sleep(SETTLE).await;
        match record::read(&*store).await? {
            Some(found) if found.instance == record.instance => {}
            Some(other) => return Err(ClaimError::InUse { host: other.host }),
            // Somebody who gave it up took it along.
            None => record::write(&*store, &record).await?,
        }
        Ok(Self {
            store,
            record,
            lease: Lease::begun(begun),
        })
    }

    /// For those who write.
    pub fn lease(&self) -> Lease {
        self.lease.clone()
    }

    /// Keeps the claim for as long as it is polled. Ends when another has the store, which is always an error.
    pub async fn keep(&self) -> ClaimError {
        let (mut beat, mut wait, mut failing) = (self.record.beat, BEAT, false);
        loop {
            self.lease.rest(wait).await;
            let begun = Instant::now();
            let beaten = timeout(ANSWERED_WITHIN, self.beat(beat + 1)).await;
            match beaten.unwrap_or_else(|_elapsed| Err(no_answer())) {
                Ok(()) => {
                    if failing {
                        tracing::info!("the claim on the storage is renewed again");
                    }
                    self.lease.set(Some(begun));
                    // It counts from when it was begun, and so does the time until the next.
                    let left = BEAT.saturating_sub(begun.elapsed());
                    (beat, wait, failing) = (beat + 1, left, false);
                }
                Err(ClaimError::Store(error)) => {
                    if !failing {
                        tracing::warn!(%error, "the claim on the storage cannot be renewed");
                    }
                    (wait, failing) = (AGAIN, true);
                }
                Err(lost) => {
                    self.lease.set(None);
                    return lost;
                }
            }
        }
    }

    async fn beat(&self, beat: u64) -> Result<(), ClaimError> {
        match record::read(&*self.store).await? {
            Some(other) if other.instance != self.record.instance => {
                return Err(ClaimError::InUse { host: other.host });
            }
            // An operator may have removed it.
            Some(_) | None => {}
        }
        let record = Record {
            beat,
            ..self.record.clone()
        };
        Ok(record::write(&*self.store, &record).await?)
    }

    /// Gives the store up, so that the next need not wait. Nothing is to be written any more.
    pub async fn release(self) -> Result<(), ClaimError> {
        self.lease.set(None);
        match record::read(&*self.store).await? {
            Some(found) if found.instance == self.record.instance => {
                match self.store.remove(&record::path()).await {
                    Err(Error::NotFound(_)) => Ok(()),
                    removed => Ok(removed?),
                }
            }
            _ => Ok(()),
        }
    }
}

fn no_answer() -> ClaimError {
    let source = std::io::ErrorKind::TimedOut.into();
    let what = "renewing the claim".to_owned();
    ClaimError::Store(Error::Io { what, source })
}

/// Waits until it is certain that `other` is gone, or alive.
async fn wait_out(store: &dyn Driver, other: &Record) -> Result<(), ClaimError> {
    let left = DEAD_AFTER.saturating_sub(age(store).await?);
    let began = Instant::now();
    if !left.is_zero() {
        tracing::info!(
            host = other.host,
            "the storage was in use a moment ago: waiting up to {left:?} for a sign of life"
        );
    }
    while began.elapsed() < left {
        sleep(LOOK).await;
        match record::read(store).await? {
            None => return Ok(()),
            Some(found) if found == *other => {}
            Some(found) => return Err(ClaimError::InUse { host: found.host }),
        }
    }
    tracing::warn!(
        host = other.host,
        "taking over the storage from a server that did not give it up"
    );
    Ok(())
}

/// How long ago the claim that is there was written, by the store's clock: what is written now tells the present.
async fn age(store: &dyn Driver) -> Result<Duration, Error> {
    let clock = Put {
        path: record::clock(),
        content: "now".into(),
    };
    store.put(vec![clock]).await?;
    let present = modified(store, &record::clock()).await?;
    match store.remove(&record::clock()).await {
        // Somebody else who waits asked at the same time.
        Err(Error::NotFound(_)) => {}
        removed => removed?,
    }
    let written = modified(store, &record::path()).await?;
    let age = written.zip(present);
    let age = age.and_then(|(written, present)| present.duration_since(written).ok());
    Ok(age.unwrap_or_default())
}

async fn modified(store: &dyn Driver, path: &StorePath) -> Result<Option<SystemTime>, Error> {
    match store.stat(path).await {
        Err(Error::NotFound(_)) => Ok(None),
        stat => Ok(stat?.modified),
    }
}

#[cfg(test)]
mod tests;
