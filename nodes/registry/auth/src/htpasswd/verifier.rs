//! The work that passwords cost: on threads of its own, bounded, done once for the same credentials, and remembered.
//!
//! ```text
//!   unknown ──ask──> waiting ──a place is free──> working ──┬── right ──> remembered
//!      ^                                                    └── wrong ──> remembered as wrong
//!      └──────────── too old, displaced, or the stored hash changed ────────────┘
//! ```

use std::collections::HashMap;
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use hmac::{Hmac, KeyInit as _, Mac as _};
use lru::LruCache;
use sha2::Sha256;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::limiter::Fingerprint;
use super::password::Hash;
use super::users::Refused;
use crate::basic::Credentials;
use crate::options::VerifyLimits;

/// Whether a password fits a hash; takes as long as the hash's cost says.
pub(crate) type Check = Arc<dyn Fn(&str, &Hash) -> bool + Send + Sync>;

/// A fingerprint's key, made when the process starts and never stored: what is remembered helps nobody who reads it.
#[derive(Clone)]
pub(crate) struct Secret([u8; 32]);

/// The work was not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotDone;

/// Where the answer to some credentials is.
pub(crate) enum Answer {
    Right,
    Wrong,
    /// To be waited for; the work goes on without whoever asked.
    Coming(Coming),
}

type Coming = Shared<BoxFuture<'static, Result<bool, NotDone>>>;

pub(crate) struct Verifier {
    check: Check,
    remembered_for: Duration,
    places: Arc<Semaphore>,
    seats: Arc<Semaphore>,
    memory: Arc<Mutex<Memory>>,
}

struct Memory {
    right: LruCache<Fingerprint, Instant>,
    /// Apart, so that guesses do not displace what is right.
    wrong: LruCache<Fingerprint, Instant>,
    coming: HashMap<Fingerprint, Coming>,
}

/// One verification that has not been asked for before.
pub(crate) struct Task {
    pub(crate) fingerprint: Fingerprint,
    pub(crate) credentials: Credentials,
    pub(crate) hash: Hash,
    /// Without a user, nothing fits; the work is the same.
    pub(crate) is_user: bool,
    /// Called when the password was right.
    pub(crate) on_right: Box<dyn FnOnce() + Send>,
}

impl Verifier {
    pub(crate) fn new(limits: VerifyLimits, check: Check) -> Self {
        let size = NonZeroUsize::new(limits.remembered).unwrap_or(NonZeroUsize::MIN);
        Self {
            check,
            remembered_for: limits.remembered_for,
            places: Arc::new(Semaphore::new(limits.at_once.max(1))),
            seats: Arc::new(Semaphore::new(limits.waiting.max(1))),
            memory: Arc::new(Mutex::new(Memory {
                right: LruCache::new(size),
                wrong: LruCache::new(size),
                coming: HashMap::new(),
            })),
        }
    }

    /// What is known of these credentials, or will be. Work begins only for those that nothing is known of, and only
    /// if `admit` lets it.
    pub(crate) fn ask(
        &self,
        task: Task,
        admit: impl FnOnce() -> Result<(), Refused>,
    ) -> Result<Answer, Refused> {
        let mut memory = lock(&self.memory);
        if let Some(answer) = memory.recall(&task.fingerprint, self.remembered_for) {
            return Ok(answer);
        }
        let permit = Arc::clone(&self.seats).try_acquire_owned();
        let permit = permit.map_err(|_all_taken| Refused::Busy)?;
        admit()?;
        let fingerprint = task.fingerprint;
        let seat = Seat {
            _permit: permit,
            fingerprint,
            memory: Arc::clone(&self.memory),
        };
        let work = work(
            Arc::clone(&self.check),
            Arc::clone(&self.places),
            task,
            seat,
        );
        // A task of its own: the client that began it may go away while others wait for the same.
        let work = tokio::spawn(work).map(|done| done.unwrap_or(Err(NotDone)));
        let coming = work.boxed().shared();
        memory.coming.insert(fingerprint, coming.clone());
        Ok(Answer::Coming(coming))
    }
}

#[cfg(test)]
impl Verifier {
    /// Verifications that were begun and are not done.
    pub(super) fn under_way(&self) -> usize {
        lock(&self.memory).coming.len()
    }
}

async fn work(
    check: Check,
    places: Arc<Semaphore>,
    task: Task,
    seat: Seat,
) -> Result<bool, NotDone> {
    let place = places.acquire_owned().await.map_err(|_closed| NotDone)?;
    let Task {
        credentials,
        hash,
        is_user,
        on_right,
        ..
    } = task;
    let checked = tokio::task::spawn_blocking(move || {
        let right = check(&credentials.password, &hash) & is_user;
        drop(place);
        right
    });
    let right = checked.await.map_err(|_panicked| NotDone)?;
    if right {
        on_right();
    }
    seat.leave(right);
    Ok(right)
}

/// Held from the asking to the answer. Left in any case, or the same credentials could never be asked about again.
struct Seat {
    _permit: OwnedSemaphorePermit,
    fingerprint: Fingerprint,
    memory: Arc<Mutex<Memory>>,
}

impl Seat {
    fn leave(self, right: bool) {
        let mut memory = lock(&self.memory);
        let which = if right {
            &mut memory.right
        } else {
            &mut memory.wrong
        };
        which.put(self.fingerprint, Instant::now());
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        lock(&self.memory).coming.remove(&self.fingerprint);
    }
}

impl Memory {
    fn recall(&mut self, fingerprint: &Fingerprint, remembered_for: Duration) -> Option<Answer> {
        let fresh = |since: &Instant| since.elapsed() < remembered_for;
        if self.right.get(fingerprint).is_some_and(fresh) {
            return Some(Answer::Right);
        }
        if self.wrong.get(fingerprint).is_some_and(fresh) {
            return Some(Answer::Wrong);
        }
        self.coming.get(fingerprint).cloned().map(Answer::Coming)
    }
}

fn lock(memory: &Mutex<Memory>) -> MutexGuard<'_, Memory> {
    memory.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Secret {
    pub(crate) fn new() -> Result<Self, getrandom::Error> {
        let mut key = [0; 32];
        getrandom::fill(&mut key)?;
        Ok(Self(key))
    }

    /// Stands for texts; other texts have others. Nobody finds the texts, or makes the fingerprint, without the key.
    pub(crate) fn fingerprint(&self, texts: &[&str]) -> Fingerprint {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&self.0).expect("an HMAC takes a key of any length");
        for text in texts {
            // Their lengths too: `a`, `bc` is not `ab`, `c`.
            mac.update(&text.len().to_le_bytes());
            mac.update(text.as_bytes());
        }
        mac.finalize().into_bytes().into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").finish_non_exhaustive()
    }
}
