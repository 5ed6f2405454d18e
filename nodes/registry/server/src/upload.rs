//! Pushing a blob: `opened -> receiving(offset) -> sealed(digest) -> completed`.
//!
//! A chunk is written to a place of its own, made durable, and only then committed, by compare-and-set on the offset at
//! which it began: of two writers one wins, and the loser's bytes are garbage. No lock is held while a client is slow.

use std::time::Duration;

use roadstead_cache::{Descriptor, Key};
use roadstead_metadata::{Command, FRESH_FOR, Origin, Outcome, Segment, SessionId, Unavailable};
use roadstead_oci::{Algorithm, ContentRange, Digest, Hasher, Name};
use roadstead_storage::{Attempt, Error as StoreError, Staged, layout};

use crate::Registry;
use crate::body::Body;
use crate::collect::admission::{ATTEMPTS, Flight, of_blob, undone};
use crate::error::Error;
use crate::receive::{Received, hash, receive};
use crate::session::{Standing, Ticket};
use crate::token::State;

/// What a client said of the bytes that it sends.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) range: Option<ContentRange>,
    pub(crate) body: Body,
}

impl Registry {
    /// A new session. There is no record of it before bytes come.
    pub(crate) async fn open_upload(
        &self,
        name: &Name,
        algorithm: Algorithm,
    ) -> Result<Ticket, Error> {
        let origin = self.keys.mint(name, self.metadata.now().await?);
        Ok(Ticket {
            origin,
            state: State {
                offset: 0,
                algorithm,
            },
        })
    }

    /// Where a session stands, with a fresh state.
    pub(crate) async fn upload_status(&self, name: &Name, id: &str) -> Result<Ticket, Error> {
        let origin = self.origin(name, id)?;
        match self.standing(&origin, Algorithm::CANONICAL).await? {
            Standing::Receiving { offset, hasher } => Ok(Ticket {
                origin,
                state: State {
                    offset,
                    algorithm: hasher.algorithm(),
                },
            }),
            Standing::Sealed { .. } | Standing::Completed { .. } => Err(Error::UploadUnknown),
        }
    }

    pub(crate) async fn cancel_upload(&self, ticket: Ticket) -> Result<SessionId, Error> {
        let id = ticket.origin.session;
        self.end(Command::Cancel {
            origin: ticket.origin,
        })
        .await?;
        Ok(id)
    }

    /// Appends a chunk, and answers with the state after it.
    pub(crate) async fn append(&self, ticket: Ticket, chunk: Chunk) -> Result<Ticket, Error> {
        let Ticket { origin, state } = ticket;
        let Standing::Receiving { offset, hasher } =
            self.standing(&origin, state.algorithm).await?
        else {
            return Err(Error::UploadUnknown);
        };
        check_offset(offset, &state, chunk.range)?;
        let algorithm = hasher.algorithm();
        let taken = self.take_in(&origin, offset, *hasher, chunk).await?;
        let Some((segment, received)) = taken else {
            return Ok(Ticket {
                origin,
                state: State { offset, algorithm },
            });
        };
        let command = Command::Append {
            origin: origin.clone(),
            from: offset,
            segment: segment.clone(),
            state: received.hasher.save(),
        };
        match self.propose_holding(command, Some(&segment)).await? {
            Outcome::Appended { offset } => match received.end {
                Ok(()) => Ok(Ticket {
                    origin,
                    state: State { offset, algorithm },
                }),
                // Kept for a client that asks where to go on.
                Err(cut_off) => Err(cut_off.into()),
            },
            outcome => {
                self.discard(vec![segment]);
                Err(refusal(outcome))
            }
        }
    }

    /// Takes a last chunk, if there is one, and makes the whole a blob of the repository. Asked again after it was
    /// done, or left half done, it finds what happened.
    pub(crate) async fn complete(
        &self,
        ticket: Ticket,
        digest: &Digest,
        chunk: Chunk,
    ) -> Result<(), Error> {
        let Ticket { origin, state } = ticket;
        // A session in which nothing came is hashed as its blob wants it.
        let algorithm = if state.offset == 0 {
            digest.algorithm()
        } else {
            state.algorithm
        };
        let sealed = match self.standing(&origin, algorithm).await? {
            Standing::Completed { digest: done } | Standing::Sealed { digest: done }
                if done != *digest =>
            {
                return Err(Error::UploadUnknown);
            }
            Standing::Completed { .. } => None,
            Standing::Sealed { .. } => self.sealed_segments(&origin, digest).await?,
            Standing::Receiving { offset, hasher } => {
                check_offset(offset, &state, chunk.range)?;
                let standing = Open {
                    origin: &origin,
                    offset,
                    hasher: *hasher,
                };
                self.seal(standing, digest, chunk).await?
            }
        };
        let Some(sealed) = sealed else {
            return self.check_still_there(&origin, digest).await;
        };
        self.publish(&origin.repository, digest, &sealed).await?;
        self.finish(origin.session);
        Ok(())
    }

    /// What a session that was sealed holds. `None` when it was completed in between.
    async fn sealed_segments(
        &self,
        origin: &Origin,
        digest: &Digest,
    ) -> Result<Option<Sealed>, Error> {
        let segments = self.metadata.segments(origin.session).await?;
        match self.standing(origin, digest.algorithm()).await? {
            // Nothing is added to a sealed session: these are all.
            Standing::Sealed { digest: sealed } if sealed == *digest => {
                Ok(Some(Sealed::before(segments)))
            }
            Standing::Completed { digest: done } if done == *digest => Ok(None),
            _other => Err(Error::UploadUnknown),
        }
    }

    /// A blob that was completed before may have been deleted since.
    async fn check_still_there(&self, origin: &Origin, digest: &Digest) -> Result<(), Error> {
        let mut flight = self.promise(of_blob(&origin.repository, digest));
        for _ in 0..ATTEMPTS {
            self.admit_in_time(&mut flight).await?;
            if self
                .settle_blob(&origin.repository, digest)
                .await?
                .is_none()
            {
                return Err(Error::UploadUnknown);
            }
            if self.stands(&flight)? {
                return Ok(());
            }
        }
        Err(undone())
    }

    /// A blob in one request: no session, nothing to go on with.
    pub(crate) async fn push_whole(
        &self,
        name: &Name,
        digest: &Digest,
        body: Body,
    ) -> Result<(), Error> {
        let origin = self.keys.mint(name, self.metadata.now().await?);
        let hasher = Hasher::new(digest.algorithm());
        let taken = self
            .store_chunk(origin.session, hasher.clone(), Chunk { range: None, body })
            .await?;
        let (segments, hasher) = match taken {
            None => (Vec::new(), hasher),
            Some((segment, received)) => {
                if let Err(cut_off) = received.end {
                    self.discard(vec![segment]);
                    return Err(cut_off.into());
                }
                (vec![segment], received.hasher)
            }
        };
        let whole = Sealed {
            segments,
            attempt: Attempt::First,
        };
        let published = match check_digest(&hasher.finish(), digest) {
            Ok(()) => self.publish(name, digest, &whole).await,
            Err(error) => Err(error),
        };
        self.discard(whole.segments);
        published
    }

    /// Stores a chunk of a session. The first chunk may take longer than a session lives without a record: it is put on
    /// record before that.
    async fn take_in(
        &self,
        origin: &Origin,
        offset: u64,
        hasher: Hasher,
        chunk: Chunk,
    ) -> Result<Option<(Segment, Received)>, Error> {
        let fresh = hasher.save();
        let mut storing = std::pin::pin!(self.store_chunk(origin.session, hasher, chunk));
        if offset == 0 {
            let on_record_by = origin.opened.plus(FRESH_FOR / 2);
            let now = self.metadata.now().await?;
            let wait = Duration::from_millis(on_record_by.0.saturating_sub(now.0));
            if let Ok(stored) = tokio::time::timeout(wait, &mut storing).await {
                return stored;
            }
            let open = Command::Open {
                origin: origin.clone(),
                state: fresh,
            };
            if let Outcome::UnknownSession = self.metadata.propose(open).await? {
                return Err(Error::UploadUnknown);
            }
        }
        storing.await
    }

    /// Stores a chunk at a place of its own, durable. `None` when it had no bytes. A chunk that said its range is taken
    /// whole or not at all, so that it can be sent again as it is; of one that did not, what came is taken.
    async fn store_chunk(
        &self,
        session: SessionId,
        hasher: Hasher,
        chunk: Chunk,
    ) -> Result<Option<(Segment, Received)>, Error> {
        let Chunk { range, mut body } = chunk;
        let expected = range.map(ContentRange::length);
        if body.is_empty().await? {
            return if expected.is_none() {
                Ok(None)
            } else {
                Err(Error::SizeInvalid)
            };
        }
        let hint = session.to_string();
        let stored = receive(&*self.store, &hint, hasher, &mut body, expected);
        let (Staged { place, length }, received) = stored.await?;
        Ok(Some((Segment { place, length }, received)))
    }

    /// Takes the last chunk, checks the digest and ends the taking of bytes. `None` when the blob was complete already.
    async fn seal(
        &self,
        open: Open<'_>,
        digest: &Digest,
        chunk: Chunk,
    ) -> Result<Option<Sealed>, Error> {
        let Open {
            origin,
            offset,
            hasher,
        } = open;
        let taken = self.take_in(origin, offset, hasher.clone(), chunk).await?;
        let (tail, hasher) = match taken {
            None => (None, hasher),
            Some((tail, received)) => {
                if let Err(cut_off) = received.end {
                    self.discard(vec![tail]);
                    return Err(cut_off.into());
                }
                (Some(tail), received.hasher)
            }
        };
        let content = Content {
            session: origin.session,
            offset,
            hasher,
            tail: tail.as_ref(),
        };
        let checked = self.check_content(content, digest);
        if let Err(error) = checked.await {
            self.discard(tail.into_iter().collect());
            // Another request closed the upload, and took the bytes away to where they belong.
            if matches!(error, Error::Store(StoreError::Damaged)) {
                return self.sealed_segments(origin, digest).await;
            }
            if matches!(error, Error::DigestInvalid(_)) {
                self.abandon(origin, offset).await;
            }
            return Err(error);
        }
        let at = offset;
        let command = Command::Seal {
            origin: origin.clone(),
            at,
            tail: tail.clone(),
            digest: digest.clone(),
        };
        let outcome = self.propose_holding(command, tail.as_ref()).await?;
        if let Outcome::Sealed {
            segments,
            again: false,
        } = outcome
        {
            return Ok(Some(Sealed::now(segments)));
        }
        // The tail was not taken.
        self.discard(tail.into_iter().collect());
        match outcome {
            Outcome::Sealed { segments, .. } => Ok(Some(Sealed::before(segments))),
            Outcome::Completed { digest: done } if done == *digest => Ok(None),
            outcome => Err(refusal(outcome)),
        }
    }

    /// Ends a session whose client sent the wrong bytes from this offset on, unless another went on from there.
    async fn abandon(&self, origin: &Origin, at: u64) {
        let command = Command::Abandon {
            origin: origin.clone(),
            at,
        };
        if let Err(unended) = self.end(command).await {
            tracing::debug!(%unended, session = %origin.session, "an upload with a wrong digest is not ended");
        }
    }

    /// Checks the running hash; what was hashed with another algorithm than the digest's is read again.
    async fn check_content(&self, content: Content<'_>, digest: &Digest) -> Result<(), Error> {
        let Content {
            session,
            offset,
            hasher,
            tail,
        } = content;
        if hasher.algorithm() == digest.algorithm() {
            return check_digest(&hasher.finish(), digest);
        }
        let mut again = Hasher::new(digest.algorithm());
        let segments = self.metadata.segments(session).await?;
        if segments.iter().map(|segment| segment.length).sum::<u64>() != offset {
            return Err(StoreError::Damaged.into());
        }
        for segment in segments.iter().chain(tail) {
            let opened = self.store.open_staged(&segment.place).await?;
            let mut pieces = opened.object.read(0..opened.size);
            while let Some(piece) = futures::StreamExt::next(&mut pieces).await {
                again = hash(again, vec![piece?]).await?;
            }
        }
        check_digest(&again.finish(), digest)
    }

    /// Publishes and links what was verified to be `digest`.
    async fn publish(&self, name: &Name, digest: &Digest, sealed: &Sealed) -> Result<(), Error> {
        let mut flight = self.promise(of_blob(name, digest));
        for _ in 0..ATTEMPTS {
            self.admit_in_time(&mut flight).await?;
            self.publish_once(name, digest, sealed, &flight).await?;
            if self.stands(&flight)? {
                return Ok(());
            }
        }
        Err(undone())
    }

    async fn publish_once(
        &self,
        name: &Name,
        digest: &Digest,
        sealed: &Sealed,
        flight: &Flight,
    ) -> Result<(), Error> {
        let Sealed { segments, attempt } = sealed;
        let staged: Vec<Staged> = segments
            .iter()
            .map(|Segment { place, length }| Staged {
                place: place.clone(),
                length: *length,
            })
            .collect();
        self.store
            .publish(&staged, &layout::blob_data(digest), *attempt)
            .await?;
        self.link_blob(name, digest, flight).await?;
        let size = segments.iter().map(|segment| segment.length).sum();
        let key = Key::blob(name, digest);
        self.cache
            .learn(flight.ticket(), &key, &Descriptor::of_blob(size));
        Ok(())
    }

    /// Records that the session is over. Nobody waits for it: until it is recorded, asking again finds the blob.
    fn finish(&self, session: SessionId) {
        let (metadata, store) = (
            std::sync::Arc::clone(&self.metadata),
            std::sync::Arc::clone(&self.store),
        );
        self.background.spawn(async move {
            match metadata.propose(Command::Finish { session }).await {
                Ok(Outcome::Discarded { segments, .. }) => {
                    let places: Vec<String> = segments.into_iter().map(|segment| segment.place).collect();
                    if let Err(error) = store.discard(&places).await {
                        tracing::warn!(%error, "an upload's bytes stay until they are swept");
                    }
                }
                Ok(_finished_by_another_request) => {}
                Err(error) => tracing::warn!(%error, %session, "a finished upload stays on record until it is purged"),
            }
        });
    }
}

/// What was checked to be a blob.
struct Sealed {
    segments: Vec<Segment>,
    attempt: Attempt,
}

impl Sealed {
    fn now(segments: Vec<Segment>) -> Self {
        let attempt = Attempt::First;
        Self { segments, attempt }
    }

    fn before(segments: Vec<Segment>) -> Self {
        let attempt = Attempt::Again;
        Self { segments, attempt }
    }
}

/// A session that takes bytes.
struct Open<'a> {
    origin: &'a Origin,
    offset: u64,
    hasher: Hasher,
}

/// What a session has received, with the last chunk.
struct Content<'a> {
    session: SessionId,
    offset: u64,
    /// Of all of it.
    hasher: Hasher,
    tail: Option<&'a Segment>,
}

fn check_offset(offset: u64, state: &State, range: Option<ContentRange>) -> Result<(), Error> {
    let begins_here = state.offset == offset && range.is_none_or(|range| range.first == offset);
    if begins_here {
        Ok(())
    } else {
        Err(Error::RangeInvalid { offset })
    }
}

fn check_digest(content: &Digest, said: &Digest) -> Result<(), Error> {
    if content == said {
        return Ok(());
    }
    Err(Error::DigestInvalid(format!(
        "the content's digest is {content}, not {said}"
    )))
}

fn refusal(outcome: Outcome) -> Error {
    match outcome {
        Outcome::Conflict { offset } => Error::RangeInvalid { offset },
        Outcome::Renounced => {
            Unavailable::because("the upload's bytes were given up meanwhile").into()
        }
        Outcome::TooManySegments => {
            Error::UploadInvalid("the upload has too many chunks: send larger ones")
        }
        _ended => Error::UploadUnknown,
    }
}
