//! What a client sends, looked at before it is taken.

use axum::body::Bytes;
use roadstead_serve::body::{Body as Incoming, BodyError};

use super::feed::{Ended, Manner};
use super::held::Held;

pub(super) struct Source {
    body: Incoming,
    /// The next piece, which nobody holds yet.
    next: Option<Bytes>,
    is_over: bool,
    /// Bytes that came so far.
    came: u64,
}

impl Source {
    pub(super) fn of(body: Incoming) -> Self {
        Self {
            body,
            next: None,
            is_over: false,
            came: 0,
        }
    }

    /// The body as it was, before anything was taken.
    pub(super) fn into_body(self) -> Incoming {
        self.body
    }

    /// Whether all came that was announced. Over HTTP/2 a body's end may be said later than its last byte.
    pub(super) fn has_all(&self, announced: Option<u64>) -> bool {
        self.is_over || announced == Some(self.came)
    }

    /// Whether there is more: waits for it, and keeps it.
    pub(super) async fn look(&mut self) -> Result<bool, BodyError> {
        if self.next.is_none() && !self.is_over {
            self.next = self.body.next().await?;
            self.is_over = self.next.is_none();
            self.came += self.next.as_ref().map_or(0, |piece| piece.len() as u64);
        }
        Ok(self.next.is_some())
    }

    /// Holds the next piece, and gives it out to be sent. None where others need the room that it would take: what is held
    /// so far is to be acknowledged first.
    pub(super) async fn hold_next(
        &mut self,
        held: &mut Held,
        manner: Manner,
    ) -> Result<Option<Bytes>, Ended> {
        let Some(piece) = self.next.take() else {
            return Ok(None);
        };
        if !held.is_whole() {
            return Ok(Some(piece));
        }
        match held.hold(piece) {
            Ok(piece) => Ok(Some(piece)),
            Err(piece) if !manner.in_chunks => {
                held.give_up();
                Ok(Some(piece))
            }
            Err(piece) if held.length() > 0 => {
                self.next = Some(piece);
                Ok(None)
            }
            Err(piece) => {
                self.next = Some(piece.clone());
                let room = held.room_for(&piece, manner.idle).await;
                let room = room.ok_or(Ended::NoRoom)?;
                self.next = None;
                Ok(Some(held.keep(piece, room)))
            }
        }
    }
}
