//! Bytes that were stored for a command of which nobody knows whether it was logged: the log failed while it was
//! written. When it works again, it tells whether they are somebody's; until then they are left alone.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use roadstead_metadata::{Command, Outcome, Segment};
use tokio_util::sync::CancellationToken;

use crate::Registry;
use crate::error::Error;

/// Places remembered. What is more than that stays until the clean-up of old leftovers.
const REMEMBERED: usize = 10_000;

/// How often it is asked again.
const ASK_EVERY: Duration = Duration::from_secs(5);

#[derive(Debug, Default)]
pub(crate) struct Doubtful(Mutex<Vec<String>>);

impl Doubtful {
    fn add(&self, place: String) {
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if places.len() < REMEMBERED {
            places.push(place);
        }
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Registry {
    /// Proposes a command that takes over a stored segment; when its outcome is unknown, so is whose the segment is.
    pub(crate) async fn propose_holding(
        &self,
        command: Command,
        segment: Option<&Segment>,
    ) -> Result<Outcome, Error> {
        let proposed = self.metadata.propose(command).await;
        if let (Err(_), Some(segment)) = (&proposed, segment) {
            self.doubtful.add(segment.place.clone());
        }
        Ok(proposed?)
    }

    /// Asks again and again, until the drain.
    pub async fn keep_resolving(&self, drain: CancellationToken) {
        let wait = || tokio::time::sleep(ASK_EVERY);
        while drain.run_until_cancelled(wait()).await.is_some() {
            match self.resolve_doubts().await {
                Ok(0) => {}
                Ok(places) => tracing::info!(places, "gave up bytes that no upload holds"),
                Err(error) => {
                    tracing::debug!(%error, "whose an upload's bytes are is not known yet");
                }
            }
        }
    }

    /// Gives up what turns out to be nobody's. Answers with how many places that were.
    async fn resolve_doubts(&self) -> Result<usize, Error> {
        let places = self.doubtful.take();
        if places.is_empty() {
            return Ok(0);
        }
        let resolved = self.discard_unheld(&places).await;
        if resolved.is_err() {
            for place in places {
                self.doubtful.add(place);
            }
        }
        resolved
    }

    async fn discard_unheld(&self, places: &[String]) -> Result<usize, Error> {
        let unheld = self.renounce(places.to_vec()).await?;
        self.store.discard(&unheld).await?;
        Ok(unheld.len())
    }

    /// Those of `places` that no upload holds, nor can take from now on.
    pub(crate) async fn renounce(&self, places: Vec<String>) -> Result<Vec<String>, Error> {
        match self.metadata.propose(Command::Renounce { places }).await? {
            Outcome::Unheld { places } => Ok(places),
            _other => Ok(Vec::new()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::SystemTime;

    use async_trait::async_trait;
    use roadstead_metadata::{
        Collection, Fleet, Home, Invalidated, Local, Metadata, NodeId, Renewal, Secrets, SessionId,
        Stamp, Standing, Timestamp, Unavailable, system_clock,
    };
    use roadstead_oci::{Algorithm, Name};
    use roadstead_storage::{Driver as _, Memory};

    use super::*;
    use crate::Options;
    use crate::body::Body;
    use crate::session::Ticket;
    use crate::upload::Chunk;

    /// A metadata service that loses its answers, having logged what it was asked to, or not.
    #[derive(Debug)]
    struct Failing {
        local: Local,
        fails: AtomicBool,
        logs: bool,
    }

    #[async_trait]
    impl Metadata for Failing {
        async fn propose(&self, command: Command) -> Result<Outcome, Unavailable> {
            let fails = self.fails.load(Ordering::Relaxed);
            if fails && self.logs {
                self.local.propose(command).await?;
            } else if !fails {
                return self.local.propose(command).await;
            }
            Err(Unavailable::because("the disk is gone"))
        }
        async fn session(&self, id: SessionId) -> Result<Option<Standing>, Unavailable> {
            self.local.session(id).await
        }
        async fn segments(&self, id: SessionId) -> Result<Vec<Segment>, Unavailable> {
            self.local.segments(id).await
        }
        async fn open_sessions(&self) -> Result<usize, Unavailable> {
            self.local.open_sessions().await
        }
        async fn is_fresh(&self, opened: Timestamp) -> Result<bool, Unavailable> {
            self.local.is_fresh(opened).await
        }
        async fn unheld(&self, places: Vec<String>) -> Result<Vec<String>, Unavailable> {
            self.local.unheld(places).await
        }
        async fn renew(&self, node: NodeId, epoch: u64) -> Result<Renewal, Unavailable> {
            self.local.renew(node, epoch).await
        }
        async fn fleet(&self) -> Result<Fleet, Unavailable> {
            self.local.fleet().await
        }
        async fn secrets(&self) -> Result<Secrets, Unavailable> {
            self.local.secrets().await
        }
        async fn collection(
            &self,
            known: Option<Stamp>,
            wait: Duration,
        ) -> Result<Option<Collection>, Unavailable> {
            self.local.collection(known, wait).await
        }
        async fn invalidations(
            &self,
            known: Option<u64>,
            wait: Duration,
        ) -> Result<Option<Invalidated>, Unavailable> {
            self.local.invalidations(known, wait).await
        }
        async fn now(&self) -> Result<Timestamp, Unavailable> {
            self.local.now().await
        }
    }

    async fn append(registry: &Registry, ticket: Ticket) -> Result<Ticket, Error> {
        let pieces = futures::stream::iter([Ok("bytes".into())]);
        let body = Body::new(pieces, Duration::from_secs(1), false);
        registry.append(ticket, Chunk { range: None, body }).await
    }

    async fn after_a_failure(logs: bool) -> (usize, u64) {
        let store = Memory::new();
        let metadata = Arc::new(Failing {
            local: Local::open(Home::Memory, system_clock()).unwrap(),
            fails: AtomicBool::new(false),
            logs,
        });
        let service: Arc<dyn Metadata> = Arc::<Failing>::clone(&metadata);
        let registry = Registry::build(Arc::new(store.clone()), service, Options::default());
        let registry = registry.await.unwrap();
        let name: Name = "doubtful".parse().unwrap();
        let ticket = registry
            .open_upload(&name, Algorithm::Sha256)
            .await
            .unwrap();
        metadata.fails.store(true, Ordering::Relaxed);
        assert!(append(&registry, ticket.clone()).await.is_err());
        assert!(registry.resolve_doubts().await.is_err());
        let later = SystemTime::from(Timestamp(u64::MAX / 4));
        assert_eq!(
            store.staged(later, None, 9).await.unwrap().len(),
            1,
            "whose it is is unknown"
        );
        metadata.fails.store(false, Ordering::Relaxed);
        registry.resolve_doubts().await.unwrap();
        let id = ticket.origin.session.to_string();
        let stands = registry.upload_status(&name, &id).await.unwrap();
        (
            store.staged(later, None, 9).await.unwrap().len(),
            stands.state.offset,
        )
    }

    #[tokio::test]
    async fn bytes_of_a_command_that_was_not_logged_are_given_up() {
        assert_eq!(after_a_failure(false).await, (0, 0));
    }

    #[tokio::test]
    async fn bytes_of_a_command_that_was_logged_after_all_stay() {
        assert_eq!(after_a_failure(true).await, (1, 5));
    }
}
