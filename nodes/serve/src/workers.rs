//! Threads that each serve connections of their own.
//!
//! A runtime that shares its tasks among threads wakes threads for them, and takes locks that nobody contends for: a tenth to a fifth
//! of what a small request costs a proxy. Where a request is only passed on, and nothing in it takes a thread for long, each
//! connection may as well stay with one: so do the connections that are opened for its requests, the timers, and whatever
//! waits for them. Where requests compute or wait for disks, sharing is worth its price: registries do that.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::runtime::{Builder, Handle};
use tokio_util::sync::{CancellationToken, DropGuard};

/// They run until the last of these handles is dropped. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Workers(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    workers: Vec<Worker>,
    _until_dropped: DropGuard,
}

#[derive(Debug)]
struct Worker {
    runtime: Handle,
    connections: Arc<AtomicUsize>,
}

/// A connection's place with a worker, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) runtime: Handle,
    connections: Arc<AtomicUsize>,
}

impl Workers {
    /// Starts so many threads, one at least.
    pub fn start(number: usize) -> io::Result<Self> {
        let stop = CancellationToken::new();
        let workers = (0..number.max(1)).map(|nth| Worker::start(nth, stop.clone()));
        let workers = workers.collect::<io::Result<_>>()?;
        Ok(Self(Arc::new(Shared {
            workers,
            _until_dropped: stop.drop_guard(),
        })))
    }

    /// With whom there are fewest connections.
    pub(crate) fn place(&self) -> Option<Place> {
        let count = |worker: &&Worker| worker.connections.load(Ordering::Relaxed);
        let worker = self.0.workers.iter().min_by_key(count)?;
        worker.connections.fetch_add(1, Ordering::Relaxed);
        Some(Place {
            runtime: worker.runtime.clone(),
            connections: Arc::clone(&worker.connections),
        })
    }
}

impl Worker {
    fn start(nth: usize, stop: CancellationToken) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let worker = Self {
            runtime: runtime.handle().clone(),
            connections: Arc::default(),
        };
        std::thread::Builder::new()
            .name(format!("serve-{nth}"))
            .spawn(move || {
                runtime.block_on(stop.cancelled());
                // Somebody may still look up a name.
                runtime.shutdown_background();
            })?;
        Ok(worker)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_go_where_there_are_fewest() {
        let workers = Workers::start(2).unwrap();
        let name = |place: &Place| {
            let (tell, told) = std::sync::mpsc::channel();
            place.runtime.spawn(async move {
                let name = std::thread::current().name().map(str::to_owned);
                tell.send(name).unwrap();
            });
            told.recv().unwrap().unwrap()
        };
        let [first, second] = [(); 2].map(|()| workers.place().unwrap());
        assert_eq!(name(&first), "serve-0");
        assert_eq!(name(&second), "serve-1");
        drop(second);
        let next = [(); 3].map(|()| name(&workers.place().unwrap()));
        assert_eq!(next, ["serve-1", "serve-1", "serve-1"]);
    }

    #[test]
    fn they_end_with_their_last_handle() {
        let workers = Workers::start(1).unwrap();
        let place = workers.place().unwrap();
        let (tell, told) = std::sync::mpsc::channel::<()>();
        place.runtime.spawn(async move {
            std::future::pending::<()>().await;
            drop(tell);
        });
        drop(workers);
        assert!(told.recv().is_err(), "the task was dropped");
    }
}
