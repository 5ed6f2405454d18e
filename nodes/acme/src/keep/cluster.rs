//! The metadata service: all processes of a cluster that are configured alike share a record.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use aws_lc_rs::digest::{Context, SHA256};
use roadstead_metadata::{
    CertificateCommand, CertificateOutcome, Command, Metadata, NodeId, Outcome, RecordId,
    Timestamp, Told, Unavailable,
};
use tokio::time::Instant;

use super::seal::Seal;
use super::{Keep, KeepError, Seen};
use crate::document::Document;
use crate::renewal::LOOK_SELDOM;

/// Bytes of the names that everybody may know.
const NAMES_BYTES: usize = 400;
const FAILURE_BYTES: usize = 500;

/// Whoever is there has looked within this, and was seen by one that looks often.
const OTHERS_COME_WITHIN: Duration = LOOK_SELDOM.saturating_add(Duration::from_mins(1));

pub(crate) struct InCluster {
    metadata: Arc<dyn Metadata>,
    record: RecordId,
    /// Made up anew with each start.
    process: NodeId,
    seal: Seal,
    names: String,
    /// The version that this process has adopted.
    adopted: AtomicU64,
    /// Since when nobody was seen who has another key: since the start, if ever.
    among_us_since: Mutex<Instant>,
}

impl InCluster {
    pub(crate) fn new(
        metadata: Arc<dyn Metadata>,
        secret: &[u8],
        directory: &str,
        hosts: &[String],
    ) -> Result<Self, KeepError> {
        let mut process = [0; 16];
        let random = getrandom::fill(&mut process);
        random.map_err(|error| KeepError::Unwritable(error.to_string()))?;
        let seal = Seal::new(secret);
        Ok(Self {
            metadata,
            record: record(directory, hosts),
            process: NodeId(process),
            seal: seal.map_err(|error| KeepError::Unwritable(error.to_string()))?,
            names: hosts.join(" "),
            adopted: AtomicU64::new(0),
            among_us_since: Mutex::new(Instant::now()),
        })
    }

    /// Whether all who are there have the same key, with so many others of whom that is known not to be so.
    fn are_among_us(&self, strangers: u32) -> bool {
        let since = self.among_us_since.lock();
        let mut since = since.unwrap_or_else(PoisonError::into_inner);
        if strangers > 0 {
            *since = Instant::now();
        }
        since.elapsed() >= OTHERS_COME_WITHIN
    }

    async fn propose(&self, command: CertificateCommand) -> Result<CertificateOutcome, KeepError> {
        let proposed = self.metadata.propose(Command::Certificates(command)).await;
        let unavailable = |error: Unavailable| KeepError::Unavailable {
            reason: error.to_string(),
        };
        match proposed.map_err(unavailable)? {
            Outcome::Certificates(outcome) => Ok(outcome),
            other => Err(KeepError::Unavailable {
                reason: format!("the metadata service answered {other:?}"),
            }),
        }
    }

    /// What is kept, unless it was never written.
    fn read(&self, sealed: &[u8]) -> Result<Document, KeepError> {
        if sealed.is_empty() {
            return Ok(Document::default());
        }
        let opened = self.seal.open(&self.record.0, sealed)?;
        serde_json::from_slice(&opened).map_err(|error| KeepError::Unavailable {
            reason: format!("what the metadata service keeps cannot be understood: {error}"),
        })
    }

    fn told(&self, document: &Document) -> Told {
        let millis = |seconds: u64| Timestamp(seconds.saturating_mul(1000));
        let certificate = document.certificate.as_ref();
        Told {
            names: cut(&self.names, NAMES_BYTES),
            not_after: certificate.map(|certificate| millis(certificate.not_after)),
            failure: document
                .failure
                .as_ref()
                .map(|words| cut(words, FAILURE_BYTES)),
        }
    }
}

#[async_trait]
impl Keep for InCluster {
    async fn look(&self) -> Result<Seen, KeepError> {
        let follow = CertificateCommand::Follow {
            record: self.record,
            process: self.process,
            seen: self.adopted.load(Ordering::Relaxed),
            key: self.seal.id(),
        };
        let CertificateOutcome::Followed {
            version,
            term: right,
            document,
            unaware,
            strangers,
        } = self.propose(follow).await?
        else {
            return Err(KeepError::Unwritable("too many take part".to_owned()));
        };
        let are_among_us = self.are_among_us(strangers);
        let document = match document.map(|sealed| self.read(&sealed)) {
            // The key was changed, on every process that is there: nobody will ever read it again.
            Some(Err(KeepError::Sealed(_))) if right.is_some() && are_among_us => {
                tracing::warn!(
                    "what was kept is encrypted with another key than all processes have now: it begins anew"
                );
                Some(Document::default())
            }
            read => read.transpose()?,
        };
        Ok(Seen {
            version,
            document,
            right,
            unaware,
        })
    }

    fn adopted(&self, version: u64) {
        self.adopted.store(version, Ordering::Relaxed);
    }

    async fn write(&self, term: u64, document: &Document) -> Result<u64, KeepError> {
        let content = serde_json::to_vec(document);
        let content = content.map_err(|error| KeepError::Unwritable(error.to_string()))?;
        let sealed = self.seal.close(&self.record.0, content);
        let write = CertificateCommand::Write {
            record: self.record,
            term,
            document: sealed.map_err(|error| KeepError::Unwritable(error.to_string()))?,
            told: self.told(document),
        };
        match self.propose(write).await? {
            CertificateOutcome::Written { version } => Ok(version),
            CertificateOutcome::Fenced => Err(KeepError::Fenced),
            other => Err(KeepError::Unwritable(format!("{other:?}"))),
        }
    }

    async fn leave(&self) {
        let leave = CertificateCommand::Leave {
            record: self.record,
            process: self.process,
        };
        if let Err(error) = self.propose(leave).await {
            tracing::debug!(%error, "others wait until this process counts as gone");
        }
    }
}

/// Of the authority and the names: processes that are configured otherwise have another, and do not undo each other's
/// work.
fn record(directory: &str, hosts: &[String]) -> RecordId {
    let mut digest = Context::new(&SHA256);
    for part in std::iter::once(directory).chain(hosts.iter().map(String::as_str)) {
        digest.update(part.as_bytes());
        digest.update(b"\n");
    }
    let mut id = [0; 16];
    for (to, from) in id.iter_mut().zip(digest.finish().as_ref()) {
        *to = *from;
    }
    RecordId(id)
}

fn cut(text: &str, bytes: usize) -> String {
    let end = text.floor_char_boundary(bytes);
    text.get(..end).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use roadstead_metadata::{Home, Local, system_clock};

    use super::*;

    fn metadata() -> Arc<dyn Metadata> {
        Arc::new(Local::open(Home::Memory, system_clock()).unwrap())
    }

    fn keep(metadata: &Arc<dyn Metadata>, secret: &str) -> InCluster {
        let hosts = ["a.example".to_owned()];
        InCluster::new(
            Arc::clone(metadata),
            secret.as_bytes(),
            "https://ca",
            &hosts,
        )
        .unwrap()
    }

    fn document(tries: u32) -> Document {
        Document {
            tries,
            ..Document::default()
        }
    }

    #[tokio::test]
    async fn what_one_writes_another_reads_and_the_first_knows() {
        let metadata = metadata();
        let (first, second) = (keep(&metadata, "one secret"), keep(&metadata, "one secret"));
        let right = first.look().await.unwrap().right.unwrap();
        assert_eq!(second.look().await.unwrap().right, None);
        let version = first.write(right, &document(7)).await.unwrap();
        first.adopted(version);
        assert_eq!(first.look().await.unwrap().unaware, 1);
        let seen = second.look().await.unwrap();
        assert_eq!(seen.document.unwrap().tries, 7);
        second.adopted(seen.version);
        assert!(second.look().await.unwrap().document.is_none());
        assert_eq!(first.look().await.unwrap().unaware, 0);
        let refused = second.write(right + 1, &document(8)).await;
        assert!(matches!(refused, Err(KeepError::Fenced)));
        first.leave().await;
        assert!(second.look().await.unwrap().right.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_read_is_replaced_only_when_nobody_else_can() {
        let metadata = metadata();
        let old = keep(&metadata, "one secret");
        let right = old.look().await.unwrap().right.unwrap();
        old.write(right, &document(7)).await.unwrap();
        let new = keep(&metadata, "another secret");
        let refused = new.look().await.err().unwrap();
        assert!(
            matches!(refused, KeepError::Sealed(_)),
            "it is not the holder"
        );
        let third = keep(&metadata, "one secret");
        third.look().await.unwrap();
        old.leave().await;
        let refused = new.look().await.err().unwrap();
        assert!(
            matches!(refused, KeepError::Sealed(_)),
            "another can read it"
        );
        third.leave().await;
        let refused = new.look().await.err().unwrap();
        assert!(
            matches!(refused, KeepError::Sealed(_)),
            "a third may be there, and look seldom"
        );
        tokio::time::advance(OTHERS_COME_WITHIN).await;
        let seen = new.look().await.unwrap();
        assert_eq!(seen.document.unwrap().tries, 0, "it begins anew");
    }

    #[test]
    fn other_names_are_another_record() {
        let hosts = |names: &[&str]| {
            names
                .iter()
                .map(|name| (*name).to_owned())
                .collect::<Vec<_>>()
        };
        let one = record("https://ca", &hosts(&["a", "b"]));
        assert_eq!(one, record("https://ca", &hosts(&["a", "b"])));
        assert_ne!(one, record("https://ca", &hosts(&["a"])));
        assert_ne!(one, record("https://other", &hosts(&["a", "b"])));
    }
}
