//! Who changes the group: one change after the other, each asked for until it is made.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use roadstead_metadata::{Refused, Remote};
use tokio::time::{sleep, timeout};

use super::net::{Net, Process};
use super::node::BUDGET;
use super::{member, truth};

/// An operator has little patience.
const TRIED_FOR: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Add(u64),
    Remove(u64),
}

#[derive(Debug, Clone, Default)]
pub(super) struct Operator(Arc<Mutex<Work>>);

#[derive(Debug, Default)]
struct Work {
    orders: VecDeque<Order>,
    /// Where members are found.
    members: Vec<String>,
    removed: Vec<u64>,
    /// Those of which the directory is to be emptied.
    spoilt: Vec<u64>,
}

impl Operator {
    pub(super) fn start(&self, net: &Net) {
        let (this, net) = (self.clone(), net.clone());
        tokio::spawn(async move {
            let process = Process::new("operator:1");
            loop {
                sleep(Duration::from_millis(100)).await;
                let (order, members) = {
                    let work = this.work();
                    (work.orders.front().copied(), work.members.clone())
                };
                if let Some(order) = order {
                    let remote =
                        Remote::over(net.from(&process), members, BUDGET, member::elapsed());
                    let tried = timeout(TRIED_FOR, make(&remote.expect("a client"), order)).await;
                    this.tried(order, tried.unwrap_or_else(|_| Err("no answer".to_owned())));
                }
            }
        });
    }

    fn tried(&self, order: Order, tried: Result<(), String>) {
        truth::event(format_args!("{order:?}: {tried:?}"));
        let is_made = tried.is_ok();
        let mut work = self.work();
        match (order, tried) {
            (Order::Remove(id), Ok(())) => work.removed.push(id),
            // Whoever led when it came logged it, and was replaced before the others had heard.
            (Order::Add(id), Err(text)) if text.contains("empty its metadata.dir") => {
                work.spoilt.push(id);
            }
            _ => {}
        }
        if is_made {
            work.orders.pop_front();
        }
    }

    /// Orders changes; the members are found at these addresses.
    pub(super) fn order(&self, orders: impl IntoIterator<Item = Order>, members: Vec<String>) {
        let mut work = self.work();
        work.orders.extend(orders);
        work.members = members;
    }

    pub(super) fn is_idle(&self) -> bool {
        self.work().orders.is_empty()
    }

    /// Those that were removed since this was asked.
    pub(super) fn removed(&self) -> Vec<u64> {
        std::mem::take(&mut self.work().removed)
    }

    /// Those that are to begin with an empty directory, since this was asked.
    pub(super) fn spoilt(&self) -> Vec<u64> {
        std::mem::take(&mut self.work().spoilt)
    }

    fn work(&self) -> MutexGuard<'_, Work> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn make(remote: &Remote, order: Order) -> Result<(), String> {
    let made = match order {
        Order::Add(id) => remote.add(id, &member::address(id)).await,
        Order::Remove(id) => remote.remove(id).await,
    };
    match made {
        // The answer to an earlier try was lost.
        Err(Refused(text)) if order_is_done(order, &text) => Ok(()),
        made => made.map_err(|Refused(text)| text),
    }
}

fn order_is_done(order: Order, text: &str) -> bool {
    matches!(order, Order::Remove(_)) && text.contains("is no member")
}
