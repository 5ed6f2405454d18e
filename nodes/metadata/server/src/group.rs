//! Who is a member: taking one in, taking one in again that lost its disk, letting one go.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use openraft::ChangeMembers;
use roadstead_proto::metadata::v1 as wire;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::timeout;
use tonic::Status;

use crate::network::{Lane, Network};
use crate::propose::refusal;
use crate::read::Reads;
use crate::services::status_of;
#[cfg(test)]
use crate::simulation::{Mutant, is};
use crate::types::{Incarnation, Member, Raft};

/// Whoever is taken in must answer at once.
const IDENTIFY_WITHIN: Duration = Duration::from_secs(2);

/// A state of many megabytes over a slow link.
const CATCHES_UP_WITHIN: Duration = Duration::from_mins(2);

/// Whoever asks for a change is told that there is another one before it loses its patience.
const TURN_WITHIN: Duration = Duration::from_secs(2);

type Metrics = openraft::RaftMetrics<u64, Member>;
type Turn = OwnedMutexGuard<()>;

/// Changes of the group, one after the other.
#[derive(Clone)]
pub(crate) struct Group {
    raft: Raft,
    network: Network,
    reads: Reads,
    /// Members that every configuration names: they may come back whatever happened to them.
    configured: Arc<BTreeSet<u64>>,
    turn: Arc<Mutex<()>>,
}

impl Group {
    pub(crate) fn new(
        raft: Raft,
        network: Network,
        reads: Reads,
        configured: BTreeSet<u64>,
    ) -> Self {
        Self {
            raft,
            network,
            reads,
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
        match timeout(IDENTIFY_WITHIN, asked).await {
            Ok(answer) => Ok(answer?.into_inner()),
            Err(_elapsed) => Err(Status::unavailable("no answer")),
        }
    }

    /// Takes in a member that is blank.
    pub(crate) async fn add(&self, id: u64, addr: String) -> Result<(), Status> {
        let turn = self.turn().await?;
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
        self.take_in(turn, id, Member { addr, incarnation }).await
    }

    /// Takes in a member again that asks for it since its disk is blank.
    pub(crate) async fn rejoin(&self, id: u64, member: Member) -> Result<(), Status> {
        let turn = self.turn().await?;
        if self.member(id).is_none() && !self.configured.contains(&id) {
            let text = format!(
                "{id} is no member: roadstead cluster add {id} {}",
                member.addr
            );
            return Err(Status::not_found(text));
        }
        // What was asked for may have come late: with that disk or another, the member asks again.
        if !self.is_there(id, &member).await {
            let text = format!("at {} no member {id} with that disk answers", member.addr);
            return Err(Status::unavailable(text));
        }
        self.take_in(turn, id, member).await
    }

    /// Lets a member go.
    pub(crate) async fn remove(&self, id: u64) -> Result<(), Status> {
        let turn = self.turn().await?;
        if self.member(id).is_none() {
            let text = format!("{id} is no member; there are {:?}", self.voters());
            return Err(Status::not_found(text));
        }
        let mut voters = self.voters();
        if voters == BTreeSet::from([id]) {
            let text = "it is the last member; to replace it, add another first";
            return Err(Status::invalid_argument(text));
        }
        if voters.remove(&id) {
            self.must_decide(&voters).await?;
        }
        self.let_go(&turn, id).await
    }

    /// A member with another disk is another member: the old one is let go first, and counts in no quorum any more
    /// before the new one does. Asked again half-way, it goes on. While a member catches up, others have their turn.
    async fn take_in(&self, turn: Turn, id: u64, member: Member) -> Result<(), Status> {
        let known = self.member(id);
        if known
            .as_ref()
            .is_some_and(|known| known.incarnation != member.incarnation)
        {
            tracing::info!(id, "a member has lost its disk: it is taken in again");
            self.let_go(&turn, id).await?;
        }
        if known.as_ref() == Some(&member) && self.voters().contains(&id) {
            return Ok(());
        }
        tracing::info!(id, addr = member.addr, "taking in a member");
        let added = self.raft.add_learner(id, member.clone(), false).await;
        let added = added.map_err(|error| status_of(&refusal(&error)))?;
        drop(turn);
        self.caught_up(id, added.log_id.index).await?;
        let _turn = self.turn().await?;
        if self.member(id) != Some(member) {
            let text = format!("member {id} was let go, or taken in with another disk");
            return Err(Status::aborted(text));
        }
        let mut voters = self.voters();
        if voters.insert(id) {
            self.must_decide(&voters).await?;
            let voter = ChangeMembers::AddVoterIds(BTreeSet::from([id]));
            let changed = self.raft.change_membership(voter, false).await;
            changed.map_err(|error| status_of(&refusal(&error)))?;
            tracing::info!(id, "a member votes");
        }
        Ok(())
    }

    /// Waits until a member has that entry, for as long as this one leads and that one is not let go.
    async fn caught_up(&self, id: u64, index: u64) -> Result<(), Status> {
        let mut seen = self.raft.metrics();
        let is_over = |metrics: &Metrics| {
            let matched = metrics.replication.as_ref();
            let matched = matched.and_then(|all| all.get(&id).copied().flatten());
            let members = metrics.membership_config.membership();
            matched.is_some_and(|matched| matched.index >= index)
                || metrics.current_leader != Some(metrics.id)
                || members.get_node(&id).is_none()
        };
        let waited = timeout(CATCHES_UP_WITHIN, seen.wait_for(is_over)).await;
        let ended = |_ended| Status::unavailable("this member has stopped");
        match waited {
            Ok(over) => over.map(drop).map_err(ended),
            Err(_elapsed) => {
                let text = format!("member {id} has not caught up yet");
                Err(Status::unavailable(text))
            }
        }
    }

    /// Refuses what would leave the group to members of whom too few answer: it could not even be taken back.
    async fn must_decide(&self, voters: &BTreeSet<u64>) -> Result<(), Status> {
        #[cfg(test)]
        if is(Mutant::LetsGoBlindly) {
            return Ok(());
        }
        let me = self.raft.metrics().borrow().id;
        let asked = voters.iter().map(async |id| {
            let is_there = match self.member(*id) {
                Some(_) if *id == me => true,
                Some(member) => self.is_there(*id, &member).await,
                None => false,
            };
            (*id, is_there)
        });
        let answers = futures::future::join_all(asked).await;
        let silent = answers.into_iter().filter(|(_, is_there)| !is_there);
        let silent: Vec<u64> = silent.map(|(id, _)| id).collect();
        let quorum = voters.len() / 2 + 1;
        if voters.len() - silent.len() >= quorum {
            return Ok(());
        }
        Err(Status::invalid_argument(format!(
            "the members would then be {voters:?}, and {quorum} of them must answer: {silent:?} do not; bring them back, or \
             remove those instead"
        )))
    }

    /// Whether the member that is meant answers at its address.
    async fn is_there(&self, id: u64, member: &Member) -> bool {
        let found = Self::identify(&self.network, &member.addr).await;
        found.is_ok_and(|found| found.id == id && found.incarnation == member.incarnation)
    }

    /// One change after the other, of a group that is known to be led from here: what another leader decided is known.
    async fn turn(&self) -> Result<Turn, Status> {
        let turn = timeout(TURN_WITHIN, Arc::clone(&self.turn).lock_owned()).await;
        let busy = |_elapsed| Status::unavailable("another change of the group is under way");
        let turn = turn.map_err(busy)?;
        let leads = self.reads.confirm().await;
        leads.map_err(|refusal| status_of(&refusal))?;
        Ok(turn)
    }

    async fn let_go(&self, _turn: &Turn, id: u64) -> Result<(), Status> {
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
}

pub(crate) fn incarnation(bytes: &[u8]) -> Result<Incarnation, Status> {
    bytes
        .try_into()
        .map_err(|_length| Status::invalid_argument("an incarnation has 16 bytes"))
}
