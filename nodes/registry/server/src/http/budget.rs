//! A bound on the memory that all requests together may take for bodies that must be held whole.

use tokio::sync::{Semaphore, SemaphorePermit};

/// Manifests of the largest size that may be in memory at a time.
const LARGEST_AT_ONCE: usize = 16;
const UNIT: usize = 1024;

/// Memory, given out in KiB.
#[derive(Debug)]
pub(super) struct Budget {
    units: Semaphore,
    largest: u32,
}

impl Budget {
    pub(super) fn for_manifests(limit: usize) -> Self {
        let largest = limit.div_ceil(UNIT).clamp(1, 1 << 20);
        Self {
            units: Semaphore::new(largest * LARGEST_AT_ONCE),
            largest: u32::try_from(largest).unwrap_or(u32::MAX),
        }
    }

    /// Waits until there is room for a body of this length, or of the largest where it is not known.
    pub(super) async fn room_for(&self, length: Option<u64>) -> Option<SemaphorePermit<'_>> {
        let needed = length.and_then(|bytes| u32::try_from(bytes.div_ceil(UNIT as u64)).ok());
        let needed = needed.unwrap_or(self.largest).clamp(1, self.largest);
        self.units.acquire_many(needed).await.ok()
    }
}
