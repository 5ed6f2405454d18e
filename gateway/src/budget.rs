//! Bounds: on memory for bytes of uploads that no node has yet, and on retries, which must not make an overload worse.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::options::Retries;

/// What a permit stands for.
const UNIT: usize = 1024;

/// Room in memory, by KiB.
#[derive(Debug, Clone)]
pub(crate) struct Memory {
    free: Arc<Semaphore>,
    all: usize,
}

/// Some of it, until it is dropped.
#[derive(Debug)]
pub(crate) struct Room(OwnedSemaphorePermit);

impl Memory {
    pub(crate) fn of(bytes: usize) -> Self {
        let all = (bytes / UNIT).clamp(1, u32::MAX as usize >> 1);
        Self {
            free: Arc::new(Semaphore::new(all)),
            all,
        }
    }

    fn units(&self, bytes: usize) -> u32 {
        let units = bytes.div_ceil(UNIT).clamp(1, self.all);
        u32::try_from(units).unwrap_or(u32::MAX)
    }

    /// Room for these bytes if there is some now.
    pub(crate) fn try_take(&self, bytes: usize) -> Option<Room> {
        let free = Arc::clone(&self.free);
        free.try_acquire_many_owned(self.units(bytes))
            .ok()
            .map(Room)
    }

    /// Waits for room. Only who holds none may wait: those who hold some could wait for each other.
    pub(crate) async fn take(&self, bytes: usize, within: Duration) -> Option<Room> {
        let free = Arc::clone(&self.free).acquire_many_owned(self.units(bytes));
        let taken = tokio::time::timeout(within, free).await;
        taken.ok()?.ok().map(Room)
    }

    /// Bytes that are free.
    pub(crate) fn free(&self) -> usize {
        self.free.available_permits() * UNIT
    }

    /// Bytes that are taken.
    pub(crate) fn held(&self) -> usize {
        (self.all - self.free.available_permits().min(self.all)) * UNIT
    }
}

impl Room {
    pub(crate) fn join(&mut self, other: Self) {
        self.0.merge(other.0);
    }
}

/// Retries that all requests together may make: a share of the requests, and some a second beside that.
#[derive(Debug)]
pub(crate) struct RetryBudget {
    options: Retries,
    state: Mutex<Tokens>,
}

#[derive(Debug)]
struct Tokens {
    /// In percent of a retry.
    left: u64,
    at: Instant,
}

/// How many seconds of the reserve can be saved up: a node that dies has many requests at once.
const SAVED_UP: u64 = 10;
/// How many retries can be saved up from requests.
const MOST: u64 = 1000;

impl RetryBudget {
    pub(crate) fn new(options: &Retries) -> Self {
        let budget = Self {
            options: options.clone(),
            state: Mutex::new(Tokens {
                left: 0,
                at: Instant::now(),
            }),
        };
        budget.with(|tokens, reserve| tokens.left = reserve);
        budget
    }

    fn with<T>(&self, act: impl FnOnce(&mut Tokens, u64) -> T) -> T {
        let mut tokens = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        act(
            &mut tokens,
            u64::from(self.options.reserve) * SAVED_UP * 100,
        )
    }

    /// A request came.
    pub(crate) fn request(&self) {
        let percent = u64::from(self.options.percent);
        self.with(|tokens, reserve| {
            tokens.left = (tokens.left + percent).min(reserve + MOST * 100);
        });
    }

    /// Whether one may be tried again.
    pub(crate) fn may_retry(&self) -> bool {
        self.with(|tokens, reserve| {
            let now = Instant::now();
            let passed = u64::try_from((now - tokens.at).as_millis()).unwrap_or(u64::MAX);
            let gained = passed.saturating_mul(u64::from(self.options.reserve)) / 10;
            if gained > 0 {
                tokens.at = now;
                if tokens.left < reserve {
                    tokens.left = tokens.left.saturating_add(gained).min(reserve);
                }
            }
            let may = tokens.left >= 100;
            if may {
                tokens.left -= 100;
            }
            may
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn retries_are_a_share_of_requests_beside_a_reserve() {
        let budget = RetryBudget::new(&Retries {
            tries: 4,
            percent: 20,
            reserve: 2,
        });
        let retries = |budget: &RetryBudget| (0..10_000).take_while(|_| budget.may_retry()).count();
        assert_eq!(retries(&budget), 20, "ten seconds of the reserve");
        for _ in 0..50 {
            budget.request();
        }
        assert_eq!(retries(&budget), 10);
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert_eq!(retries(&budget), 6);
        for _ in 0..1_000_000 {
            budget.request();
        }
        assert_eq!(retries(&budget), 1020, "not more than can be saved up");
    }

    #[tokio::test(start_paused = true)]
    async fn memory_is_given_back() {
        let memory = Memory::of(1 << 20);
        let mut room = memory.try_take(1 << 19).unwrap();
        room.join(memory.try_take(1 << 18).unwrap());
        assert_eq!((memory.free(), memory.held()), (1 << 18, 3 << 18));
        assert!(memory.try_take(1 << 19).is_none());
        assert!(memory.take(1 << 19, Duration::from_secs(1)).await.is_none());
        drop(room);
        assert!(memory.take(1 << 20, Duration::from_secs(1)).await.is_some());
        assert!(
            memory.take(1 << 30, Duration::from_secs(1)).await.is_some(),
            "all there is, for more than all"
        );
    }
}
