//! Notifications as an operator sees them: configured endpoints, real connections, a real disk.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what helps tests may fail as tests do"
)]

mod endpoints;
mod killed;
mod receiver;
mod redirects;
mod restarts;

use std::path::Path;
use std::time::Duration;

use roadstead_events::{
    Action, EndpointOptions, EndpointStats, Event, Events, Home, Limits, Options, Request, Service,
    Source, Target,
};
use time::macros::datetime;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use receiver::{Receiver, soon};

fn event(number: u64) -> Event {
    Event {
        id: Uuid::new_v4(),
        timestamp: datetime!(2026-02-03 04:05:06 UTC),
        action: Action::Push,
        target: Target {
            media_type: "application/octet-stream".to_owned(),
            size: 2,
            ..Target::in_repository("a/b".parse().unwrap())
        },
        request: Request {
            user_agent: number.to_string(),
            ..Request::default()
        },
        actor: String::new(),
        source: Source::default(),
    }
}

/// Tries again fast, and is patient with a machine that is busy.
fn endpoint(name: &str, url: impl Into<String>) -> EndpointOptions {
    EndpointOptions {
        name: name.to_owned(),
        url: url.into(),
        timeout: Duration::from_secs(30),
        threshold: 1,
        backoff: Duration::from_millis(1),
        ..EndpointOptions::default()
    }
}

fn options(home: Home, endpoints: impl Into<Vec<EndpointOptions>>) -> Options {
    Options {
        endpoints: endpoints.into(),
        home,
        limits: Limits::default(),
    }
}

fn on_disk(directory: &Path) -> Home {
    Home::File(directory.join("roadstead/events.redb"))
}

/// Notifications that run.
struct Running {
    events: Events,
    drain: CancellationToken,
    service: tokio::task::JoinHandle<()>,
}

impl Running {
    fn start(options: Options) -> Self {
        let (service, events) = options.build().unwrap();
        Self::run(service, events)
    }

    fn run(service: Service, events: Events) -> Self {
        let drain = CancellationToken::new();
        Self {
            events,
            service: tokio::spawn(service.run(drain.clone())),
            drain,
        }
    }

    async fn record(&self, numbers: impl IntoIterator<Item = u64>) {
        for number in numbers {
            self.events.record(&event(number)).await.unwrap();
        }
    }

    async fn stop(self) {
        self.drain.cancel();
        soon("the end", self.service).await.unwrap();
    }

    fn stats(&self, name: &str) -> EndpointStats {
        let mut all = self.events.stats().into_iter();
        all.find(|endpoint| endpoint.name == name).unwrap()
    }

    async fn until(&self, name: &str, sentence: &str, done: impl Fn(&EndpointStats) -> bool) {
        let look = async {
            while !done(&self.stats(name)) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        soon(sentence, look).await;
    }
}
