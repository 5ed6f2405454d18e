//! A request's body, as it arrives; and an answer's, as it goes.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt as _};
use http_body::{Frame, SizeHint};

/// Why a body ended before its end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    #[error("the client went away")]
    Aborted,
    #[error("no byte came for {0:?}")]
    Idle(Duration),
}

/// Of a body that nobody wants, this much is read and thrown away: a client that still sends when it is answered would
/// otherwise find its connection reset, and never see the answer.
const LINGER_BYTES: usize = 16 << 20;
const LINGER: Duration = Duration::from_secs(5);
/// With more to come than that, the connection is held still for so long: those who read while they write see the answer.
const HOLD: Duration = Duration::from_secs(1);

/// A body in pieces.
pub struct Body {
    pieces: BoxStream<'static, Result<Bytes, BodyError>>,
    idle: Duration,
    /// Whether the client may be sending.
    is_sending: bool,
    /// Taken from the pieces, and not given out yet.
    front: Option<Bytes>,
}

impl Body {
    /// A body that is given up when no piece comes for `idle`. A client that waits to be told to go on is not sending
    /// before the first piece is asked for.
    pub fn new(
        pieces: impl Stream<Item = Result<Bytes, BodyError>> + Send + 'static,
        idle: Duration,
        is_sending: bool,
    ) -> Self {
        Self {
            pieces: pieces.boxed(),
            idle,
            is_sending,
            front: None,
        }
    }

    /// Whether there is no byte at all: waits for the first, and keeps it.
    pub async fn is_empty(&mut self) -> Result<bool, BodyError> {
        if self.front.is_none() {
            self.front = self.next().await?;
        }
        Ok(self.front.is_none())
    }

    /// The next piece that is not empty.
    pub async fn next(&mut self) -> Result<Option<Bytes>, BodyError> {
        if let Some(front) = self.front.take() {
            return Ok(Some(front));
        }
        self.is_sending = true;
        loop {
            match tokio::time::timeout(self.idle, self.pieces.next()).await {
                Err(_elapsed) => return Err(BodyError::Idle(self.idle)),
                Ok(None) => {
                    self.is_sending = false;
                    return Ok(None);
                }
                Ok(Some(Err(error))) => {
                    self.is_sending = false;
                    return Err(error);
                }
                Ok(Some(Ok(piece))) if piece.is_empty() => {}
                Ok(Some(Ok(piece))) => return Ok(Some(piece)),
            }
        }
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        if self.is_sending
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let pieces = std::mem::replace(&mut self.pieces, futures::stream::empty().boxed());
            runtime.spawn(linger(pieces));
        }
    }
}

async fn linger(mut pieces: BoxStream<'static, Result<Bytes, BodyError>>) {
    let discard = async {
        let mut discarded = 0;
        while discarded < LINGER_BYTES {
            match pieces.next().await {
                Some(Ok(piece)) => discarded += piece.len(),
                Some(Err(_)) | None => return,
            }
        }
        tokio::time::sleep(HOLD).await;
    };
    let _ended_or_not = tokio::time::timeout(LINGER, discard).await;
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Body")
    }
}

/// The body of an answer, with somebody who is told of its bytes as they pass, and let go of with it.
pub fn counted<T: Send + Unpin + 'static>(
    body: axum::body::Body,
    told: T,
    count: fn(&mut T, u64),
) -> axum::body::Body {
    axum::body::Body::new(Counted { body, told, count })
}

struct Counted<T> {
    body: axum::body::Body,
    told: T,
    count: fn(&mut T, u64),
}

impl<T: Unpin> http_body::Body for Counted<T> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.body).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(data) = frame.data_ref()
        {
            (this.count)(&mut this.told, data.len() as u64);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_move_is_given_up() {
        let mut body = Body::new(futures::stream::pending(), Duration::from_secs(7), true);
        assert_eq!(
            body.next().await,
            Err(BodyError::Idle(Duration::from_secs(7)))
        );
    }

    #[tokio::test]
    async fn looking_takes_nothing() {
        let pieces = ["", "ab"].map(|piece| Ok(Bytes::from(piece)));
        let mut body = Body::new(futures::stream::iter(pieces), Duration::from_secs(1), true);
        assert_eq!(body.is_empty().await, Ok(false));
        assert_eq!(body.is_empty().await, Ok(false));
        assert_eq!(body.next().await, Ok(Some("ab".into())));
        assert_eq!(body.is_empty().await, Ok(true));
    }
}
