//! How the rooms above reach the metadata machine, wherever it runs.
//!
//! [`Metadata`] is the whole surface. [`Local`] is the machine in this process, with its log on the local disk;
//! [`Remote`] reaches the raft group.

mod elapsed;
mod journal;
mod lease;
mod local;
mod membership;
mod metered;
mod remote;
mod secrets;
pub mod transport;

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
pub use roadstead_machine::{
    ALONE, CertificateCommand, CertificateOutcome, ClusterCommand, ClusterId, ClusterOutcome,
    CollectCommand, CollectOutcome, Collection, Command, FRESH_FOR, Fingerprint, Invalidated,
    InvalidationCommand, InvalidationId, InvalidationOutcome, MAX_CONDEMNED, MAX_UNITS, Node,
    NodeId, Nodes, Origin, Outcome, Receiving, RecordId, Run, Segment, SessionId, Stamp, Standing,
    Timestamp, Told, Unit,
};

pub use elapsed::{Elapsed, boot_time};
pub use lease::Lease;
pub use local::{Clock, Home, Local, OpenError, read_state, system_clock};
pub use membership::{
    Follows, Hearing, Hears, JoinError, Joining, LEASE, LEASE_MARGIN, Membership, Renewal,
};
pub use metered::{Decision, Meter, Metered};
pub use remote::{BUDGET, CLUSTER, LEADER, Refused, Remote, RemoteOptions, RemoteStats};
pub use roadstead_machine::{decode_nodes, encode_nodes};
pub use roadstead_proto::metadata::v1::{Certificate, Member, StatusResponse};
pub use secrets::{KeptSecret, Secrets};

/// The metadata service, as the rooms above see it.
#[async_trait]
pub trait Metadata: Send + Sync + fmt::Debug {
    /// Logs a command and answers with what it came to. Durable when it answers.
    async fn propose(&self, command: Command) -> Result<Outcome, Unavailable>;

    /// Where a session stands that has a record; never older than any answer that this client has had.
    async fn session(&self, id: SessionId) -> Result<Option<Standing>, Unavailable>;

    /// What a session has stored and not given away, in order.
    async fn segments(&self, id: SessionId) -> Result<Vec<Segment>, Unavailable>;

    /// How many sessions are on record that have not ended.
    async fn open_sessions(&self) -> Result<usize, Unavailable>;

    /// Whether an upload that has no record is still good by its token, opened at this time.
    async fn is_fresh(&self, opened: Timestamp) -> Result<bool, Unavailable>;

    /// Those of `places` that no session holds.
    async fn unheld(&self, places: Vec<String>) -> Result<Vec<String>, Unavailable>;

    /// Asks for another [`LEASE`], and to be taken for alive for as long. Answered only by one who leads the service,
    /// and was confirmed in that after the question came.
    async fn renew(&self, node: NodeId, epoch: u64) -> Result<Renewal, Unavailable>;

    /// The nodes of the cluster, as the log knows them.
    async fn fleet(&self) -> Result<Fleet, Unavailable>;

    /// What nodes sign with, where that is left to the cluster.
    async fn secrets(&self) -> Result<Secrets, Unavailable>;

    /// What is agreed on about collecting, never older than any answer that this client has had; `None` if that is where
    /// `known` says. Waits for so long for it to move on from there.
    async fn collection(
        &self,
        known: Option<Stamp>,
        wait: Duration,
    ) -> Result<Option<Collection>, Unavailable>;

    /// What nodes may not believe any more, never older than any answer that this client has had; `None` if `known` is
    /// still the version. Waits for so long for it to move on from there.
    async fn invalidations(
        &self,
        known: Option<u64>,
        wait: Duration,
    ) -> Result<Option<Invalidated>, Unavailable>;

    /// The present, as the log would have it.
    async fn now(&self) -> Result<Timestamp, Unavailable>;
}

/// The nodes that hold leases, and what others have to know of all of them.
#[derive(Debug, Clone, Default)]
pub struct Fleet {
    pub nodes: Nodes,
    /// The kind of `auth` that they share (`"none"` without); absent before the first of them ever joined.
    pub authentication: Option<String>,
}

/// Whether the command took effect is not known; the client of the registry may try again later.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the metadata service is unavailable: {reason}")]
pub struct Unavailable {
    reason: String,
}

impl Unavailable {
    pub fn because(reason: impl fmt::Display) -> Self {
        Self {
            reason: reason.to_string(),
        }
    }
}
