//! A metadata service that is measured: what was proposed, what it came to, how long that took.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use roadstead_machine::{Command, NodeId, Outcome, Segment, SessionId, Standing, Timestamp};
use tokio::time::Instant;

use crate::{Fleet, Metadata, Renewal, Secrets, Unavailable};

/// Told the name of a command, of its outcome, and the time from one to the other.
pub type Meter = Arc<dyn Fn(&'static str, &'static str, Duration) + Send + Sync>;

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
        let came_to = outcome.as_ref().map_or(UNAVAILABLE, Outcome::name);
        (self.meter)(name, came_to, begun.elapsed());
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

    async fn now(&self) -> Result<Timestamp, Unavailable> {
        self.metadata.now().await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::{Home, Local, system_clock};

    #[tokio::test]
    async fn what_is_proposed_is_told_with_its_outcome() {
        let local = Local::open(Home::Memory, system_clock()).unwrap();
        let told = Arc::new(Mutex::new(Vec::new()));
        let telling = Arc::clone(&told);
        let meter: Meter = Arc::new(move |command, outcome, _took| {
            telling.lock().unwrap().push((command, outcome));
        });
        let metered = Metered::new(Arc::new(local), meter);
        let secret = vec![1; 32];
        let adopted = metered.propose(Command::AdoptSecret { secret }).await;
        assert!(adopted.is_ok());
        let session = SessionId([1; 16]);
        metered.propose(Command::Finish { session }).await.unwrap();
        assert_eq!(metered.open_sessions().await.unwrap(), 0);
        let told = told.lock().unwrap();
        assert_eq!(told[0], ("adopt_secret", "secret"));
        assert_eq!((told[1].0, told.len()), ("finish", 2));
    }
}
