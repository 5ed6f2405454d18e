//! What was seen of a cluster, from what its members say: the facts behind both forms of `status`.

use std::collections::BTreeMap;

use roadstead_metadata::{
    Certificate, Member, Node, NodeId, Nodes, Refused, StatusResponse, decode_nodes,
};

/// What each member that was asked says, by its address.
pub(super) type Told = Vec<(String, Result<StatusResponse, Refused>)>;

/// All that was seen.
pub(super) struct Seen {
    told: Told,
    nodes: Nodes,
    /// The nodes come from one who leads, with a quorum behind it.
    pub(super) has_quorum: bool,
}

/// Whether the group decides anything.
pub(super) enum Verdict {
    Leads(u64),
    /// So many voters answer, of so many.
    NoQuorum(usize, usize),
    /// Enough of them answer, and nobody leads.
    NoLeader(usize, usize),
    Blank,
    Silent,
}

impl Seen {
    /// `nodes` as the leader told them, if it did.
    pub(super) fn new(told: Told, nodes: Option<Nodes>) -> Self {
        let has_quorum = nodes.is_some();
        let mut seen = Self {
            told,
            nodes: nodes.unwrap_or_default(),
            has_quorum,
        };
        if !has_quorum && let Some(best) = seen.best() {
            seen.nodes = decode_nodes(&best.nodes).unwrap_or_default();
        }
        seen
    }

    /// Who knows best: who leads, else who has applied most in the latest term.
    pub(super) fn best(&self) -> Option<&StatusResponse> {
        let standing = |status: &&StatusResponse| {
            let leads = status.leader == Some(status.id);
            let knows = status.leader.is_some();
            (!status.blank, leads, knows, status.term, status.applied)
        };
        self.answers().max_by_key(standing)
    }

    pub(super) fn told(&self) -> &Told {
        &self.told
    }

    fn answers(&self) -> impl Iterator<Item = &StatusResponse> {
        self.told.iter().filter_map(|(_, told)| told.as_ref().ok())
    }

    pub(super) fn of(&self, id: u64) -> Option<&StatusResponse> {
        self.answers().find(|status| status.id == id)
    }

    pub(super) fn verdict(&self) -> Verdict {
        let Some(best) = self.best() else {
            return Verdict::Silent;
        };
        if self.has_quorum
            && let Some(leader) = best.leader
        {
            return Verdict::Leads(leader);
        }
        let voters = best.members.iter().filter(|member| member.voter);
        let takes_part = |member: &&Member| {
            let own = self.of(member.id);
            own.is_some_and(|own| !own.blank && own.failure.is_empty())
        };
        let there = voters.clone().filter(takes_part).count();
        match voters.count() {
            0 => Verdict::Blank,
            all if there <= all / 2 => Verdict::NoQuorum(there, all),
            all => Verdict::NoLeader(there, all),
        }
    }

    pub(super) fn members(&self) -> &[Member] {
        self.best().map_or(&[], |best| &best.members)
    }

    pub(super) fn role(&self, member: &Member) -> &'static str {
        let leader = self.best().and_then(|best| best.leader);
        match (member.voter, leader == Some(member.id)) {
            (_, true) if self.has_quorum => "leader",
            (true, _) => "voter",
            (false, _) => "learner",
        }
    }

    /// Log entries that a member does not have; the leader alone knows.
    pub(super) fn behind(&self, member: &Member) -> Option<u64> {
        let last = self.best()?.last_log?;
        Some(last.saturating_sub(member.matched?))
    }

    pub(super) fn nodes(&self) -> impl Iterator<Item = (&NodeId, &Node)> {
        self.nodes.iter()
    }

    /// Those that are ordered for the cluster.
    pub(super) fn certificates(&self) -> &[Certificate] {
        self.best().map_or(&[], |best| &best.certificates)
    }

    /// Seconds until a certificate expires, by the group's clock; none if it has expired, or is not there yet.
    pub(super) fn good_for(&self, certificate: &Certificate) -> Option<u64> {
        let present = self.best().map_or(0, |best| best.present);
        Some(certificate.not_after?.checked_sub(present)? / 1000)
    }

    /// Seconds since a node joined, by the group's clock.
    pub(super) fn joined_for(&self, node: &Node) -> u64 {
        let present = self.best().map_or(0, |best| best.present);
        present.saturating_sub(node.joined.0) / 1000
    }

    /// Who runs which version.
    pub(super) fn versions(&self) -> BTreeMap<&str, Vec<String>> {
        let mut versions = BTreeMap::<&str, Vec<String>>::new();
        for status in self.answers() {
            let who = format!("member {}", status.id);
            versions.entry(&status.version).or_default().push(who);
        }
        for node in self.nodes.values() {
            let who = format!("node {}", node.address);
            versions.entry(&node.version).or_default().push(who);
        }
        versions
    }

    pub(super) fn cluster(&self) -> Option<&str> {
        let named = self.best().map(|best| best.cluster.as_str());
        named.filter(|name| !name.is_empty())
    }
}

pub(super) fn state(node: &Node) -> &'static str {
    if node.draining { "draining" } else { "serving" }
}
