//! The operator, who takes members in and lets them go while things go wrong.

use std::sync::Arc;
use std::time::Duration;

use roadstead_metadata::{Refused, Remote};
use tokio::task::JoinHandle;

use super::member::elapsed;
use super::net::{Net, Process};
use super::node::BUDGET;
use super::truth;

/// Changes that are asked for at a time: who asks for the second one has not heard of the first.
const AT_ONCE: usize = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Add,
    Remove,
}

/// Something that was asked for.
struct Change {
    id: u64,
    kind: Kind,
    since: Duration,
    /// As the log had it when it was asked.
    was_member: bool,
    asked: JoinHandle<Result<(), Refused>>,
}

pub(super) struct Operator {
    process: Process,
    remote: Arc<Remote>,
    under_way: Vec<Change>,
}

impl Operator {
    pub(super) fn new(net: &Net, members: Vec<String>) -> Self {
        let process = Process::new("operator:1");
        let remote = Remote::over(net.from(&process), members, BUDGET, elapsed());
        Self {
            process,
            remote: Arc::new(remote.expect("a client")),
            under_way: Vec::new(),
        }
    }

    pub(super) fn has_time(&self) -> bool {
        self.under_way.len() < AT_ONCE
    }

    pub(super) fn is_idle(&self) -> bool {
        self.under_way.is_empty()
    }

    pub(super) fn is_busy_with(&self, id: u64) -> bool {
        self.under_way.iter().any(|change| change.id == id)
    }

    pub(super) fn add(&mut self, id: u64, address: &str) {
        let (remote, address) = (Arc::clone(&self.remote), address.to_owned());
        self.ask(id, Kind::Add, async move { remote.add(id, &address).await });
    }

    pub(super) fn remove(&mut self, id: u64) {
        let remote = Arc::clone(&self.remote);
        self.ask(id, Kind::Remove, async move { remote.remove(id).await });
    }

    fn ask(
        &mut self,
        id: u64,
        kind: Kind,
        change: impl Future<Output = Result<(), Refused>> + Send + 'static,
    ) {
        truth::event(format_args!("the operator: {kind:?} {id}"));
        let (since, was_member) =
            truth::look(|truth| (truth.now(), truth.group.disks.contains_key(&id)));
        self.under_way.push(Change {
            id,
            kind,
            since,
            was_member,
            asked: tokio::spawn(change),
        });
    }

    /// Who was let go since this was last asked. What an operator is told must be so.
    pub(super) async fn let_go(&mut self) -> Vec<u64> {
        let is_over = |change: &mut Change| change.asked.is_finished();
        let over: Vec<Change> = self.under_way.extract_if(.., is_over).collect();
        let mut gone = Vec::new();
        for change in over {
            let Change { id, kind, .. } = change;
            let told = change.asked.await.expect("a whole call");
            truth::event(format_args!("{kind:?} {id} = {told:?}"));
            truth::look(|truth| {
                let has_left = truth.group.has_left(id, change.since);
                let is_right = match (kind, &told) {
                    (Kind::Add, Ok(())) => truth.group.has_voted(id, change.since),
                    (Kind::Remove, Ok(())) => has_left,
                    (Kind::Remove, Err(Refused(why))) if why.contains("is no member") => {
                        has_left || !change.was_member
                    }
                    _ => true,
                };
                if !is_right {
                    let group = &truth.group;
                    let text = format!("{kind:?} {id} was answered with {told:?}: {group:?}");
                    truth.violated(format_args!("{text}"));
                }
            });
            if kind == Kind::Remove && told.is_ok() {
                gone.push(id);
            }
        }
        gone
    }

    /// What was asked for may still be done.
    pub(super) fn end(&mut self) {
        self.process.crashed.cancel();
        for change in self.under_way.drain(..) {
            change.asked.abort();
        }
    }
}
