//! The queues, and the thread that owns them: it appends what many record, in batches, each made durable by one sync.

mod store;
mod writer;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

pub(crate) use store::Key;
use store::{Store, StoreError};
use writer::Writer;

use crate::options::{Home, Limits};
use crate::stats::Tally;

/// Messages to the thread that wait at most.
const QUEUE: usize = 4096;

/// Bytes of envelopes that wait for the thread at most: a slow disk must not cost all memory.
const ROOM: usize = 64 << 20;

/// Bytes of one envelope at most. Its manifest was smaller, and its references come from there.
pub(crate) const ENVELOPE: usize = 16 << 20;

/// Why the queues cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("notifications that wait ({home}): {source}")]
pub struct OpenError {
    home: String,
    source: StoreError,
}

impl OpenError {
    /// Whether another process has the file open.
    pub fn is_in_use(&self) -> bool {
        matches!(self.source, StoreError::InUse)
    }
}

/// An event could not be stored, or it is not known whether it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Failed;

/// Where an event stands in its queue. Places count within one opening of the file: what was not synced is gone after
/// a failure, and its places are given again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Position {
    opening: u64,
    place: u64,
}

impl Position {
    pub(crate) fn after(self) -> Self {
        Self {
            place: self.place + 1,
            ..self
        }
    }
}

/// An event that waits to be delivered.
#[derive(Debug, Clone)]
pub(crate) struct Waiting {
    pub(crate) position: Position,
    pub(crate) envelope: Bytes,
}

/// What is said to the thread.
enum Message {
    Add {
        queues: Vec<usize>,
        envelope: Bytes,
        /// Told when the event is on the disk; nobody waits for one without.
        durable: Option<oneshot::Sender<Result<(), Failed>>>,
        /// Of the memory that all of them share, until the event is stored.
        room: OwnedSemaphorePermit,
    },
    Delivered {
        queue: usize,
        position: Position,
    },
    Next {
        queue: usize,
        from: Position,
        answer: oneshot::Sender<Vec<Waiting>>,
    },
    /// Time to sync what nobody waits for, and to try again what failed.
    Tick,
    Close,
}

/// What the thread tells without being asked.
#[derive(Debug, Default)]
struct Shown {
    /// The opening of the file, from 1 on.
    opening: AtomicU64,
    /// The first place of each queue that is not gone.
    heads: Vec<AtomicU64>,
}

/// A handle to the queues. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Outbox {
    messages: mpsc::Sender<Message>,
    room: Arc<Semaphore>,
    shown: Arc<Shown>,
}

/// The thread.
pub(crate) type Thread = std::thread::JoinHandle<()>;

impl Outbox {
    /// Opens the queues and starts the thread that owns them. Blocks.
    pub(crate) fn open(
        home: Home,
        keys: Vec<Key>,
        limits: Limits,
        tallies: Vec<Arc<Tally>>,
    ) -> Result<(Self, Thread), OpenError> {
        let named = match &home {
            Home::File(path) => path.display().to_string(),
            Home::Memory => "in memory".to_owned(),
        };
        let failed = |source| OpenError {
            home: named.clone(),
            source,
        };
        let store = Store::open(&home, &keys, limits).map_err(failed)?;
        let again = Box::new(move || Store::open(&home, &keys, limits));
        Self::over(store, again, tallies).map_err(|error| failed(error.into()))
    }

    fn over(
        store: Store,
        again: writer::Reopen,
        tallies: Vec<Arc<Tally>>,
    ) -> Result<(Self, Thread), std::io::Error> {
        let (messages, received) = mpsc::channel(QUEUE);
        let shown = Arc::new(Shown {
            opening: AtomicU64::new(0),
            heads: tallies.iter().map(|_| AtomicU64::new(0)).collect(),
        });
        let writer = Writer::new(store, again, tallies, received, Arc::clone(&shown));
        let thread = std::thread::Builder::new()
            .name("events".to_owned())
            .spawn(move || writer.run())?;
        let outbox = Self {
            messages,
            room: Arc::new(Semaphore::new(ROOM)),
            shown,
        };
        Ok((outbox, thread))
    }

    /// Stores an event; on the disk when it answers. Waits while the disk is behind.
    pub(crate) async fn add(&self, queues: Vec<usize>, envelope: Bytes) -> Result<(), Failed> {
        let size = u32::try_from(envelope.len()).map_err(|_too_large| Failed)?;
        let room = Arc::clone(&self.room).acquire_many_owned(size).await;
        let (durable, done) = oneshot::channel();
        let message = Message::Add {
            queues,
            envelope,
            durable: Some(durable),
            room: room.map_err(|_never_closed| Failed)?,
        };
        self.messages
            .send(message)
            .await
            .map_err(|_closed| Failed)?;
        done.await.map_err(|_closed| Failed)?
    }

    /// Hands an event to the thread, if there is room.
    pub(crate) fn try_add(&self, queues: Vec<usize>, envelope: Bytes) -> Result<(), Failed> {
        let size = u32::try_from(envelope.len()).map_err(|_too_large| Failed)?;
        let room = Arc::clone(&self.room).try_acquire_many_owned(size);
        let message = Message::Add {
            queues,
            envelope,
            durable: None,
            room: room.map_err(|_full| Failed)?,
        };
        self.messages
            .try_send(message)
            .map_err(|_full_or_closed| Failed)
    }

    /// The next events of a queue, when there are any; none when the outbox is closed.
    pub(crate) async fn next(&self, queue: usize, from: Position) -> Option<Vec<Waiting>> {
        let (answer, events) = oneshot::channel();
        let message = Message::Next {
            queue,
            from,
            answer,
        };
        self.messages.send(message).await.ok()?;
        events.await.ok()
    }

    /// An event was taken: it need not be kept any longer.
    pub(crate) async fn delivered(&self, queue: usize, position: Position) {
        let message = Message::Delivered { queue, position };
        // When it is closed, the event stays and is delivered again.
        let _closed = self.messages.send(message).await;
    }

    /// Whether an event left its queue in the meantime, because the queue was full.
    pub(crate) fn is_dropped(&self, queue: usize, position: Position) -> bool {
        self.shown.opening.load(Ordering::Acquire) == position.opening
            && self.shown.heads[queue].load(Ordering::Acquire) > position.place
    }

    /// Syncs what nobody waits for.
    pub(crate) async fn tick(&self) {
        let _closed = self.messages.send(Message::Tick).await;
    }

    /// Takes no more; the thread ends when all that was taken is on the disk.
    pub(crate) async fn close(&self) {
        let _closed = self.messages.send(Message::Close).await;
    }
}

#[cfg(test)]
mod tests;
