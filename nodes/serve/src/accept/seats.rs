//! A bound on connections: as many as there are file descriptors for, with enough left to serve what they ask. When all
//! seats are taken, whoever has been idle longest makes room: clients that only hold connections lock nobody out.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::answers::Answers;

/// Connections looked at for one that is idle, so that a look takes no time to speak of.
const LOOK_AT: usize = 256;

/// When all were busy, or the one that was asked has not left: look again.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(100);

#[derive(Debug, Clone)]
pub(super) struct Seats {
    free: Arc<Semaphore>,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Debug, Default)]
struct Taken {
    seats: BTreeMap<u64, Occupant>,
    /// Where the next look begins.
    look_from: u64,
    next_id: u64,
}

#[derive(Debug)]
struct Occupant {
    answers: Answers,
    leave: CancellationToken,
}

/// A connection's seat, free again when it is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    id: u64,
    taken: Arc<Mutex<Taken>>,
    pub(super) answers: Answers,
    /// Somebody else needs the seat.
    pub(super) leave: CancellationToken,
    _free: OwnedSemaphorePermit,
}

impl Seats {
    pub(super) fn new(number: usize) -> Self {
        Self {
            free: Arc::new(Semaphore::new(number.min(Semaphore::MAX_PERMITS))),
            taken: Arc::default(),
        }
    }

    /// A seat; when there is none, an idle connection is asked to leave. Waits while all are busy.
    pub(super) async fn take(&self) -> Seat {
        let free = loop {
            let free = Arc::clone(&self.free);
            if let Ok(free) = Arc::clone(&free).try_acquire_owned() {
                break free;
            }
            self.make_room();
            if let Ok(Ok(free)) = timeout(LOOK_AGAIN_AFTER, free.acquire_owned()).await {
                break free;
            }
        };
        let (answers, leave) = (Answers::none_yet(), CancellationToken::new());
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let id = taken.next_id;
        taken.next_id += 1;
        let occupant = Occupant {
            answers: answers.clone(),
            leave: leave.clone(),
        };
        taken.seats.insert(id, occupant);
        Seat {
            id,
            taken: Arc::clone(&self.taken),
            answers,
            leave,
            _free: free,
        }
    }

    fn make_room(&self) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let from = taken.look_from;
        let looked_at = taken.seats.range(from..).chain(taken.seats.range(..from));
        let (mut last, mut longest) = (from, None);
        for (id, occupant) in looked_at.take(LOOK_AT) {
            last = *id;
            if occupant.leave.is_cancelled() {
                continue;
            }
            if let Some(idle) = occupant.answers.idle_for()
                && longest.as_ref().is_none_or(|(most, _)| idle > *most)
            {
                longest = Some((idle, occupant.leave.clone()));
            }
        }
        taken.look_from = last.saturating_add(1);
        drop(taken);
        if let Some((_, leave)) = longest {
            leave.cancel();
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.seats.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn whoever_is_idle_longest_makes_room() {
        let seats = Seats::new(3);
        let busy = seats.take().await;
        let request = busy.answers.begin();
        let longest = seats.take().await;
        sleep(Duration::from_secs(1)).await;
        let idle = seats.take().await;
        let next = tokio::spawn({
            let seats = seats.clone();
            async move { seats.take().await }
        });
        longest.leave.cancelled().await;
        assert!(!busy.leave.is_cancelled() && !idle.leave.is_cancelled());
        drop(longest);
        let next = next.await.unwrap();
        let (_a, _b) = (next.answers.begin(), idle.answers.begin());
        let full = timeout(Duration::from_mins(1), seats.take()).await;
        assert!(full.is_err(), "nobody who is busy is asked to leave");
        drop(request);
    }
}
