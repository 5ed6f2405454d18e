//! An upload session: the bytes acknowledged so far, and how it ended.

use std::fmt;

use roadstead_oci::{Digest, HashState, Name};
use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// A session's id: the 16 bytes of a UUID.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SessionId(pub [u8; 16]);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Where a session comes from: all that is known of one in which nothing was received yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    pub session: SessionId,
    pub repository: Name,
    pub opened: Timestamp,
}

/// Bytes of a session that one writer stored at a place of its own, and never touches again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// Where: the storage driver's own word for it.
    pub place: String,
    /// Bytes, at least one.
    pub length: u64,
}

/// A session that takes bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receiving {
    /// Bytes acknowledged: where the next chunk begins. The sum of the segments' lengths.
    pub offset: u64,
    /// The hash of the first `offset` bytes, to go on with.
    pub state: HashState,
    pub segments: Vec<Segment>,
    /// When the last bytes came.
    pub touched: Timestamp,
}

/// The life of a session.
///
/// ```text
///  (a token only) ─Open, Append▶ Receiving ──Append──▶ Receiving
///        │                        │
///        ├───────── Seal ─────────┴──▶ Sealed ──Finish──▶ Completed ──┐
///        │                        │      │                            ├──▶ forgotten
///        └────── Cancel ──────────┴──────┼── Cancel, Purge ▶ Cancelled┘
///                                        └── Purge ▶ Cancelled
/// ```
/// A session without a record is one that a valid token tells of, in which nothing was received. `Completed` and
/// `Cancelled` are kept only as long as somebody may ask, or its token alone would bring it to life again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Session {
    Receiving {
        repository: Name,
        progress: Receiving,
    },
    /// Nothing may be added: the content is being published.
    Sealed {
        repository: Name,
        digest: Digest,
        segments: Vec<Segment>,
        touched: Timestamp,
    },
    Completed {
        repository: Name,
        digest: Digest,
    },
    Cancelled {
        repository: Name,
    },
    /// As `Cancelled`, by a proposal that may be made again.
    CancelledBy {
        repository: Name,
        proposal: [u8; 16],
    },
}

/// Where a session stands, without the list of its segments, which may be long.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Standing {
    Receiving {
        repository: Name,
        offset: u64,
        state: HashState,
    },
    Sealed {
        repository: Name,
        digest: Digest,
    },
    Completed {
        repository: Name,
        digest: Digest,
    },
    Cancelled {
        repository: Name,
    },
}

impl Standing {
    pub fn repository(&self) -> &Name {
        match self {
            Self::Receiving { repository, .. }
            | Self::Sealed { repository, .. }
            | Self::Completed { repository, .. }
            | Self::Cancelled { repository } => repository,
        }
    }
}

impl Session {
    pub fn standing(&self) -> Standing {
        let repository = self.repository().clone();
        match self {
            Self::Receiving { progress, .. } => Standing::Receiving {
                repository,
                offset: progress.offset,
                state: progress.state.clone(),
            },
            Self::Sealed { digest, .. } => Standing::Sealed {
                repository,
                digest: digest.clone(),
            },
            Self::Completed { digest, .. } => Standing::Completed {
                repository,
                digest: digest.clone(),
            },
            Self::Cancelled { .. } | Self::CancelledBy { .. } => Standing::Cancelled { repository },
        }
    }

    pub fn repository(&self) -> &Name {
        match self {
            Self::Receiving { repository, .. }
            | Self::Sealed { repository, .. }
            | Self::Completed { repository, .. }
            | Self::Cancelled { repository }
            | Self::CancelledBy { repository, .. } => repository,
        }
    }

    /// What the session has stored and not yet given away.
    pub fn segments(&self) -> &[Segment] {
        match self {
            Self::Receiving { progress, .. } => &progress.segments,
            Self::Sealed { segments, .. } => segments,
            Self::Completed { .. } | Self::Cancelled { .. } | Self::CancelledBy { .. } => &[],
        }
    }

    /// Places are never used twice, so one that is held was taken from this very proposal.
    pub(crate) fn holds(&self, segment: &Segment) -> bool {
        self.segments().iter().rev().any(|held| held == segment)
    }

    pub(crate) fn touched(&self) -> Option<Timestamp> {
        match self {
            Self::Receiving { progress, .. } => Some(progress.touched),
            Self::Sealed { touched, .. } => Some(*touched),
            Self::Completed { .. } | Self::Cancelled { .. } | Self::CancelledBy { .. } => None,
        }
    }
}
