//! The claim on a bucket, while the process serves.

use std::process::ExitCode;

use roadstead_storage::claim::Claim;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A claim that is kept.
#[derive(Debug)]
pub(super) struct Claimed {
    claim: Claim,
    /// Until when it is.
    enough: CancellationToken,
    /// Whether it was lost.
    keeping: JoinHandle<bool>,
}

impl Claimed {
    /// Keeps it through the drain, too. When another has the store, it begins the drain.
    pub(super) fn keep(claim: Claim, drain: CancellationToken) -> Self {
        let (kept, enough) = (claim.clone(), CancellationToken::new());
        let until = enough.clone();
        let keeping = tokio::spawn(async move {
            let Some(lost) = until.run_until_cancelled(kept.keep()).await else {
                return false;
            };
            tracing::error!("the storage {lost}: stopping; nothing more is written");
            drain.cancel();
            true
        });
        Self {
            claim,
            enough,
            keeping,
        }
    }

    /// When nothing is written any more. Fails when the claim had been lost.
    pub(super) async fn release(self) -> ExitCode {
        self.enough.cancel();
        if self.keeping.await.unwrap_or(true) {
            return ExitCode::FAILURE;
        }
        if let Err(error) = self.claim.release().await {
            tracing::warn!(%error, "the storage was not given up: the next start may wait for it");
        }
        ExitCode::SUCCESS
    }
}
