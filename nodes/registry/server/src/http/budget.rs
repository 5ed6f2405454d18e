//! A bound on the memory that all requests together may take for bodies that must be held whole.

use std::time::Duration;

use bytes::Bytes;
use http::header;
use roadstead_oci::ErrorCode;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use super::error::Failure;
use crate::body::Body;
use crate::error::Error;

/// Manifests are small: nearly all need no room of the budget, and wait for nobody.
const SMALL: usize = 256 * 1024;

/// Larger ones that may be in memory at a time.
const LARGE_AT_ONCE: usize = 16;

/// How long one waits for room before its client is asked to come again.
const ROOM_WITHIN: Duration = Duration::from_secs(20);

/// How long a manifest may take to arrive, however steadily: room that is held by the slow is room for nobody.
const ARRIVES_WITHIN: Duration = Duration::from_mins(2);

/// Takes in bodies that must be held whole.
#[derive(Debug)]
pub(super) struct Budget {
    large: Semaphore,
    limit: usize,
}

impl Budget {
    pub(super) fn for_manifests(limit: usize) -> Self {
        Self {
            large: Semaphore::new(LARGE_AT_ONCE),
            limit,
        }
    }

    /// The whole body, up to the limit, with its room: held until the manifest is dealt with.
    pub(super) async fn take_in(
        &self,
        body: Body,
    ) -> Result<(Bytes, Option<SemaphorePermit<'_>>), Failure> {
        timeout(ARRIVES_WITHIN, self.collect(body))
            .await
            .unwrap_or_else(|_elapsed| {
                let detail = format!("the manifest did not arrive within {ARRIVES_WITHIN:?}");
                Err(Failure::new(ErrorCode::ManifestInvalid, detail)
                    .with_status(http::StatusCode::REQUEST_TIMEOUT))
            })
    }

    async fn collect(
        &self,
        mut body: Body,
    ) -> Result<(Bytes, Option<SemaphorePermit<'_>>), Failure> {
        let (mut whole, mut room) = (Vec::new(), None);
        while let Some(piece) = body.next().await.map_err(Error::from)? {
            let length = whole.len() + piece.len();
            if length > self.limit {
                return Err(Error::ManifestTooLarge { limit: self.limit }.into());
            }
            if length > SMALL && room.is_none() {
                room = Some(self.room().await?);
            }
            whole.extend_from_slice(&piece);
        }
        Ok((whole.into(), room))
    }

    async fn room(&self) -> Result<SemaphorePermit<'_>, Failure> {
        if let Ok(Ok(room)) = timeout(ROOM_WITHIN, self.large.acquire()).await {
            return Ok(room);
        }
        let busy = Failure::new(
            ErrorCode::Unavailable,
            "many large manifests are arriving at once",
        );
        Err(busy.with_header(header::RETRY_AFTER, "5"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(pieces: usize, piece: usize, every: Duration) -> Body {
        let pieces = futures::stream::unfold(0, move |n| async move {
            tokio::time::sleep(every).await;
            (n < pieces).then(|| (Ok(Bytes::from(vec![b' '; piece])), n + 1))
        });
        Body::new(pieces, Duration::from_mins(2), false)
    }

    #[tokio::test(start_paused = true)]
    async fn small_manifests_wait_for_nobody() {
        let budget = Budget::for_manifests(4 << 20);
        let rooms: Vec<_> = (0..LARGE_AT_ONCE)
            .map(|_| budget.large.try_acquire().unwrap())
            .collect();
        assert_eq!(
            budget
                .take_in(body(2, 1000, Duration::ZERO))
                .await
                .unwrap()
                .0
                .len(),
            2000
        );
        let large = budget.take_in(body(1, SMALL + 1, Duration::ZERO)).await;
        assert!(
            format!("{large:?}").contains("UNAVAILABLE"),
            "a large one is asked to come again"
        );
        drop(rooms);
        assert_eq!(
            budget
                .take_in(body(1, SMALL + 1, Duration::ZERO))
                .await
                .unwrap()
                .0
                .len(),
            SMALL + 1
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_manifest_that_drips_is_given_up() {
        let budget = Budget::for_manifests(4 << 20);
        let dripped = budget.take_in(body(1000, 1, Duration::from_secs(5))).await;
        assert!(format!("{dripped:?}").contains("408"));
    }

    #[tokio::test]
    async fn the_limit_is_kept() {
        let budget = Budget::for_manifests(10);
        assert_eq!(
            budget
                .take_in(body(2, 5, Duration::ZERO))
                .await
                .unwrap()
                .0
                .len(),
            10
        );
        assert!(format!("{:?}", budget.take_in(body(11, 1, Duration::ZERO)).await).contains("413"));
    }
}
