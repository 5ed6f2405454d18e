//! The nodes: each joins, keeps its lease, and has writers that race with those of the others.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::join_all;
use roadstead_machine::{
    ClusterCommand, ClusterId, ClusterOutcome, Command, Fingerprint, NodeId, Outcome,
};
use roadstead_metadata::{
    Hearing, Hears, Joining, LEASE, Lease, Membership, Metadata, Remote, Secrets,
};
use tokio::task::JoinHandle;
use tokio::time::{Instant, Sleep, sleep};
use tokio_util::sync::CancellationToken;

use super::links::{Believer, Store};
use super::member::elapsed;
use super::net::{Net, Process};
use super::work::{Sessions, Worker, propose};
use super::{chance, truth};

const WRITERS: u64 = 2;

/// How long a call may be tried: shorter than a message may be held up.
pub(super) const BUDGET: Duration = Duration::from_secs(3);

/// What it takes for everybody to have heard of a secret, clocks being what they are.
const HEARD_WITHIN: Duration = LEASE.saturating_add(Duration::from_secs(1));

pub(super) struct Node {
    name: String,
    members: Vec<String>,
    running: Option<Running>,
}

struct Running {
    process: Process,
    ended: CancellationToken,
    pause: Pause,
    held: Arc<Mutex<Option<Held>>>,
    task: JoinHandle<()>,
}

/// What a node believes.
struct Held {
    id: NodeId,
    lease: Lease,
    heard: Arc<Mutex<Vec<u8>>>,
    believer: Believer,
}

impl Node {
    pub(super) fn new(number: u64, members: Vec<String>) -> Self {
        Self {
            name: format!("n{number}:1"),
            members,
            running: None,
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn is_running(&self) -> bool {
        self.running.is_some()
    }

    pub(super) fn start(&mut self, net: &Net, sessions: &Sessions, links: &Store) {
        let (process, elapsed) = (Process::new(&self.name), elapsed());
        let remote = Remote::over(
            net.from(&process),
            self.members.clone(),
            BUDGET,
            Arc::clone(&elapsed),
        );
        let remote = Arc::new(remote.expect("a client"));
        let life = Life {
            id: NodeId(chance::bytes()),
            name: self.name.clone(),
            believer: Believer::new(Arc::clone(&remote), links.clone()),
            remote,
            sessions: sessions.clone(),
            ended: CancellationToken::new(),
            held: Arc::default(),
        };
        truth::event(format_args!("{} starts as {}", self.name, life.id));
        let (pause, ended, held) = (Pause::default(), life.ended.clone(), Arc::clone(&life.held));
        let lived = pause.clone().over(life.run(elapsed));
        let task = tokio::spawn(lived);
        self.running = Some(Running {
            process,
            ended,
            pause,
            held,
            task,
        });
    }

    pub(super) fn crash(&mut self) {
        if let Some(running) = self.running.take() {
            truth::event(format_args!("{} crashes", self.name));
            running.process.crashed.cancel();
            running.task.abort();
        }
    }

    /// It says goodbye.
    pub(super) fn end(&self) {
        if let Some(running) = &self.running {
            truth::event(format_args!("{} ends", self.name));
            running.ended.cancel();
        }
    }

    pub(super) fn is_ending(&self) -> bool {
        self.running
            .as_ref()
            .is_some_and(|running| running.ended.is_cancelled())
    }

    pub(super) fn has_ended(&self) -> bool {
        self.running
            .as_ref()
            .is_none_or(|running| running.task.is_finished())
    }

    pub(super) fn pause(&self, period: Duration) {
        if let Some(running) = &self.running {
            truth::event(format_args!("{} is paused for {period:?}", self.name));
            running.pause.begin(period);
        }
    }

    /// Whoever believes that it holds its lease is in the log, and knows the secret.
    pub(super) fn check(&self) {
        let Some(running) = &self.running else {
            return;
        };
        let held = running.held.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Held {
            id,
            lease,
            heard,
            believer,
        }) = &*held
        else {
            return;
        };
        let Some(epoch) = lease.epoch() else {
            return;
        };
        believer.check(&self.name);
        truth::look(|truth| {
            match truth.nodes.get(id) {
                Some(node) if node.epoch >= epoch => {}
                other => {
                    let known = other.map(|node| node.epoch);
                    let name = &self.name;
                    truth.violated(format_args!(
                        "{name} holds epoch {epoch}; the log has {known:?}"
                    ));
                }
            }
            let heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
            if truth.now() > truth.secret.1 + HEARD_WITHIN && *heard != truth.secret.0 {
                let name = &self.name;
                truth.violated(format_args!(
                    "{name} holds its lease and never heard of the secret"
                ));
            }
        });
    }

    pub(super) fn holds(&self) -> bool {
        let Some(running) = &self.running else {
            return false;
        };
        let held = running.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.as_ref().is_some_and(|held| held.lease.is_held())
    }
}

struct Life {
    id: NodeId,
    name: String,
    remote: Arc<Remote>,
    believer: Believer,
    sessions: Sessions,
    ended: CancellationToken,
    held: Arc<Mutex<Option<Held>>>,
}

impl Life {
    async fn run(self, elapsed: roadstead_metadata::Elapsed) {
        self.begin().await;
        let heard: Arc<Mutex<Vec<u8>>> = Arc::default();
        let membership = loop {
            let known = Arc::clone(&heard);
            let hears: Hears = Arc::new(move |secrets: &Secrets| {
                let newest = secrets.all.last().map(|one| one.bytes.clone());
                *known.lock().unwrap_or_else(PoisonError::into_inner) = newest.unwrap_or_default();
            });
            let metadata: Arc<dyn Metadata> = Arc::<Remote>::clone(&self.remote);
            let joined = Membership::join(
                metadata,
                self.id,
                self.joining(),
                Arc::clone(&elapsed),
                Hearing {
                    secrets: Some(hears),
                    epochs: Some(Arc::new(self.believer.clone())),
                },
            );
            match joined.await {
                Ok(membership) => break membership,
                Err(error) => truth::event(format_args!("{} cannot join: {error}", self.name)),
            }
            sleep(Duration::from_millis(200)).await;
        };
        truth::event(format_args!("{} has joined", self.name));
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = Some(Held {
            id: self.id,
            lease: membership.lease(),
            heard,
            believer: self.believer.clone(),
        });
        let writers = (0..WRITERS).map(|_| {
            let (remote, sessions) = (Arc::clone(&self.remote), self.sessions.clone());
            Worker::new(remote, sessions).run(&self.ended)
        });
        let lease = membership.lease();
        tokio::join!(
            membership.keep(self.ended.clone()),
            join_all(writers),
            self.believer.run(&lease, &self.ended)
        );
        truth::event(format_args!("{} has ended", self.name));
    }

    /// Every node proposes the cluster's name and secret; the first one's stay.
    async fn begin(&self) {
        let secret = chance::bytes::<16>().to_vec();
        let id = ClusterId(chance::bytes());
        let proposals = [
            Command::AdoptSecret { secret },
            Command::Cluster(ClusterCommand::Identify { id }),
        ];
        for command in proposals {
            let outcome = loop {
                match propose(&self.remote, command.clone()).await {
                    Some(outcome) => break outcome,
                    None => sleep(Duration::from_millis(200)).await,
                }
            };
            if let Outcome::Cluster(ClusterOutcome::Identified { id }) = outcome {
                self.remote.belong_to(id);
            }
        }
    }

    fn joining(&self) -> Joining {
        Joining {
            address: self.name.clone(),
            version: "1".to_owned(),
            fingerprint: Fingerprint {
                store: "store".to_owned(),
                secret: None,
                authentication: "none".to_owned(),
                redis: None,
            },
        }
    }
}

/// Stops a process for a while: its clocks go on.
#[derive(Debug, Clone, Default)]
struct Pause(Arc<Mutex<Option<Instant>>>);

impl Pause {
    fn begin(&self, period: Duration) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + period);
    }

    fn over<F: Future<Output = ()>>(self, future: F) -> Paused<F> {
        Paused {
            pause: self,
            until: None,
            future: Box::pin(future),
        }
    }
}

struct Paused<F> {
    pause: Pause,
    until: Option<Pin<Box<Sleep>>>,
    future: Pin<Box<F>>,
}

impl<F: Future<Output = ()>> Future for Paused<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let paused = *self.pause.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(until) = paused.filter(|until| Instant::now() < *until) {
            let mut wakes = Box::pin(tokio::time::sleep_until(until));
            if wakes.as_mut().poll(context).is_pending() {
                self.until = Some(wakes);
                return Poll::Pending;
            }
        }
        self.until = None;
        self.future.as_mut().poll(context)
    }
}
