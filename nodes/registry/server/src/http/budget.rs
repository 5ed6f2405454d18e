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

/// KiB of larger ones that may be in memory at a time. What a manifest is parsed into takes up to five times its size.
const LARGE_AT_ONCE: u32 = 16 * 1024;

/// How long one waits for room before its client is asked to come again.
const ROOM_WITHIN: Duration = Duration::from_secs(20);

/// How long a manifest may take to arrive, however steadily: room that is held by the slow is room for nobody.
const ARRIVES_WITHIN: Duration = Duration::from_mins(2);

/// Takes in bodies that must be held whole.
#[derive(Debug)]
pub(super) struct Budget {
    /// One permit is a KiB.
    large: Semaphore,
    limit: usize,
}

impl Budget {
    pub(super) fn for_manifests(limit: usize) -> Self {
        Self {
            large: Semaphore::new(LARGE_AT_ONCE as usize),
            limit,
        }
    }

    /// The whole body, up to the limit, with its room: held until the manifest is dealt with. `announced` is its length
    /// as the client said it, if it did.
    pub(super) async fn take_in(
        &self,
        body: Body,
        announced: Option<u64>,
    ) -> Result<(Bytes, Option<SemaphorePermit<'_>>), Failure> {
        timeout(ARRIVES_WITHIN, self.collect(body, announced))
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
        announced: Option<u64>,
    ) -> Result<(Bytes, Option<SemaphorePermit<'_>>), Failure> {
        let (mut whole, mut room) = (Vec::new(), None);
        while let Some(piece) = body.next().await.map_err(Error::from)? {
            let length = whole.len() + piece.len();
            if length > self.limit {
                return Err(Error::ManifestTooLarge { limit: self.limit }.into());
            }
            if length > SMALL && room.is_none() {
                // All that it may need: taken little by little, many would wait for each other.
                let most = announced.map_or(self.limit, |said| {
                    usize::try_from(said).unwrap_or(self.limit)
                });
                room = Some(self.room(most).await?);
            }
            whole.extend_from_slice(&piece);
        }
        Ok((whole.into(), room))
    }

    async fn room(&self, bytes: usize) -> Result<SemaphorePermit<'_>, Failure> {
        let kib = u32::try_from(bytes.div_ceil(1024)).unwrap_or(LARGE_AT_ONCE);
        let room = self.large.acquire_many(kib.clamp(1, LARGE_AT_ONCE));
        if let Ok(Ok(room)) = timeout(ROOM_WITHIN, room).await {
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
        let room = budget.large.try_acquire_many(LARGE_AT_ONCE - 1).unwrap();
        assert_eq!(
            budget
                .take_in(body(2, 1000, Duration::ZERO), None)
                .await
                .unwrap()
                .0
                .len(),
            2000
        );
        let large = budget
            .take_in(body(1, SMALL + 1, Duration::ZERO), None)
            .await;
        assert!(
            format!("{large:?}").contains("UNAVAILABLE"),
            "a large one is asked to come again"
        );
        drop(room);
        assert_eq!(
            budget
                .take_in(body(1, SMALL + 1, Duration::ZERO), None)
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
        let dripped = budget
            .take_in(body(1000, 1, Duration::from_secs(5)), None)
            .await;
        assert!(format!("{dripped:?}").contains("408"));
    }

    #[tokio::test]
    async fn the_limit_is_kept() {
        let budget = Budget::for_manifests(10);
        assert_eq!(
            budget
                .take_in(body(2, 5, Duration::ZERO), None)
                .await
                .unwrap()
                .0
                .len(),
            10
        );
        assert!(
            format!(
                "{:?}",
                budget.take_in(body(11, 1, Duration::ZERO), None).await
            )
            .contains("413")
        );
    }
}
