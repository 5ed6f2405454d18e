//! A node's place in the cluster: it joins, renews its lease again and again, and says goodbye.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use roadstead_machine::{
    ClusterCommand, ClusterOutcome, Command, Fingerprint, NodeId, Outcome, Timestamp,
};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::elapsed::Elapsed;
use crate::lease::Lease;
use crate::secrets::Secrets;
use crate::{Metadata, Unavailable};

/// For how long a lease is good, from the moment the node asked for it.
pub const LEASE: Duration = Duration::from_secs(8);

/// How much longer the service waits before it believes that a node is gone: clocks run at slightly different speeds.
pub const LEASE_MARGIN: Duration = Duration::from_secs(2);

/// Several tries fit into a lease, and an election between them.
const RENEW_EVERY: Duration = Duration::from_millis(1500);

/// A question that is not answered is asked again, of another member if there is one.
const RENEW_WITHIN: Duration = Duration::from_secs(3);

/// What a node says of itself.
#[derive(Debug, Clone)]
pub struct Joining {
    /// Where a gateway reaches it.
    pub address: String,
    pub version: String,
    pub fingerprint: Fingerprint,
}

/// The answer to a node that asks for more time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewal {
    /// Another [`LEASE`] from the question on.
    Held {
        is_draining: bool,
        /// See [`Secrets::since`].
        secret_since: Timestamp,
    },
    /// The epoch is over: the node has to join again.
    Lost,
}

/// Is told of the secrets before the lease that follows.
pub type Hears = Arc<dyn Fn(&Secrets) + Send + Sync>;

/// Is told of each epoch before the lease that begins it: what it does not learn in that, it does not know in it.
#[async_trait]
pub trait Follows: Send + Sync {
    async fn begin(&self, epoch: u64) -> Result<(), Unavailable>;
}

/// Who is told of what a node hears.
#[derive(Clone, Default)]
pub struct Hearing {
    /// Absent where the secret is configured.
    pub secrets: Option<Hears>,
    pub epochs: Option<Arc<dyn Follows>>,
}

impl fmt::Debug for Hearing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hearing").finish_non_exhaustive()
    }
}

/// Why a node cannot join.
#[derive(Debug, Clone, thiserror::Error)]
pub enum JoinError {
    #[error(
        "this node is not configured as the others of the cluster: {} must be the same on all nodes (to change it, stop them all)",
        settings.join(", ")
    )]
    Differs { settings: Vec<String> },
    #[error("the cluster has as many nodes as it can hold")]
    Full,
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// A node that has joined.
pub struct Membership {
    node: NodeId,
    joining: Joining,
    metadata: Arc<dyn Metadata>,
    elapsed: Elapsed,
    lease: Lease,
    epoch: u64,
    hearing: Hearing,
    secret_since: Option<Timestamp>,
}

impl Membership {
    /// Joins under an id that no other process has.
    pub async fn join(
        metadata: Arc<dyn Metadata>,
        node: NodeId,
        joining: Joining,
        elapsed: Elapsed,
        hearing: Hearing,
    ) -> Result<Self, JoinError> {
        let mut member = Self {
            node,
            joining,
            metadata,
            lease: Lease::none(Arc::clone(&elapsed)),
            elapsed,
            epoch: 0,
            hearing,
            secret_since: None,
        };
        for setting in member.enter().await? {
            tracing::warn!(
                setting,
                "other nodes of the cluster have another value: what they share of it is slower, not wrong"
            );
        }
        Ok(member)
    }

    /// What those who write have to look at.
    pub fn lease(&self) -> Lease {
        self.lease.clone()
    }

    /// Renews the lease until the node has ended, then gives it back.
    pub async fn keep(mut self, ended: CancellationToken) {
        let mut trouble = Trouble::default();
        loop {
            let pause = tokio::time::sleep(RENEW_EVERY);
            if ended.run_until_cancelled(pause).await.is_none() {
                break;
            }
            match ended.run_until_cancelled(self.renew()).await {
                None => break,
                Some(Ok(())) => trouble.is_over(&self.lease),
                Some(Err(error)) => trouble.goes_on(&self.lease, &error),
            }
        }
        self.lease.end();
        let leave = Command::Cluster(ClusterCommand::Leave {
            node: self.node,
            epoch: self.epoch,
        });
        if let Err(error) = self.metadata.propose(leave).await {
            tracing::warn!(%error, "the cluster is not told that this node ends; it finds out");
        }
    }

    async fn renew(&mut self) -> Result<(), JoinError> {
        let asked = (self.elapsed)();
        let renewal = timeout(RENEW_WITHIN, self.metadata.renew(self.node, self.epoch));
        let renewal = renewal
            .await
            .map_err(|_elapsed| Unavailable::because("no answer"))?;
        match renewal? {
            Renewal::Held {
                is_draining,
                secret_since,
            } => {
                self.hear_secrets(secret_since).await?;
                self.lease.renew(self.epoch, asked, LEASE);
                self.lease.set_draining(is_draining);
            }
            Renewal::Lost => {
                self.lease.end();
                tracing::warn!(epoch = self.epoch, "the lease was lost: joining again");
                self.enter().await?;
            }
        }
        Ok(())
    }

    /// Asks for the secrets if they are not those that are known.
    async fn hear_secrets(&mut self, since: Timestamp) -> Result<(), Unavailable> {
        let Some(hears) = &self.hearing.secrets else {
            return Ok(());
        };
        if self.secret_since == Some(since) {
            return Ok(());
        }
        let asked = timeout(RENEW_WITHIN, self.metadata.secrets()).await;
        let secrets = asked.map_err(|_elapsed| Unavailable::because("no answer"))??;
        hears(&secrets);
        if self.secret_since.is_some() {
            tracing::info!(
                "the cluster has another secret: what the one before signed is still good for a while"
            );
        }
        self.secret_since = Some(secrets.since);
        Ok(())
    }

    /// The epoch of the lease that is known at an address, 0 for none.
    async fn latest_at(&self, address: &str) -> Result<u64, Unavailable> {
        let nodes = self.metadata.fleet().await?.nodes;
        let there = nodes.values().filter(|node| node.address == address);
        Ok(there.map(|node| node.epoch).max().unwrap_or(0))
    }

    /// Begins an epoch. Answers with the settings that should be the same and are not.
    async fn enter(&mut self) -> Result<Vec<String>, JoinError> {
        let Joining {
            address,
            version,
            fingerprint,
        } = self.joining.clone();
        // A proposal that is carried out when this process is long gone must not end the lease of the one after it.
        let over = self.latest_at(&address).await?;
        let asked = (self.elapsed)();
        let join = Command::Cluster(ClusterCommand::JoinOver {
            node: self.node,
            address,
            version,
            fingerprint,
            over,
        });
        match self.metadata.propose(join).await? {
            Outcome::Cluster(ClusterOutcome::Joined { epoch, remarks }) => {
                self.secret_since = None;
                self.hear_secrets(Timestamp(0)).await?;
                if let Some(follows) = &self.hearing.epochs {
                    follows.begin(epoch).await?;
                }
                // Not before: an epoch of which somebody was not told is not renewed.
                self.epoch = epoch;
                self.lease.renew(epoch, asked, LEASE);
                tracing::info!(epoch, node = %self.node, "joined the cluster");
                Ok(remarks)
            }
            Outcome::Cluster(ClusterOutcome::Refused { settings }) => {
                Err(JoinError::Differs { settings })
            }
            Outcome::Cluster(ClusterOutcome::Full) => Err(JoinError::Full),
            Outcome::Cluster(ClusterOutcome::Overtaken) => {
                Err(Unavailable::because("another process joined at this address meanwhile").into())
            }
            other => Err(Unavailable::because(format!("it answered {other:?}")).into()),
        }
    }
}

impl fmt::Debug for Membership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Membership")
            .field("node", &self.node)
            .field("lease", &self.lease)
            .finish_non_exhaustive()
    }
}

/// Said once when it begins, once when it costs something, and once when it is over.
#[derive(Default)]
struct Trouble {
    begun: bool,
    cost_told: bool,
}

impl Trouble {
    fn goes_on(&mut self, lease: &Lease, error: &JoinError) {
        if !self.begun {
            tracing::warn!(%error, "the lease is not renewed");
        }
        self.begun = true;
        if !lease.is_held() && !self.cost_told {
            self.cost_told = true;
            tracing::error!(%error, "without a lease this node takes no pushes; pulls go on");
        }
    }

    fn is_over(&mut self, lease: &Lease) {
        if self.begun && lease.is_held() {
            tracing::info!("the lease is renewed again");
            *self = Self::default();
        }
    }
}

#[cfg(test)]
#[path = "membership_tests.rs"]
mod tests;
