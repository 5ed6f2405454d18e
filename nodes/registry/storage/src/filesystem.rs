//! The `filesystem` driver: the layout as directories and files under one root.
//!
//! New files are written under `/roadstead/tmp` or `/roadstead/uploads`, synced, and renamed to where they belong, so
//! that nothing half-written is ever in the layout. The root must be one file system.

mod cached;
mod directory;
mod durable;
mod file;
mod listings;
mod stage;
mod tree;

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;

use crate::driver::{Driver, Entry, Opened, Publication, Put, Stage, Staged, Stat};
use crate::{Error, StorePath};
use file::FileObject;
use stage::FileStage;
pub use tree::OpenError;
use tree::Tree;

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

/// The outcome of blocking work; a runtime that is shutting down is an error, not a panic.
fn joined<T>(outcome: Result<Result<T, Error>, tokio::task::JoinError>) -> Result<T, Error> {
    outcome.unwrap_or_else(|error| {
        Err(Error::Io {
            what: "disk work was cut off".to_owned(),
            source: std::io::Error::other(error),
        })
    })
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

    async fn settle(&self, paths: &[StorePath]) -> Result<(), Error> {
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

    async fn stage(&self, hint: &str) -> Result<Box<dyn Stage>, Error> {
        let place = format!("{hint}.{}", uuid::Uuid::new_v4().simple());
        let tree = Arc::clone(&self.tree);
        self.on_disk(move |_| Ok(Box::new(FileStage::create(tree, place)?) as Box<dyn Stage>))
            .await
    }

    async fn open_staged(&self, place: &str) -> Result<Opened, Error> {
        let place = place.to_owned();
        self.on_disk(move |tree| FileObject::opened(tree.open_staged(&place)?))
            .await
    }

    async fn publish(&self, places: &[Staged], target: &StorePath) -> Result<Publication, Error> {
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
