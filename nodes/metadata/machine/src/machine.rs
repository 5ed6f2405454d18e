//! The state, and the one `apply`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use roadstead_oci::{Digest, HashState};
use serde::{Deserialize, Serialize};

use crate::cluster::{Cluster, ClusterId, Node, NodeId, Secret};
use crate::collection::Collection;
use crate::command::{Command, Entry, Outcome};
use crate::renounced::Renounced;
use crate::session::{Origin, Receiving, Segment, Session, SessionId};
use crate::time::Timestamp;

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
}

/// As version 1 stored it.
#[derive(Deserialize)]
pub(crate) struct MachineV1 {
    now: Timestamp,
    sessions: BTreeMap<SessionId, Session>,
    forget: BTreeSet<(Timestamp, SessionId)>,
    secret: Option<Vec<u8>>,
}

impl From<MachineV1> for Machine {
    fn from(v1: MachineV1) -> Self {
        let MachineV1 {
            now,
            sessions,
            forget,
            secret,
        } = v1;
        Self {
            now,
            sessions,
            forget,
            secret,
            ..Self::default()
        }
    }
}

/// As version 2 stored it.
#[derive(Deserialize)]
pub(crate) struct MachineV2 {
    now: Timestamp,
    sessions: BTreeMap<SessionId, Session>,
    forget: BTreeSet<(Timestamp, SessionId)>,
    secret: Option<Vec<u8>>,
    cluster: Cluster,
    renounced: Renounced,
}

impl From<MachineV2> for Machine {
    fn from(v2: MachineV2) -> Self {
        let MachineV2 {
            now,
            sessions,
            forget,
            secret,
            cluster,
            renounced,
        } = v2;
        Self {
            now,
            sessions,
            forget,
            secret,
            cluster,
            renounced,
            collection: Collection::default(),
        }
    }
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
                Outcome::Cluster(outcome)
            }
            Command::Collect(command) => {
                let nodes = self.cluster.nodes();
                Outcome::Collect(self.collection.apply(command, self.now, nodes))
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

    /// What is agreed on about collecting.
    pub fn collection(&self) -> &Collection {
        &self.collection
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

    fn open(&mut self, origin: Origin, state: HashState) -> Outcome {
        let fresh = self.is_fresh(origin.opened, self.now);
        match self.sessions.get(&origin.session) {
            None if fresh => {
                let progress = Receiving {
                    offset: 0,
                    state,
                    segments: Vec::new(),
                    touched: self.now,
                };
                let session = Session::Receiving {
                    repository: origin.repository,
                    progress,
                };
                self.sessions.insert(origin.session, session);
                Outcome::Appended { offset: 0 }
            }
            Some(Session::Receiving {
                repository,
                progress,
            }) if *repository == origin.repository => Outcome::Appended {
                offset: progress.offset,
            },
            _ => Outcome::UnknownSession,
        }
    }

    fn append(&mut self, origin: Origin, from: u64, segment: Segment, state: HashState) -> Outcome {
        let now = self.now;
        let fresh = self.is_fresh(origin.opened, now);
        match self.sessions.get_mut(&origin.session) {
            None if !fresh => Outcome::UnknownSession,
            None if from != 0 => Outcome::Conflict { offset: 0 },
            None => {
                let offset = segment.length;
                let progress = Receiving {
                    offset,
                    state,
                    segments: vec![segment],
                    touched: now,
                };
                let session = Session::Receiving {
                    repository: origin.repository,
                    progress,
                };
                self.sessions.insert(origin.session, session);
                Outcome::Appended { offset }
            }
            Some(session) if *session.repository() != origin.repository => Outcome::UnknownSession,
            // Asked again by one who missed the answer: what is told to be elsewhere would be thrown away.
            Some(session) if session.holds(&segment) => Outcome::Appended {
                offset: from.saturating_add(segment.length),
            },
            Some(Session::Receiving { progress, .. }) if progress.offset != from => {
                Outcome::Conflict {
                    offset: progress.offset,
                }
            }
            Some(Session::Receiving { progress, .. })
                if progress.segments.len() >= MAX_SEGMENTS =>
            {
                Outcome::TooManySegments
            }
            Some(Session::Receiving { progress, .. }) => {
                progress.offset += segment.length;
                progress.state = state;
                progress.segments.push(segment);
                progress.touched = now;
                Outcome::Appended {
                    offset: progress.offset,
                }
            }
            Some(Session::Completed { digest, .. }) => Outcome::Completed {
                digest: digest.clone(),
            },
            Some(
                Session::Sealed { .. } | Session::Cancelled { .. } | Session::CancelledBy { .. },
            ) => Outcome::UnknownSession,
        }
    }

    fn seal(&mut self, origin: Origin, at: u64, tail: Option<Segment>, digest: Digest) -> Outcome {
        let now = self.now;
        let fresh = self.is_fresh(origin.opened, now);
        let mut segments = match self.sessions.get_mut(&origin.session) {
            None if !fresh => return Outcome::UnknownSession,
            None if at != 0 => return Outcome::Conflict { offset: 0 },
            None => Vec::new(),
            Some(session) if *session.repository() != origin.repository => {
                return Outcome::UnknownSession;
            }
            Some(Session::Receiving { progress, .. }) if progress.offset != at => {
                return Outcome::Conflict {
                    offset: progress.offset,
                };
            }
            Some(Session::Receiving { progress, .. }) => std::mem::take(&mut progress.segments),
            Some(Session::Sealed {
                digest: sealed,
                segments,
                ..
            }) if *sealed == digest => {
                // A tail that was taken is this proposer's, who missed the answer: it must not be thrown away.
                let taken = |tail: &Segment| segments.contains(tail);
                return Outcome::Sealed {
                    segments: segments.clone(),
                    again: !tail.as_ref().is_some_and(taken),
                };
            }
            Some(Session::Completed { digest, .. }) => {
                return Outcome::Completed {
                    digest: digest.clone(),
                };
            }
            Some(
                Session::Sealed { .. } | Session::Cancelled { .. } | Session::CancelledBy { .. },
            ) => {
                return Outcome::UnknownSession;
            }
        };
        segments.extend(tail);
        let sealed = Session::Sealed {
            repository: origin.repository,
            digest,
            segments: segments.clone(),
            touched: now,
        };
        self.sessions.insert(origin.session, sealed);
        Outcome::Sealed {
            segments,
            again: false,
        }
    }

    fn finish(&mut self, id: SessionId) -> Outcome {
        let (repository, digest, segments) = match self.sessions.remove(&id) {
            Some(Session::Sealed {
                repository,
                digest,
                segments,
                ..
            }) => (repository, digest, segments),
            Some(Session::Completed { repository, digest }) => (repository, digest, Vec::new()),
            Some(other) => {
                self.sessions.insert(id, other);
                return Outcome::UnknownSession;
            }
            None => return Outcome::UnknownSession,
        };
        self.end(id, Session::Completed { repository, digest });
        Outcome::Discarded {
            sessions: 1,
            segments,
        }
    }

    fn cancel(&mut self, origin: Origin, proposal: Option<[u8; 16]>) -> Outcome {
        let fresh = self.is_fresh(origin.opened, self.now);
        let segments = match self.sessions.get_mut(&origin.session) {
            None if !fresh => return Outcome::UnknownSession,
            None => Vec::new(),
            Some(session) if *session.repository() != origin.repository => {
                return Outcome::UnknownSession;
            }
            Some(Session::Receiving { progress, .. }) => std::mem::take(&mut progress.segments),
            Some(Session::CancelledBy { proposal: by, .. }) if Some(*by) == proposal => {
                return Outcome::Discarded {
                    sessions: 1,
                    segments: Vec::new(),
                };
            }
            Some(
                Session::Sealed { .. }
                | Session::Completed { .. }
                | Session::Cancelled { .. }
                | Session::CancelledBy { .. },
            ) => {
                return Outcome::UnknownSession;
            }
        };
        let repository = origin.repository;
        let ended = match proposal {
            None => Session::Cancelled { repository },
            Some(proposal) => Session::CancelledBy {
                repository,
                proposal,
            },
        };
        self.end(origin.session, ended);
        Outcome::Discarded {
            sessions: 1,
            segments,
        }
    }

    fn abandon(&mut self, origin: Origin, at: u64) -> Outcome {
        match self.sessions.get(&origin.session) {
            Some(Session::Receiving { progress, .. }) if progress.offset != at => {
                Outcome::Conflict {
                    offset: progress.offset,
                }
            }
            None if at != 0 => Outcome::UnknownSession,
            _ => self.cancel(origin, None),
        }
    }

    fn purge(&mut self, idle_since: Timestamp) -> Outcome {
        let idle = |session: &Session| {
            session
                .touched()
                .is_some_and(|touched| touched < idle_since)
        };
        let ids: Vec<SessionId> = self
            .sessions
            .iter()
            .filter(|(_, session)| idle(session))
            .map(|(id, _)| *id)
            .collect();
        let mut segments = Vec::new();
        for id in &ids {
            if let Some(session) = self.sessions.remove(id) {
                segments.extend_from_slice(session.segments());
                self.end(
                    *id,
                    Session::Cancelled {
                        repository: session.repository().clone(),
                    },
                );
            }
        }
        Outcome::Discarded {
            sessions: ids.len(),
            segments,
        }
    }

    /// A session opened less than [`FRESH_FOR`] ago is remembered at least until its token is worth nothing; so is
    /// one opened at any time before, since both spans are the same.
    fn end(&mut self, id: SessionId, ended: Session) {
        const { assert!(REMEMBER_FOR.as_secs() >= FRESH_FOR.as_secs()) }
        self.sessions.insert(id, ended);
        self.forget.insert((self.now.plus(REMEMBER_FOR), id));
    }

    fn forget_ended(&mut self) {
        while let Some(&(when, id)) = self.forget.first()
            && when <= self.now
        {
            self.forget.pop_first();
            let ended = |session: &Session| session.touched().is_none();
            if self.sessions.get(&id).is_some_and(ended) {
                self.sessions.remove(&id);
            }
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
