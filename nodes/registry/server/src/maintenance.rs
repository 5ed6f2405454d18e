//! What a registry does for itself: clean up after a crash, and end uploads that nobody goes on with.

use std::time::{Duration, SystemTime};

use roadstead_metadata::{Command, Outcome, Timestamp};
use roadstead_oci::Name;
use roadstead_storage::layout;
use roadstead_telemetry::metrics::Metrics;
use tokio_util::sync::CancellationToken;

use crate::Registry;
use crate::error::Error;

/// Places looked at in one step.
const PAGE: usize = 10_000;

/// Directories looked at for names that are not served.
const LOOKED_AT: usize = 1000;

/// How long staged bytes may lie without a record while a writer may still come back to them.
const ORPHANED_AFTER: Duration = Duration::from_hours(24);

/// Nobody scrapes metrics more often.
const COUNT_EVERY: Duration = Duration::from_secs(5);

/// When unfinished uploads are ended (`storage.maintenance.uploadpurging`).
#[derive(Debug, Clone, Copy)]
pub struct Purging {
    /// Uploads that have not moved for this long go.
    pub age: Duration,
    pub interval: Duration,
}

/// The first purge comes at a random time within this, so that many registries do not purge at once: the reference's.
const FIRST_PURGE_WITHIN: Duration = Duration::from_hours(1);

impl Purging {
    /// When the first purge comes; `random` is from 0 up to 1. In whole minutes, as the reference says it, unless purges
    /// are to come more often than that lets them begin.
    pub fn first(&self, random: f64) -> Duration {
        if self.interval < FIRST_PURGE_WITHIN {
            let millis = self.interval.mul_f64(random).as_millis();
            return Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX));
        }
        let first = FIRST_PURGE_WITHIN.mul_f64(random);
        Duration::from_mins(first.as_secs() / 60)
    }
}

/// What a clean-up found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reclaimed {
    pub temporary_files: usize,
    pub staged_places: usize,
}

impl Registry {
    /// Removes what no process can still be writing: right at the start of one that has the store for itself.
    pub async fn reclaim_all(&self) -> Result<Reclaimed, Error> {
        self.reclaim(self.metadata.now().await?).await
    }

    async fn reclaim(&self, before: Timestamp) -> Result<Reclaimed, Error> {
        let before = SystemTime::from(before);
        let temporary_files = self.store.sweep(before).await?;
        let mut staged_places = 0;
        let mut after: Option<String> = None;
        loop {
            let places = self.store.staged(before, after.as_deref(), PAGE).await?;
            let Some(last) = places.last() else { break };
            after = Some(last.clone());
            // Looked at first: a commit for what is held would be a large one.
            let orphans = self.metadata.unheld(places).await?;
            if orphans.is_empty() {
                continue;
            }
            let orphans = self.renounce(orphans).await?;
            staged_places += orphans.len();
            self.store.discard(&orphans).await?;
        }
        Ok(Reclaimed {
            temporary_files,
            staged_places,
        })
    }

    /// Ends uploads that have not moved since, and gives up their bytes. Answers with their number.
    pub async fn purge_uploads(&self, idle_for: Duration) -> Result<usize, Error> {
        let idle_since = self.metadata.now().await?.minus(idle_for);
        let ended = match self.metadata.propose(Command::Purge { idle_since }).await? {
            Outcome::Discarded { sessions, segments } => {
                let places: Vec<String> =
                    segments.into_iter().map(|segment| segment.place).collect();
                self.store.discard(&places).await?;
                sessions
            }
            _other => 0,
        };
        self.reclaim(self.metadata.now().await?.minus(ORPHANED_AFTER))
            .await?;
        Ok(ended)
    }

    /// The first of the directories that hold repositories by names that are not served here: the reference takes more
    /// in the place of a host's name (`Foo/bar`), and only there. One look, at no more than the first thousand.
    pub async fn unserved(&self) -> Option<String> {
        let root = layout::repositories();
        // Where it cannot be listed, the checks of the store tell.
        let listed = self.store.list(&root, None, LOOKED_AT).await.ok()?;
        let directories = listed.into_iter().filter(|entry| entry.is_directory);
        let mut names = directories.map(|entry| entry.name);
        names.find(|name| {
            let is_the_references = root.join(name).is_ok() && !name.starts_with('_');
            is_the_references && name.parse::<Name>().is_err()
        })
    }

    /// Tells how many uploads are going on, again and again, until the drain.
    pub async fn keep_counting(&self, metrics: Metrics, drain: CancellationToken) {
        let wait = || tokio::time::sleep(COUNT_EVERY);
        while drain.run_until_cancelled(wait()).await.is_some() {
            // While the log cannot say, the last number stays.
            if let Ok(open) = self.metadata.open_sessions().await {
                metrics.upload_sessions(open);
            }
        }
    }

    /// Purges after `first`, then again and again, until the drain.
    pub async fn keep_purging(&self, purging: Purging, first: Duration, drain: CancellationToken) {
        let mut wait = first;
        while drain
            .run_until_cancelled(tokio::time::sleep(wait))
            .await
            .is_some()
        {
            wait = purging.interval;
            if !self.is_first().await {
                continue;
            }
            // Where something is collected, that does it as well.
            if let Err(error) = self.following.end_epochs().await {
                tracing::debug!(%error, "leases that are over are not ended in the store");
            }
            match self.purge_uploads(purging.age).await {
                Ok(ended) => tracing::info!(ended, "purged uploads that nobody went on with"),
                Err(error) => tracing::error!(%error, "uploads cannot be purged"),
            }
        }
    }

    /// One of several nodes is enough: the one that has been there for longest. Two that take themselves for it for a
    /// moment do the work twice, and no harm.
    async fn is_first(&self) -> bool {
        if self.lease.is_unlimited() {
            return true;
        }
        match (self.lease.epoch(), self.metadata.fleet().await) {
            (Some(mine), Ok(fleet)) => fleet.nodes.values().all(|node| node.epoch >= mine),
            _without_a_lease => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use roadstead_metadata::{
        Clock, Fingerprint, Hearing, Home, Joining, Local, Membership, NodeId, boot_time,
        system_clock,
    };
    use roadstead_oci::Algorithm;
    use roadstead_storage::{Driver as _, Memory, Put};

    use super::*;
    use crate::body::Body;
    use crate::session::Ticket;
    use crate::upload::Chunk;
    use crate::{Options, Registry};

    struct Bench {
        registry: Registry,
        store: Memory,
        time: Arc<AtomicU64>,
    }

    impl Bench {
        async fn new() -> Self {
            let time = Arc::new(AtomicU64::new(1_790_000_000_000));
            let told = Arc::clone(&time);
            let clock: Clock = Arc::new(move || Timestamp(told.load(Ordering::Relaxed)));
            let store = Memory::new();
            let metadata = Arc::new(Local::open(Home::Memory, clock).unwrap());
            let registry = Registry::build(Arc::new(store.clone()), metadata, Options::default());
            Self {
                registry: registry.await.unwrap(),
                store,
                time,
            }
        }

        fn pass(&self, time: Duration) {
            self.time
                .fetch_add(u64::try_from(time.as_millis()).unwrap(), Ordering::Relaxed);
        }

        async fn append(&self, ticket: Ticket) -> Result<Ticket, Error> {
            let pieces = futures::stream::iter([Ok("bytes".into())]);
            let body = Body::new(pieces, Duration::from_secs(1), false);
            self.registry
                .append(ticket, Chunk { range: None, body })
                .await
        }

        async fn staged(&self) -> usize {
            let future = SystemTime::from(Timestamp(u64::MAX / 4));
            self.store.staged(future, None, 100).await.unwrap().len()
        }
    }

    #[tokio::test]
    async fn repositories_by_names_that_are_not_served_are_found_by_their_first_directory() {
        let bench = Bench::new().await;
        for (repository, found) in [
            ("served", None),
            ("also/served", None),
            ("_not/a/repository", None),
            ("MyCompany.com/app", Some("MyCompany.com")),
            ("Foo/bar", Some("Foo")),
        ] {
            let link = format!("/docker/registry/v2/repositories/{repository}/_layers/link");
            let link = Put {
                path: link.parse().unwrap(),
                content: "x".into(),
            };
            bench.store.put(vec![link]).await.unwrap();
            assert_eq!(bench.registry.unserved().await.as_deref(), found);
        }
    }

    #[tokio::test]
    async fn of_several_nodes_the_first_purges() {
        let metadata = Arc::new(Local::open(Home::Memory, system_clock()).unwrap());
        let node = async |n: u8| {
            let joining = Joining {
                address: format!("{n}:5000"),
                version: "1".to_owned(),
                fingerprint: Fingerprint {
                    store: "s".to_owned(),
                    secret: None,
                    authentication: "none".to_owned(),
                    redis: None,
                },
            };
            let service = Arc::<Local>::clone(&metadata);
            let member = Membership::join(
                service,
                NodeId([n; 16]),
                joining,
                boot_time(),
                Hearing::default(),
            );
            let member = member.await.unwrap();
            let service = Arc::<Local>::clone(&metadata);
            let store = Arc::new(Memory::new());
            let registry = Registry::build(store, service, Options::default());
            (registry.await.unwrap().with_lease(member.lease()), member)
        };
        let (first, first_member) = node(1).await;
        let (second, _second_member) = node(2).await;
        assert!(first.is_first().await);
        assert!(!second.is_first().await);
        let ended = CancellationToken::new();
        ended.cancel();
        first_member.keep(ended).await;
        assert!(!first.is_first().await, "it has left");
        assert!(second.is_first().await);
        assert!(Bench::new().await.registry.is_first().await, "alone");
    }

    fn name() -> Name {
        "purged".parse().unwrap()
    }

    #[tokio::test]
    async fn uploads_that_nobody_goes_on_with_are_purged_with_their_bytes() {
        let bench = Bench::new().await;
        let old = bench
            .registry
            .open_upload(&name(), Algorithm::Sha256)
            .await
            .unwrap();
        let old = bench.append(old).await.unwrap();
        bench.pass(Duration::from_hours(100));
        let young = bench
            .registry
            .open_upload(&name(), Algorithm::Sha256)
            .await
            .unwrap();
        let young = bench.append(young).await.unwrap();
        assert_eq!(bench.staged().await, 2);
        bench.pass(Duration::from_hours(100));
        assert_eq!(
            bench
                .registry
                .purge_uploads(Duration::from_hours(168))
                .await
                .unwrap(),
            1
        );
        assert_eq!(bench.staged().await, 1);
        assert!(matches!(bench.append(old).await, Err(Error::UploadUnknown)));
        assert_eq!(bench.append(young).await.unwrap().state.offset, 10);
    }

    #[tokio::test]
    async fn an_upload_in_which_nothing_came_ends_after_an_hour() {
        let bench = Bench::new().await;
        let (one, other) = (
            bench
                .registry
                .open_upload(&name(), Algorithm::Sha256)
                .await
                .unwrap(),
            bench
                .registry
                .open_upload(&name(), Algorithm::Sha256)
                .await
                .unwrap(),
        );
        bench.pass(Duration::from_mins(58));
        let one = bench.append(one).await.unwrap();
        bench.pass(Duration::from_mins(3));
        assert!(matches!(
            bench.append(other).await,
            Err(Error::UploadUnknown)
        ));
        assert_eq!(
            bench.append(one).await.unwrap().state.offset,
            10,
            "one that moved goes on"
        );
        assert_eq!(
            bench.staged().await,
            2,
            "what was refused left nothing behind"
        );
    }

    /// One PATCH may take longer than a session lives without a record.
    #[tokio::test(start_paused = true)]
    async fn a_first_chunk_that_takes_hours_is_taken() {
        let bench = Bench::new().await;
        let ticket = bench
            .registry
            .open_upload(&name(), Algorithm::Sha256)
            .await
            .unwrap();
        let time = Arc::clone(&bench.time);
        let pieces = futures::stream::unfold(0, move |n| {
            let time = Arc::clone(&time);
            async move {
                tokio::time::sleep(Duration::from_mins(1)).await;
                time.fetch_add(60_000, Ordering::Relaxed);
                (n < 200).then_some((Ok("bytes".into()), n + 1))
            }
        });
        let body = Body::new(pieces, Duration::from_mins(2), false);
        let ticket = bench
            .registry
            .append(ticket, Chunk { range: None, body })
            .await
            .unwrap();
        assert_eq!(ticket.state.offset, 1000);
        assert_eq!(bench.append(ticket).await.unwrap().state.offset, 1005);
    }

    #[tokio::test]
    async fn a_clock_that_was_ahead_for_a_moment_stops_no_push() {
        let bench = Bench::new().await;
        bench.pass(Duration::from_hours(24));
        let ahead = bench
            .registry
            .open_upload(&name(), Algorithm::Sha256)
            .await
            .unwrap();
        bench.append(ahead).await.unwrap();
        bench.time.fetch_sub(24 * 3_600_000, Ordering::Relaxed);
        let after = bench
            .registry
            .open_upload(&name(), Algorithm::Sha256)
            .await
            .unwrap();
        assert_eq!(bench.append(after).await.unwrap().state.offset, 5);
    }

    #[test]
    fn the_first_purge_comes_within_an_hour_and_within_the_interval() {
        let first = |interval, random| {
            let age = Duration::from_hours(168);
            Purging { age, interval }.first(random)
        };
        let (day, second) = (Duration::from_hours(24), Duration::from_secs(1));
        assert_eq!(first(day, 0.0), Duration::ZERO);
        assert_eq!(first(day, 0.51), Duration::from_mins(30));
        assert_eq!(first(day, 0.999_999), Duration::from_mins(59));
        assert_eq!(first(second, 0.5), Duration::from_millis(500));
        assert!(first(second, 0.999_999) <= second);
    }

    #[tokio::test]
    async fn a_start_gives_up_what_no_session_holds() {
        let bench = Bench::new().await;
        let held = bench
            .registry
            .open_upload(&name(), Algorithm::Sha256)
            .await
            .unwrap();
        bench.append(held).await.unwrap();
        let mut orphan = bench.store.stage("orphan").await.unwrap();
        orphan.write(vec!["bytes".into()]).await.unwrap();
        orphan.finish().await.unwrap();
        bench.time.store(u64::MAX / 4, Ordering::Relaxed);
        let reclaimed = bench.registry.reclaim_all().await.unwrap();
        assert_eq!(
            reclaimed,
            Reclaimed {
                temporary_files: 0,
                staged_places: 1
            }
        );
        assert_eq!(bench.staged().await, 1);
    }
}
