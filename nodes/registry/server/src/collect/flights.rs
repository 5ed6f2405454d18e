//! Requests in flight, with what they name.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use roadstead_metadata::Unit;
use tokio::sync::Notify;

/// Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Flights(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    entered: Mutex<Entered>,
    /// One that writes is over.
    landed: Notify,
}

#[derive(Debug, Default)]
struct Entered {
    next: u64,
    named: HashMap<u64, Named>,
}

#[derive(Debug)]
struct Named {
    units: Arc<[Unit]>,
    is_writing: bool,
}

impl Flights {
    /// These are named by a request until what is answered with is dropped. One that `is_writing` may write links to them.
    pub(crate) fn enter(&self, units: Arc<[Unit]>, is_writing: bool) -> InFlight {
        let mut entered = self.entered();
        let id = entered.next;
        entered.next += 1;
        entered.named.insert(id, Named { units, is_writing });
        InFlight {
            flights: self.clone(),
            id,
        }
    }

    /// What they name and somebody asks about.
    pub(crate) fn naming(&self, is_asked: impl Fn(&Unit) -> bool) -> Vec<Unit> {
        let entered = self.entered();
        let named = entered.named.values().flat_map(|one| one.units.iter());
        let asked: BTreeSet<&Unit> = named.filter(|unit| is_asked(unit)).collect();
        asked.into_iter().cloned().collect()
    }

    /// Waits for those to be over that are in flight now, write, and name one of these.
    pub(crate) async fn landed(&self, units: &HashSet<&Unit>) {
        let names =
            |one: &Named| one.is_writing && one.units.iter().any(|unit| units.contains(unit));
        let mut waited: Vec<u64> = {
            let entered = self.entered();
            let awaited = entered.named.iter().filter(|(_, one)| names(one));
            awaited.map(|(id, _)| *id).collect()
        };
        loop {
            // Hears of all that happens from here on.
            let landed = self.0.landed.notified();
            {
                let entered = self.entered();
                waited.retain(|id| entered.named.contains_key(id));
            }
            if waited.is_empty() {
                return;
            }
            landed.await;
        }
    }

    /// How many there are.
    #[cfg(test)]
    pub(crate) fn count(&self) -> usize {
        self.entered().named.len()
    }

    fn entered(&self) -> MutexGuard<'_, Entered> {
        let entered = self.0.entered.lock();
        entered.unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request in flight.
#[derive(Debug)]
pub(crate) struct InFlight {
    flights: Flights,
    id: u64,
}

impl InFlight {
    /// It names more than was known.
    pub(crate) fn widen(&self, units: Arc<[Unit]>) {
        if let Some(named) = self.flights.entered().named.get_mut(&self.id) {
            named.units = units;
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let named = self.flights.entered().named.remove(&self.id);
        if named.is_some_and(|named| named.is_writing) {
            self.flights.0.landed.notify_waiters();
        }
    }
}
