//! What the writers of a node do, and what they must be told.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use roadstead_machine::{
    ClusterCommand, Command, Origin, Outcome, Segment, SessionId, Standing, Timestamp,
};
use roadstead_metadata::{Metadata as _, Remote};
use roadstead_oci::{Algorithm, Digest, Hasher};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::truth::Record;
use super::{chance, truth};

/// Sessions at a time: few, so that writers meet.
const SESSIONS: usize = 3;

/// What all writers know.
#[derive(Debug, Clone, Default)]
pub(super) struct Sessions(Arc<Mutex<Shared>>);

#[derive(Debug, Default)]
struct Shared {
    open: Vec<Origin>,
    /// Places that somebody wants to have taken, or did.
    places: Vec<String>,
    pub(super) served: u64,
}

impl Sessions {
    /// One that is known from before.
    pub(super) fn begins_with(&self, origin: Origin) {
        self.lock().open.push(origin);
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Proposals that were answered.
    pub(super) fn served(&self) -> u64 {
        self.lock().served
    }
}

/// Logs a command; what it is told must be in the log. `None` when it is not known what came of it.
pub(super) async fn propose(remote: &Remote, command: Command) -> Option<Outcome> {
    truth::look(|truth| truth.proposed(&command));
    match remote.propose(command.clone()).await {
        Ok(outcome) => {
            truth::look(|truth| truth.acknowledged(&command, &outcome));
            Some(outcome)
        }
        Err(error) => {
            truth::event(format_args!("{command:?}: {error}"));
            None
        }
    }
}

pub(super) struct Worker {
    remote: Arc<Remote>,
    sessions: Sessions,
}

impl Worker {
    pub(super) fn new(remote: Arc<Remote>, sessions: Sessions) -> Self {
        Self { remote, sessions }
    }

    pub(super) async fn run(self, ended: &CancellationToken) {
        while !ended.is_cancelled() {
            sleep(chance::millis(20..900)).await;
            if self.step().await.is_some() {
                self.sessions.lock().served += 1;
            }
        }
    }

    async fn step(&self) -> Option<()> {
        match chance::within(0..100) {
            0..2 => self.rotate().await,
            2..8 => self.give_up().await,
            8..12 => self.remote.fleet().await.ok().map(|_fleet| ()),
            _ => {
                let origin = self.session().await?;
                self.go_on_with(origin).await
            }
        }
    }

    async fn session(&self) -> Option<Origin> {
        let known = {
            let shared = self.sessions.lock();
            (shared.open.len() >= SESSIONS || chance::one_in(2)).then(|| chance::pick(&shared.open))
        };
        if let Some(Some(origin)) = known {
            return Some(origin);
        }
        let opened = self.remote.now().await.ok()?;
        let origin = origin(SessionId(chance::bytes()), opened);
        let mut shared = self.sessions.lock();
        if shared.open.len() < SESSIONS {
            shared.open.push(origin.clone());
        }
        Some(origin)
    }

    /// Looks where it stands, and does the next thing.
    async fn go_on_with(&self, origin: Origin) -> Option<()> {
        let id = origin.session;
        let at_least = truth::look(|truth| truth.record(id));
        let standing = self.remote.session(id).await.ok()?;
        check_standing(id, &at_least, standing.as_ref());
        match standing {
            None => self.append(origin, 0).await,
            Some(Standing::Receiving { offset, .. }) => match chance::within(0..20) {
                0 => self.cancel(origin).await,
                1 => self.seal(origin, offset).await,
                2 => {
                    let segments = self.remote.segments(id).await.ok()?;
                    check_segments(id, &at_least, &segments);
                    Some(())
                }
                _ => self.append(origin, offset).await,
            },
            Some(Standing::Sealed { .. }) => {
                let finished = propose(&self.remote, Command::Finish { session: id }).await;
                self.forget(id);
                finished.map(|_outcome| ())
            }
            Some(Standing::Completed { .. } | Standing::Cancelled { .. }) => {
                self.forget(id);
                Some(())
            }
        }
    }

    async fn append(&self, origin: Origin, from: u64) -> Option<()> {
        let id = origin.session;
        let command = Command::Append {
            origin,
            from,
            segment: self.segment(),
            state: Hasher::new(Algorithm::Sha256).save(),
        };
        let outcome = propose(&self.remote, command).await?;
        if matches!(outcome, Outcome::UnknownSession) {
            self.forget(id);
        }
        Some(())
    }

    async fn seal(&self, origin: Origin, at: u64) -> Option<()> {
        let seal = Command::Seal {
            origin,
            at,
            tail: chance::one_in(2).then(|| self.segment()),
            digest: Digest::of(Algorithm::Sha256, b"content"),
        };
        propose(&self.remote, seal).await.map(|_outcome| ())
    }

    async fn cancel(&self, origin: Origin) -> Option<()> {
        let id = origin.session;
        let cancelled = propose(&self.remote, Command::Cancel { origin }).await?;
        if matches!(cancelled, Outcome::Discarded { .. })
            && !truth::look(|truth| truth.record(id).is_over)
        {
            truth::violated(format_args!("{id} was cancelled, and is not"));
        }
        Some(())
    }

    /// Clears places away, of which some are on their way into a session.
    async fn give_up(&self) -> Option<()> {
        let places = {
            let shared = self.sessions.lock();
            let last = shared.places.iter().rev().take(12);
            last.filter(|_| chance::one_in(2)).cloned().collect()
        };
        let renounced = propose(&self.remote, Command::Renounce { places }).await;
        renounced.map(|_outcome| ())
    }

    async fn rotate(&self) -> Option<()> {
        let secret = chance::bytes::<16>().to_vec();
        let since = self.remote.secrets().await.ok()?.since;
        let rotate = Command::Cluster(ClusterCommand::ReplaceSecret { since, secret });
        propose(&self.remote, rotate).await.map(|_outcome| ())
    }

    /// At a place of its own.
    fn segment(&self) -> Segment {
        let mut shared = self.sessions.lock();
        let place = format!("place-{}", shared.places.len());
        shared.places.push(place.clone());
        let length = chance::within(1..100);
        Segment { place, length }
    }

    fn forget(&self, id: SessionId) {
        self.sessions.lock().open.retain(|open| open.session != id);
    }
}

pub(super) fn origin(session: SessionId, opened: Timestamp) -> Origin {
    Origin {
        session,
        repository: "a/b".parse().expect("a name"),
        opened,
    }
}

/// A reader sees all that was there when it asked.
fn check_standing(id: SessionId, at_least: &Record, standing: Option<&Standing>) {
    let is_behind = match standing {
        // The end of a session is forgotten some time. Where clocks are wrong, it may have come since somebody asked and be
        // forgotten already: the log's time goes hours ahead.
        None => {
            let is_over = truth::look(|truth| !truth.clocks_are_right && truth.record(id).is_over);
            let is_known = at_least.is_sealed || at_least.offset() > 0;
            is_known && !at_least.is_over && !is_over
        }
        Some(Standing::Receiving { offset, .. }) => {
            *offset < at_least.offset() || at_least.is_sealed || at_least.is_over
        }
        Some(Standing::Sealed { .. }) => at_least.is_over,
        Some(Standing::Completed { .. } | Standing::Cancelled { .. }) => false,
    };
    if is_behind {
        truth::violated(format_args!(
            "{id} is read as {standing:?}; it had {at_least:?}"
        ));
    }
}

fn check_segments(id: SessionId, at_least: &Record, segments: &[Segment]) {
    let now = truth::look(|truth| truth.record(id));
    let is_whole = segments.starts_with(&at_least.segments) && now.segments.starts_with(segments);
    if !is_whole && !now.is_over {
        truth::violated(format_args!(
            "{id} is read as {segments:?}; it had {at_least:?}"
        ));
    }
}
