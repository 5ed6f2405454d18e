//! A metadata service that is measured: what was proposed, what it came to, how long that took.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use roadstead_machine::{
    Collection, Command, Invalidated, NodeId, Outcome, Segment, SessionId, Stamp, Standing,
    Timestamp,
};
use tokio::time::Instant;

use crate::{Fleet, Metadata, Renewal, Secrets, Unavailable};

/// What was proposed, and what it came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    pub command: &'static str,
    pub outcome: &'static str,
    /// Upload sessions that moved or ended by it.
    pub sessions: usize,
    pub took: Duration,
}

/// Is told of each.
pub type Meter = Arc<dyn Fn(Decision) + Send + Sync>;

/// The outcome of what was not decided.
const UNAVAILABLE: &str = "unavailable";

pub struct Metered {
    metadata: Arc<dyn Metadata>,
    meter: Meter,
}

impl Metered {
    pub fn new(metadata: Arc<dyn Metadata>, meter: Meter) -> Self {
        Self { metadata, meter }
    }
}

impl fmt::Debug for Metered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Metered").field(&self.metadata).finish()
    }
}

#[async_trait]
impl Metadata for Metered {
    async fn propose(&self, command: Command) -> Result<Outcome, Unavailable> {
        let (name, begun) = (command.name(), Instant::now());
        let outcome = self.metadata.propose(command).await;
        (self.meter)(Decision {
            command: name,
            outcome: outcome.as_ref().map_or(UNAVAILABLE, Outcome::name),
            sessions: outcome.as_ref().map_or(0, Outcome::sessions),
            took: begun.elapsed(),
        });
        outcome
    }

    async fn session(&self, id: SessionId) -> Result<Option<Standing>, Unavailable> {
        self.metadata.session(id).await
    }

    async fn segments(&self, id: SessionId) -> Result<Vec<Segment>, Unavailable> {
        self.metadata.segments(id).await
    }

    async fn open_sessions(&self) -> Result<usize, Unavailable> {
        self.metadata.open_sessions().await
    }

    async fn is_fresh(&self, opened: Timestamp) -> Result<bool, Unavailable> {
        self.metadata.is_fresh(opened).await
    }

    async fn unheld(&self, places: Vec<String>) -> Result<Vec<String>, Unavailable> {
        self.metadata.unheld(places).await
    }

    async fn renew(&self, node: NodeId, epoch: u64) -> Result<Renewal, Unavailable> {
        self.metadata.renew(node, epoch).await
    }

    async fn fleet(&self) -> Result<Fleet, Unavailable> {
        self.metadata.fleet().await
    }

    async fn secrets(&self) -> Result<Secrets, Unavailable> {
        self.metadata.secrets().await
    }

    async fn collection(
        &self,
        known: Option<Stamp>,
        wait: Duration,
    ) -> Result<Option<Collection>, Unavailable> {
        self.metadata.collection(known, wait).await
    }

    async fn invalidations(
        &self,
        known: Option<u64>,
        wait: Duration,
    ) -> Result<Option<Invalidated>, Unavailable> {
        self.metadata.invalidations(known, wait).await
    }

    async fn now(&self) -> Result<Timestamp, Unavailable> {
        self.metadata.now().await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::{Home, Local, Origin, system_clock};
    use roadstead_oci::{Algorithm, Hasher};

    #[tokio::test]
    async fn what_is_proposed_is_told_with_its_outcome() {
        let local = Local::open(Home::Memory, system_clock()).unwrap();
        let told = Arc::new(Mutex::new(Vec::new()));
        let telling = Arc::clone(&told);
        let meter: Meter = Arc::new(move |decision| telling.lock().unwrap().push(decision));
        let metered = Metered::new(Arc::new(local), meter);
        let secret = vec![1; 32];
        let adopted = metered.propose(Command::AdoptSecret { secret }).await;
        assert!(adopted.is_ok());
        let session = SessionId([1; 16]);
        metered.propose(Command::Finish { session }).await.unwrap();
        assert_eq!(metered.open_sessions().await.unwrap(), 0);
        let origin = Origin {
            session,
            repository: "a/b".parse().unwrap(),
            opened: metered.now().await.unwrap(),
        };
        let state = Hasher::new(Algorithm::Sha256).save();
        let open = Command::Open { origin, state };
        let idle_since = Timestamp(u64::MAX);
        for command in [open, Command::Purge { idle_since }] {
            metered.propose(command).await.unwrap();
        }
        let told = told.lock().unwrap();
        let words = |at: usize| (told[at].command, told[at].outcome, told[at].sessions);
        assert_eq!(words(0), ("adopt_secret", "secret", 0));
        assert_eq!(words(1), ("finish", "unknown_session", 0));
        assert_eq!(words(2), ("open", "appended", 1));
        assert_eq!(words(3), ("purge", "discarded", 1));
        assert_eq!(told.len(), 4);
    }
}
