//! The garbage collection of a registry that serves.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use roadstead_config::{Config, DriverKind, Gc};
use roadstead_registry::{Collecting, Registry};
use roadstead_storage::Pace;
use roadstead_telemetry::metrics::Metrics;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::asked;

/// Demands that were not looked at.
const DEMANDS: usize = 1;

/// How often it is looked whether somebody asks through the store: requests that cost money in a bucket, and a person waits.
const ASKED_EVERY: Duration = Duration::from_secs(5);

/// What goes on beside requests.
pub(super) struct Tasks {
    /// When no request is in flight any more.
    served: CancellationToken,
    following: JoinHandle<()>,
    /// Until the drain.
    others: Vec<JoinHandle<()>>,
}

impl Tasks {
    /// Follows from now on what is collected, and collects until the drain.
    pub(super) async fn start(
        config: &Config,
        registry: &Arc<Registry>,
        metrics: &Metrics,
        drain: &CancellationToken,
    ) -> Result<Self> {
        let writes = !config.storage.read_only;
        if writes && registry.lease().is_unlimited() {
            registry.begin_alone().await?;
        }
        let served = CancellationToken::new();
        let following = {
            let (registry, ended) = (Arc::clone(registry), served.clone());
            let metrics = metrics.collection();
            tokio::spawn(async move { registry.keep_following(metrics, ended).await })
        };
        let mut others = Vec::new();
        if writes {
            let (demand, demands) = mpsc::channel(DEMANDS);
            if let DriverKind::Filesystem { root, .. } = &config.storage.driver
                && registry.lease().is_unlimited()
            {
                let asked = asked::serve(asked::path(root), demand.clone(), drain.clone());
                others.push(tokio::spawn(asked));
            }
            let (reading, ended) = (Arc::clone(registry), drain.clone());
            others.push(tokio::spawn(async move {
                reading.keep_reading_mail(ASKED_EVERY, demand, ended).await;
            }));
            let (registry, ended) = (Arc::clone(registry), drain.clone());
            let (how, metrics) = (how(&config.gc), metrics.collection());
            others.push(tokio::spawn(async move {
                registry.keep_collecting(how, demands, metrics, ended).await;
            }));
        }
        Ok(Self {
            served,
            following,
            others,
        })
    }

    /// When nothing is served any more.
    pub(super) async fn end(self) {
        self.served.cancel();
        for task in std::iter::once(self.following).chain(self.others) {
            if let Err(error) = task.await {
                tracing::error!(%error, "the garbage collection was not brought to an end");
            }
        }
    }
}

fn how(gc: &Gc) -> Collecting {
    Collecting {
        interval: gc.interval,
        grace: gc.grace,
        push_window: gc.window,
        untagged: gc.untagged,
        pace: Pace {
            requests: gc.requests,
            bytes: gc.bytes,
        },
    }
}
