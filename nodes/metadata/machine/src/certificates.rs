//! Certificates that the processes of a cluster share: one writes what is kept, all adopt it.
//!
//! ```text
//!  (nobody's) ──Follow, wanting──▶ held in a term ──not heard for FOLLOWS_FOR, and another wants it──▶ held in the next
//!       ▲                               │ ▲ │
//!       │                               │ └─┘ Write: the next version, which every follower adopts
//!       └────────────Leave──────────────┘
//! ```
//! What is written is sealed: the machine knows neither keys nor certificates. A term is never given twice, so that a
//! holder that was paused, and replaced, can write no more.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::cluster::NodeId;
use crate::time::Timestamp;

/// For how long a process counts as one that follows, after it was heard.
pub const FOLLOWS_FOR: Duration = Duration::from_secs(20);

/// Bytes of what is kept at most: a hundred names take some twenty thousand.
pub const MAX_DOCUMENT: usize = 128 * 1024;

/// Kept at a time at most: processes that are configured alike share one.
pub const MAX_RECORDS: usize = 16;

/// Processes that follow one at most.
pub const MAX_FOLLOWERS: usize = 1000;

/// Bytes of what is told in the open.
const MAX_TOLD: usize = 1024;

/// What is to be certified, and by whom: the same for all processes that are configured alike.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RecordId(pub [u8; 16]);

impl fmt::Debug for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// What everybody may know of a record.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// The names, with blanks between them.
    pub names: String,
    /// When the certificate expires, if there is one.
    pub not_after: Option<Timestamp>,
    /// Why the last try failed, if it did.
    pub failure: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum CertificateCommand {
    /// A process is there, and has adopted the version `seen`. It would write, if nobody else has the right to.
    Follow {
        record: RecordId,
        process: NodeId,
        seen: u64,
        /// Tells the key apart that it seals with.
        key: u64,
    },
    /// Keeps this instead of what was there.
    Write {
        record: RecordId,
        term: u64,
        document: Vec<u8>,
        told: Told,
    },
    /// A process is not there any more.
    Leave { record: RecordId, process: NodeId },
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum CertificateOutcome {
    Followed {
        version: u64,
        /// The term of the process's right to write, if it has it.
        term: Option<u64>,
        /// What is kept, if the process has not adopted it.
        document: Option<Vec<u8>>,
        /// Others that follow, and have not adopted this version.
        unaware: u32,
        /// Others that seal with another key.
        strangers: u32,
    },
    /// This is the version now.
    Written {
        version: u64,
    },
    /// The term is over.
    Fenced,
    /// There are [`MAX_RECORDS`], or [`MAX_FOLLOWERS`], or it is larger than [`MAX_DOCUMENT`].
    TooMuch,
    Left,
}

/// A process that follows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Follower {
    seen: u64,
    key: u64,
    until: Timestamp,
}

#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    version: u64,
    document: Vec<u8>,
    told: Told,
    followers: BTreeMap<NodeId, Follower>,
    /// Who may write, in which term. It stays so until another wants to, and it is no follower any more.
    holder: Option<(NodeId, u64)>,
    /// When it was last followed.
    touched: Timestamp,
}

/// The part of what is agreed on that is about certificates.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificates {
    records: BTreeMap<RecordId, Record>,
    /// The last term or version given: a record that was forgotten, and begins anew, gives none again.
    given: u64,
}

impl CertificateCommand {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Follow { .. } => "follow_certificates",
            Self::Write { .. } => "write_certificates",
            Self::Leave { .. } => "leave_certificates",
        }
    }
}

impl CertificateOutcome {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Followed { .. } => "followed",
            Self::Written { .. } => "written",
            Self::Fenced => "fenced",
            Self::TooMuch => "too_much",
            Self::Left => "left",
        }
    }
}

impl Certificates {
    pub(crate) fn apply(
        &mut self,
        command: CertificateCommand,
        now: Timestamp,
    ) -> CertificateOutcome {
        match command {
            CertificateCommand::Follow {
                record,
                process,
                seen,
                key,
            } => {
                let until = now.plus(FOLLOWS_FOR);
                let follower = Follower { seen, key, until };
                if !self.has_room_for(record, now) {
                    return CertificateOutcome::TooMuch;
                }
                let record = self.records.entry(record).or_default();
                record.follow(process, follower, now, &mut self.given)
            }
            CertificateCommand::Write {
                record,
                term,
                document,
                told,
            } => match self.records.get_mut(&record) {
                Some(record) => record.write(term, document, told, &mut self.given),
                None => CertificateOutcome::Fenced,
            },
            CertificateCommand::Leave { record, process } => {
                if let Some(record) = self.records.get_mut(&record) {
                    record.followers.remove(&process);
                    record.holder = record.holder.filter(|(holder, _)| *holder != process);
                }
                CertificateOutcome::Left
            }
        }
    }

    /// What everybody may know, in the order in which records are kept.
    pub fn told(&self) -> impl Iterator<Item = &Told> {
        self.records.values().map(|record| &record.told)
    }

    /// Whether the record is there, or can be. Those that nobody follows make room, the oldest first.
    fn has_room_for(&mut self, id: RecordId, now: Timestamp) -> bool {
        if self.records.contains_key(&id) || self.records.len() < MAX_RECORDS {
            return true;
        }
        let deserted = self
            .records
            .iter()
            .filter(|(_, record)| !record.is_followed(now));
        let oldest = deserted.min_by_key(|(id, record)| (record.touched, **id));
        let oldest = oldest.map(|(id, _)| *id);
        oldest.is_some_and(|oldest| self.records.remove(&oldest).is_some())
    }
}

impl Record {
    fn is_followed(&self, now: Timestamp) -> bool {
        self.followers.values().any(|follower| now < follower.until)
    }

    fn follow(
        &mut self,
        process: NodeId,
        follower: Follower,
        now: Timestamp,
        given: &mut u64,
    ) -> CertificateOutcome {
        self.touched = now;
        self.followers.retain(|_, other| now < other.until);
        if self.followers.len() >= MAX_FOLLOWERS && !self.followers.contains_key(&process) {
            return CertificateOutcome::TooMuch;
        }
        let (seen, key) = (follower.seen, follower.key);
        self.followers.insert(process, follower);
        let is_there = |(holder, _): (NodeId, u64)| self.followers.contains_key(&holder);
        if !self.holder.is_some_and(is_there) {
            *given += 1;
            self.holder = Some((process, *given));
        }
        let right = self.holder.filter(|(holder, _)| *holder == process);
        let others = || {
            self.followers
                .iter()
                .filter(|(other, _)| **other != process)
        };
        let count = |is: &dyn Fn(&Follower) -> bool| {
            let counted = others().filter(|(_, other)| is(other)).count();
            u32::try_from(counted).unwrap_or(u32::MAX)
        };
        CertificateOutcome::Followed {
            version: self.version,
            term: right.map(|(_, term)| term),
            document: (seen != self.version).then(|| self.document.clone()),
            unaware: count(&|other| other.seen != self.version),
            strangers: count(&|other| other.key != key),
        }
    }

    fn write(
        &mut self,
        term: u64,
        document: Vec<u8>,
        told: Told,
        given: &mut u64,
    ) -> CertificateOutcome {
        if self.holder.is_none_or(|(_, held)| held != term) {
            return CertificateOutcome::Fenced;
        }
        let words = told.names.len() + told.failure.as_ref().map_or(0, String::len);
        if document.len() > MAX_DOCUMENT || words > MAX_TOLD {
            return CertificateOutcome::TooMuch;
        }
        *given += 1;
        self.version = *given;
        self.document = document;
        self.told = told;
        CertificateOutcome::Written {
            version: self.version,
        }
    }
}

impl fmt::Debug for CertificateCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Follow {
                record,
                process,
                seen,
                ..
            } => write!(f, "Follow({record:?} by {process}, seen {seen})"),
            Self::Write { record, term, .. } => write!(f, "Write({record:?} in term {term})"),
            Self::Leave { record, process } => write!(f, "Leave({record:?} by {process})"),
        }
    }
}

impl fmt::Debug for CertificateOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Followed {
                version,
                term,
                unaware,
                ..
            } => write!(
                f,
                "Followed(version {version}, term {term:?}, {unaware} unaware)"
            ),
            Self::Written { version } => write!(f, "Written(version {version})"),
            Self::Fenced => f.write_str("Fenced"),
            Self::TooMuch => f.write_str("TooMuch"),
            Self::Left => f.write_str("Left"),
        }
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told = self.records.iter().map(|(id, record)| (id, &record.told));
        f.debug_map().entries(told).finish()
    }
}

#[cfg(test)]
#[path = "certificates_tests.rs"]
mod tests;
