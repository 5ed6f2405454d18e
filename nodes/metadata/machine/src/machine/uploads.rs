//! What becomes of an upload session.

use roadstead_oci::{Digest, HashState};

use super::{FRESH_FOR, MAX_SEGMENTS, Machine, REMEMBER_FOR};
use crate::command::Outcome;
use crate::session::{Origin, Receiving, Segment, Session, SessionId};
use crate::time::Timestamp;

impl Machine {
    pub(super) fn open(&mut self, origin: Origin, state: HashState) -> Outcome {
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

    pub(super) fn append(
        &mut self,
        origin: Origin,
        from: u64,
        segment: Segment,
        state: HashState,
    ) -> Outcome {
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

    pub(super) fn seal(
        &mut self,
        origin: Origin,
        at: u64,
        tail: Option<Segment>,
        digest: Digest,
    ) -> Outcome {
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

    pub(super) fn finish(&mut self, id: SessionId) -> Outcome {
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

    pub(super) fn cancel(&mut self, origin: Origin, proposal: Option<[u8; 16]>) -> Outcome {
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

    pub(super) fn abandon(&mut self, origin: Origin, at: u64) -> Outcome {
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

    pub(super) fn purge(&mut self, idle_since: Timestamp) -> Outcome {
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

    pub(super) fn forget_ended(&mut self) {
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
