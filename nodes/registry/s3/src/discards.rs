//! Giving up places: what several uploads give up within a moment goes with one request.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use roadstead_storage::Error;
use tokio::sync::watch;

use crate::failure::Failure;
use crate::list::PAGE;
use crate::remove;
use crate::store::Store;

/// Nobody waits for it: the layers of one image are pushed within moments of each other.
const LINGER: Duration = Duration::from_secs(1);
/// Who gives up more than this does so alone: it is a clean-up.
const FEW: usize = 16;

/// Keys that wait for others.
#[derive(Debug, Default)]
pub(crate) struct Discards(Mutex<Option<Batch>>);

#[derive(Debug)]
struct Batch {
    keys: Vec<String>,
    /// Whether they went, once that is known.
    went: watch::Receiver<Option<bool>>,
}

/// Gives up places; they are gone when it returns.
pub(crate) async fn discard(store: &Arc<Store>, places: &[String]) -> Result<(), Error> {
    for place in places {
        store.forget(place);
    }
    let keys = places.iter().filter_map(|place| store.keys.place(place));
    let keys: Vec<String> = keys.collect();
    if keys.is_empty() || (keys.len() <= FEW && with_others(store, &keys).await) {
        return Ok(());
    }
    let removed = remove::objects(store, keys).await;
    removed.map_err(Failure::writing)
}

/// Whether they went with what others gave up.
async fn with_others(store: &Arc<Store>, keys: &[String]) -> bool {
    let mut went = {
        let mut waiting = store.discards.lock();
        match &mut *waiting {
            Some(batch) if batch.keys.len() + keys.len() > PAGE.unsigned_abs() as usize => {
                return false;
            }
            Some(batch) => {
                batch.keys.extend_from_slice(keys);
                batch.went.clone()
            }
            None => {
                let (tell, went) = watch::channel(None);
                *waiting = Some(Batch {
                    keys: keys.to_vec(),
                    went: went.clone(),
                });
                // A task of its own: who began the batch may go away, the others still wait.
                tokio::spawn(remove_all(Arc::clone(store), tell));
                went
            }
        }
    };
    let known = went.wait_for(Option::is_some).await;
    known.is_ok_and(|went| *went == Some(true))
}

async fn remove_all(store: Arc<Store>, tell: watch::Sender<Option<bool>>) {
    tokio::time::sleep(LINGER).await;
    let batch = store.discards.lock().take();
    let keys = batch.map(|batch| batch.keys).unwrap_or_default();
    let removed = remove::objects(&store, keys).await;
    if let Err(failure) = &removed {
        tracing::debug!(?failure, "places were not given up together");
    }
    tell.send_replace(Some(removed.is_ok()));
}

impl Discards {
    fn lock(&self) -> MutexGuard<'_, Option<Batch>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
