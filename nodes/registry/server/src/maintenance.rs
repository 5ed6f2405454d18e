//! What a registry does for itself: clean up after a crash, and end uploads that nobody goes on with.

use std::time::{Duration, SystemTime};

use roadstead_metadata::{Command, Outcome, Timestamp};
use tokio_util::sync::CancellationToken;

use crate::Registry;
use crate::error::Error;

/// Places looked at in one step.
const PAGE: usize = 1000;

/// How long staged bytes may lie without a record while a writer may still come back to them.
const ORPHANED_AFTER: Duration = Duration::from_hours(24);

/// When unfinished uploads are ended (`storage.maintenance.uploadpurging`).
#[derive(Debug, Clone, Copy)]
pub struct Purging {
    /// Uploads that have not moved for this long go.
    pub age: Duration,
    pub interval: Duration,
}

/// What a clean-up found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reclaimed {
    pub temporary_files: usize,
    pub staged_places: usize,
}

impl Registry {
    /// Removes what no process can still be writing: right at the start of one that has the store for itself.
    pub async fn reclaim_all(&self) -> Result<Reclaimed, Error> {
        self.reclaim(self.metadata.now()).await
    }

    async fn reclaim(&self, before: Timestamp) -> Result<Reclaimed, Error> {
        let before = SystemTime::from(before);
        let temporary_files = self.store.sweep(before).await?;
        let mut staged_places = 0;
        let mut after: Option<String> = None;
        loop {
            let places = self.store.staged(before, after.as_deref(), PAGE).await?;
            let Some(last) = places.last() else { break };
            after = Some(last.clone());
            let orphans = self.metadata.unheld(places).await?;
            staged_places += orphans.len();
            self.store.discard(&orphans).await?;
        }
        Ok(Reclaimed {
            temporary_files,
            staged_places,
        })
    }

    /// Ends uploads that have not moved since, and gives up their bytes. Answers with their number.
    pub async fn purge_uploads(&self, idle_for: Duration) -> Result<usize, Error> {
        let idle_since = self.metadata.now().minus(idle_for);
        let ended = match self.metadata.propose(Command::Purge { idle_since }).await? {
            Outcome::Discarded { sessions, segments } => {
                let places: Vec<String> =
                    segments.into_iter().map(|segment| segment.place).collect();
                self.store.discard(&places).await?;
                sessions
            }
            _other => 0,
        };
        self.reclaim(self.metadata.now().minus(ORPHANED_AFTER))
            .await?;
        Ok(ended)
    }

    /// Purges after `first`, then again and again, until the drain.
    pub async fn keep_purging(&self, purging: Purging, first: Duration, drain: CancellationToken) {
        let mut wait = first;
        while drain
            .run_until_cancelled(tokio::time::sleep(wait))
            .await
            .is_some()
        {
            match self.purge_uploads(purging.age).await {
                Ok(ended) => tracing::info!(ended, "purged uploads that nobody went on with"),
                Err(error) => tracing::error!(%error, "uploads cannot be purged"),
            }
            wait = purging.interval;
        }
    }
}
