//! The thread that writes: what waits together is made durable together.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;

use openraft::storage::LogFlushed;
use redb::WriteTransaction;
use roadstead_telemetry::metrics::MemberMetrics;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use super::StoreError;
use super::disk::{Disk, LOG, META};
use crate::types::TypeConfig;

/// Writes in one transaction at most, so that none waits long for a sync that carries many others.
const BATCH: usize = 64;

/// What is to be written.
pub(super) enum Task {
    /// Encoded entries by their index.
    Append(Vec<(u64, Vec<u8>)>),
    /// From this index on.
    Truncate(u64),
    /// Up to this index, with the id of that entry.
    Purge(u64, Vec<u8>),
    /// Values by name.
    Set(Vec<(&'static str, Vec<u8>)>),
}

/// Who is told that it is durable, or that it is not.
pub(super) enum Waiting {
    Raft(LogFlushed<TypeConfig>),
    Caller(oneshot::Sender<io::Result<()>>),
}

type Order = (Task, Option<Waiting>);

#[derive(Debug)]
pub(super) struct Writer {
    orders: Mutex<Option<mpsc::UnboundedSender<Order>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    failed: watch::Receiver<Option<String>>,
    metrics: Arc<OnceLock<MemberMetrics>>,
}

impl Writer {
    pub(super) fn start(disk: Arc<Disk>) -> io::Result<Self> {
        let (this, mut hand) = Self::of(disk);
        let thread = std::thread::Builder::new()
            .name("raft-log".to_owned())
            .spawn(move || {
                while let Some(first) = hand.queue.blocking_recv() {
                    hand.write(first);
                }
            })?;
        this.thread().replace(thread);
        Ok(this)
    }

    /// A task instead of a thread. Each write waits as long as `pace` says; whoever is not told yet when the disk is
    /// gone has lost it.
    #[cfg(test)]
    pub(super) fn paced(disk: Arc<Disk>, pace: super::Pace) -> Self {
        let (this, mut hand) = Self::of(disk);
        tokio::spawn(async move {
            while let Some(first) = hand.queue.recv().await {
                tokio::time::sleep(pace()).await;
                hand.write(first);
            }
        });
        this
    }

    fn of(disk: Arc<Disk>) -> (Self, Hand) {
        let (orders, queue) = mpsc::unbounded_channel();
        let (failed, failure) = watch::channel(None);
        let metrics = Arc::<OnceLock<_>>::default();
        let this = Self {
            orders: Mutex::new(Some(orders)),
            thread: Mutex::default(),
            failed: failure,
            metrics: Arc::clone(&metrics),
        };
        let hand = Hand {
            disk,
            queue,
            failure: None,
            failed,
            metrics,
        };
        (this, hand)
    }

    pub(super) fn measure(&self, metrics: MemberMetrics) {
        let _others_measure = self.metrics.set(metrics);
    }

    fn thread(&self) -> MutexGuard<'_, Option<JoinHandle<()>>> {
        self.thread.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn failure(&self) -> watch::Receiver<Option<String>> {
        self.failed.clone()
    }

    /// Orders a write; it follows all that were ordered before.
    pub(super) fn order(&self, task: Task, waiting: Option<Waiting>) {
        let orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = match &*orders {
            Some(orders) => orders.send((task, waiting)).map_err(|unsent| unsent.0.1),
            None => Err(waiting),
        };
        if let Err(Some(waiting)) = sent {
            waiting.tell(Err(io::Error::other("the log is closed")));
        }
    }

    /// As [`Self::order`], and waits until it is durable.
    pub(super) async fn write(&self, task: Task) -> io::Result<()> {
        let (done, waiting) = oneshot::channel();
        self.order(task, Some(Waiting::Caller(done)));
        waiting.await.map_err(io::Error::other)?
    }
}

impl Drop for Writer {
    /// The file is closed when the last handle is gone, so that it can be opened again.
    fn drop(&mut self) {
        drop(
            self.orders
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(),
        );
        let thread = self.thread().take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that writes the raft log had failed");
        }
    }
}

impl Waiting {
    fn tell(self, result: io::Result<()>) {
        match self {
            Self::Raft(flushed) => flushed.log_io_completed(result),
            Self::Caller(caller) => {
                let _caller_gone = caller.send(result);
            }
        }
    }
}

/// What writes.
struct Hand {
    disk: Arc<Disk>,
    queue: mpsc::UnboundedReceiver<Order>,
    failure: Option<String>,
    failed: watch::Sender<Option<String>>,
    metrics: Arc<OnceLock<MemberMetrics>>,
}

impl Hand {
    /// This, and what else waits.
    fn write(&mut self, first: Order) {
        let more = std::iter::from_fn(|| self.queue.try_recv().ok()).take(BATCH - 1);
        let (tasks, waiting): (Vec<Task>, Vec<_>) = std::iter::once(first).chain(more).unzip();
        let begun = Instant::now();
        if self.failure.is_none()
            && let Err(error) = commit(&self.disk, &tasks)
        {
            let reason = error.to_string();
            tracing::error!(error = %reason, "the raft log cannot be written: this member ends");
            self.failed.send_replace(Some(reason.clone()));
            self.failure = Some(reason);
        } else if self.failure.is_none()
            && let Some(metrics) = self.metrics.get()
        {
            metrics.synced(begun.elapsed());
        }
        for waiting in waiting.into_iter().flatten() {
            let failure = self.failure.clone().map(io::Error::other);
            waiting.tell(failure.map_or(Ok(()), Err));
        }
    }
}

fn commit(disk: &Disk, tasks: &[Task]) -> Result<(), StoreError> {
    let write = disk.database.begin_write()?;
    for task in tasks {
        write_one(&write, task)?;
    }
    write.commit()?;
    Ok(())
}

fn write_one(write: &WriteTransaction, task: &Task) -> Result<(), StoreError> {
    let mut log = write.open_table(LOG)?;
    let mut meta = write.open_table(META)?;
    match task {
        Task::Append(entries) => {
            for (index, bytes) in entries {
                log.insert(index, bytes.as_slice())?;
            }
        }
        Task::Truncate(from) => log.retain_in(*from.., |_, _| false)?,
        Task::Purge(upto, id) => {
            log.retain_in(..=*upto, |_, _| false)?;
            meta.insert(super::disk::PURGED, id.as_slice())?;
        }
        Task::Set(values) => {
            for (name, bytes) in values {
                meta.insert(*name, bytes.as_slice())?;
            }
        }
    }
    Ok(())
}
