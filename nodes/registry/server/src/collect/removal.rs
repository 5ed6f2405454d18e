//! Removing what is being reaped: until it is seen to be gone, and as long as the coordinator leads.

use std::sync::Arc;
use std::time::Duration;

use roadstead_metadata::{
    CollectCommand, CollectOutcome, Collection, MAX_UNITS, Metadata, Run, Stamp, Unit,
};
use roadstead_storage::Error as StoreError;
use tokio::time::sleep;

use super::coordinator::{Coordinator, Stop};
use super::doubt::CollectError;
use super::reap::reap;
use crate::error::Error;

/// How often what was removed is looked at before that is tried anew later.
const REMOVALS: usize = 10;
const REMOVE_AGAIN_AFTER: Duration = Duration::from_millis(200);

impl Coordinator {
    /// Removes what is being reaped.
    pub(super) async fn clear(&self, collection: &Collection, run: &Run) -> Result<(), Stop> {
        if run.reaping().is_empty() {
            return Ok(());
        }
        // Somebody before this one may have asked for a removal that is still on its way.
        self.following.end_epochs().await?;
        let units: Vec<Unit> = run.reaping().iter().cloned().collect();
        for some in units.chunks(MAX_UNITS) {
            self.remove(some, collection).await?;
        }
        Ok(())
    }

    /// Again and again until all of it is seen to be gone; then it may be pushed again.
    pub(super) async fn remove(&self, units: &[Unit], collection: &Collection) -> Result<(), Stop> {
        if units.is_empty() {
            return Ok(());
        }
        let stamp = collection.stamp();
        let metadata = Arc::clone(&self.metadata);
        let still = move || {
            let metadata = Arc::clone(&metadata);
            let asking = async move { is_still(&*metadata, stamp).await };
            Box::pin(asking) as futures::future::BoxFuture<'static, bool>
        };
        let mut left = units.to_vec();
        for _ in 0..REMOVALS {
            left = match reap(&*self.store, &left, &still).await {
                Err(CollectError::Failed(Error::Store(StoreError::Fenced))) => {
                    return Err(Stop::Fenced);
                }
                left => left?,
            };
            if left.is_empty() {
                let removed = CollectCommand::Removed {
                    term: collection.term(),
                    version: collection.version(),
                    units: units.to_vec(),
                };
                return match self.following.propose(removed).await? {
                    CollectOutcome::Removed => Ok(()),
                    _fenced => Err(Stop::Fenced),
                };
            }
            sleep(REMOVE_AGAIN_AFTER).await;
        }
        Err(Stop::NotGone(left.len()))
    }
}

/// Whether a run is still where this stamp has it, in the same term.
pub(super) async fn is_still(metadata: &dyn Metadata, stamp: Stamp) -> bool {
    let asked = metadata.collection(Some(stamp), Duration::ZERO).await;
    matches!(asked, Ok(None))
}
