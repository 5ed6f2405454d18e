//! The state, and the one `apply`.

mod earlier;
mod uploads;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::certificates::Certificates;
use crate::cluster::{Cluster, ClusterId, Node, NodeId, Secret};
use crate::collection::Collection;
use crate::command::{Command, Entry, Outcome};
use crate::invalidation::Invalidations;
use crate::renounced::Renounced;
use crate::session::{Session, SessionId};
use crate::time::Timestamp;
pub(crate) use earlier::{MachineV1, MachineV2, MachineV3, MachineV4};

/// How long a session lives that nobody sent a byte to: there is no record of it, only its token.
pub const FRESH_FOR: Duration = Duration::from_hours(1);

/// How far ahead of the log's time a session may have been opened. One that was opened by a clock that was further ahead
/// would outlive the memory of its end.
const AHEAD_AT_MOST: Duration = Duration::from_mins(1);

/// How long the end of a session is remembered, so that a client that missed the answer can ask again.
pub const REMEMBER_FOR: Duration = Duration::from_hours(1);

/// Chunks in one session at most. A client that sends smaller ones than a gibibyte in this many is told so.
pub const MAX_SEGMENTS: usize = 100_000;

/// All that is agreed on.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// The latest time seen; a log entry that is older (a clock was set back) counts as this.
    now: Timestamp,
    sessions: BTreeMap<SessionId, Session>,
    /// Ended sessions by the time at which they are forgotten.
    forget: BTreeSet<(Timestamp, SessionId)>,
    secret: Option<Vec<u8>>,
    cluster: Cluster,
    renounced: Renounced,
    collection: Collection,
    certificates: Certificates,
    /// Left out where there is none: that is the form of before.
    #[serde(skip_serializing_if = "Invalidations::is_blank")]
    invalidations: Invalidations,
}

impl Machine {
    pub fn apply(&mut self, entry: Entry) -> Outcome {
        self.now = self.now.max(entry.at);
        self.forget_ended();
        self.renounced.forget(self.now);
        if entry
            .command
            .takes()
            .is_some_and(|segment| self.renounced.contains(&segment.place))
        {
            return Outcome::Renounced;
        }
        match entry.command {
            Command::Append {
                origin,
                from,
                segment,
                state,
            } => self.append(origin, from, segment, state),
            Command::Seal {
                origin,
                at,
                tail,
                digest,
            } => self.seal(origin, at, tail, digest),
            Command::Abandon { origin, at } => self.abandon(origin, at),
            Command::Open { origin, state } => self.open(origin, state),
            Command::Finish { session } => self.finish(session),
            Command::Cancel { origin } => self.cancel(origin, None),
            Command::CancelOnce { origin, proposal } => self.cancel(origin, Some(proposal)),
            Command::Purge { idle_since } => self.purge(idle_since),
            Command::AdoptSecret { secret } => Outcome::Secret {
                secret: self.secret.get_or_insert(secret).clone(),
            },
            Command::Renounce { places } => self.renounce(places),
            Command::Cluster(command) => {
                let outcome = self.cluster.apply(command, self.now, &mut self.secret);
                self.collection.follow(self.cluster.nodes(), self.now);
                self.invalidations.follow(self.cluster.nodes());
                Outcome::Cluster(outcome)
            }
            Command::Collect(command) => {
                let nodes = self.cluster.nodes();
                Outcome::Collect(self.collection.apply(command, self.now, nodes))
            }
            Command::Invalidation(command) => {
                let nodes = self.cluster.nodes();
                Outcome::Invalidation(self.invalidations.apply(command, nodes))
            }
            Command::Certificates(command) => {
                Outcome::Certificates(self.certificates.apply(command, self.now))
            }
        }
    }

    /// The record of a session, if it ever moved.
    pub fn session(&self, id: SessionId) -> Option<&Session> {
        self.sessions.get(&id)
    }

    /// Sessions on record that have not ended.
    pub fn open_sessions(&self) -> usize {
        let open = |session: &&Session| session.touched().is_some();
        self.sessions.values().filter(open).count()
    }

    /// Whether a session that has no record is still good by its token alone.
    pub fn is_fresh(&self, opened: Timestamp, now: Timestamp) -> bool {
        let now = now.max(self.now);
        opened.minus(AHEAD_AT_MOST) <= now && now < opened.plus(FRESH_FOR)
    }

    /// The time that new sessions are to be opened at: never before the latest that the log has seen, else a clock that
    /// was ahead for a moment would make every session older than it is.
    pub fn present(&self, clock: Timestamp) -> Timestamp {
        clock.max(self.now)
    }

    pub fn secret(&self) -> Option<&[u8]> {
        self.secret.as_deref()
    }

    /// The secrets that nodes sign with, and accept what is signed with, oldest first.
    pub fn secrets(&self, clock: Timestamp) -> Vec<Secret<'_>> {
        self.cluster
            .secrets(self.secret.as_deref(), self.present(clock))
    }

    /// When the newest of them became that.
    pub fn secret_since(&self) -> Timestamp {
        self.cluster.secret_since()
    }

    /// The cluster's name, once a node has asked for it.
    pub fn cluster(&self) -> Option<ClusterId> {
        self.cluster.id()
    }

    /// The nodes that hold a lease, as far as the log knows.
    pub fn nodes(&self) -> &BTreeMap<NodeId, Node> {
        self.cluster.nodes()
    }

    /// The kind of `auth` that the nodes share, or shared when there were some.
    pub fn authentication(&self) -> Option<&str> {
        self.cluster.authentication()
    }

    /// What is agreed on about collecting.
    pub fn collection(&self) -> &Collection {
        &self.collection
    }

    /// What is agreed on about what nodes may not believe any more.
    pub fn invalidations(&self) -> &Invalidations {
        &self.invalidations
    }

    /// What is kept of certificates.
    pub fn certificates(&self) -> &Certificates {
        &self.certificates
    }

    /// Every place that a session holds: whatever else lies among them is garbage.
    pub fn places(&self) -> impl Iterator<Item = &str> {
        self.sessions
            .values()
            .flat_map(Session::segments)
            .map(|segment| segment.place.as_str())
    }

    fn renounce(&mut self, places: Vec<String>) -> Outcome {
        let mut unheld: BTreeSet<String> = places.into_iter().collect();
        for session in self.sessions.values() {
            for segment in session.segments() {
                unheld.remove(&segment.place);
            }
        }
        for place in &unheld {
            self.renounced.add(place, self.now);
        }
        Outcome::Unheld {
            places: unheld.into_iter().collect(),
        }
    }
}

impl fmt::Debug for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Machine")
            .field("now", &self.now)
            .field("sessions", &self.sessions)
            .field("cluster", &self.cluster)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
