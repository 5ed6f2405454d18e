//! Bounds on the memory that all requests together may take for what must be held whole.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use tokio::time::timeout;

use crate::error::Error;

/// What is at most so long needs no room: nearly all manifests and lists wait for nobody.
pub(crate) const SMALL: usize = 64 * 1024;

/// Lists that are made at a time: what one is made from takes several times its length.
const LONG_LISTS: usize = 8;
const LONG_REFERRERS: usize = 2;

/// How long one waits for room before its client is asked to come again.
const WITHIN: Duration = Duration::from_secs(20);

/// Room for so many KiB.
#[derive(Debug)]
pub(crate) struct Rooms {
    kib: Arc<Semaphore>,
    all: u32,
}

/// Room that is held until it is dropped.
#[derive(Debug)]
pub(crate) struct Room(#[expect(dead_code, reason = "held, not looked at")] OwnedSemaphorePermit);

impl Rooms {
    pub(crate) fn of_kib(all: u32) -> Self {
        Self {
            kib: Arc::new(Semaphore::new(all as usize)),
            all,
        }
    }

    /// Waits for room for so many bytes. Only for who gives it back by himself: not at the pace of a client.
    pub(crate) async fn wait(&self, bytes: u64) -> Result<Room, Error> {
        let room = Arc::clone(&self.kib).acquire_many_owned(self.permits(bytes));
        match timeout(WITHIN, room).await {
            Ok(Ok(room)) => Ok(Room(room)),
            Ok(Err(_)) | Err(_) => Err(Error::Busy("many large manifests are being read")),
        }
    }

    /// Bytes that take room for as long as anybody has them. `None` when there is no room now.
    pub(crate) fn hold(&self, bytes: Vec<u8>) -> Option<Bytes> {
        let permits = self.permits(bytes.len() as u64);
        let room = Arc::clone(&self.kib).try_acquire_many_owned(permits).ok()?;
        Some(Bytes::from_owner(Held {
            bytes,
            _room: Room(room),
        }))
    }

    /// What is larger than all the room takes all of it.
    fn permits(&self, bytes: u64) -> u32 {
        let kib = u32::try_from(bytes.div_ceil(1024)).unwrap_or(self.all);
        kib.clamp(1, self.all)
    }
}

/// Turns at what takes memory only until it is made.
#[derive(Debug)]
pub(crate) struct Turns {
    long_lists: Semaphore,
    long_referrers: Semaphore,
}

/// A turn that a request may come to need.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    turns: &'a Semaphore,
    busy: &'static str,
    taken: OnceCell<SemaphorePermit<'a>>,
}

impl Turns {
    pub(crate) fn new() -> Self {
        Self {
            long_lists: Semaphore::new(LONG_LISTS),
            long_referrers: Semaphore::new(LONG_REFERRERS),
        }
    }

    /// To list more than a few names.
    pub(crate) fn long_list(&self) -> Turn<'_> {
        Turn::at(&self.long_lists, "many long lists are asked for")
    }

    /// To list referrers of which one is long, or all together are: each can be as long as a manifest.
    pub(crate) fn long_referrers(&self) -> Turn<'_> {
        Turn::at(&self.long_referrers, "many long referrers are asked for")
    }
}

impl<'a> Turn<'a> {
    fn at(turns: &'a Semaphore, busy: &'static str) -> Self {
        Self {
            turns,
            busy,
            taken: OnceCell::new(),
        }
    }

    /// Waits for it, unless it was taken already. It ends when this is dropped.
    pub(crate) async fn take(&self) -> Result<(), Error> {
        let take = || async {
            match timeout(WITHIN, self.turns.acquire()).await {
                Ok(Ok(turn)) => Ok(turn),
                Ok(Err(_)) | Err(_) => Err(Error::Busy(self.busy)),
            }
        };
        self.taken.get_or_try_init(take).await.map(drop)
    }
}

struct Held {
    bytes: Vec<u8>,
    _room: Room,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn room_is_given_back_with_the_last_of_the_bytes() {
        let rooms = Rooms::of_kib(4);
        let bytes = rooms.hold(vec![b'x'; 3 << 10]).unwrap();
        let part = bytes.slice(5..6);
        assert!(rooms.hold(vec![0; 2 << 10]).is_none());
        assert!(matches!(rooms.wait(2 << 10).await, Err(Error::Busy(_))));
        drop(bytes);
        assert!(rooms.hold(vec![0; 2 << 10]).is_none());
        drop(part);
        // More than there is at all: all of it.
        let all = rooms.wait(1 << 40).await.unwrap();
        assert!(rooms.hold(vec![0]).is_none());
        drop(all);
        assert!(rooms.hold(vec![0]).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_is_taken_once_and_ends() {
        let turns = Turns::new();
        let taken: Vec<Turn<'_>> = (0..LONG_REFERRERS)
            .map(|_| turns.long_referrers())
            .collect();
        for turn in &taken {
            turn.take().await.unwrap();
            turn.take().await.unwrap();
        }
        let late = turns.long_referrers();
        assert!(matches!(late.take().await, Err(Error::Busy(_))));
        drop(taken);
        late.take().await.unwrap();
    }
}
