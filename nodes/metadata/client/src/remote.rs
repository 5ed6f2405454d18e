//! The machine in other processes: finds the leader, tries again within a budget, and keeps its connections.

mod calls;
mod leader;
mod present;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::join_all;
use roadstead_machine::{
    ClusterId, Collection, Command, Invalidated, NodeId, Outcome, Segment, SessionId, Stamp,
    Standing, Timestamp, decode_nodes, decode_outcome, decode_standing, encode_command,
};
use roadstead_proto::metadata::v1 as wire;

pub use self::leader::{CLUSTER, LEADER};
use self::leader::{Leaders, refused};
use self::present::Present;
use crate::elapsed::Elapsed;
use crate::transport::{Dial, Identity, NotAnAddress};
use crate::{Fleet, KeptSecret, Metadata, Renewal, Secrets, Unavailable};

/// How the metadata service is reached.
#[derive(Debug, Clone)]
pub struct RemoteOptions {
    /// `host:port` of its members, of which one at least is there when the first call is made. Those that the group has later
    /// are learned from it.
    pub members: Vec<String>,
    pub identity: Identity,
    /// How long a call may be tried. An election takes less.
    pub budget: Duration,
}

/// Longer than an election with a lost vote, shorter than a client of the registry waits.
pub const BUDGET: Duration = Duration::from_secs(10);

/// Totals of a [`Remote`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RemoteStats {
    /// Calls that were made again.
    pub retries: u64,
    /// How often another member than before was found to lead.
    pub leader_changes: u64,
}

/// A metadata service of other processes.
pub struct Remote {
    leaders: Leaders,
    present: Present,
    budget: Duration,
}

impl Remote {
    /// Connects to nobody yet: a node starts while the service is away. Must be called in a runtime.
    pub fn build(options: RemoteOptions, elapsed: Elapsed) -> Result<Self, NotAnAddress> {
        let RemoteOptions {
            members,
            identity,
            budget,
        } = options;
        Self::over(Arc::new(identity), members, budget, elapsed)
    }

    /// As [`Self::build`], over any kind of connection.
    pub fn over(
        dial: Arc<dyn Dial>,
        members: Vec<String>,
        budget: Duration,
        elapsed: Elapsed,
    ) -> Result<Self, NotAnAddress> {
        Ok(Self {
            leaders: Leaders::new(members, dial)?,
            present: Present::new(elapsed),
            budget,
        })
    }

    /// From now on only members of this cluster are asked: one that lost its disk may have begun a group of its own.
    pub fn belong_to(&self, cluster: ClusterId) {
        self.leaders.belong_to(cluster);
    }

    /// What its calls came to since it was built.
    pub fn stats(&self) -> RemoteStats {
        self.leaders.stats()
    }

    /// The leader's time now, asked for if it was never heard.
    async fn ask_present(&self) -> Result<Timestamp, Unavailable> {
        if let Some(now) = self.present.now() {
            return Ok(now);
        }
        let ask = |mut service: leader::Service| async move {
            let answer = service.present(wire::PresentRequest {}).await?;
            Ok(answer.into_inner().present)
        };
        let told = self.leaders.call(self.budget, ask).await?;
        self.present.hear(told);
        Ok(Timestamp(told))
    }
}

/// The same proposal may be made several times: each command is harmless when it is repeated. `Cancel` is so only with a
/// name of its own.
fn repeatable(command: Command) -> Result<Command, Unavailable> {
    match command {
        Command::Cancel { origin } => {
            let mut proposal = [0; 16];
            getrandom::fill(&mut proposal).map_err(Unavailable::because)?;
            Ok(Command::CancelOnce { origin, proposal })
        }
        other => Ok(other),
    }
}

#[async_trait]
impl Metadata for Remote {
    async fn propose(&self, command: Command) -> Result<Outcome, Unavailable> {
        let command = encode_command(&repeatable(command)?).map_err(Unavailable::because)?;
        // A try that was held up somewhere must not take effect after this gave up: nobody would look for it.
        let until = self.ask_present().await?.plus(self.budget).0;
        let propose = |mut service: leader::Service| {
            let command = command.clone();
            async move {
                let request = wire::ProposeRequest { command, until };
                Ok(service.propose(request).await?.into_inner())
            }
        };
        let answer = self.leaders.call(self.budget, propose).await?;
        self.present.hear(answer.present);
        if answer.outcome.is_empty() {
            return Err(Unavailable::because("the proposal came too late"));
        }
        decode_outcome(&answer.outcome).map_err(Unavailable::because)
    }

    async fn session(&self, id: SessionId) -> Result<Option<Standing>, Unavailable> {
        let ask = |mut service: leader::Service| async move {
            let session = id.0.to_vec();
            let asked = service.session(wire::SessionRequest { session }).await?;
            Ok(asked.into_inner())
        };
        let answer = self.leaders.call(self.budget, ask).await?;
        self.present.hear(answer.present);
        if answer.standing.is_empty() {
            return Ok(None);
        }
        let standing = decode_standing(&answer.standing).map_err(Unavailable::because)?;
        Ok(Some(standing))
    }

    async fn segments(&self, id: SessionId) -> Result<Vec<Segment>, Unavailable> {
        let ask = |service| calls::segments(service, id);
        self.leaders.call(self.budget, ask).await
    }

    async fn open_sessions(&self) -> Result<usize, Unavailable> {
        let ask = |mut service: leader::Service| async move {
            let asked = service.open_sessions(wire::OpenSessionsRequest {}).await?;
            Ok(asked.into_inner())
        };
        let answer = self.leaders.call(self.budget, ask).await?;
        self.present.hear(answer.present);
        Ok(usize::try_from(answer.sessions).unwrap_or(usize::MAX))
    }

    async fn is_fresh(&self, opened: Timestamp) -> Result<bool, Unavailable> {
        let ask = |mut service: leader::Service| async move {
            let opened = opened.0;
            let asked = service.is_fresh(wire::IsFreshRequest { opened }).await?;
            Ok(asked.into_inner())
        };
        let answer = self.leaders.call(self.budget, ask).await?;
        self.present.hear(answer.present);
        Ok(answer.fresh)
    }

    async fn unheld(&self, places: Vec<String>) -> Result<Vec<String>, Unavailable> {
        let places = Arc::new(places);
        let ask = |service| calls::unheld(service, Arc::clone(&places));
        self.leaders.call(self.budget, ask).await
    }

    async fn renew(&self, node: NodeId, epoch: u64) -> Result<Renewal, Unavailable> {
        let ask = |mut service: leader::Service| async move {
            let node = node.0.to_vec();
            let asked = service.renew(wire::RenewRequest { node, epoch }).await?;
            Ok(asked.into_inner())
        };
        let answer = self.leaders.call(self.budget, ask).await?;
        self.present.hear(answer.present);
        self.leaders.hear(answer.members);
        Ok(if answer.held {
            Renewal::Held {
                is_draining: answer.draining,
                secret_since: Timestamp(answer.secret_since),
            }
        } else {
            Renewal::Lost
        })
    }

    async fn fleet(&self) -> Result<Fleet, Unavailable> {
        let ask = |mut service: leader::Service| async move {
            Ok(service.nodes(wire::NodesRequest {}).await?.into_inner())
        };
        let answer = self.leaders.call(self.budget, ask).await?;
        self.present.hear(answer.present);
        self.leaders.hear(answer.members);
        Ok(Fleet {
            nodes: decode_nodes(&answer.nodes).map_err(Unavailable::because)?,
            authentication: answer.authentication,
        })
    }

    async fn secrets(&self) -> Result<Secrets, Unavailable> {
        let ask = |mut service: leader::Service| async move {
            let asked = service.secrets(wire::SecretsRequest {}).await?;
            Ok(asked.into_inner())
        };
        let answer = self.leaders.call(self.budget, ask).await?;
        self.present.hear(answer.present);
        let all = answer.secrets.into_iter().map(|one| KeptSecret {
            bytes: one.secret,
            age: Duration::from_millis(one.age),
            good_for: one.good_for.map(Duration::from_millis),
        });
        Ok(Secrets {
            all: all.collect(),
            since: Timestamp(answer.since),
        })
    }

    async fn collection(
        &self,
        known: Option<Stamp>,
        wait: Duration,
    ) -> Result<Option<Collection>, Unavailable> {
        let ask = |service| calls::collection(service, known, wait);
        self.leaders.call_long(self.budget, wait, ask).await
    }

    async fn invalidations(
        &self,
        known: Option<u64>,
        wait: Duration,
    ) -> Result<Option<Invalidated>, Unavailable> {
        let ask = |service| calls::invalidations(service, known, wait);
        self.leaders.call_long(self.budget, wait, ask).await
    }

    async fn now(&self) -> Result<Timestamp, Unavailable> {
        self.ask_present().await
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").finish_non_exhaustive()
    }
}

/// Why a call of the group's administration failed.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub String);

/// The group's administration, for operators.
impl Remote {
    /// What each configured member says of the group, or why it says nothing; and then those that joined later, which
    /// the first name.
    pub async fn status(&self) -> Vec<(String, Result<wire::StatusResponse, Refused>)> {
        let mut all = self.ask_each(self.leaders.members()).await;
        let answers = all.iter().filter_map(|(_, answer)| answer.as_ref().ok());
        let known = answers.flat_map(|status| status.members.iter().map(|member| &member.addr));
        let asked: BTreeSet<&String> = all.iter().map(|(addr, _)| addr).collect();
        let more: BTreeSet<String> = known
            .filter(|addr| !asked.contains(addr))
            .cloned()
            .collect();
        all.extend(self.ask_each(more).await);
        all
    }

    /// All at once: one that is gone is waited for.
    async fn ask_each(
        &self,
        members: impl IntoIterator<Item = String>,
    ) -> Vec<(String, Result<wire::StatusResponse, Refused>)> {
        let asked = members.into_iter().map(async |addr| {
            let answer = self.leaders.ask_status(&addr).await;
            (addr, answer.map_err(|status| refused(&status)))
        });
        join_all(asked).await
    }

    /// Takes in a blank member that runs at `addr`.
    pub async fn add(&self, id: u64, addr: &str) -> Result<(), Refused> {
        let addr = addr.to_owned();
        self.leaders
            .administer(self.budget, move |mut cluster| {
                let addr = addr.clone();
                async move {
                    let request = wire::AddMemberRequest { id, addr };
                    cluster.add_member(request).await.map(|_done| ())
                }
            })
            .await
    }

    /// Takes a member out of the group.
    pub async fn remove(&self, id: u64) -> Result<(), Refused> {
        self.leaders
            .administer(self.budget, move |mut cluster| async move {
                let request = wire::RemoveMemberRequest { id };
                cluster.remove_member(request).await.map(|_done| ())
            })
            .await
    }
}
