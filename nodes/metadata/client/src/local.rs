//! The machine in this process: one thread appends what many propose, in batches, each made durable by one sync.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use roadstead_machine::{
    Collection, Command, Entry, Invalidated, Machine, NodeId, Outcome, Segment, Session, SessionId,
    Stamp, Standing, Timestamp,
};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

pub use crate::journal::Home;
use crate::journal::{Journal, JournalError};
use crate::{Fleet, Metadata, Renewal, Secrets, Unavailable};

/// Proposals that wait at most; beyond that, proposers wait to get in.
const QUEUE: usize = 1024;

/// Entries in one append at most, so that none waits long for a sync that carries many others.
const BATCH: usize = 256;

/// Tells the time for the log.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// The operating system's clock.
pub fn system_clock() -> Clock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place where time enters the log"
    )]
    Arc::new(|| SystemTime::now().into())
}

/// Why the log cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("the log of upload sessions ({home}): {source}")]
pub struct OpenError {
    home: String,
    source: JournalError,
}

impl OpenError {
    /// Whether another process has the log open, so that two would run on one storage.
    pub fn is_in_use(&self) -> bool {
        matches!(self.source, JournalError::InUse)
    }
}

/// The state in the log of a [`Local`] that has stopped, as [`Machine::encode`] has it: a cluster begins with it. Blocks.
pub fn read_state(path: &Path) -> Result<Vec<u8>, OpenError> {
    let failed = |source| OpenError {
        home: path.display().to_string(),
        source,
    };
    // Opening makes one where there is none; a mistaken path must not.
    std::fs::metadata(path).map_err(|error| failed(error.into()))?;
    let (_journal, machine) = Journal::open(&Home::File(path.to_owned())).map_err(failed)?;
    machine.encode().map_err(|source| {
        let what = "snapshot";
        failed(JournalError::Format { what, source })
    })
}

type Proposal = (Command, oneshot::Sender<Result<Outcome, Unavailable>>);

/// How far that has come which is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Moved {
    collection: Stamp,
    /// The version of the invalidations.
    invalidated: u64,
}

impl Moved {
    fn of(machine: &Machine) -> Self {
        Self {
            collection: machine.collection().stamp(),
            invalidated: machine.invalidations().version(),
        }
    }
}

/// A metadata service of one member, in this process.
pub struct Local {
    machine: Arc<RwLock<Machine>>,
    proposals: mpsc::Sender<Proposal>,
    clock: Clock,
    moved: watch::Receiver<Moved>,
    writer: Mutex<Option<std::thread::JoinHandle<()>>>,
}

impl Local {
    /// Opens the log and starts the thread that appends to it. Blocks.
    pub fn open(home: Home, clock: Clock) -> Result<Self, OpenError> {
        let named = match &home {
            Home::File(path) => path.display().to_string(),
            Home::Memory => "in memory".to_owned(),
        };
        let failed = |source| OpenError {
            home: named.clone(),
            source,
        };
        let (journal, machine) = Journal::open(&home).map_err(failed)?;
        let (moves, moved) = watch::channel(Moved::of(&machine));
        let machine = Arc::new(RwLock::new(machine));
        let (proposals, queue) = mpsc::channel(QUEUE);
        let writer = Writer {
            home,
            journal: Some(journal),
            machine: Arc::clone(&machine),
            clock: Arc::clone(&clock),
            moves,
            queue,
        };
        let thread = std::thread::Builder::new()
            .name("metadata".to_owned())
            .spawn(move || writer.run())
            .map_err(|error| failed(error.into()))?;
        Ok(Self {
            machine,
            proposals,
            clock,
            moved,
            writer: Mutex::new(Some(thread)),
        })
    }

    fn read<T>(&self, look: impl FnOnce(&Machine) -> T) -> T {
        look(&self.machine.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Ends the writing thread and closes the log; blocks until all that was proposed is in it.
    pub fn close(self) {
        drop(self.proposals);
        let writer = self
            .writer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if writer.is_some_and(|writer| writer.join().is_err()) {
            tracing::error!("the metadata writer had failed");
        }
    }
}

#[async_trait]
impl Metadata for Local {
    async fn propose(&self, command: Command) -> Result<Outcome, Unavailable> {
        let (answer, outcome) = oneshot::channel();
        let stopped = || Unavailable::because("it has stopped");
        self.proposals
            .send((command, answer))
            .await
            .map_err(|_stopped| stopped())?;
        outcome.await.map_err(|_stopped| stopped())?
    }

    async fn session(&self, id: SessionId) -> Result<Option<Standing>, Unavailable> {
        Ok(self.read(|machine| machine.session(id).map(Session::standing)))
    }

    async fn segments(&self, id: SessionId) -> Result<Vec<Segment>, Unavailable> {
        let segments =
            |machine: &Machine| machine.session(id).map(|found| found.segments().to_vec());
        Ok(self.read(segments).unwrap_or_default())
    }

    async fn open_sessions(&self) -> Result<usize, Unavailable> {
        Ok(self.read(Machine::open_sessions))
    }

    async fn is_fresh(&self, opened: Timestamp) -> Result<bool, Unavailable> {
        let now = (self.clock)();
        Ok(self.read(|machine| machine.is_fresh(opened, now)))
    }

    async fn unheld(&self, places: Vec<String>) -> Result<Vec<String>, Unavailable> {
        let machine = Arc::clone(&self.machine);
        // There may be millions of them to go through.
        let look = move || {
            let mut unheld: BTreeSet<&str> = places.iter().map(String::as_str).collect();
            let machine = machine.read().unwrap_or_else(PoisonError::into_inner);
            for held in machine.places() {
                unheld.remove(held);
            }
            unheld.into_iter().map(str::to_owned).collect()
        };
        let looked = tokio::task::spawn_blocking(look).await;
        looked.map_err(Unavailable::because)
    }

    /// Nobody is ever taken for gone: whoever uses this machine shares its process.
    async fn renew(&self, node: NodeId, epoch: u64) -> Result<Renewal, Unavailable> {
        let held = |machine: &Machine| {
            let node = machine
                .nodes()
                .get(&node)
                .filter(|node| node.epoch == epoch);
            node.map_or(Renewal::Lost, |node| Renewal::Held {
                is_draining: node.draining,
                secret_since: machine.secret_since(),
            })
        };
        Ok(self.read(held))
    }

    async fn fleet(&self) -> Result<Fleet, Unavailable> {
        Ok(self.read(|machine| Fleet {
            nodes: machine.nodes().clone(),
            authentication: machine.authentication().map(ToOwned::to_owned),
        }))
    }

    async fn secrets(&self) -> Result<Secrets, Unavailable> {
        let clock = (self.clock)();
        Ok(self.read(|machine| Secrets::of(machine, clock)))
    }

    async fn collection(
        &self,
        known: Option<Stamp>,
        wait: Duration,
    ) -> Result<Option<Collection>, Unavailable> {
        if let Some(known) = known {
            let mut moved = self.moved.clone();
            let is_news = |now: &Moved| now.collection != known;
            let _waited_long_enough = timeout(wait, moved.wait_for(is_news)).await;
        }
        Ok(self.read(|machine| {
            let collection = machine.collection();
            (known != Some(collection.stamp())).then(|| collection.clone())
        }))
    }

    async fn invalidations(
        &self,
        known: Option<u64>,
        wait: Duration,
    ) -> Result<Option<Invalidated>, Unavailable> {
        if let Some(known) = known {
            let mut moved = self.moved.clone();
            let is_news = |now: &Moved| now.invalidated != known;
            let _waited_long_enough = timeout(wait, moved.wait_for(is_news)).await;
        }
        Ok(self.read(|machine| {
            let all = machine.invalidations();
            (known != Some(all.version())).then(|| all.since(known))
        }))
    }

    async fn now(&self) -> Result<Timestamp, Unavailable> {
        let clock = (self.clock)();
        Ok(self.read(|machine| machine.present(clock)))
    }
}

impl fmt::Debug for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Local").finish_non_exhaustive()
    }
}

/// The thread that owns the log.
struct Writer {
    home: Home,
    /// Absent after an error: opened again for the next batch.
    journal: Option<Journal>,
    machine: Arc<RwLock<Machine>>,
    clock: Clock,
    moves: watch::Sender<Moved>,
    queue: mpsc::Receiver<Proposal>,
}

impl Writer {
    fn run(mut self) {
        while let Some(first) = self.queue.blocking_recv() {
            let mut batch = vec![first];
            while batch.len() < BATCH
                && let Ok(next) = self.queue.try_recv()
            {
                batch.push(next);
            }
            self.commit(batch);
        }
    }

    /// Durable first, then visible, then answered.
    fn commit(&mut self, batch: Vec<Proposal>) {
        let at = (self.clock)();
        let (commands, answers): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
        let entries: Vec<Entry> = commands
            .into_iter()
            .map(|command| Entry { at, command })
            .collect();
        if let Err(error) = self.append(&entries) {
            tracing::error!(%error, "the log of upload sessions cannot be written");
            // Whether the batch is in the log is unknown. The log is closed; opening it again finds out.
            self.journal = None;
            for answer in answers {
                let _client_gone = answer.send(Err(Unavailable::because(&error)));
            }
            return;
        }
        let outcomes: Vec<Outcome> = {
            let mut machine = self.machine.write().unwrap_or_else(PoisonError::into_inner);
            entries
                .into_iter()
                .map(|entry| machine.apply(entry))
                .collect()
        };
        self.tell_move();
        for (answer, outcome) in answers.into_iter().zip(outcomes) {
            let _client_gone = answer.send(Ok(outcome));
        }
        self.compact();
    }

    fn tell_move(&self) {
        let machine = self.machine.read().unwrap_or_else(PoisonError::into_inner);
        let now = Moved::of(&machine);
        self.moves
            .send_if_modified(|moved| std::mem::replace(moved, now) != now);
    }

    fn append(&mut self, entries: &[Entry]) -> Result<(), JournalError> {
        if self.journal.is_none() {
            let (journal, machine) = Journal::open(&self.home)?;
            *self.machine.write().unwrap_or_else(PoisonError::into_inner) = machine;
            self.journal = Some(journal);
        }
        match &mut self.journal {
            Some(journal) => journal.append(entries),
            None => Ok(()),
        }
    }

    fn compact(&mut self) {
        let Some(journal) = &mut self.journal else {
            return;
        };
        let machine = self.machine.read().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = journal.compact(&machine) {
            tracing::warn!(%error, "the log of upload sessions cannot be shortened");
            drop(machine);
            self.journal = None;
        }
    }
}

#[cfg(test)]
#[path = "local_tests.rs"]
mod tests;
