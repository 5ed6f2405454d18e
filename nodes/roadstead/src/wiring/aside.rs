//! Small servers beside the one that matters: figures, redirects, challenges.

use std::time::Duration;

use anyhow::{Result, ensure};
use roadstead_config::ListenAddr;
use roadstead_listen::Tls;
use roadstead_serve::{self as http_server, Router};
use tokio_util::sync::CancellationToken;

use super::entry;

/// Whoever asks for figures, or is redirected, asks for little, and takes it at once.
const PATIENCE: Duration = Duration::from_secs(10);
const CONNECTIONS: usize = 64;

/// Serves in the background until the drain.
pub(crate) async fn serve(
    setting: &'static str,
    address: &ListenAddr,
    router: Router,
    drain: &CancellationToken,
) -> Result<()> {
    let listeners = entry::listeners_on(setting, address, None).await?;
    ensure!(!listeners.is_empty(), "{setting}: nothing to listen on");
    for listener in &listeners {
        tracing::info!("{setting}: serving {listener}");
    }
    let options = http_server::Options {
        stalled_after: PATIENCE,
        lame_duck: Duration::ZERO,
        drain_within: PATIENCE,
        http2: true,
        connections: CONNECTIONS,
        proxy_protocol: None,
        metrics: None,
        workers: None,
    };
    tokio::spawn(http_server::serve(
        listeners,
        None::<Tls>,
        router,
        options,
        drain.clone(),
    ));
    Ok(())
}
