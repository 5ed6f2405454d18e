//! The claim on a store, while the process serves.

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
        let claim = self.claim.clone();
        let code = self.leave().await;
        if code == ExitCode::SUCCESS
            && let Err(error) = claim.release().await
        {
            tracing::warn!(%error, "the storage was not given up: the next start may wait for it");
        }
        code
    }

    /// As [`Self::release`], of a claim that the other nodes of the cluster have as well, and keep.
    pub(super) async fn leave(self) -> ExitCode {
        self.enough.cancel();
        match self.keeping.await {
            Ok(false) => ExitCode::SUCCESS,
            Ok(true) | Err(_) => ExitCode::FAILURE,
        }
    }
}
