//! The thread that writes: what waits together is made durable together.

use std::io;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, mpsc};

use openraft::storage::LogFlushed;
use redb::WriteTransaction;
use roadstead_telemetry::metrics::MemberMetrics;
use tokio::sync::{oneshot, watch};
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
    orders: Mutex<Option<mpsc::Sender<Order>>>,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
    failed: watch::Receiver<Option<String>>,
    metrics: Arc<OnceLock<MemberMetrics>>,
}

impl Writer {
    pub(super) fn start(disk: Arc<Disk>) -> io::Result<Self> {
        let (orders, queue) = mpsc::channel();
        let (failed, failure) = watch::channel(None);
        let metrics = Arc::<OnceLock<_>>::default();
        let told = Arc::clone(&metrics);
        let thread = std::thread::Builder::new()
            .name("raft-log".to_owned())
            .spawn(move || run(&disk, &queue, &failed, &told))?;
        Ok(Self {
            orders: Mutex::new(Some(orders)),
            thread: Mutex::new(Some(thread)),
            failed: failure,
            metrics,
        })
    }

    pub(super) fn measure(&self, metrics: MemberMetrics) {
        let _others_measure = self.metrics.set(metrics);
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
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
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

fn run(
    disk: &Disk,
    queue: &mpsc::Receiver<Order>,
    failed: &watch::Sender<Option<String>>,
    metrics: &OnceLock<MemberMetrics>,
) {
    let mut failure = None;
    while let Ok(first) = queue.recv() {
        let more = std::iter::from_fn(|| queue.try_recv().ok()).take(BATCH - 1);
        let (tasks, waiting): (Vec<Task>, Vec<_>) = std::iter::once(first).chain(more).unzip();
        let begun = Instant::now();
        if failure.is_none()
            && let Err(error) = commit(disk, &tasks)
        {
            let reason = error.to_string();
            tracing::error!(error = %reason, "the raft log cannot be written: this member ends");
            failed.send_replace(Some(reason.clone()));
            failure = Some(reason);
        } else if failure.is_none()
            && let Some(metrics) = metrics.get()
        {
            metrics.synced(begun.elapsed());
        }
        for waiting in waiting.into_iter().flatten() {
            let failure = failure.clone().map(io::Error::other);
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
