//! The service: options to handle, and the deliveries that run beside the registry.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::client::{Client, Poster, Trust};
use crate::delivery::{Deliverer, Patience};
use crate::event::{Action, Event};
use crate::header::{Headers, Place};
use crate::options::{BuildError, EndpointOptions, Home, Options};
use crate::outbox::{ENVELOPE, Key, Outbox, Thread};
use crate::stats::{EndpointStats, Tally};

/// What nobody waits for is synced after so long at most.
const TICK: Duration = Duration::from_secs(1);

/// Deliveries under way at the drain may take so long; what they were about is delivered again after the next start.
const GRACE: Duration = Duration::from_secs(5);

/// An event was not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// It cannot be told: its envelope cannot be written, or is larger than 16 MiB. It is counted and logged.
    #[error("the event cannot be told")]
    Malformed,
    /// Whether it was stored is not known: the disk fails, or the service has stopped.
    #[error("the event may not have been stored")]
    Unavailable,
}

/// Takes events. Cheap to clone.
#[derive(Clone)]
pub struct Events(Arc<Shared>);

struct Shared {
    /// Each with a queue of the same index, the disabled ones too.
    endpoints: Vec<EndpointOptions>,
    tallies: Vec<Arc<Tally>>,
    outbox: Outbox,
}

impl Events {
    /// Whether any endpoint wants to be told; if not, there is no need to make the event.
    pub fn is_wanted(&self, action: Action, media_type: &str) -> bool {
        let mut endpoints = self.0.endpoints.iter();
        endpoints.any(|endpoint| endpoint.wants(action, media_type))
    }

    /// Records an event for each endpoint that wants it. When it returns `Ok`, the event is on the disk: it survives
    /// the process and a power cut, and is delivered once the endpoint takes it, unless its queue overflows before.
    ///
    /// Waits for one sync that it shares with others, and for no endpoint.
    pub async fn record(&self, event: &Event) -> Result<(), RecordError> {
        let Some((queues, envelope)) = self.prepare(event)? else {
            return Ok(());
        };
        let added = self.0.outbox.add(queues, envelope).await;
        added.map_err(|_failed| RecordError::Unavailable)
    }

    /// Records an event without waiting: it is on the disk within about a second, and may be lost if the process is
    /// killed before. It is lost too, counted and logged, when the disk is so far behind that there is no room to wait.
    pub fn note(&self, event: &Event) {
        let Ok(Some((queues, envelope))) = self.prepare(event) else {
            return;
        };
        if self.0.outbox.try_add(queues.clone(), envelope).is_err() {
            self.lose(&queues, "the disk is behind");
        }
    }

    /// The figures of each endpoint that is not disabled.
    pub fn stats(&self) -> Vec<EndpointStats> {
        let endpoints = self.0.endpoints.iter().zip(&self.0.tallies);
        endpoints
            .filter(|(endpoint, _)| !endpoint.disabled)
            .map(|(endpoint, tally)| tally.snapshot(endpoint))
            .collect()
    }

    /// Whom an event goes to, and what is sent; nothing if nobody wants it.
    fn prepare(&self, event: &Event) -> Result<Option<(Vec<usize>, Bytes)>, RecordError> {
        let endpoints = self.0.endpoints.iter().enumerate();
        let queues: Vec<usize> = endpoints
            .filter(|(_, endpoint)| endpoint.wants(event.action, &event.target.media_type))
            .map(|(queue, _)| queue)
            .collect();
        if queues.is_empty() {
            return Ok(None);
        }
        match event.envelope() {
            Ok(envelope) if envelope.len() <= ENVELOPE => Ok(Some((queues, envelope))),
            Ok(_too_large) => {
                self.lose(&queues, "its envelope is larger than 16 MiB");
                Err(RecordError::Malformed)
            }
            Err(error) => {
                self.lose(&queues, error);
                Err(RecordError::Malformed)
            }
        }
    }

    /// Counts an event that gets into no queue, and says so, ever more seldom.
    fn lose(&self, queues: &[usize], reason: impl fmt::Display) {
        for &queue in queues {
            let tally = &self.0.tallies[queue];
            let lost = tally.update(|metrics| {
                metrics.lost += 1;
                metrics.lost
            });
            if lost.is_power_of_two() {
                tracing::error!(endpoint = tally.name(), lost, %reason, "notifications are lost");
            }
        }
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events")
            .field("endpoints", &self.0.endpoints)
            .finish_non_exhaustive()
    }
}

/// The deliveries. Events that are recorded before it runs wait.
pub struct Service {
    deliverers: Vec<Deliverer>,
    outbox: Outbox,
    thread: Thread,
}

impl Options {
    /// Checks all settings, opens the queues, and makes the client. Blocks.
    pub fn build(self) -> Result<(Service, Events), BuildError> {
        let Self {
            endpoints,
            home,
            limits,
        } = self;
        let destinations = destinations(&endpoints)?;
        let mut needed = destinations.iter().flatten();
        let trust = Trust::native(needed.any(|(place, _)| place.is_https()))?;
        let named = endpoints.iter().map(|endpoint| endpoint.name.clone());
        let tallies: Vec<Arc<Tally>> = named.map(|name| Arc::new(Tally::new(name))).collect();
        let home = unless_needless(home, &endpoints);
        let limits = limits.at(&home);
        let (outbox, thread) = Outbox::open(home, keys(&endpoints), limits, tallies.clone())?;
        let mut deliverers = Vec::new();
        for (queue, destination) in destinations.into_iter().enumerate() {
            let Some((place, headers)) = destination else {
                continue;
            };
            let endpoint = &endpoints[queue];
            deliverers.push(Deliverer {
                queue,
                outbox: outbox.clone(),
                endpoint: Arc::new(Poster {
                    client: Client::new(&trust),
                    place,
                    headers,
                    timeout: endpoint.timeout(),
                }),
                tally: Arc::clone(&tallies[queue]),
                patience: Patience::new(endpoint.threshold(), endpoint.backoff()),
                grace: GRACE,
            });
        }
        let events = Events(Arc::new(Shared {
            endpoints,
            tallies,
            outbox: outbox.clone(),
        }));
        let service = Service {
            deliverers,
            outbox,
            thread,
        };
        Ok((service, events))
    }
}

/// Where each endpoint is; nothing for those that are disabled, but their settings must be right as well.
fn destinations(
    endpoints: &[EndpointOptions],
) -> Result<Vec<Option<(Place, Headers)>>, BuildError> {
    let (mut mistakes, mut found) = (Vec::new(), Vec::new());
    for (index, endpoint) in endpoints.iter().enumerate() {
        match endpoint.destination(index) {
            Ok(destination) => found.push(Some(destination).filter(|_| !endpoint.disabled)),
            Err(mistake) => mistakes.push(mistake),
        }
    }
    if mistakes.is_empty() {
        Ok(found)
    } else {
        Err(BuildError::Mistakes(mistakes))
    }
}

/// Nobody who configures no endpoints wants a file for them; one that is there says what is dropped.
fn unless_needless(home: Home, endpoints: &[EndpointOptions]) -> Home {
    match home {
        Home::File(path) if endpoints.is_empty() && !path.try_exists().unwrap_or(true) => {
            Home::Memory
        }
        other => other,
    }
}

/// Names should tell endpoints apart. The reference does not ask for it: the second of a name is the second.
fn keys(endpoints: &[EndpointOptions]) -> Vec<Key> {
    let mut seen: HashMap<&str, u32> = HashMap::new();
    let named = endpoints.iter().map(|endpoint| {
        let which = seen.entry(&endpoint.name).or_default();
        *which += 1;
        (endpoint.name.clone(), *which - 1)
    });
    named.collect()
}

impl Service {
    /// Delivers until the drain. Then no delivery begins, those under way may take five seconds, and what is left stays
    /// on the disk. Events are taken, and stored, until this is over: cancel the drain when no request runs any more.
    pub async fn run(self, drain: CancellationToken) {
        let Self {
            deliverers,
            outbox,
            thread,
        } = self;
        let mut running = JoinSet::new();
        for deliverer in deliverers {
            running.spawn(deliverer.run(drain.clone()));
        }
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while drain.run_until_cancelled(ticks.tick()).await.is_some() {
            outbox.tick().await;
        }
        while let Some(ended) = running.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "notifications: a delivery had failed");
            }
        }
        outbox.close().await;
        let ended = tokio::task::spawn_blocking(move || thread.join()).await;
        if !matches!(ended, Ok(Ok(()))) {
            tracing::error!("notifications: the thread that stores them had failed");
        }
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service").finish_non_exhaustive()
    }
}
