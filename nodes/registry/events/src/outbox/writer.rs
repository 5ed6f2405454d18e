//! The thread that owns the queues.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::store::{Change, Store, StoreError};
use super::{Failed, Message, Position, Shown, Waiting};
use crate::stats::Tally;

/// Messages in one batch at most, so that none waits long for a sync that carries many others.
const BATCH: usize = 256;

/// Events handed to a deliverer at once, and their bytes.
const HANDED: usize = 64;
const HANDED_BYTES: usize = 1 << 20;

/// Opens the queues again after a failure.
pub(super) type Reopen = Box<dyn FnMut() -> Result<Store, StoreError> + Send>;

type Durable = oneshot::Sender<Result<(), Failed>>;

/// A deliverer that waits for events.
struct Asked {
    from: Position,
    answer: oneshot::Sender<Vec<Waiting>>,
}

pub(super) struct Writer {
    /// Absent after an error: opened again in the next turn.
    store: Option<Store>,
    again: Reopen,
    opening: u64,
    queue: mpsc::Receiver<Message>,
    asked: Vec<Option<Asked>>,
    tallies: Vec<Arc<Tally>>,
    shown: Arc<Shown>,
    /// Something was stored since the last sync.
    unsynced: bool,
    /// Dropped events of each queue that no log line has told of.
    untold: Vec<u64>,
    /// The log has said that the disk fails.
    failing: bool,
}

impl Writer {
    pub(super) fn new(
        store: Store,
        again: Reopen,
        tallies: Vec<Arc<Tally>>,
        queue: mpsc::Receiver<Message>,
        shown: Arc<Shown>,
    ) -> Self {
        let mut writer = Self {
            store: None,
            again,
            opening: 0,
            queue,
            asked: tallies.iter().map(|_| None).collect(),
            untold: vec![0; tallies.len()],
            tallies,
            shown,
            unsynced: false,
            failing: false,
        };
        writer.opened(store);
        writer
    }

    pub(super) fn run(mut self) {
        while let Some(first) = self.queue.blocking_recv() {
            let mut batch = vec![first];
            while batch.len() < BATCH
                && let Ok(next) = self.queue.try_recv()
            {
                batch.push(next);
            }
            self.turn(batch);
        }
        if self.unsynced {
            self.commit(&[], Vec::new(), true);
        }
        self.tell();
    }

    /// Stored first, then answered, then handed out.
    fn turn(&mut self, batch: Vec<Message>) {
        self.reopen();
        let (mut changes, mut waiting, mut ticked) = (Vec::new(), Vec::new(), false);
        // Held until the changes are stored: they are what bounds the memory.
        let mut rooms = Vec::new();
        for message in batch {
            match message {
                Message::Add {
                    queues,
                    envelope,
                    durable,
                    room,
                } => {
                    changes.push(Change::Add { queues, envelope });
                    waiting.extend(durable);
                    rooms.push(room);
                }
                Message::Delivered { queue, position } if position.opening == self.opening => {
                    let place = position.place;
                    changes.push(Change::Delivered { queue, place });
                }
                // From before a failure: it is delivered again.
                Message::Delivered { .. } => {}
                Message::Next {
                    queue,
                    from,
                    answer,
                } => {
                    self.asked[queue] = Some(Asked { from, answer });
                }
                Message::Tick => ticked = true,
                Message::Close => self.queue.close(),
            }
        }
        let durable = !waiting.is_empty() || (ticked && self.unsynced);
        if durable || !changes.is_empty() {
            self.commit(&changes, waiting, durable);
        }
        drop(rooms);
        if ticked {
            self.tell();
        }
        self.hand_out();
    }

    fn commit(&mut self, changes: &[Change], waiting: Vec<Durable>, durable: bool) {
        let outcome = match self.apply(changes, durable) {
            Ok(dropped) => {
                self.unsynced = !durable;
                self.account(changes, &dropped);
                Ok(())
            }
            Err(error) => {
                self.failed(changes, &error);
                Err(Failed)
            }
        };
        for answer in waiting {
            let _nobody_waits = answer.send(outcome);
        }
    }

    fn apply(&mut self, changes: &[Change], durable: bool) -> Result<Vec<u64>, StoreError> {
        let store = self.store.as_mut().ok_or(StoreError::Closed)?;
        store.apply(changes, durable)
    }

    /// Before anything else in a turn: the places that deliverers speak of are those of one opening.
    fn reopen(&mut self) {
        if self.store.is_some() {
            return;
        }
        match (self.again)() {
            Ok(store) => self.opened(store),
            Err(error) => self.failed(&[], &error),
        }
    }

    fn opened(&mut self, store: Store) {
        if std::mem::take(&mut self.failing) {
            tracing::info!("notifications are stored again");
        }
        self.opening += 1;
        self.unsynced = false;
        self.store = Some(store);
        self.show();
    }

    fn account(&mut self, changes: &[Change], dropped: &[u64]) {
        for change in changes {
            if let Change::Add { queues, .. } = change {
                for &queue in queues {
                    self.tallies[queue].update(|metrics| metrics.events += 1);
                }
            }
        }
        for (queue, &count) in dropped.iter().enumerate() {
            self.untold[queue] += count;
            self.tallies[queue].update(|metrics| metrics.dropped += count);
        }
        self.show();
    }

    /// Makes visible to others where the queues stand.
    fn show(&self) {
        let Some(store) = &self.store else { return };
        for (queue, cursor) in store.cursors.iter().enumerate() {
            self.shown.heads[queue].store(cursor.head, Ordering::Release);
            self.tallies[queue].update(|metrics| metrics.pending = cursor.pending());
        }
        self.shown.opening.store(self.opening, Ordering::Release);
    }

    /// What the file holds is unknown. It is closed; opening it again finds out.
    fn failed(&mut self, changes: &[Change], error: &StoreError) {
        self.store = None;
        let mut lost = 0_u64;
        for change in changes {
            if let Change::Add { queues, .. } = change {
                lost += 1;
                for &queue in queues {
                    self.tallies[queue].update(|metrics| metrics.lost += 1);
                }
            }
        }
        if lost > 0 || !self.failing {
            tracing::error!(%error, lost, "notifications cannot be stored");
        }
        self.failing = true;
    }

    /// What was dropped since it was last told: one line a second for each queue at most.
    fn tell(&mut self) {
        for (queue, untold) in self.untold.iter_mut().enumerate() {
            if let dropped @ 1.. = std::mem::take(untold) {
                let endpoint = self.tallies[queue].name();
                tracing::warn!(
                    %endpoint, dropped,
                    "notifications: the queue of this endpoint is full; its oldest events are dropped"
                );
            }
        }
    }

    /// Answers the deliverers that wait, where there is something for them.
    fn hand_out(&mut self) {
        let Some(store) = &self.store else { return };
        for (queue, asked) in self.asked.iter_mut().enumerate() {
            let Some(Asked { from, .. }) = asked else {
                continue;
            };
            let from = if from.opening == self.opening {
                from.place
            } else {
                0
            };
            let found = match store.read(queue, from, HANDED, HANDED_BYTES) {
                Ok(found) => found,
                Err(error) => {
                    tracing::error!(%error, "notifications that wait cannot be read");
                    self.failing = true;
                    self.store = None;
                    return;
                }
            };
            if found.is_empty() {
                continue;
            }
            if let Some(asked) = asked.take() {
                let opening = self.opening;
                let waiting = |(place, envelope): (u64, Bytes)| Waiting {
                    position: Position { opening, place },
                    envelope,
                };
                let _drained = asked.answer.send(found.into_iter().map(waiting).collect());
            }
        }
    }
}
