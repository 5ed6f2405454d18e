//! A request's body, as it arrives.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt as _};

/// Why a body ended before its end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    #[error("the client went away")]
    Aborted,
    #[error("no byte came for {0:?}")]
    Idle(Duration),
}

/// A body in pieces.
pub struct Body {
    pieces: BoxStream<'static, Result<Bytes, BodyError>>,
    idle: Duration,
}

impl Body {
    /// A body that is given up when no piece comes for `idle`.
    pub fn new(
        pieces: impl Stream<Item = Result<Bytes, BodyError>> + Send + 'static,
        idle: Duration,
    ) -> Self {
        Self {
            pieces: pieces.boxed(),
            idle,
        }
    }

    /// The next piece that is not empty.
    pub async fn next(&mut self) -> Result<Option<Bytes>, BodyError> {
        loop {
            match tokio::time::timeout(self.idle, self.pieces.next()).await {
                Err(_elapsed) => return Err(BodyError::Idle(self.idle)),
                Ok(None) => return Ok(None),
                Ok(Some(Err(error))) => return Err(error),
                Ok(Some(Ok(piece))) if piece.is_empty() => {}
                Ok(Some(Ok(piece))) => return Ok(Some(piece)),
            }
        }
    }

    /// The whole body, or `None` if it is larger than `limit`.
    pub async fn collect(mut self, limit: usize) -> Result<Option<Bytes>, BodyError> {
        let mut whole = Vec::new();
        while let Some(piece) = self.next().await? {
            if whole.len() + piece.len() > limit {
                return Ok(None);
            }
            whole.extend_from_slice(&piece);
        }
        Ok(Some(whole.into()))
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Body")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_move_is_given_up() {
        let mut body = Body::new(futures::stream::pending(), Duration::from_secs(7));
        assert_eq!(
            body.next().await,
            Err(BodyError::Idle(Duration::from_secs(7)))
        );
    }

    #[tokio::test]
    async fn a_body_is_collected_up_to_its_limit() {
        let body = || {
            let pieces = ["ab", "", "cd"].map(|piece| Ok(Bytes::from(piece)));
            Body::new(futures::stream::iter(pieces), Duration::from_secs(1))
        };
        assert_eq!(body().collect(4).await, Ok(Some("abcd".into())));
        assert_eq!(body().collect(3).await, Ok(None));
    }
}
