//! Health checks: each looks again and again, counts its failures, and fails when there were enough in a row.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt as _, join_all};
use roadstead_storage::{Driver, Error as StoreError, StorePath};
use tokio_util::sync::CancellationToken;

/// What a look found out: nothing wrong, or what is.
pub type Look = Box<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// The check that operators switch by hand.
const BY_HAND: &str = "manual_http_status";

/// A look that takes longer has failed, unless its options say otherwise.
const LOOK_WITHIN: Duration = Duration::from_secs(30);

/// Something to look at.
pub struct Check {
    /// How it is named where failures are told.
    pub name: String,
    pub interval: Duration,
    /// Failures in a row that count; 0 as 1.
    pub threshold: u32,
    pub look: Look,
}

/// What is wrong now, for whoever asks. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Health(Arc<Mutex<BTreeMap<String, String>>>);

impl Health {
    /// The failing checks, with what they found.
    pub fn failures(&self) -> BTreeMap<String, String> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub fn is_well(&self) -> bool {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_empty()
    }

    /// Counts as failing until it is [`up`](Self::up) again.
    pub fn down(&self) {
        self.set(BY_HAND, Some("Manual Check".to_owned()));
    }

    pub fn up(&self) {
        self.set(BY_HAND, None);
    }

    fn set(&self, name: &str, failure: Option<String>) {
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match failure {
            Some(failure) => failures.insert(name.to_owned(), failure),
            None => failures.remove(name),
        };
    }

    /// Looks until the drain. The first look comes after one interval, as the reference has it.
    pub async fn watch(self, checks: Vec<Check>, drain: CancellationToken) {
        let watched = checks.into_iter().map(|check| self.keep_looking(check));
        drain.run_until_cancelled(join_all(watched)).await;
    }

    async fn keep_looking(&self, check: Check) {
        let Check {
            name,
            interval,
            threshold,
            look,
        } = check;
        let (mut failed, mut is_failing) = (0, false);
        loop {
            tokio::time::sleep(interval).await;
            let Err(failure) = look().await else {
                if is_failing {
                    tracing::info!(check = name, "a health check passes again");
                    self.set(&name, None);
                }
                (failed, is_failing) = (0, false);
                continue;
            };
            failed += 1;
            if failed < threshold.max(1) {
                tracing::debug!(check = name, failure, "a health check failed");
                continue;
            }
            if !is_failing {
                tracing::error!(check = name, failure, "a health check fails");
            }
            is_failing = true;
            self.set(&name, Some(failure));
        }
    }
}

/// Whether the store answers (`health.storagedriver`).
pub fn storage(store: Arc<dyn Driver>) -> (String, Look) {
    let name = format!("storagedriver_{}", store.name());
    let look: Look = Box::new(move || {
        let store = Arc::clone(&store);
        within(LOOK_WITHIN, async move {
            match store.stat(&StorePath::root()).await {
                // An empty bucket has no root.
                Ok(_) | Err(StoreError::NotFound(_)) => Ok(()),
                Err(error) => Err(error.to_string()),
            }
        })
    });
    (name, look)
}

/// Fails while the file exists (`health.file`): touched to take a node out.
pub fn file(path: PathBuf) -> Look {
    Box::new(move || {
        let path = path.clone();
        within(LOOK_WITHIN, async move {
            match tokio::fs::try_exists(&path).await {
                Ok(false) => Ok(()),
                Ok(true) => Err("file exists".to_owned()),
                Err(error) => Err(error.to_string()),
            }
        })
    })
}

/// Whether somebody takes connections there (`health.tcp`).
pub fn tcp(addr: String, timeout: Option<Duration>) -> Look {
    Box::new(move || {
        let addr = addr.clone();
        within(timeout.unwrap_or(LOOK_WITHIN), async move {
            let connected = tokio::net::TcpStream::connect(&addr).await;
            connected
                .map(drop)
                .map_err(|error| format!("connection to {addr} failed: {error}"))
        })
    })
}

/// A look that ends in time.
pub fn within(
    limit: Duration,
    look: impl Future<Output = Result<(), String>> + Send + 'static,
) -> BoxFuture<'static, Result<(), String>> {
    async move {
        let looked = tokio::time::timeout(limit, look).await;
        looked.unwrap_or_else(|_elapsed| Err(format!("no answer within {limit:?}")))
    }
    .boxed()
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Check")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use tokio::time::sleep;

    use super::*;

    const INTERVAL: Duration = Duration::from_secs(10);

    struct Bench {
        health: Health,
        breaks: Arc<AtomicBool>,
        _watch: tokio_util::sync::DropGuard,
    }

    fn watched(threshold: u32) -> Bench {
        let (health, breaks) = (Health::default(), Arc::new(AtomicBool::new(true)));
        let told = Arc::clone(&breaks);
        let look: Look = Box::new(move || {
            let broken = told.load(Ordering::Relaxed);
            async move {
                if broken {
                    Err("broken".to_owned())
                } else {
                    Ok(())
                }
            }
            .boxed()
        });
        let check = Check {
            name: "thing".to_owned(),
            interval: INTERVAL,
            threshold,
            look,
        };
        let drain = CancellationToken::new();
        tokio::spawn(health.clone().watch(vec![check], drain.clone()));
        Bench {
            health,
            breaks,
            _watch: drain.drop_guard(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_check_fails_at_its_threshold_and_passes_at_once() {
        let bench = watched(3);
        sleep(INTERVAL * 2 + INTERVAL / 2).await;
        assert!(bench.health.is_well());
        sleep(INTERVAL).await;
        assert_eq!(bench.health.failures()["thing"], "broken");
        bench.breaks.store(false, Ordering::Relaxed);
        sleep(INTERVAL).await;
        assert!(bench.health.is_well());
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_threshold_the_first_failure_counts_and_none_comes_before_an_interval() {
        let bench = watched(0);
        sleep(INTERVAL / 2).await;
        assert!(bench.health.is_well());
        sleep(INTERVAL).await;
        assert!(!bench.health.is_well());
    }

    #[test]
    fn a_node_can_be_taken_out_by_hand() {
        let health = Health::default();
        health.down();
        assert!(health.failures().contains_key("manual_http_status"));
        health.up();
        assert!(health.is_well());
    }

    #[tokio::test]
    async fn a_file_that_exists_and_a_port_that_nobody_has_fail() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("out");
        let look = file(path.clone());
        assert_eq!(look().await, Ok(()));
        std::fs::write(&path, "").unwrap();
        assert_eq!(look().await, Err("file exists".to_owned()));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let look = tcp(listener.local_addr().unwrap().to_string(), None);
        assert_eq!(look().await, Ok(()));
        drop(listener);
        assert!(look().await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_look_that_hangs_has_failed() {
        let hung = within(INTERVAL, futures::future::pending()).await;
        assert!(hung.unwrap_err().contains("10s"));
    }
}
