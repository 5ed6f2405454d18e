//! What is asked of the machine, and what it comes to.

use std::fmt;

use roadstead_oci::{Digest, HashState};
use serde::{Deserialize, Serialize};

use crate::certificates::{CertificateCommand, CertificateOutcome};
use crate::cluster::{ClusterCommand, ClusterOutcome};
use crate::collection::{CollectCommand, CollectOutcome};
use crate::invalidation::{InvalidationCommand, InvalidationOutcome};
use crate::session::{Origin, Segment, SessionId};
use crate::time::Timestamp;

/// A command with the time at which it was logged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub at: Timestamp,
    pub command: Command,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Adds a segment that was stored and is durable, if the session still stands at `from`.
    Append {
        origin: Origin,
        from: u64,
        segment: Segment,
        state: HashState,
    },
    /// Ends the taking of bytes at `at`, if the session still stands there. The tail is a last segment.
    Seal {
        origin: Origin,
        at: u64,
        tail: Option<Segment>,
        digest: Digest,
    },
    /// What was sealed is published and linked.
    Finish {
        session: SessionId,
    },
    Cancel {
        origin: Origin,
    },
    /// Cancels all sessions that have not moved since.
    Purge {
        idle_since: Timestamp,
    },
    /// Proposes the secret that tokens are signed with; the first one proposed stays.
    AdoptSecret {
        secret: Vec<u8>,
    },
    /// Puts a session on record in which nothing was received yet, so that it outlives its token.
    Open {
        origin: Origin,
        state: HashState,
    },
    /// Cancels a session if it still stands at `at`: its client sent the wrong bytes from there.
    Abandon {
        origin: Origin,
        at: u64,
    },
    /// Of these places, those that no session holds are to be nobody's from now on.
    Renounce {
        places: Vec<String>,
    },
    /// About the nodes of the cluster.
    Cluster(ClusterCommand),
    /// As `Cancel`, by a client that may ask again with the same `proposal` since it missed the answer.
    CancelOnce {
        origin: Origin,
        proposal: [u8; 16],
    },
    /// About the garbage collection.
    Collect(CollectCommand),
    /// About certificates that processes share.
    Certificates(CertificateCommand),
    /// About what nodes may not believe any more.
    Invalidation(InvalidationCommand),
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// The session now stands at `offset`.
    Appended {
        offset: u64,
    },
    /// The segments, in order, are the content of `digest`, and the caller (or whoever comes after it) publishes.
    /// Also the answer to a second seal with the same digest; `again` when its own tail was not taken.
    Sealed {
        segments: Vec<Segment>,
        again: bool,
    },
    /// The session ended before, with this digest.
    Completed {
        digest: Digest,
    },
    /// The session stands elsewhere: somebody else was faster, or the client is mistaken.
    Conflict {
        offset: u64,
    },
    /// There is no such session (any more).
    UnknownSession,
    /// The session has [`MAX_SEGMENTS`](crate::MAX_SEGMENTS).
    TooManySegments,
    /// The sessions ended; what they had stored is nobody's now.
    Discarded {
        sessions: usize,
        segments: Vec<Segment>,
    },
    Secret {
        secret: Vec<u8>,
    },
    /// The segment lies at a place that was given up meanwhile: its bytes are gone, or going.
    Renounced,
    /// These places are nobody's, and what lies there can be removed.
    Unheld {
        places: Vec<String>,
    },
    Cluster(ClusterOutcome),
    Collect(CollectOutcome),
    Certificates(CertificateOutcome),
    Invalidation(InvalidationOutcome),
}

impl Command {
    /// What is asked for, for figures.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Append { .. } => "append",
            Self::Seal { .. } => "seal",
            Self::Finish { .. } => "finish",
            Self::Cancel { .. } | Self::CancelOnce { .. } => "cancel",
            Self::Purge { .. } => "purge",
            Self::AdoptSecret { .. } => "adopt_secret",
            Self::Open { .. } => "open",
            Self::Abandon { .. } => "abandon",
            Self::Renounce { .. } => "renounce",
            Self::Cluster(command) => match command {
                ClusterCommand::Join { .. } | ClusterCommand::JoinOver { .. } => "join",
                ClusterCommand::Leave { .. } => "leave",
                ClusterCommand::Drain { .. } => "drain",
                ClusterCommand::RotateSecret { .. } | ClusterCommand::ReplaceSecret { .. } => {
                    "rotate_secret"
                }
                ClusterCommand::Identify { .. } => "identify",
            },
            Self::Collect(command) => command.name(),
            Self::Certificates(command) => command.name(),
            Self::Invalidation(command) => command.name(),
        }
    }

    /// The segment that a session gets by it.
    pub(crate) fn takes(&self) -> Option<&Segment> {
        match self {
            Self::Append { segment, .. } => Some(segment),
            Self::Seal { tail, .. } => tail.as_ref(),
            _ => None,
        }
    }
}

impl Outcome {
    /// What it came to, for figures.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Appended { .. } => "appended",
            Self::Sealed { .. } => "sealed",
            Self::Completed { .. } => "completed",
            Self::Conflict { .. } => "conflict",
            Self::UnknownSession => "unknown_session",
            Self::TooManySegments => "too_many_segments",
            Self::Discarded { .. } => "discarded",
            Self::Secret { .. } => "secret",
            Self::Renounced => "renounced",
            Self::Unheld { .. } => "unheld",
            Self::Cluster(outcome) => match outcome {
                ClusterOutcome::Joined { .. } => "joined",
                ClusterOutcome::Refused { .. } => "refused",
                ClusterOutcome::Full => "full",
                ClusterOutcome::Left { .. } => "left",
                ClusterOutcome::Told { .. } => "told",
                ClusterOutcome::Rotated => "rotated",
                ClusterOutcome::NoSecret => "no_secret",
                ClusterOutcome::Overtaken => "overtaken",
                ClusterOutcome::Identified { .. } => "identified",
            },
            Self::Collect(outcome) => outcome.name(),
            Self::Certificates(outcome) => outcome.name(),
            Self::Invalidation(outcome) => outcome.name(),
        }
    }
}

impl Outcome {
    /// How many upload sessions moved or ended by it.
    pub fn sessions(&self) -> usize {
        match self {
            Self::Appended { .. } | Self::Sealed { again: false, .. } => 1,
            Self::Discarded { sessions, .. } => *sessions,
            _ => 0,
        }
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Append {
                origin,
                from,
                segment,
                ..
            } => write!(f, "Append({origin:?} from {from}: {segment:?})"),
            Self::Seal {
                origin,
                at,
                tail,
                digest,
            } => write!(f, "Seal({origin:?} at {at} + {tail:?} = {digest})"),
            Self::Finish { session } => write!(f, "Finish({session})"),
            Self::Cancel { origin } | Self::CancelOnce { origin, .. } => {
                write!(f, "Cancel({origin:?})")
            }
            Self::Purge { idle_since } => write!(f, "Purge({idle_since:?})"),
            Self::AdoptSecret { .. } => f.write_str("AdoptSecret"),
            Self::Abandon { origin, at } => write!(f, "Abandon({origin:?} at {at})"),
            Self::Open { origin, .. } => write!(f, "Open({origin:?})"),
            Self::Renounce { places } => write!(f, "Renounce({places:?})"),
            Self::Cluster(command) => write!(f, "{command:?}"),
            Self::Collect(command) => write!(f, "{command:?}"),
            Self::Certificates(command) => write!(f, "{command:?}"),
            Self::Invalidation(command) => write!(f, "{command:?}"),
        }
    }
}

impl fmt::Debug for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Appended { offset } => write!(f, "Appended({offset})"),
            Self::Sealed { segments, again } => write!(f, "Sealed({segments:?}, again: {again})"),
            Self::Completed { digest } => write!(f, "Completed({digest})"),
            Self::Conflict { offset } => write!(f, "Conflict({offset})"),
            Self::UnknownSession => f.write_str("UnknownSession"),
            Self::TooManySegments => f.write_str("TooManySegments"),
            Self::Discarded { sessions, segments } => {
                write!(f, "Discarded({sessions}, {segments:?})")
            }
            Self::Secret { .. } => f.write_str("Secret"),
            Self::Renounced => f.write_str("Renounced"),
            Self::Unheld { places } => write!(f, "Unheld({places:?})"),
            Self::Cluster(outcome) => write!(f, "{outcome:?}"),
            Self::Collect(outcome) => write!(f, "{outcome:?}"),
            Self::Certificates(outcome) => write!(f, "{outcome:?}"),
            Self::Invalidation(outcome) => write!(f, "{outcome:?}"),
        }
    }
}
