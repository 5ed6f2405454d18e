//! Asking those who serve a store to collect, through the store: by files that lie beside the claim.
//!
//! ```text
//! /roadstead/collect/asked           what is asked for, until it is answered to its end
//! /roadstead/collect/cancel          somebody wants the collection to end
//! /roadstead/collect/said/ID/N       what was said of it, page by page; the last line says how it ended
//! ```
//! Whoever may write here may remove all that there is, so no other right is asked for. Nothing that is removed depends on
//! these files: one that is late, torn or written twice costs somebody a line.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use roadstead_metadata::ALONE;
use roadstead_storage::{Driver, Error as StoreError, Put, StorePath};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

use super::coordinator::Stop;
use super::desk::{DONE, Demand, FAILED, Wish};
use crate::Registry;

const ASKED: &str = "/roadstead/collect/asked";
const CANCEL: &str = "/roadstead/collect/cancel";
const SAID: &str = "/roadstead/collect/said";

/// Bytes of a question, and of a page.
const QUESTION: usize = 1 << 10;
const PAGE: usize = 1 << 20;

/// Pages of an answer that a successor looks for.
const PAGES: usize = 100_000;

/// What nobody has begun to answer in this time is not asked any more: who asked has given up long ago.
const GOOD_FOR: Duration = Duration::from_mins(10);

/// Lines that come within this go into one page.
const TOGETHER: Duration = Duration::from_secs(1);

/// How often a page is tried to be written, and the pause between.
const TRIES: u32 = 10;
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// How long who asks waits for the first word: a node that was paused loses its lease, and another looks.
const HEARD_WITHIN: Duration = Duration::from_mins(1);

/// How often it is looked for the next page, at first and when a collection takes long.
const READ_EVERY: Duration = Duration::from_millis(500);
const READ_LATER_EVERY: Duration = Duration::from_secs(5);

/// The first thing that is said.
const HEARD: &str = "the registry that serves the storage has heard it";

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Question {
    id: uuid::Uuid,
    dry_run: bool,
    untagged: bool,
}

/// Why nothing more is heard.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("somebody has asked for another collection, which has not ended; --cancel ends it")]
    Another,
    #[error("nobody who serves the storage has answered")]
    Unheard,
    #[error("who was to answer does not any more; the log of the registry says how it ended")]
    Left,
}

fn place(path: &str) -> Result<StorePath, StoreError> {
    path.parse().map_err(|_malformed| StoreError::Damaged)
}

fn page(id: uuid::Uuid, number: u64) -> Result<StorePath, StoreError> {
    place(&format!("{SAID}/{id}/{number:08}"))
}

async fn read(store: &dyn Driver) -> Result<Option<(Question, Bytes)>, StoreError> {
    let content = match store.get(&place(ASKED)?, QUESTION).await {
        Err(StoreError::NotFound(_) | StoreError::TooLarge { .. }) => return Ok(None),
        content => content?,
    };
    let question = serde_json::from_slice(&content).ok();
    Ok(question.map(|question| (question, content)))
}

async fn write(store: &dyn Driver, path: StorePath, content: Bytes) -> Result<(), StoreError> {
    store.put(vec![Put { path, content }]).await
}

async fn remove(store: &dyn Driver, path: &StorePath) -> Result<(), StoreError> {
    match store.remove(path).await {
        Err(StoreError::NotFound(_)) => Ok(()),
        removed => removed,
    }
}

/// Somebody who asks.
#[derive(Debug)]
pub struct Asking {
    store: Arc<dyn Driver>,
    question: Question,
    next: u64,
    last_heard: Instant,
}

impl Asking {
    /// Asks, or listens to what is told somebody who asked for the same and went away.
    pub async fn begin(
        store: Arc<dyn Driver>,
        dry_run: bool,
        untagged: bool,
    ) -> Result<Self, AskError> {
        let question = match read(&*store).await? {
            Some((other, _)) if (other.dry_run, other.untagged) != (dry_run, untagged) => {
                return Err(AskError::Another);
            }
            Some((other, _)) => other,
            None => {
                let id = uuid::Uuid::new_v4();
                Question {
                    id,
                    dry_run,
                    untagged,
                }
            }
        };
        let content = serde_json::to_vec(&question).map_err(|_odd| StoreError::Damaged)?;
        write(&*store, place(ASKED)?, content.into()).await?;
        Ok(Self {
            store,
            question,
            next: 0,
            last_heard: Instant::now(),
        })
    }

    /// What is said next. It ends with [`DONE`], or a line that begins with [`FAILED`].
    pub async fn hear(&mut self) -> Result<Vec<String>, AskError> {
        let began = Instant::now();
        loop {
            let next = page(self.question.id, self.next)?;
            match self.store.get(&next, 2 * PAGE).await {
                Err(StoreError::NotFound(_)) => {}
                said => {
                    let said = String::from_utf8_lossy(&said?).into_owned();
                    self.next += 1;
                    self.last_heard = Instant::now();
                    let lines = said.lines().filter(|line| *line != HEARD);
                    return Ok(lines.map(str::to_owned).collect());
                }
            }
            if self.last_heard.elapsed() > HEARD_WITHIN {
                self.is_still_asked().await?;
            }
            let is_early = began.elapsed() < HEARD_WITHIN;
            sleep(if is_early {
                READ_EVERY
            } else {
                READ_LATER_EVERY
            })
            .await;
        }
    }

    /// Somebody who has begun goes on, or another does, as long as the question stands.
    async fn is_still_asked(&self) -> Result<(), AskError> {
        if self.next == 0 {
            remove(&*self.store, &place(ASKED)?).await?;
            return Err(AskError::Unheard);
        }
        match read(&*self.store).await? {
            Some((question, _)) if question == self.question => Ok(()),
            _ => Err(AskError::Left),
        }
    }

    /// Takes away what was said, when all of it was heard.
    pub async fn end(self) -> Result<(), AskError> {
        let said = place(&format!("{SAID}/{}", self.question.id))?;
        Ok(remove(&*self.store, &said).await?)
    }
}

/// Asks those who serve to end the collection that is under way. What is being removed is removed to its end.
pub(crate) async fn cancel(store: &dyn Driver) -> Result<(), AskError> {
    Ok(write(store, place(CANCEL)?, "cancel".into()).await?)
}

/// The same, and waits until it was heard.
pub async fn cancel_through(store: &dyn Driver) -> Result<(), AskError> {
    cancel(store).await?;
    let cancel = place(CANCEL)?;
    let began = Instant::now();
    while began.elapsed() < HEARD_WITHIN {
        sleep(READ_EVERY).await;
        match store.get(&cancel, QUESTION).await {
            Err(StoreError::NotFound(_)) => return Ok(()),
            there => drop(there?),
        }
    }
    remove(store, &cancel).await?;
    Err(AskError::Unheard)
}

/// A question that is being answered.
struct Answering {
    question: Question,
    writing: JoinHandle<()>,
}

impl Registry {
    /// Looks for questions every so often, and hands them on, until the end. It costs two requests to the store each time.
    pub async fn keep_reading_mail(
        &self,
        every: Duration,
        demands: mpsc::Sender<Demand>,
        ended: CancellationToken,
    ) {
        let mut answering = None;
        while ended.run_until_cancelled(sleep(every)).await.is_some() {
            let looking = self.look_for_mail(&demands, &mut answering);
            if let Some(Err(error)) = ended.run_until_cancelled(looking).await {
                tracing::debug!(%error, "it is not known whether somebody asks for a collection");
            }
        }
    }

    async fn look_for_mail(
        &self,
        demands: &mpsc::Sender<Demand>,
        answering: &mut Option<Answering>,
    ) -> Result<(), Stop> {
        let Some(epoch) = self.lease.epoch() else {
            return Ok(());
        };
        if epoch != ALONE && !self.is_to_lead(epoch).await? {
            return Ok(());
        }
        let store = &*self.store;
        let cancel = place(CANCEL)?;
        if store.get(&cancel, QUESTION).await.is_ok() {
            let (tell, _nobody_listens) = mpsc::unbounded_channel();
            let demand = Demand {
                wish: Wish::Cancel,
                untagged: false,
                tell,
            };
            // What cannot be handed on now is seen again.
            if demands.send(demand).await.is_ok() {
                remove(store, &cancel).await?;
            }
        }
        let Some((question, content)) = read(store).await? else {
            return Ok(());
        };
        let is_being =
            |being: &Answering| being.question.id == question.id && !being.writing.is_finished();
        if answering.as_ref().is_some_and(is_being) {
            return Ok(());
        }
        if let Some(from) = self.first_page(&question, &content).await? {
            *answering = Some(self.begin_answer(question, content, from, demands).await);
        }
        Ok(())
    }

    /// The page to begin with: somebody before this one may have written some. `None` for what is not asked any more.
    async fn first_page(&self, question: &Question, content: &Bytes) -> Result<Option<u64>, Stop> {
        let all = place(SAID)?;
        let own = question.id.to_string();
        for entry in listed(&*self.store, &all).await? {
            if let (true, Ok(other)) = (entry != own, all.join(&entry)) {
                remove(&*self.store, &other).await?;
            }
        }
        let pages = match all.join(&own) {
            Ok(own) => listed(&*self.store, &own).await?,
            Err(_malformed) => return Ok(None),
        };
        let last = pages.last().and_then(|page| page.parse::<u64>().ok());
        if let Some(last) = last {
            return Ok(Some(last + 1));
        }
        let asked = self.store.stat(&place(ASKED)?).await?.modified;
        let now = SystemTime::from(self.metadata.now().await?);
        let age = asked.and_then(|asked| now.duration_since(asked).ok());
        if age.is_some_and(|age| age > GOOD_FOR) {
            self.store.remove_if(&place(ASKED)?, content).await?;
            return Ok(None);
        }
        Ok(Some(0))
    }

    async fn begin_answer(
        &self,
        question: Question,
        content: Bytes,
        from: u64,
        demands: &mpsc::Sender<Demand>,
    ) -> Answering {
        let (tell, told) = mpsc::unbounded_channel();
        let _reader_is_there = tell.send(HEARD.to_owned());
        let demand = Demand {
            wish: if question.dry_run {
                Wish::Look
            } else {
                Wish::Collect
            },
            untagged: question.untagged,
            tell,
        };
        let writer = Writer {
            store: Arc::clone(&self.store),
            id: question.id,
            next: from,
        };
        // Dropped where nothing is collected any more: then another answers.
        let _ended = demands.send(demand).await;
        let writing = tokio::spawn(writer.write(told, content));
        Answering { question, writing }
    }
}

async fn listed(store: &dyn Driver, directory: &StorePath) -> Result<Vec<String>, StoreError> {
    match store.list(directory, None, PAGES).await {
        Err(StoreError::NotFound(_)) => Ok(Vec::new()),
        entries => Ok(entries?.into_iter().map(|entry| entry.name).collect()),
    }
}

/// Writes down what is said.
struct Writer {
    store: Arc<dyn Driver>,
    id: uuid::Uuid,
    next: u64,
}

impl Writer {
    /// To the last line, and takes the question away. Without a last line, the question stands, and whoever leads then
    /// answers it.
    async fn write(mut self, mut told: mpsc::UnboundedReceiver<String>, question: Bytes) {
        while let Some(first) = told.recv().await {
            let mut lines = first;
            let until = Instant::now() + TOGETHER;
            let mut is_over = is_last(&lines);
            while !is_over
                && lines.len() < PAGE
                && let Ok(Some(line)) = timeout_at(until, told.recv()).await
            {
                is_over = is_last(&line);
                lines.push('\n');
                lines.push_str(&line);
            }
            if lines.ends_with(&elsewhere()) {
                return;
            }
            if let Err(error) = self.put(lines.into()).await {
                tracing::warn!(%error, "who asked for the collection is not told how it goes");
                return;
            }
            if is_over {
                let removed = match place(ASKED) {
                    Ok(asked) => self.store.remove_if(&asked, &question).await,
                    Err(error) => Err(error),
                };
                if let Err(error) = removed {
                    tracing::warn!(%error, "what was asked for may be asked for again");
                }
                return;
            }
        }
    }

    async fn put(&mut self, lines: Bytes) -> Result<(), StoreError> {
        let page = page(self.id, self.next)?;
        let mut written = Ok(());
        for _ in 0..TRIES {
            written = write(&*self.store, page.clone(), lines.clone()).await;
            if written.is_ok() {
                self.next += 1;
                break;
            }
            sleep(AGAIN_AFTER).await;
        }
        written
    }
}

fn is_last(line: &str) -> bool {
    line == DONE || line.starts_with(FAILED)
}

/// What somebody says who does not lead: another answers.
fn elsewhere() -> String {
    format!("{FAILED}{}", Stop::Fenced)
}
