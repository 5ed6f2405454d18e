//! Who belongs to the cluster: the nodes that hold leases, what all of them must share, and the secrets they sign with.
//!
//! ```text
//!  (unknown) ──Join──▶ member, with an epoch ──Leave (by itself, or by the leader that heard nothing)──▶ (unknown)
//!                        └──Join again: a new epoch──▶
//! ```
//! An epoch is never given twice. Whoever acts on a lease names its epoch, so that what was decided about an earlier one
//! cannot touch a later one.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// How long what was signed with a secret that was replaced is still good.
pub const SECRET_OVERLAP: Duration = Duration::from_hours(24);

/// Nodes at a time at most.
pub const MAX_NODES: usize = 1000;

/// A process that serves: made up anew at each start.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeId(pub [u8; 16]);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A cluster, told from all others: what is written into its store, so that no other uses it.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterId(pub [u8; 16]);

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What nodes must share to be one registry. None of it is a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// What the node read from an object that the first of them put into the store: the same, if the store is.
    pub store: String,
    /// A code over the cluster's id with `http.secret` as its key; absent where that is left to the cluster.
    pub secret: Option<[u8; 32]>,
    /// The kind of `auth`.
    pub authentication: String,
    /// As `store`, for Redis; absent without it. Nodes with another are slower, not wrong.
    pub redis: Option<String>,
}

impl Fingerprint {
    /// The settings in which a node must not differ, and does.
    fn differences(&self, other: &Self) -> Vec<String> {
        let compared = [
            ("storage", self.store == other.store),
            ("http.secret", self.secret == other.secret),
            ("auth", self.authentication == other.authentication),
        ];
        let differs = |(setting, same): (&str, bool)| (!same).then(|| setting.to_owned());
        compared.into_iter().filter_map(differs).collect()
    }
}

/// A node of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Where a gateway reaches it: `cluster.advertise`.
    pub address: String,
    /// Of the program.
    pub version: String,
    /// Of its lease.
    pub epoch: u64,
    pub joined: Timestamp,
    /// Takes no new work.
    pub draining: bool,
}

/// The nodes that hold a lease.
pub type Nodes = BTreeMap<NodeId, Node>;

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClusterCommand {
    /// Becomes a member, or begins a new epoch. Whoever was known at the same address is not there any more.
    Join {
        node: NodeId,
        address: String,
        version: String,
        fingerprint: Fingerprint,
    },
    /// Ends a lease: its node said goodbye, or was not heard for too long. One of another epoch stays.
    Leave { node: NodeId, epoch: u64 },
    /// Tells the nodes at an address to take no new work, or to take it again.
    Drain { address: String, on: bool },
    /// Signs with another secret from now on. The one before it is still good for a while.
    RotateSecret { secret: Vec<u8> },
    /// Proposes the cluster's name; the first one proposed stays.
    Identify { id: ClusterId },
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClusterOutcome {
    Joined {
        epoch: u64,
        /// Settings that should be the same as the others' and are not.
        remarks: Vec<String>,
    },
    /// These settings are not what the nodes of the cluster share.
    Refused {
        settings: Vec<String>,
    },
    /// There are [`MAX_NODES`].
    Full,
    /// Whether the lease was there to end.
    Left {
        was_member: bool,
    },
    /// How many nodes are at that address.
    Told {
        nodes: usize,
    },
    /// The secret is another one now.
    Rotated,
    Identified {
        id: ClusterId,
    },
    /// No node has left its secret to the cluster, so there is none to replace.
    NoSecret,
}

/// A secret that was replaced.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Former {
    secret: Vec<u8>,
    good_until: Timestamp,
}

/// A secret as it is known at some time.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Secret<'a> {
    pub bytes: &'a [u8],
    /// When it became the newest.
    pub since: Timestamp,
    /// When what was signed with it is not good any more; of the newest nobody knows yet.
    pub good_until: Option<Timestamp>,
}

impl fmt::Debug for Secret<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secret")
            .field("since", &self.since)
            .field("good_until", &self.good_until)
            .finish_non_exhaustive()
    }
}

/// The cluster's part of what is agreed on.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cluster {
    id: Option<ClusterId>,
    nodes: BTreeMap<NodeId, Node>,
    /// What the nodes share; the first one to join an empty cluster says it.
    shared: Option<Fingerprint>,
    epochs: u64,
    former: Vec<Former>,
}

impl Cluster {
    pub(crate) fn apply(
        &mut self,
        command: ClusterCommand,
        now: Timestamp,
        secret: &mut Option<Vec<u8>>,
    ) -> ClusterOutcome {
        match command {
            ClusterCommand::Join {
                node,
                address,
                version,
                fingerprint,
            } => {
                let joining = Node {
                    address,
                    version,
                    epoch: 0,
                    joined: now,
                    draining: false,
                };
                self.join(node, joining, fingerprint)
            }
            ClusterCommand::Leave { node, epoch } => {
                let was_member = self.nodes.get(&node).is_some_and(|at| at.epoch == epoch);
                if was_member {
                    self.nodes.remove(&node);
                }
                ClusterOutcome::Left { was_member }
            }
            ClusterCommand::Drain { address, on } => {
                let there = self.nodes.values_mut().filter(|at| at.address == address);
                let nodes = there.map(|at| at.draining = on).count();
                ClusterOutcome::Told { nodes }
            }
            ClusterCommand::RotateSecret { secret: new } => self.rotate(secret, new, now),
            ClusterCommand::Identify { id } => ClusterOutcome::Identified {
                id: *self.id.get_or_insert(id),
            },
        }
    }

    pub(crate) fn id(&self) -> Option<ClusterId> {
        self.id
    }

    pub(crate) fn nodes(&self) -> &BTreeMap<NodeId, Node> {
        &self.nodes
    }

    /// The kind of `auth` that the nodes share, or shared when there were some.
    pub(crate) fn authentication(&self) -> Option<&str> {
        let shared = self.shared.as_ref();
        shared.map(|shared| shared.authentication.as_str())
    }

    /// When the last one was replaced.
    pub(crate) fn secret_since(&self) -> Timestamp {
        let newest = self.former.last();
        newest.map_or(Timestamp(0), |one| one.good_until.minus(SECRET_OVERLAP))
    }

    /// Those that were replaced and are still good, and the one that is in use, oldest first.
    pub(crate) fn secrets<'a>(
        &'a self,
        current: Option<&'a [u8]>,
        now: Timestamp,
    ) -> Vec<Secret<'a>> {
        let mut since = Timestamp(0);
        let mut all = Vec::new();
        for one in &self.former {
            if now < one.good_until {
                all.push(Secret {
                    bytes: &one.secret,
                    since,
                    good_until: Some(one.good_until),
                });
            }
            since = one.good_until.minus(SECRET_OVERLAP);
        }
        all.extend(current.map(|bytes| Secret {
            bytes,
            since,
            good_until: None,
        }));
        all
    }

    fn join(&mut self, id: NodeId, mut node: Node, fingerprint: Fingerprint) -> ClusterOutcome {
        let is_gone = |other: &NodeId, at: &Node| *other == id || at.address == node.address;
        let others = self.nodes.iter().filter(|(other, at)| !is_gone(other, at));
        let others = others.count();
        // Who is alone decides anew: so a setting is changed by stopping all nodes.
        let shared = self.shared.as_ref().filter(|_| others > 0);
        let differences = shared.map(|shared| shared.differences(&fingerprint));
        let differences = differences.unwrap_or_default();
        if !differences.is_empty() {
            return ClusterOutcome::Refused {
                settings: differences,
            };
        }
        if others >= MAX_NODES {
            return ClusterOutcome::Full;
        }
        let is_same_redis = shared.is_none_or(|shared| shared.redis == fingerprint.redis);
        let was_draining = self.nodes.get(&id).is_some_and(|before| before.draining);
        self.nodes.retain(|other, at| !is_gone(other, at));
        self.epochs += 1;
        node.epoch = self.epochs;
        node.draining = was_draining;
        self.nodes.insert(id, node);
        if others == 0 {
            self.shared = Some(fingerprint);
        }
        ClusterOutcome::Joined {
            epoch: self.epochs,
            remarks: if is_same_redis {
                Vec::new()
            } else {
                vec!["redis".to_owned()]
            },
        }
    }

    fn rotate(
        &mut self,
        secret: &mut Option<Vec<u8>>,
        new: Vec<u8>,
        now: Timestamp,
    ) -> ClusterOutcome {
        let Some(current) = secret else {
            return ClusterOutcome::NoSecret;
        };
        // Asked twice, it happens once.
        if *current != new {
            // Nodes tell secrets apart by this. Time may stand still, where a clock was ahead for a while.
            let newest = self.former.last().map(|one| one.good_until);
            let since = newest.map(|good_until| good_until.minus(SECRET_OVERLAP));
            let now = since.map_or(now, |since| now.max(since.plus(Duration::from_millis(1))));
            self.former.retain(|one| now < one.good_until);
            self.former.push(Former {
                secret: std::mem::replace(current, new),
                good_until: now.plus(SECRET_OVERLAP),
            });
        }
        ClusterOutcome::Rotated
    }
}

impl fmt::Debug for ClusterCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Join { node, address, .. } => write!(f, "Join({node} at {address})"),
            Self::Leave { node, epoch } => write!(f, "Leave({node}, epoch {epoch})"),
            Self::Drain { address, on } => write!(f, "Drain({address}: {on})"),
            Self::RotateSecret { .. } => f.write_str("RotateSecret"),
            Self::Identify { id } => write!(f, "Identify({id})"),
        }
    }
}

impl fmt::Debug for ClusterOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Joined { epoch, remarks } => write!(f, "Joined(epoch {epoch}, {remarks:?})"),
            Self::Refused { settings } => write!(f, "Refused({settings:?})"),
            Self::Full => f.write_str("Full"),
            Self::Left { was_member } => write!(f, "Left({was_member})"),
            Self::Told { nodes } => write!(f, "Told({nodes})"),
            Self::Rotated => f.write_str("Rotated"),
            Self::Identified { id } => write!(f, "Identified({id})"),
            Self::NoSecret => f.write_str("NoSecret"),
        }
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster")
            .field("nodes", &self.nodes)
            .field("shared", &self.shared)
            .field("epochs", &self.epochs)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "cluster_tests.rs"]
mod tests;
