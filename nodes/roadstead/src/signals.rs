//! What signals ask of a server.

use std::time::Duration;

use anyhow::{Context as _, Result};
use roadstead_telemetry::log::Log;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// A process that was told twice to end waits no longer than this for its last line.
const LAST_LINE_WITHIN: Duration = Duration::from_secs(1);

/// What is asked for.
pub(crate) struct Signals {
    /// SIGTERM or SIGINT: nothing new, what is under way finishes.
    pub(crate) drain: CancellationToken,
    /// SIGHUP. Caught also where nothing follows: by itself it would end the process.
    pub(crate) hangup: Signal,
}

/// Listens from here on. The first signal begins the drain; an interrupt after it ends the process at once.
pub(crate) fn listen(log: Log) -> Result<Signals> {
    let drain = CancellationToken::new();
    let begun = drain.clone();
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT")?;
    let hangup = signal(SignalKind::hangup()).context("SIGHUP")?;
    tokio::spawn(async move {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        begun.cancel();
        tracing::info!("draining: what is under way finishes");
        interrupt.recv().await;
        tracing::warn!("stopped at once: interrupted again");
        log.finish(LAST_LINE_WITHIN);
        #[expect(clippy::exit, reason = "the operator asked twice")]
        std::process::exit(1);
    });
    Ok(Signals { drain, hangup })
}
