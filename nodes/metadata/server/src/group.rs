//! Who is a member: taking one in, taking one in again that lost its disk, letting one go.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use openraft::ChangeMembers;
use roadstead_proto::metadata::v1 as wire;
use tokio::sync::Mutex;
use tonic::Status;

use crate::network::{Lane, Network};
use crate::propose::{Refusal, refusal};
use crate::services::status_of;
use crate::types::{Incarnation, Member, Raft};

/// Whoever is taken in must answer at once.
const IDENTIFY_WITHIN: Duration = Duration::from_secs(2);

/// Changes of the group, one after the other.
#[derive(Clone)]
pub(crate) struct Group {
    raft: Raft,
    network: Network,
    /// Members that every configuration names: they may come back whatever happened to them.
    configured: Arc<BTreeSet<u64>>,
    turn: Arc<Mutex<()>>,
}

impl Group {
    pub(crate) fn new(raft: Raft, network: Network, configured: BTreeSet<u64>) -> Self {
        Self {
            raft,
            network,
            configured: Arc::new(configured),
            turn: Arc::default(),
        }
    }

    /// Who answers at an address.
    pub(crate) async fn identify(
        network: &Network,
        addr: &str,
    ) -> Result<wire::IdentifyResponse, Status> {
        let mut peer = network.peer(addr, Lane::Raft)?;
        let asked = peer.identify(wire::IdentifyRequest {});
        match tokio::time::timeout(IDENTIFY_WITHIN, asked).await {
            Ok(answer) => Ok(answer?.into_inner()),
            Err(_elapsed) => Err(Status::unavailable("no answer")),
        }
    }

    /// Takes in a member that is blank.
    pub(crate) async fn add(&self, id: u64, addr: String) -> Result<(), Status> {
        self.must_lead()?;
        let found = Self::identify(&self.network, &addr).await;
        let found = found.map_err(|status| {
            let said = status.message();
            Status::not_found(format!(
                "no member answers at {addr}: {said}; start roadstead metadata there first, with the same secret"
            ))
        })?;
        if found.id != id {
            let text = format!("at {addr} is member {}, not {id}", found.id);
            return Err(Status::invalid_argument(text));
        }
        let incarnation = incarnation(&found.incarnation)?;
        let known = self
            .member(id)
            .is_some_and(|known| known.incarnation == incarnation);
        if !found.blank && !known {
            let text = format!(
                "the member at {addr} has been of a group before: empty its metadata.dir first"
            );
            return Err(Status::already_exists(text));
        }
        self.take_in(id, Member { addr, incarnation }).await
    }

    /// Takes in a member again that asks for it since its disk is blank.
    pub(crate) async fn rejoin(&self, id: u64, member: Member) -> Result<(), Status> {
        self.must_lead()?;
        if self.member(id).is_none() && !self.configured.contains(&id) {
            let text = format!(
                "{id} is no member: roadstead cluster add {id} {}",
                member.addr
            );
            return Err(Status::not_found(text));
        }
        self.take_in(id, member).await
    }

    /// Lets a member go.
    pub(crate) async fn remove(&self, id: u64) -> Result<(), Status> {
        self.must_lead()?;
        let _turn = self.turn.lock().await;
        if self.member(id).is_none() {
            let text = format!("{id} is no member; there are {:?}", self.voters());
            return Err(Status::not_found(text));
        }
        if self.voters() == BTreeSet::from([id]) {
            let text = "it is the last member; to replace it, add another first";
            return Err(Status::invalid_argument(text));
        }
        self.let_go(id).await
    }

    /// A member with another disk is another member: the old one is let go first, and counts in no quorum any more
    /// before the new one does. Asked again half-way, it goes on.
    async fn take_in(&self, id: u64, member: Member) -> Result<(), Status> {
        let _turn = self.turn.lock().await;
        let known = self.member(id);
        if known
            .as_ref()
            .is_some_and(|known| known.incarnation != member.incarnation)
        {
            tracing::info!(id, "a member has lost its disk: it is taken in again");
            self.let_go(id).await?;
        }
        if known.as_ref() != Some(&member) || !self.voters().contains(&id) {
            tracing::info!(id, addr = member.addr, "taking in a member");
            let added = self.raft.add_learner(id, member, true).await;
            added.map_err(|error| status_of(&refusal(&error)))?;
        }
        if !self.voters().contains(&id) {
            let voter = ChangeMembers::AddVoterIds(BTreeSet::from([id]));
            let changed = self.raft.change_membership(voter, false).await;
            changed.map_err(|error| status_of(&refusal(&error)))?;
            tracing::info!(id, "a member votes");
        }
        Ok(())
    }

    async fn let_go(&self, id: u64) -> Result<(), Status> {
        let ids = BTreeSet::from([id]);
        if self.voters().contains(&id) {
            let change = ChangeMembers::RemoveVoters(ids.clone());
            let changed = self.raft.change_membership(change, false).await;
            changed.map_err(|error| status_of(&refusal(&error)))?;
        }
        if self.member(id).is_some() {
            let change = ChangeMembers::RemoveNodes(ids);
            let changed = self.raft.change_membership(change, false).await;
            changed.map_err(|error| status_of(&refusal(&error)))?;
        }
        tracing::info!(id, "a member was let go");
        Ok(())
    }

    fn member(&self, id: u64) -> Option<Member> {
        let metrics = self.raft.metrics().borrow().clone();
        metrics
            .membership_config
            .membership()
            .get_node(&id)
            .cloned()
    }

    fn voters(&self) -> BTreeSet<u64> {
        let metrics = self.raft.metrics().borrow().clone();
        metrics.membership_config.voter_ids().collect()
    }

    fn must_lead(&self) -> Result<(), Status> {
        let metrics = self.raft.metrics().borrow().clone();
        if metrics.current_leader == Some(metrics.id) {
            return Ok(());
        }
        let members = metrics.membership_config.membership();
        let leader = metrics.current_leader.and_then(|id| members.get_node(&id));
        Err(status_of(&Refusal::forward(leader)))
    }
}

pub(crate) fn incarnation(bytes: &[u8]) -> Result<Incarnation, Status> {
    bytes
        .try_into()
        .map_err(|_length| Status::invalid_argument("an incarnation has 16 bytes"))
}
