//! The members of the group: real ones, but for the disk, the network and the clocks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use roadstead_machine::Timestamp;
use roadstead_metadata::{Clock, Elapsed};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::disk::Disk;
use super::net::{Net, Process};
use super::{Mutant, chance, truth};
use crate::participant::{Participant, Setting};
use crate::store::Store;

/// When simulations begin, in milliseconds since 1970.
pub(super) const BEGINNING: Timestamp = Timestamp(1_700_000_000_000);

/// A clock that nobody sets, and that runs a little fast or slow.
pub(super) fn elapsed() -> Elapsed {
    let (begun, percent) = (Instant::now(), chance::within(99..102));
    let offset = chance::millis(0..1_000_000);
    let percent = u32::try_from(percent).unwrap_or(100);
    Arc::new(move || offset + begun.elapsed() * percent / 100)
}

pub(super) struct Member {
    pub(super) id: u64,
    pub(super) address: String,
    pub(super) disk: Disk,
    /// Milliseconds by which its clock is wrong.
    pub(super) skew: Arc<AtomicI64>,
    /// Milliseconds that a write takes at most.
    pub(super) pace: Arc<AtomicU64>,
    /// What the group is to begin with.
    pub(super) import: Option<Vec<u8>>,
    pub(super) running: Option<Running>,
}

pub(super) struct Running {
    process: Process,
    drain: CancellationToken,
    pub(super) participant: Arc<Participant>,
}

impl Member {
    pub(super) fn new(id: u64) -> Self {
        Self {
            id,
            address: format!("m{id}:1"),
            disk: Disk::new(super::is(Mutant::LyingDisks)),
            skew: Arc::default(),
            pace: Arc::new(AtomicU64::new(4)),
            import: None,
            running: None,
        }
    }

    fn clock(&self) -> Clock {
        let (begun, skew) = (super::begun(), Arc::clone(&self.skew));
        Arc::new(move || {
            let right = BEGINNING.plus(begun.elapsed());
            Timestamp(right.0.saturating_add_signed(skew.load(Ordering::Relaxed)))
        })
    }

    pub(super) async fn start(&mut self, net: &Net, peers: &BTreeMap<u64, String>) {
        let process = Process::new(&self.address);
        let pace = Arc::clone(&self.pace);
        let pace =
            move || Duration::from_micros(chance::within(0..pace.load(Ordering::Relaxed) * 1000));
        let store = match Store::paced(self.disk.open(), self.id, Arc::new(pace)) {
            Ok(store) => store,
            Err(error) => {
                truth::violated(format_args!("{} cannot be opened: {error}", self.address));
                return;
            }
        };
        truth::event(format_args!(
            "{} starts, blank: {}",
            self.address,
            store.is_blank()
        ));
        if store.is_blank() {
            truth::look(|truth| truth.has_disk(self.id, store.incarnation()));
        }
        let setting = Setting {
            id: self.id,
            // A spare one is told of itself as well.
            peers: peers
                .clone()
                .into_iter()
                .chain([(self.id, self.address.clone())])
                .collect(),
            clock: self.clock(),
            elapsed: elapsed(),
            import: self.import.clone(),
        };
        let participant = Participant::start(setting, store, net.from(&process)).await;
        let participant = Arc::new(participant.expect("a member"));
        let proposer = participant.start_helpers(&process.crashed);
        net.listen(
            &process,
            participant.routes(proposer.clone(), &process.crashed),
        );
        let drain = CancellationToken::new();
        let (drained, until, crashed) = (
            Arc::clone(&participant),
            drain.clone(),
            process.crashed.clone(),
        );
        tokio::spawn(async move {
            crashed
                .run_until_cancelled(drained.drained(&until, &proposer))
                .await
        });
        self.running = Some(Running {
            process,
            drain,
            participant,
        });
    }

    /// Asks it to end: it hands over if it leads.
    pub(super) fn drain(&self) {
        if let Some(running) = &self.running {
            truth::event(format_args!("{} drains", self.address));
            running.drain.cancel();
        }
    }

    pub(super) fn is_draining(&self) -> bool {
        self.running
            .as_ref()
            .is_some_and(|running| running.drain.is_cancelled())
    }

    /// What it had not synced is gone; what is left of the process reaches nobody.
    pub(super) fn crash(&mut self, loses_disk: bool) {
        let Some(Running {
            process,
            participant,
            ..
        }) = self.running.take()
        else {
            return;
        };
        truth::event(format_args!(
            "{} crashes, loses its disk: {loses_disk}",
            self.address
        ));
        process.crashed.cancel();
        self.disk.crash();
        if loses_disk {
            self.disk = Disk::new(super::is(Mutant::LyingDisks));
        }
        tokio::spawn(async move { participant.raft.shutdown().await });
    }

    /// Whether it votes in the group as the disk that it is.
    pub(super) fn is_voter(&self) -> bool {
        let Some(running) = &self.running else {
            return false;
        };
        let metrics = running.participant.raft.metrics().borrow().clone();
        let membership = &metrics.membership_config;
        let mine = membership.membership().get_node(&self.id);
        membership.voter_ids().any(|id| id == self.id)
            && mine.is_some_and(|mine| mine.incarnation == running.participant.store.incarnation())
    }

    pub(super) fn leads(&self) -> bool {
        let running = self.running.as_ref();
        running.is_some_and(|running| {
            let metrics = running.participant.raft.metrics();
            let leader = metrics.borrow().current_leader;
            leader == Some(self.id)
        })
    }

    pub(super) fn term(&self) -> Option<u64> {
        let running = self.running.as_ref()?;
        let term = running.participant.raft.metrics().borrow().current_term;
        Some(term)
    }

    pub(super) fn check(&self) {
        let Some(Running { participant, .. }) = &self.running else {
            return;
        };
        let metrics = participant.raft.metrics();
        let metrics = metrics.borrow();
        if let Err(stopped) = &metrics.running_state {
            truth::violated(format_args!("raft of {} has stopped: {stopped}", self.id));
        }
        if metrics.current_leader == Some(self.id) {
            let incarnation = participant.store.incarnation();
            truth::look(|truth| truth.leads(metrics.current_term, self.id, incarnation));
        }
    }

    pub(super) fn applied(&self) -> Option<u64> {
        let running = self.running.as_ref()?;
        let metrics = running.participant.raft.metrics();
        let applied = metrics.borrow().last_applied;
        applied.map(|id| id.index)
    }
}
