//! The driver, as a table of contents.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use roadstead_storage::{
    Attempt, Driver, Entry, Error, Fetch, Gone, Leaf, Opened, Publication, Put, Read, Stage,
    Staged, Stat, Still, StorePath, Under,
};

use crate::connect::{Clients, ConnectError};
use crate::failure::Failure;
use crate::plan::LEAST_PART;
use crate::probe::ProbeError;
use crate::read::{self, Found};
use crate::stage::S3Stage;
use crate::store::{AT_ONCE, Store};
use crate::{Options, discards, fence, leaves, list, presign, probe, publish, remove};

/// What S3 takes for a part, and for a copy.
const MOST: u64 = 5 << 30;

/// A bucket of S3, or of a store that speaks as it does.
#[derive(Clone, Debug)]
pub struct S3 {
    store: Arc<Store>,
}

impl S3 {
    /// Sends nothing to the bucket; where no keys are given, it looks for them.
    pub async fn connect(options: &Options) -> Result<Self, ConnectError> {
        let parts = &options.parts;
        for (key, size, least) in [
            ("chunksize", parts.chunk, LEAST_PART),
            ("multipartcopychunksize", parts.copy_chunk, LEAST_PART),
            ("multipartcopythresholdsize", parts.copy_threshold, 0),
        ] {
            if !(least..=MOST).contains(&size) {
                let most = MOST;
                return Err(ConnectError::Size { key, least, most });
            }
        }
        let clients = Clients::new(options).await?;
        Ok(Self {
            store: Arc::new(Store::new(clients, options)),
        })
    }

    /// Asks the bucket whether it is there and lets itself be listed: what can be wrong with a configuration is told with
    /// its setting.
    pub async fn probe(&self) -> Result<(), ProbeError> {
        probe::probe(&self.store).await
    }

    /// Requests sent so far, each try counted.
    pub fn requests(&self) -> u64 {
        self.store.clients.http.requests()
    }

    async fn directory(&self, path: &StorePath) -> Result<Stat, Error> {
        let prefix = self.store.keys.directory(path);
        let is_directory = list::is_directory(&self.store, &prefix).await;
        if !is_directory.map_err(|failure| failure.reading(path))? {
            return Err(Error::NotFound(path.clone()));
        }
        Ok(Stat {
            size: 0,
            is_directory: true,
            modified: None,
        })
    }

    async fn opened(&self, key: String) -> Result<Opened, Failure> {
        let head = self.store.head(&key).await?;
        Ok(Opened {
            size: head.size,
            modified: head.modified,
            object: Box::new(Found {
                store: Arc::clone(&self.store),
                key,
                head,
            }),
        })
    }
}

#[async_trait]
impl Driver for S3 {
    fn name(&self) -> &'static str {
        "s3aws"
    }

    async fn stat(&self, path: &StorePath) -> Result<Stat, Error> {
        let reading = |failure: Failure| failure.reading(path);
        if *path == StorePath::root() {
            return self.directory(path).await;
        }
        match self.store.head(&self.store.keys.file(path)).await {
            Ok(head) => {
                return Ok(Stat {
                    size: head.size,
                    is_directory: false,
                    modified: head.modified,
                });
            }
            Err(failure) if failure.is_absent() => {}
            Err(failure) => return Err(reading(failure)),
        }
        self.directory(path).await
    }

    async fn get(&self, path: &StorePath, limit: usize) -> Result<Bytes, Error> {
        read::whole(&self.store, path, limit).await
    }

    /// What the store tells is durable.
    async fn get_settled(&self, path: &StorePath, limit: usize) -> Result<Bytes, Error> {
        self.get(path, limit).await
    }

    async fn open(&self, path: &StorePath) -> Result<Opened, Error> {
        let opened = self.opened(self.store.keys.file(path)).await;
        opened.map_err(|failure| failure.reading(path))
    }

    async fn put(&self, writes: Vec<Put>) -> Result<(), Error> {
        let client = &self.store.clients.quick;
        let write = |Put { path, content }| async move {
            let key = self.store.keys.file(&path);
            self.store.put(client, &key, content).await
        };
        let written = stream::iter(writes).map(write).buffer_unordered(AT_ONCE);
        let written = written.try_for_each(|_etag| std::future::ready(Ok(())));
        written.await.map_err(Failure::writing)
    }

    async fn put_new(&self, Put { path, content }: Put) -> Result<bool, Error> {
        let key = self.store.keys.file(&path);
        let made = self.store.put_new(&key, content).await;
        made.map_err(Failure::writing)
    }

    /// Writing costs one request, and so would looking.
    async fn ensure(&self, writes: Vec<Put>) -> Result<(), Error> {
        self.put(writes).await
    }

    async fn redirect(
        &self,
        path: &StorePath,
        fetch: Fetch,
        valid: Duration,
    ) -> Result<Option<String>, Error> {
        let url = presign::presign(&self.store, path, fetch, valid);
        url.await.map(Some)
    }

    /// What the store answered for is durable: it is enough that it is there.
    async fn settle(&self, paths: &[StorePath]) -> Result<(), Error> {
        let look = |path: &StorePath| {
            let (path, key) = (path.clone(), self.store.keys.file(path));
            async move {
                let head = self.store.head(&key).await;
                head.map(drop).map_err(|failure| failure.reading(&path))
            }
        };
        let looks: Vec<_> = paths.iter().map(look).collect();
        let looked = stream::iter(looks).buffer_unordered(AT_ONCE);
        looked.try_collect().await
    }

    async fn list(
        &self,
        directory: &StorePath,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Entry>, Error> {
        list::list(&self.store, directory, after, limit).await
    }

    async fn remove(&self, path: &StorePath) -> Result<(), Error> {
        remove::remove(&self.store, path).await
    }

    async fn remove_if(&self, path: &StorePath, content: &[u8]) -> Result<bool, Error> {
        let removed = remove::object_if(&self.store, &self.store.keys.file(path), content).await;
        removed.map_err(Failure::writing)
    }

    /// What was signed before an epoch ended may come until it has expired.
    async fn end_epochs(&self, _epochs: &[u64]) -> Result<Duration, Error> {
        Ok(fence::EXPIRY)
    }

    async fn put_under(&self, under: Under<'_>, writes: Vec<Put>) -> Result<(), Error> {
        fence::put(&self.store, under, writes).await
    }

    /// Writing costs one request, and so would looking.
    async fn ensure_under(&self, under: Under<'_>, writes: Vec<Put>) -> Result<(), Error> {
        self.put_under(under, writes).await
    }

    async fn remove_fenced(
        &self,
        directories: &[StorePath],
        still: Still<'_>,
    ) -> Result<Vec<Gone>, Error> {
        fence::remove(&self.store, directories, still).await
    }

    async fn prove_fences(&self) -> Result<(), Error> {
        fence::prove(&self.store).await
    }

    async fn leaves(
        &self,
        directory: &StorePath,
        file: &str,
        read: Read<'_>,
    ) -> Result<Vec<Leaf>, Error> {
        leaves::leaves(&self.store, directory, file, read).await
    }

    async fn get_each(&self, paths: &[StorePath], limit: usize) -> Vec<Result<Bytes, Error>> {
        leaves::get_each(&self.store, paths, limit).await
    }

    async fn stage(&self, hint: &str) -> Result<Box<dyn Stage>, Error> {
        Ok(Box::new(S3Stage::new(&self.store, hint)?))
    }

    async fn open_staged(&self, place: &str) -> Result<Opened, Error> {
        let key = self.store.keys.place(place).ok_or(Error::Damaged)?;
        self.opened(key).await.map_err(|failure| {
            if failure.is_absent() {
                return Error::Damaged;
            }
            failure.other()
        })
    }

    async fn publish(
        &self,
        places: &[Staged],
        target: &StorePath,
        attempt: Attempt,
    ) -> Result<Publication, Error> {
        publish::publish(&self.store, places, target, attempt).await
    }

    async fn discard(&self, places: &[String]) -> Result<(), Error> {
        discards::discard(&self.store, places).await
    }

    async fn staged(
        &self,
        before: SystemTime,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, Error> {
        let staged = list::staged(&self.store, before, after, limit).await;
        staged.map_err(Failure::other)
    }

    async fn sweep(&self, before: SystemTime) -> Result<usize, Error> {
        let swept = remove::sweep(&self.store, before).await;
        swept.map_err(Failure::writing)
    }
}
