//! The `filesystem` driver: the layout as directories and files under one root.
//!
//! New files are written under `/roadstead/tmp`, `/roadstead/uploads` or `/roadstead/epochs/<epoch>`, synced, and renamed to where they belong, so
//! that nothing half-written is ever in the layout. The root must be one file system.

mod cached;
mod direct;
mod directory;
mod durable;
mod file;
mod listings;
mod stage;
mod tree;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};

use crate::driver::{
    Attempt, Driver, Entry, Leaf, Opened, Publication, Put, Read, Stage, Staged, Stat,
};
use crate::fence::{Gone, Still, Under};
use crate::{Error, StorePath};
use file::FileObject;
use stage::FileStage;
pub use tree::OpenError;
use tree::{Tree, leaves};

/// Directories held open at a time while they are removed.
const OPEN_AT_ONCE: usize = 256;

/// Directories looked into by one thread at a time, and threads at a time.
const LOOKS: usize = 128;
const LOOKERS: usize = 4;

/// A store under a directory of this machine, or of a network file system.
#[derive(Debug, Clone)]
pub struct Filesystem {
    tree: Arc<Tree>,
}

impl Filesystem {
    /// Opens the root, and makes it if it does not exist. Blocks.
    pub fn open(root: &Path) -> Result<Self, OpenError> {
        Ok(Self {
            tree: Arc::new(Tree::open(root, true)?),
        })
    }

    /// Opens a root that nothing is to be written to.
    pub fn open_read_only(root: &Path) -> Result<Self, OpenError> {
        Ok(Self {
            tree: Arc::new(Tree::open(root, false)?),
        })
    }

    /// Runs what may wait for the disk on a thread that may wait.
    async fn on_disk<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&Tree) -> Result<T, Error> + Send + 'static,
    {
        let tree = Arc::clone(&self.tree);
        joined(tokio::task::spawn_blocking(move || work(&tree)).await)
    }
}

fn place_for(hint: &str) -> String {
    format!("{hint}.{}", uuid::Uuid::new_v4().simple())
}

/// The outcome of blocking work; a runtime that is shutting down is an error, not a panic.
fn joined<T>(outcome: Result<Result<T, Error>, tokio::task::JoinError>) -> Result<T, Error> {
    outcome.unwrap_or_else(|error| Err(cut_off(error)))
}

fn cut_off(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Io {
        what: "disk work was cut off".to_owned(),
        source: std::io::Error::other(error),
    }
}

#[async_trait]
impl Driver for Filesystem {
    fn name(&self) -> &'static str {
        "filesystem"
    }

    async fn stat(&self, path: &StorePath) -> Result<Stat, Error> {
        if let Some(stat) = self.tree.stat_cached(path) {
            return Ok(stat);
        }
        let path = path.clone();
        self.on_disk(move |tree| tree.stat(&path)).await
    }

    async fn get(&self, path: &StorePath, limit: usize) -> Result<Bytes, Error> {
        if let Some(content) = self.tree.get_cached(path, limit) {
            return Ok(content);
        }
        let path = path.clone();
        self.on_disk(move |tree| tree.get(&path, limit)).await
    }

    async fn open(&self, path: &StorePath) -> Result<Opened, Error> {
        if let Some(file) = self.tree.open_cached(path) {
            return FileObject::opened(file);
        }
        let path = path.clone();
        self.on_disk(move |tree| FileObject::opened(tree.open_file(&path)?))
            .await
    }

    async fn put(&self, writes: Vec<Put>) -> Result<(), Error> {
        self.on_disk(move |tree| tree.put(&writes)).await
    }

    async fn put_new(&self, write: Put) -> Result<bool, Error> {
        self.on_disk(move |tree| tree.put_new(&write)).await
    }

    async fn ensure(&self, writes: Vec<Put>) -> Result<(), Error> {
        self.on_disk(move |tree| tree.put(&tree.absent(writes)?))
            .await
    }

    async fn settle(&self, paths: &[StorePath]) -> Result<(), Error> {
        if paths.iter().all(|path| self.tree.is_known_durable(path)) {
            return Ok(());
        }
        let paths = paths.to_vec();
        self.on_disk(move |tree| paths.iter().try_for_each(|path| tree.settle(path)))
            .await
    }

    async fn list(
        &self,
        directory: &StorePath,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Entry>, Error> {
        let (directory, after) = (directory.clone(), after.map(str::to_owned));
        self.on_disk(move |tree| tree.list(&directory, after.as_deref(), limit))
            .await
    }

    async fn remove(&self, path: &StorePath) -> Result<(), Error> {
        let path = path.clone();
        if let Some(trash) = self.on_disk(move |tree| tree.remove(&path)).await? {
            let tree = Arc::clone(&self.tree);
            // Nobody waits for it.
            drop(tokio::task::spawn_blocking(move || tree.empty(&trash)));
        }
        Ok(())
    }

    async fn remove_if(&self, path: &StorePath, content: &[u8]) -> Result<bool, Error> {
        let (path, content) = (path.clone(), content.to_vec());
        self.on_disk(move |tree| tree.remove_if(&path, &content))
            .await
    }

    async fn prune(&self, directory: &StorePath) -> Result<(), Error> {
        let directory = directory.clone();
        self.on_disk(move |tree| tree.prune(&directory)).await
    }

    async fn begin_epoch(&self, epoch: u64) -> Result<(), Error> {
        self.on_disk(move |tree| tree.begin_epoch(epoch)).await
    }

    async fn epochs(&self) -> Result<Vec<u64>, Error> {
        self.on_disk(Tree::epochs).await
    }

    async fn end_epochs(&self, epochs: &[u64]) -> Result<Duration, Error> {
        let epochs = epochs.to_vec();
        let ended = self.on_disk(move |tree| tree.end_epochs(&epochs)).await;
        ended.map(|()| Duration::ZERO)
    }

    async fn put_under(&self, under: Under<'_>, writes: Vec<Put>) -> Result<(), Error> {
        let epoch = under.epoch;
        self.on_disk(move |tree| tree.put_under(epoch, &writes))
            .await
    }

    async fn ensure_under(&self, under: Under<'_>, writes: Vec<Put>) -> Result<(), Error> {
        let epoch = under.epoch;
        self.on_disk(move |tree| tree.put_under(epoch, &tree.absent(writes)?))
            .await
    }

    async fn remove_fenced(
        &self,
        directories: &[StorePath],
        still: Still<'_>,
    ) -> Result<Vec<Gone>, Error> {
        let mut gone = Vec::with_capacity(directories.len());
        for some in directories.chunks(OPEN_AT_ONCE) {
            let some = some.to_vec();
            let doomed = self.on_disk(move |tree| tree.doom(&some)).await?;
            if !still().await {
                return Err(Error::Fenced);
            }
            gone.extend(
                self.on_disk(move |tree| tree.remove_doomed(&doomed))
                    .await?,
            );
        }
        Ok(gone)
    }

    async fn leaves(
        &self,
        directory: &StorePath,
        file: &str,
        read: Read<'_>,
    ) -> Result<Vec<Leaf>, Error> {
        let (path, file): (_, Arc<str>) = (directory.clone(), file.into());
        let limit = match read {
            Read::Nothing => None,
            Read::All(limit) | Read::Unless(limit, _) => Some(limit),
        };
        let Some((opened, names)) = self.on_disk(move |tree| tree.names(&path)).await? else {
            return Ok(Vec::new());
        };
        let opened = Arc::new(opened);
        let looks = names.chunks(LOOKS).map(|some| {
            let (opened, some, file) = (Arc::clone(&opened), some.to_vec(), Arc::clone(&file));
            self.on_disk(move |_| leaves::look(&opened, some, &file, limit))
        });
        let looks: Vec<_> = looks.collect();
        let looked = stream::iter(looks).buffered(LOOKERS);
        looked.try_concat().await
    }

    async fn which_exist(&self, paths: &[StorePath]) -> Result<Vec<bool>, Error> {
        let looks = paths.chunks(LOOKS).map(|some| {
            let some = some.to_vec();
            self.on_disk(move |tree| tree.which_exist(&some))
        });
        let looks: Vec<_> = looks.collect();
        stream::iter(looks).buffered(LOOKERS).try_concat().await
    }

    async fn which_hold(
        &self,
        directory: &StorePath,
        file: &str,
        names: &[&str],
    ) -> Result<Vec<bool>, Error> {
        let (directory, file): (_, Arc<str>) = (directory.clone(), file.into());
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let (names, at) = (Arc::new(names), (directory.clone(), Arc::clone(&file)));
        let asked = Arc::clone(&names);
        let mut known = self
            .on_disk(move |tree| Ok(tree.known_to_hold(&at.0, &at.1, &asked)))
            .await?;
        let unknown: Vec<usize> = (0..names.len()).filter(|at| !known[*at]).collect();
        let looks = unknown.chunks(LOOKS).map(|some| {
            let some: Vec<String> = some.iter().map(|at| names[*at].clone()).collect();
            let (directory, file) = (directory.clone(), Arc::clone(&file));
            self.on_disk(move |tree| tree.which_hold(&directory, &file, &some))
        });
        let looks: Vec<_> = looks.collect();
        let looked: Vec<bool> = stream::iter(looks).buffered(LOOKERS).try_concat().await?;
        for (at, holds) in unknown.into_iter().zip(looked) {
            known[at] = holds;
        }
        Ok(known)
    }

    async fn list_each(
        &self,
        directories: &[StorePath],
        limit: usize,
    ) -> Result<Vec<Vec<Entry>>, Error> {
        let directories = directories.to_vec();
        self.on_disk(move |tree| {
            let lists = directories
                .iter()
                .map(|directory| tree.list_if_there(directory, limit));
            lists.collect()
        })
        .await
    }

    async fn get_each(&self, paths: &[StorePath], limit: usize) -> Vec<Result<Bytes, Error>> {
        let (paths, count) = (paths.to_vec(), paths.len());
        let got = self.on_disk(move |tree| {
            let got = paths.iter().map(|path| tree.get(path, limit));
            Ok(got.collect::<Vec<_>>())
        });
        match got.await {
            Ok(got) => got,
            Err(error) => {
                let said = error.to_string();
                (0..count).map(|_| Err(cut_off(said.as_str()))).collect()
            }
        }
    }

    async fn stage(&self, hint: &str) -> Result<Box<dyn Stage>, Error> {
        let place = place_for(hint);
        let tree = Arc::clone(&self.tree);
        self.on_disk(move |_| Ok(Box::new(FileStage::create(tree, place)?) as Box<dyn Stage>))
            .await
    }

    /// By one thread in one go: for something small, changing threads costs more than the work.
    async fn stage_whole(&self, hint: &str, pieces: Vec<Bytes>) -> Result<Staged, Error> {
        let place = place_for(hint);
        let tree = Arc::clone(&self.tree);
        self.on_disk(move |_| FileStage::whole(tree, place, &pieces))
            .await
    }

    async fn open_staged(&self, place: &str) -> Result<Opened, Error> {
        let place = place.to_owned();
        self.on_disk(move |tree| FileObject::opened(tree.open_staged(&place)?))
            .await
    }

    async fn publish(
        &self,
        places: &[Staged],
        target: &StorePath,
        _attempt: Attempt,
    ) -> Result<Publication, Error> {
        let (places, target) = (places.to_vec(), target.clone());
        self.on_disk(move |tree| tree.publish(&places, &target))
            .await
    }

    async fn discard(&self, places: &[String]) -> Result<(), Error> {
        let places = places.to_vec();
        self.on_disk(move |tree| places.iter().try_for_each(|place| tree.discard(place)))
            .await
    }

    async fn staged(
        &self,
        before: SystemTime,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, Error> {
        let after = after.map(str::to_owned);
        self.on_disk(move |tree| tree.staged(before, after.as_deref(), limit))
            .await
    }

    async fn sweep(&self, before: SystemTime) -> Result<usize, Error> {
        self.on_disk(move |tree| tree.sweep(before)).await
    }
}

#[cfg(test)]
#[path = "filesystem_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "filesystem_durability_tests.rs"]
mod durability_tests;

#[cfg(test)]
#[path = "filesystem_fence_tests.rs"]
mod fence_tests;
