//! What is replicated, and its stored forms: a version byte, then postcard.

use std::fmt;

use roadstead_machine::{Entry, Outcome, Timestamp, decode_entry, encode_entry};
use serde::de::{DeserializeOwned, Error as _};
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

openraft::declare_raft_types!(
    /// The group's raft.
    pub(crate) TypeConfig:
        D = Change,
        R = Answer,
        NodeId = u64,
        Node = Member,
        SnapshotData = Vec<u8>,
        AsyncRuntime = Runtime,
);

#[cfg(not(test))]
type Runtime = openraft::TokioRuntime;
/// The same, with randomness that can be seeded.
#[cfg(test)]
type Runtime = crate::simulation::Runtime;

pub(crate) type Raft = openraft::Raft<TypeConfig>;
pub(crate) type LogId = openraft::LogId<u64>;
pub(crate) type Vote = openraft::Vote<u64>;
pub(crate) type LogEntry = openraft::Entry<TypeConfig>;
pub(crate) type Membership = openraft::StoredMembership<u64, Member>;
pub(crate) type SnapshotMeta = openraft::SnapshotMeta<u64, Member>;
pub(crate) type StorageError = openraft::StorageError<u64>;

/// A directory's random name: a member that lost its disk is another one, whatever its id.
pub(crate) type Incarnation = [u8; 16];

/// A member of the group, as the group's membership has it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Member {
    /// `host:port`.
    pub addr: String,
    pub incarnation: Incarnation,
}

/// What one log entry does.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Change {
    /// Many proposals that share one sync.
    Commands(Vec<Proposed>),
    /// The state to begin with; nothing when something was agreed on before.
    Import(Vec<u8>),
}

/// One command of a batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Proposed {
    /// Applied later than this, it does nothing: its proposer has given up, and may have acted on that.
    pub until: Timestamp,
    #[serde(serialize_with = "versioned", deserialize_with = "from_versioned")]
    pub entry: Entry,
}

/// What a log entry came to: an outcome for each command, `None` for one that came too late. An import that did nothing has
/// one `None`.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Answer(pub Vec<Option<Outcome>>);

/// The machine's entries keep their own version inside the log's.
fn versioned<S: Serializer>(entry: &Entry, serializer: S) -> Result<S::Ok, S::Error> {
    let bytes = encode_entry(entry).map_err(S::Error::custom)?;
    bytes.serialize(serializer)
}

fn from_versioned<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Entry, D::Error> {
    let bytes = Vec::<u8>::deserialize(deserializer)?;
    decode_entry(&bytes).map_err(D::Error::custom)
}

impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Commands(commands) => write!(f, "Commands({})", commands.len()),
            Self::Import(state) => write!(f, "Import({} bytes)", state.len()),
        }
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Answer({})", self.0.len())
    }
}

const VERSION: u8 = 1;

/// Bytes that are not what they should be.
#[derive(Debug, thiserror::Error)]
pub enum FormError {
    #[error("written by a newer version (format {0}, this one knows {VERSION})")]
    Newer(u8),
    #[error("damaged: {0}")]
    Damaged(#[from] postcard::Error),
    #[error("empty")]
    Empty,
}

/// A value as it is stored or sent.
pub(crate) fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, FormError> {
    Ok(postcard::to_extend(value, vec![VERSION])?)
}

/// What [`encode`] made.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, FormError> {
    match bytes {
        [VERSION, rest @ ..] => Ok(postcard::from_bytes(rest)?),
        [version, ..] => Err(FormError::Newer(*version)),
        [] => Err(FormError::Empty),
    }
}

#[cfg(test)]
#[path = "types_tests.rs"]
mod tests;
