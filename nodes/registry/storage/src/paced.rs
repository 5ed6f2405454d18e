//! A driver that is asked no faster than somebody allows.

use std::fmt;
use std::num::NonZeroU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::time::{Instant, sleep_until};

use crate::driver::{
    Attempt, Driver, Entry, Fetch, Leaf, Opened, Publication, Put, Read, Stage, Staged, Stat,
};
use crate::fence::{Gone, Still, Under};
use crate::{Error, StorePath};

/// Names that a store tells of in one answer: Amazon's.
const PAGE: u64 = 1000;

/// Directories that are removed for one question, so that a slow pace does not let it grow old; and what each costs: a look
/// into it, a removal.
const REMOVED: usize = 16;
const REMOVAL: u64 = 2;

/// Files that are read by one call.
const READ: usize = 64;

/// How fast.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pace {
    /// In a second.
    pub requests: Option<NonZeroU64>,
    /// Read in a second.
    pub bytes: Option<NonZeroU64>,
}

/// Forwards everything to a driver; listings, reads and fenced removals no faster than this. What they cost is known
/// afterwards, so that it is the next that waits.
pub struct Paced {
    driver: Arc<dyn Driver>,
    requests: Rate,
    bytes: Rate,
}

struct Rate {
    per_second: Option<NonZeroU64>,
    /// When all that was asked for is paid.
    paid: Mutex<Instant>,
}

impl Rate {
    fn new(per_second: Option<NonZeroU64>) -> Self {
        Self {
            per_second,
            paid: Mutex::new(Instant::now()),
        }
    }

    /// Answers with when that may be.
    fn charge(&self, count: u64) -> Instant {
        let now = Instant::now();
        let Some(per_second) = self.per_second else {
            return now;
        };
        let mut paid = self.paid.lock().unwrap_or_else(PoisonError::into_inner);
        let begins = (*paid).max(now);
        let nanos = u128::from(count) * 1_000_000_000 / u128::from(per_second.get());
        let cost = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        *paid = begins.checked_add(cost).unwrap_or(begins);
        begins
    }
}

impl Paced {
    pub fn new(driver: Arc<dyn Driver>, pace: Pace) -> Self {
        Self {
            driver,
            requests: Rate::new(pace.requests),
            bytes: Rate::new(pace.bytes),
        }
    }

    /// Waits until so many requests may be made.
    async fn turn(&self, requests: u64) {
        let begins = self.requests.charge(requests).max(self.bytes.charge(0));
        sleep_until(begins).await;
    }

    fn came(&self, names: usize, bytes: usize) {
        // The first page is paid.
        self.requests
            .charge((names as u64).saturating_sub(1) / PAGE);
        self.bytes.charge(bytes as u64);
    }
}

#[async_trait]
impl Driver for Paced {
    fn name(&self) -> &'static str {
        self.driver.name()
    }

    async fn stat(&self, path: &StorePath) -> Result<Stat, Error> {
        self.turn(1).await;
        self.driver.stat(path).await
    }

    async fn get(&self, path: &StorePath, limit: usize) -> Result<Bytes, Error> {
        self.turn(1).await;
        let content = self.driver.get(path, limit).await;
        self.came(1, content.as_ref().map_or(0, Bytes::len));
        content
    }

    async fn get_settled(&self, path: &StorePath, limit: usize) -> Result<Bytes, Error> {
        self.driver.get_settled(path, limit).await
    }

    async fn open(&self, path: &StorePath) -> Result<Opened, Error> {
        self.driver.open(path).await
    }

    async fn put(&self, writes: Vec<Put>) -> Result<(), Error> {
        self.driver.put(writes).await
    }

    async fn put_new(&self, write: Put) -> Result<bool, Error> {
        self.driver.put_new(write).await
    }

    async fn ensure(&self, writes: Vec<Put>) -> Result<(), Error> {
        self.driver.ensure(writes).await
    }

    async fn settle(&self, paths: &[StorePath]) -> Result<(), Error> {
        self.driver.settle(paths).await
    }

    async fn redirect(
        &self,
        path: &StorePath,
        fetch: Fetch,
        valid: Duration,
    ) -> Result<Option<String>, Error> {
        self.driver.redirect(path, fetch, valid).await
    }

    async fn list(
        &self,
        directory: &StorePath,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Entry>, Error> {
        self.turn(1).await;
        let entries = self.driver.list(directory, after, limit).await;
        self.came(entries.as_ref().map_or(0, Vec::len), 0);
        entries
    }

    async fn remove(&self, path: &StorePath) -> Result<(), Error> {
        self.driver.remove(path).await
    }

    async fn remove_if(&self, path: &StorePath, content: &[u8]) -> Result<bool, Error> {
        self.driver.remove_if(path, content).await
    }

    async fn prune(&self, directory: &StorePath) -> Result<(), Error> {
        self.driver.prune(directory).await
    }

    async fn begin_epoch(&self, epoch: u64) -> Result<(), Error> {
        self.driver.begin_epoch(epoch).await
    }

    async fn epochs(&self) -> Result<Vec<u64>, Error> {
        self.driver.epochs().await
    }

    async fn end_epochs(&self, epochs: &[u64]) -> Result<Duration, Error> {
        self.driver.end_epochs(epochs).await
    }

    async fn put_under(&self, under: Under<'_>, writes: Vec<Put>) -> Result<(), Error> {
        self.driver.put_under(under, writes).await
    }

    async fn ensure_under(&self, under: Under<'_>, writes: Vec<Put>) -> Result<(), Error> {
        self.driver.ensure_under(under, writes).await
    }

    async fn remove_fenced(
        &self,
        directories: &[StorePath],
        still: Still<'_>,
    ) -> Result<Vec<Gone>, Error> {
        let mut gone = Vec::with_capacity(directories.len());
        for some in directories.chunks(REMOVED) {
            self.turn(some.len() as u64 * REMOVAL).await;
            gone.extend(self.driver.remove_fenced(some, still).await?);
        }
        Ok(gone)
    }

    async fn prove_fences(&self) -> Result<(), Error> {
        self.driver.prove_fences().await
    }

    async fn leaves(
        &self,
        directory: &StorePath,
        file: &str,
        read: Read<'_>,
    ) -> Result<Vec<Leaf>, Error> {
        self.turn(1).await;
        let leaves = self.driver.leaves(directory, file, read).await?;
        let files = leaves.iter().filter_map(|leaf| leaf.file.as_ref());
        let read = files.filter_map(|file| file.content.as_ref().map(Bytes::len));
        self.came(leaves.len(), read.sum());
        Ok(leaves)
    }

    async fn get_each(&self, paths: &[StorePath], limit: usize) -> Vec<Result<Bytes, Error>> {
        let mut all = Vec::with_capacity(paths.len());
        for some in paths.chunks(READ) {
            self.turn(some.len() as u64).await;
            let got = self.driver.get_each(some, limit).await;
            let read = got.iter().filter_map(|one| Some(one.as_ref().ok()?.len()));
            self.came(1, read.sum());
            all.extend(got);
        }
        all
    }

    async fn which_exist(&self, paths: &[StorePath]) -> Result<Vec<bool>, Error> {
        self.turn(paths.len() as u64).await;
        self.driver.which_exist(paths).await
    }

    async fn which_hold(
        &self,
        directory: &StorePath,
        file: &str,
        names: &[&str],
    ) -> Result<Vec<bool>, Error> {
        self.turn(names.len() as u64).await;
        self.driver.which_hold(directory, file, names).await
    }

    async fn list_each(
        &self,
        directories: &[StorePath],
        limit: usize,
    ) -> Result<Vec<Vec<Entry>>, Error> {
        self.turn(directories.len() as u64).await;
        self.driver.list_each(directories, limit).await
    }

    async fn stage(&self, hint: &str) -> Result<Box<dyn Stage>, Error> {
        self.driver.stage(hint).await
    }

    async fn stage_whole(&self, hint: &str, pieces: Vec<Bytes>) -> Result<Staged, Error> {
        self.driver.stage_whole(hint, pieces).await
    }

    async fn open_staged(&self, place: &str) -> Result<Opened, Error> {
        self.driver.open_staged(place).await
    }

    async fn publish(
        &self,
        places: &[Staged],
        target: &StorePath,
        attempt: Attempt,
    ) -> Result<Publication, Error> {
        self.driver.publish(places, target, attempt).await
    }

    async fn discard(&self, places: &[String]) -> Result<(), Error> {
        self.driver.discard(places).await
    }

    async fn staged(
        &self,
        before: SystemTime,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, Error> {
        self.driver.staged(before, after, limit).await
    }

    async fn sweep(&self, before: SystemTime) -> Result<usize, Error> {
        self.driver.sweep(before).await
    }
}

impl fmt::Debug for Paced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Paced").field(&self.driver).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Memory;

    fn paced(requests: u64, bytes: u64) -> Paced {
        let pace = Pace {
            requests: NonZeroU64::new(requests),
            bytes: NonZeroU64::new(bytes),
        };
        Paced::new(Arc::new(Memory::new()), pace)
    }

    #[tokio::test(start_paused = true)]
    async fn it_keeps_the_contract() {
        let make = || Box::new(paced(1000, 1 << 20)) as Box<dyn Driver>;
        crate::contract::check(&make).await;
    }

    async fn took(calls: impl Future<Output = ()>) -> Duration {
        let began = Instant::now();
        calls.await;
        began.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_asked_no_faster() {
        let path: StorePath = "/a/file".parse().unwrap();
        let content = Bytes::from(vec![7; 1000]);
        let read = async |driver: Paced| {
            let write = Put {
                path: path.clone(),
                content: content.clone(),
            };
            driver.put(vec![write]).await.unwrap();
            for _ in 0..11 {
                driver.get(&path, 1000).await.unwrap();
            }
        };
        assert_eq!(took(read(paced(0, 0))).await, Duration::ZERO);
        assert_eq!(took(read(paced(5, 0))).await, Duration::from_secs(2));
        assert_eq!(took(read(paced(0, 2000))).await, Duration::from_secs(5));
        // The slower of the two.
        assert_eq!(took(read(paced(5, 2000))).await, Duration::from_secs(5));
    }

    #[tokio::test(start_paused = true)]
    async fn removals_cost_and_a_fence_still_holds() {
        let driver = paced(64, 0);
        let all: Vec<StorePath> = (0..64)
            .map(|n| format!("/r/{n}").parse().unwrap())
            .collect();
        let yes = || futures::FutureExt::boxed(std::future::ready(true));
        let no = || futures::FutureExt::boxed(std::future::ready(false));
        let removed = async {
            let gone = driver.remove_fenced(&all, &yes).await.unwrap();
            assert_eq!(gone, vec![Gone::Entirely; 64]);
        };
        let took = took(removed).await;
        assert_eq!(
            took,
            Duration::from_millis(1500),
            "the last 16 are paid for by the next"
        );
        let refused = driver.remove_fenced(&all, &no).await;
        assert!(matches!(refused, Err(Error::Fenced)));
    }
}
