//! A driver that tells how long each call took.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::time::Instant;

use crate::driver::{
    Attempt, Driver, Entry, Fetch, Leaf, Opened, Publication, Put, Read, Stage, Staged, Stat,
};
use crate::fence::{Gone, Still, Under};
use crate::{Error, StorePath};

/// Told the driver's name, what was done in the words of the reference's metrics, and how long it took.
pub type Meter = Arc<dyn Fn(&'static str, &'static str, Duration) + Send + Sync>;

/// Forwards everything to a driver, and measures.
pub struct Metered {
    driver: Arc<dyn Driver>,
    meter: Meter,
}

impl Metered {
    pub fn new(driver: Arc<dyn Driver>, meter: Meter) -> Self {
        Self { driver, meter }
    }

    async fn took<T>(&self, action: &'static str, call: impl Future<Output = T>) -> T {
        let began = Instant::now();
        let done = call.await;
        (self.meter)(self.driver.name(), action, began.elapsed());
        done
    }
}

#[async_trait]
impl Driver for Metered {
    fn name(&self) -> &'static str {
        self.driver.name()
    }

    async fn stat(&self, path: &StorePath) -> Result<Stat, Error> {
        self.took("Stat", self.driver.stat(path)).await
    }

    async fn get(&self, path: &StorePath, limit: usize) -> Result<Bytes, Error> {
        self.took("GetContent", self.driver.get(path, limit)).await
    }

    async fn get_settled(&self, path: &StorePath, limit: usize) -> Result<Bytes, Error> {
        let got = self.driver.get_settled(path, limit);
        self.took("GetContent", got).await
    }

    async fn open(&self, path: &StorePath) -> Result<Opened, Error> {
        self.took("Reader", self.driver.open(path)).await
    }

    async fn put(&self, writes: Vec<Put>) -> Result<(), Error> {
        self.took("PutContent", self.driver.put(writes)).await
    }

    async fn put_new(&self, write: Put) -> Result<bool, Error> {
        self.took("PutContent", self.driver.put_new(write)).await
    }

    async fn ensure(&self, writes: Vec<Put>) -> Result<(), Error> {
        self.took("PutContent", self.driver.ensure(writes)).await
    }

    async fn settle(&self, paths: &[StorePath]) -> Result<(), Error> {
        self.took("Settle", self.driver.settle(paths)).await
    }

    async fn redirect(
        &self,
        path: &StorePath,
        fetch: Fetch,
        valid: Duration,
    ) -> Result<Option<String>, Error> {
        let url = self.driver.redirect(path, fetch, valid);
        self.took("RedirectURL", url).await
    }

    async fn list(
        &self,
        directory: &StorePath,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Entry>, Error> {
        self.took("List", self.driver.list(directory, after, limit))
            .await
    }

    async fn remove(&self, path: &StorePath) -> Result<(), Error> {
        self.took("Delete", self.driver.remove(path)).await
    }

    async fn remove_if(&self, path: &StorePath, content: &[u8]) -> Result<bool, Error> {
        let removed = self.driver.remove_if(path, content);
        self.took("Delete", removed).await
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
        let put = self.driver.put_under(under, writes);
        self.took("PutContent", put).await
    }

    async fn ensure_under(&self, under: Under<'_>, writes: Vec<Put>) -> Result<(), Error> {
        let ensured = self.driver.ensure_under(under, writes);
        self.took("PutContent", ensured).await
    }

    async fn remove_fenced(
        &self,
        directories: &[StorePath],
        still: Still<'_>,
    ) -> Result<Vec<Gone>, Error> {
        let removed = self.driver.remove_fenced(directories, still);
        self.took("Delete", removed).await
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
        let leaves = self.driver.leaves(directory, file, read);
        self.took("Walk", leaves).await
    }

    async fn get_each(&self, paths: &[StorePath], limit: usize) -> Vec<Result<Bytes, Error>> {
        let got = self.driver.get_each(paths, limit);
        self.took("GetContent", got).await
    }

    async fn which_exist(&self, paths: &[StorePath]) -> Result<Vec<bool>, Error> {
        self.took("Stat", self.driver.which_exist(paths)).await
    }

    async fn which_hold(
        &self,
        directory: &StorePath,
        file: &str,
        names: &[&str],
    ) -> Result<Vec<bool>, Error> {
        self.took("Stat", self.driver.which_hold(directory, file, names))
            .await
    }

    async fn list_each(
        &self,
        directories: &[StorePath],
        limit: usize,
    ) -> Result<Vec<Vec<Entry>>, Error> {
        self.took("List", self.driver.list_each(directories, limit))
            .await
    }

    async fn stage(&self, hint: &str) -> Result<Box<dyn Stage>, Error> {
        self.took("Writer", self.driver.stage(hint)).await
    }

    async fn stage_whole(&self, hint: &str, pieces: Vec<Bytes>) -> Result<Staged, Error> {
        let staged = self.driver.stage_whole(hint, pieces);
        self.took("Writer", staged).await
    }

    async fn open_staged(&self, place: &str) -> Result<Opened, Error> {
        self.took("Reader", self.driver.open_staged(place)).await
    }

    async fn publish(
        &self,
        places: &[Staged],
        target: &StorePath,
        attempt: Attempt,
    ) -> Result<Publication, Error> {
        self.took("Move", self.driver.publish(places, target, attempt))
            .await
    }

    async fn discard(&self, places: &[String]) -> Result<(), Error> {
        self.took("Delete", self.driver.discard(places)).await
    }

    async fn staged(
        &self,
        before: SystemTime,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, Error> {
        self.took("List", self.driver.staged(before, after, limit))
            .await
    }

    async fn sweep(&self, before: SystemTime) -> Result<usize, Error> {
        self.took("Walk", self.driver.sweep(before)).await
    }
}

impl fmt::Debug for Metered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Metered").field(&self.driver).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::Memory;

    #[tokio::test]
    async fn it_keeps_the_contract_and_tells_what_was_done() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let tell = Arc::clone(&told);
        let meter: Meter = Arc::new(move |driver, action, _took| {
            tell.lock().unwrap().push((driver, action));
        });
        let make = move || {
            let driver = Metered::new(Arc::new(Memory::new()), Arc::clone(&meter));
            Box::new(driver) as Box<dyn Driver>
        };
        crate::contract::check(&make).await;
        let told = told.lock().unwrap();
        for action in [
            "Stat",
            "GetContent",
            "PutContent",
            "Reader",
            "Writer",
            "Move",
            "List",
            "Delete",
        ] {
            assert!(told.contains(&("inmemory", action)), "{action}");
        }
    }
}
