//! A driver that writes only while the claim on its store holds.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;

use super::Lease;
use crate::driver::{
    Attempt, Driver, Entry, Fetch, Leaf, Opened, Publication, Put, Read, Stage, Staged, Stat,
};
use crate::fence::{Gone, Still, Under};
use crate::{Error, StorePath};

/// Forwards everything to a driver; what writes, only while the claim holds.
pub struct Held {
    driver: Arc<dyn Driver>,
    lease: Lease,
}

impl Held {
    pub fn new(driver: Arc<dyn Driver>, lease: Lease) -> Self {
        Self { driver, lease }
    }

    fn check(&self) -> Result<(), Error> {
        if self.lease.is_held() {
            return Ok(());
        }
        self.lease.want();
        let source = io::Error::new(
            io::ErrorKind::TimedOut,
            "another server may have taken over; nothing is written before that is known",
        );
        Err(Error::Io {
            what: "the claim on the storage has lapsed".to_owned(),
            source,
        })
    }
}

#[async_trait]
impl Driver for Held {
    fn name(&self) -> &'static str {
        self.driver.name()
    }

    async fn stat(&self, path: &StorePath) -> Result<Stat, Error> {
        self.driver.stat(path).await
    }

    async fn get(&self, path: &StorePath, limit: usize) -> Result<Bytes, Error> {
        self.driver.get(path, limit).await
    }

    async fn get_settled(&self, path: &StorePath, limit: usize) -> Result<Bytes, Error> {
        self.driver.get_settled(path, limit).await
    }

    async fn open(&self, path: &StorePath) -> Result<Opened, Error> {
        self.driver.open(path).await
    }

    async fn put(&self, writes: Vec<Put>) -> Result<(), Error> {
        self.check()?;
        self.driver.put(writes).await
    }

    async fn put_new(&self, write: Put) -> Result<bool, Error> {
        self.check()?;
        self.driver.put_new(write).await
    }

    async fn ensure(&self, writes: Vec<Put>) -> Result<(), Error> {
        self.check()?;
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
        self.driver.list(directory, after, limit).await
    }

    async fn remove(&self, path: &StorePath) -> Result<(), Error> {
        self.check()?;
        self.driver.remove(path).await
    }

    async fn remove_if(&self, path: &StorePath, content: &[u8]) -> Result<bool, Error> {
        self.check()?;
        self.driver.remove_if(path, content).await
    }

    async fn prune(&self, directory: &StorePath) -> Result<(), Error> {
        self.check()?;
        self.driver.prune(directory).await
    }

    async fn begin_epoch(&self, epoch: u64) -> Result<(), Error> {
        self.check()?;
        self.driver.begin_epoch(epoch).await
    }

    async fn epochs(&self) -> Result<Vec<u64>, Error> {
        self.driver.epochs().await
    }

    async fn end_epochs(&self, epochs: &[u64]) -> Result<Duration, Error> {
        self.check()?;
        self.driver.end_epochs(epochs).await
    }

    async fn put_under(&self, under: Under<'_>, writes: Vec<Put>) -> Result<(), Error> {
        self.check()?;
        self.driver.put_under(under, writes).await
    }

    async fn ensure_under(&self, under: Under<'_>, writes: Vec<Put>) -> Result<(), Error> {
        self.check()?;
        self.driver.ensure_under(under, writes).await
    }

    async fn remove_fenced(
        &self,
        directories: &[StorePath],
        still: Still<'_>,
    ) -> Result<Vec<Gone>, Error> {
        self.check()?;
        self.driver.remove_fenced(directories, still).await
    }

    async fn prove_fences(&self) -> Result<(), Error> {
        self.check()?;
        self.driver.prove_fences().await
    }

    async fn leaves(
        &self,
        directory: &StorePath,
        file: &str,
        read: Read<'_>,
    ) -> Result<Vec<Leaf>, Error> {
        self.driver.leaves(directory, file, read).await
    }

    async fn get_each(&self, paths: &[StorePath], limit: usize) -> Vec<Result<Bytes, Error>> {
        self.driver.get_each(paths, limit).await
    }

    async fn which_exist(&self, paths: &[StorePath]) -> Result<Vec<bool>, Error> {
        self.driver.which_exist(paths).await
    }

    async fn which_hold(
        &self,
        directory: &StorePath,
        file: &str,
        names: &[&str],
    ) -> Result<Vec<bool>, Error> {
        self.driver.which_hold(directory, file, names).await
    }

    async fn list_each(
        &self,
        directories: &[StorePath],
        limit: usize,
    ) -> Result<Vec<Vec<Entry>>, Error> {
        self.driver.list_each(directories, limit).await
    }

    /// What is staged is nobody's until it is published, so its bytes are let go on.
    async fn stage(&self, hint: &str) -> Result<Box<dyn Stage>, Error> {
        self.check()?;
        self.driver.stage(hint).await
    }

    async fn stage_whole(&self, hint: &str, pieces: Vec<Bytes>) -> Result<Staged, Error> {
        self.check()?;
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
        self.check()?;
        self.driver.publish(places, target, attempt).await
    }

    async fn discard(&self, places: &[String]) -> Result<(), Error> {
        self.check()?;
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
        self.check()?;
        self.driver.sweep(before).await
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Held").field(&self.driver).finish()
    }
}
