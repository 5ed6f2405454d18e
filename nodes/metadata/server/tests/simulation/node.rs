//! The nodes: each joins, keeps its lease, and has writers that race with those of the others.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::join_all;
use roadstead_machine::{ClusterCommand, ClusterId, Command, Fingerprint, NodeId};
use roadstead_metadata::{
    Hearing, Hears, Joining, LEASE, Lease, Membership, Metadata, Remote, Secrets,
};
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

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
    id: NodeId,
    process: Process,
    ended: CancellationToken,
    held: Arc<Mutex<Option<Held>>>,
    task: JoinHandle<()>,
}

/// What a node believes.
struct Held {
    id: NodeId,
    lease: Lease,
    heard: Arc<Mutex<Vec<u8>>>,
}

impl Node {
    pub(super) fn new(number: u64) -> Self {
        Self {
            name: format!("n{number}:1"),
            members: Vec::new(),
            running: None,
        }
    }

    /// Whether it is configured with one of these members.
    pub(super) fn knows_any(&self, members: &[String]) -> bool {
        self.members.iter().any(|known| members.contains(known))
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn is_running(&self) -> bool {
        self.running.is_some()
    }

    pub(super) fn start(&mut self, net: &Net, sessions: &Sessions, members: Vec<String>) {
        self.members = members;
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
            remote,
            sessions: sessions.clone(),
            ended: CancellationToken::new(),
            held: Arc::default(),
        };
        let id = life.id;
        truth::event(format_args!("{} starts as {}", self.name, life.id));
        let (ended, held) = (life.ended.clone(), Arc::clone(&life.held));
        let task = tokio::spawn(process.pause.over(life.run(elapsed)));
        self.running = Some(Running {
            id,
            process,
            ended,
            held,
            task,
        });
    }

    pub(super) fn crash(&mut self) {
        if let Some(running) = self.running.take() {
            truth::event(format_args!("{} crashes", self.name));
            truth::look(|truth| truth.dead.insert(running.id));
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
            running.process.pause.begin(period);
        }
    }

    /// Whoever believes that it holds its lease is in the log, and knows the secret.
    pub(super) fn check(&self) {
        let Some(running) = &self.running else {
            return;
        };
        let held = running.held.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Held { id, lease, heard }) = &*held else {
            return;
        };
        let Some(epoch) = lease.epoch() else {
            return;
        };
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
                    epochs: None,
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
        });
        let writers = (0..WRITERS).map(|_| {
            let (remote, sessions) = (Arc::clone(&self.remote), self.sessions.clone());
            Worker::new(remote, sessions).run(&self.ended)
        });
        tokio::join!(membership.keep(self.ended.clone()), join_all(writers));
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
            while propose(&self.remote, command.clone()).await.is_none() {
                sleep(Duration::from_millis(200)).await;
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
