//! The first group, and the way back into it for a member that lost its disk.
//!
//! A blank member asks all that are configured. Only when every one of them is blank as well, the one with the lowest
//! id makes the group, with the incarnations that it was told: a disk that was lost meanwhile is not counted. Where a
//! group exists, a blank member asks to be taken in again; it never votes under the name of the disk that it lost. Whoever
//! takes it in may be lost half-way, so it asks until it votes.

use std::collections::BTreeMap;
use std::time::Duration;

use openraft::error::{InitializeError, RaftError};
use roadstead_metadata::LEADER;
use roadstead_proto::metadata::v1 as wire;
use roadstead_proto::metadata::v1::cluster_client::ClusterClient;
use tonic::Status;

use crate::group::{Group, incarnation};
use crate::network::{Lane, Network};
use crate::store::Store;
use crate::types::{Member, Raft};

const ASK_EVERY: Duration = Duration::from_millis(300);

/// Catching up may take longer; then it asks in vain.
const ASK_AGAIN_EVERY: Duration = Duration::from_secs(3);

/// Taking a member in waits until it has caught up.
const REJOIN_WITHIN: Duration = Duration::from_mins(2);

/// A blank member on its way into a group.
pub(crate) struct Bootstrap {
    pub(crate) id: u64,
    pub(crate) peers: BTreeMap<u64, String>,
    pub(crate) raft: Raft,
    pub(crate) store: Store,
    pub(crate) network: Network,
}

/// What the others say of themselves.
struct Heard {
    blank: BTreeMap<u64, Member>,
    /// Those that are of a group.
    group: Vec<String>,
    silent: Vec<String>,
}

impl Bootstrap {
    /// Returns when this member votes in a group.
    pub(crate) async fn run(self) {
        let mut told = String::new();
        while self.store.is_blank() {
            let waits_for = self.step().await;
            if !waits_for.is_empty() && waits_for != told {
                tracing::info!("not of a group yet: {waits_for}");
                told = waits_for;
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
        while !self.votes() {
            tokio::time::sleep(ASK_AGAIN_EVERY).await;
            let others = self.others();
            let why = self.rejoin(others).await;
            if !why.is_empty() && why != told {
                tracing::info!("not taken into the group yet: {why}");
                told = why;
            }
        }
    }

    fn votes(&self) -> bool {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow();
        let group = metrics.membership_config.membership();
        let known = group.get_node(&self.id);
        known.is_some_and(|known| known.incarnation == self.store.incarnation())
            && group.voter_ids().any(|id| id == self.id)
    }

    /// Whom to ask: those of the group, as long as it has this member in some way. One that was let go does not ask.
    fn others(&self) -> Vec<String> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow();
        let group = metrics.membership_config.membership();
        if group.get_node(&self.id).is_none() {
            return Vec::new();
        }
        let others = group.nodes().filter(|(id, _)| **id != self.id);
        others.map(|(_, member)| member.addr.clone()).collect()
    }

    /// Says what it waits for.
    async fn step(&self) -> String {
        let heard = self.ask_all().await;
        if !heard.group.is_empty() {
            return self.rejoin(heard.group).await;
        }
        if !heard.silent.is_empty() {
            return format!("no answer from {}", heard.silent.join(", "));
        }
        let lowest = heard.blank.first_key_value().map(|(id, _)| *id);
        if lowest != Some(self.id) {
            return "the member with the lowest id begins".to_owned();
        }
        match self.raft.initialize(heard.blank).await {
            Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => {
                tracing::info!("the group begins");
                String::new()
            }
            Err(error) => error.to_string(),
        }
    }

    async fn ask_all(&self) -> Heard {
        let mut heard = Heard {
            blank: BTreeMap::new(),
            group: Vec::new(),
            silent: Vec::new(),
        };
        let others = self.peers.iter().filter(|(id, _)| **id != self.id);
        let asked = others.map(async |(id, addr)| {
            (
                *id,
                addr.clone(),
                Group::identify(&self.network, addr).await,
            )
        });
        for (id, addr, answer) in futures::future::join_all(asked).await {
            match answer {
                Ok(found) if found.id != id => {
                    heard
                        .silent
                        .push(format!("{addr}: that is member {}, not {id}", found.id));
                }
                Ok(found) if !found.blank => heard.group.push(addr),
                Ok(found) => match incarnation(&found.incarnation) {
                    Ok(incarnation) => {
                        heard.blank.insert(id, Member { addr, incarnation });
                    }
                    Err(_unfit) => heard.silent.push(addr),
                },
                Err(_away) => heard.silent.push(addr),
            }
        }
        heard.blank.insert(self.id, self.member());
        heard
    }

    fn member(&self) -> Member {
        Member {
            addr: self.peers.get(&self.id).cloned().unwrap_or_default(),
            incarnation: self.store.incarnation(),
        }
    }

    async fn rejoin(&self, group: Vec<String>) -> String {
        let mut why = String::new();
        for addr in group {
            match self.ask_to_rejoin(&addr).await {
                Ok(()) => return String::new(),
                Err(status) => status.message().clone_into(&mut why),
            }
        }
        why
    }

    async fn ask_to_rejoin(&self, addr: &str) -> Result<(), Status> {
        match self.ask_one(addr).await {
            Err(status) => {
                let leader = status
                    .metadata()
                    .get(LEADER)
                    .and_then(|addr| addr.to_str().ok());
                match leader {
                    Some(leader) => self.ask_one(leader).await,
                    None => Err(status),
                }
            }
            asked => asked,
        }
    }

    async fn ask_one(&self, addr: &str) -> Result<(), Status> {
        let Member {
            addr: mine,
            incarnation,
        } = self.member();
        let mut cluster = ClusterClient::new(self.network.link(addr, Lane::Raft)?);
        let asked = cluster.rejoin(wire::RejoinRequest {
            id: self.id,
            addr: mine,
            incarnation: incarnation.to_vec(),
        });
        match tokio::time::timeout(REJOIN_WITHIN, asked).await {
            Ok(answer) => answer.map(|_taken_in| ()),
            Err(_elapsed) => Err(Status::deadline_exceeded("no answer")),
        }
    }
}
