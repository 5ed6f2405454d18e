//! The deliveries to one endpoint: in order, each until it is taken.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::StatusCode;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::outbox::{Outbox, Position, Waiting};
use crate::stats::Tally;

/// One attempt to hand over an envelope. It ends by itself.
#[async_trait]
pub(crate) trait Attempt: Send + Sync {
    async fn attempt(&self, envelope: Bytes) -> Result<StatusCode, AttemptError>;
}

/// Why an attempt got no answer. Says nothing of where, nor of what was sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AttemptError {
    #[error("no answer within the timeout")]
    Timeout,
    #[error("no connection: {}", chain(&**.0))]
    Connect(Box<dyn StdError + Send + Sync>),
    #[error("the exchange broke off: {}", chain(&**.0))]
    Exchange(Box<dyn StdError + Send + Sync>),
    #[error("more than ten redirects")]
    Redirects,
    #[error("a redirect to something that is not an http URL")]
    Location,
    #[error("the request cannot be made")]
    Request,
}

/// An error with what caused it: the first alone says little here.
fn chain(error: &(dyn StdError + Send + Sync)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// Delivers what waits for one endpoint.
pub(crate) struct Deliverer {
    pub(crate) queue: usize,
    pub(crate) outbox: Outbox,
    pub(crate) endpoint: Arc<dyn Attempt>,
    pub(crate) tally: Arc<Tally>,
    pub(crate) patience: Patience,
    /// How long the attempt under way may take once the drain began.
    pub(crate) grace: Duration,
}

impl Deliverer {
    /// Until the drain, or until the outbox is closed.
    pub(crate) async fn run(mut self, drain: CancellationToken) {
        let mut position = Position::default();
        loop {
            let next = self.outbox.next(self.queue, position);
            let Some(Some(waiting)) = drain.run_until_cancelled(next).await else {
                return;
            };
            for event in waiting {
                let after = event.position.after();
                if self.deliver(event, &drain).await == Delivery::Interrupted {
                    return;
                }
                position = after;
            }
        }
    }

    /// Until the endpoint takes it, or it is dropped from a full queue.
    async fn deliver(&mut self, event: Waiting, drain: &CancellationToken) -> Delivery {
        loop {
            let wait = self.patience.wait();
            if drain.run_until_cancelled(wait).await.is_none() || drain.is_cancelled() {
                return Delivery::Interrupted;
            }
            if self.outbox.is_dropped(self.queue, event.position) {
                return Delivery::Done;
            }
            let attempt = self.endpoint.attempt(event.envelope.clone());
            let outcome = tokio::select! {
                outcome = attempt => outcome,
                () = after(drain, self.grace) => return Delivery::Interrupted,
            };
            if self.account(outcome) {
                self.outbox.delivered(self.queue, event.position).await;
                return Delivery::Done;
            }
        }
    }

    /// Counts an outcome, and says in the log what is new. Whether the event was taken.
    fn account(&mut self, outcome: Result<StatusCode, AttemptError>) -> bool {
        let reason: Box<dyn fmt::Display> = match outcome {
            Ok(status) if self.tally.answered(status) => {
                if let failures @ 1.. = self.patience.succeeded() {
                    tracing::info!(
                        endpoint = self.tally.name(),
                        failures,
                        "notifications are delivered again"
                    );
                }
                return true;
            }
            Ok(status) => Box::new(status),
            Err(error) => {
                self.tally.update(|metrics| metrics.errors += 1);
                Box::new(error)
            }
        };
        let failures = self.patience.failed();
        // An endpoint may be down for days: ever more seldom.
        if failures.is_power_of_two() {
            tracing::warn!(
                endpoint = self.tally.name(), failures, %reason,
                "a notification was not taken; it is tried again until it is"
            );
        }
        false
    }
}

async fn after(drain: &CancellationToken, grace: Duration) {
    drain.cancelled().await;
    tokio::time::sleep(grace).await;
}

#[derive(Debug, PartialEq, Eq)]
enum Delivery {
    Done,
    Interrupted,
}

/// When to try again, as in the reference: at once, until there were `threshold` failures in a row; from then on with
/// a pause, until one succeeds.
#[derive(Debug)]
pub(crate) struct Patience {
    threshold: u32,
    backoff: Duration,
    failures: u32,
    failed: Option<Instant>,
}

impl Patience {
    pub(crate) fn new(threshold: u32, backoff: Duration) -> Self {
        Self {
            threshold,
            backoff,
            failures: 0,
            failed: None,
        }
    }

    async fn wait(&self) {
        if self.failures >= self.threshold
            && let Some(failed) = self.failed
        {
            tokio::time::sleep(self.backoff.saturating_sub(failed.elapsed())).await;
        }
    }

    fn failed(&mut self) -> u32 {
        self.failures = self.failures.saturating_add(1);
        self.failed = Some(Instant::now());
        self.failures
    }

    /// Answers with the failures before it.
    fn succeeded(&mut self) -> u32 {
        self.failed = None;
        std::mem::take(&mut self.failures)
    }
}

#[cfg(test)]
mod tests;
