//! Where an upload session stands, and what its client may do with it.

use roadstead_metadata::{Command, Origin, Outcome, Segment, Standing as Record};
use roadstead_oci::{Algorithm, Digest, Hasher, Name};

use crate::Registry;
use crate::error::Error;
use crate::token::{self, State};

/// What a client is given to go on with.
#[derive(Debug, Clone)]
pub(crate) struct Ticket {
    pub(crate) origin: Origin,
    pub(crate) state: State,
}

/// Where a session stands.
#[derive(Debug)]
pub(crate) enum Standing {
    Receiving { offset: u64, hasher: Box<Hasher> },
    Sealed { digest: Digest },
    Completed { digest: Digest },
}

impl Registry {
    pub(crate) fn sign(&self, ticket: &Ticket) -> String {
        self.keys.sign(&ticket.origin, &ticket.state)
    }

    /// The session that a path names, if there ever was such a one.
    pub(crate) fn origin(&self, name: &Name, id: &str) -> Result<Origin, Error> {
        let origin = token::parse_id(id)
            .map(|id| token::origin(id, name))
            .ok_or(Error::UploadUnknown)?;
        if self.keys.is_minted(&origin) {
            Ok(origin)
        } else {
            Err(Error::UploadUnknown)
        }
    }

    /// The session with the state that its client sent back.
    pub(crate) fn ticket(
        &self,
        name: &Name,
        id: &str,
        state: Option<&str>,
    ) -> Result<Ticket, Error> {
        let origin = self.origin(name, id)?;
        let state = state.ok_or(Error::UploadInvalid(
            "the upload's _state is missing: use the Location as it was given",
        ))?;
        let state = self.keys.verify(&origin, state);
        let state = state.ok_or(Error::UploadInvalid(
            "the upload's _state was not given by this registry for this upload",
        ))?;
        Ok(Ticket { origin, state })
    }

    /// Where the session stands. One that never moved stands at its beginning, hashing as its token says.
    pub(crate) async fn standing(
        &self,
        origin: &Origin,
        algorithm: Algorithm,
    ) -> Result<Standing, Error> {
        match self.metadata.session(origin.session).await? {
            Some(record) if *record.repository() != origin.repository => Err(Error::UploadUnknown),
            Some(Record::Receiving { offset, state, .. }) => {
                let hasher = Hasher::restore(&state)
                    .map_err(|_damaged| roadstead_storage::Error::Damaged)?;
                Ok(Standing::Receiving {
                    offset,
                    hasher: Box::new(hasher),
                })
            }
            Some(Record::Sealed { digest, .. }) => Ok(Standing::Sealed { digest }),
            Some(Record::Completed { digest, .. }) => Ok(Standing::Completed { digest }),
            None if self.metadata.is_fresh(origin.opened).await? => Ok(Standing::Receiving {
                offset: 0,
                hasher: Box::new(Hasher::new(algorithm)),
            }),
            Some(Record::Cancelled { .. }) | None => Err(Error::UploadUnknown),
        }
    }

    /// Ends the session without a blob. What it had stored is given up in the background.
    pub(crate) async fn end(&self, command: Command) -> Result<(), Error> {
        match self.metadata.propose(command).await? {
            Outcome::Discarded { segments, .. } => {
                self.discard(segments);
                Ok(())
            }
            _other => Err(Error::UploadUnknown),
        }
    }

    /// Gives up stored bytes that no session holds any more. A failure leaves them to a later clean-up.
    pub(crate) fn discard(&self, segments: Vec<Segment>) {
        if segments.is_empty() {
            return;
        }
        let store = std::sync::Arc::clone(&self.store);
        self.background.spawn(async move {
            let places: Vec<String> = segments.into_iter().map(|segment| segment.place).collect();
            if let Err(error) = store.discard(&places).await {
                tracing::warn!(%error, "an upload's bytes stay until they are swept");
            }
        });
    }
}
