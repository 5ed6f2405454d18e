//! The trait that every store implements.

use std::fmt;
use std::fs::File;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

use crate::{Error, StorePath};

/// Content in pieces, each at most a few hundred KiB.
pub type ByteStream = BoxStream<'static, Result<Bytes, Error>>;

/// A store of files in directories.
///
/// **Atomic**: a reader sees a file whole, as one writer wrote it, or not at all. **Durable**: what a method that
/// writes has done survives a power cut once it returned. **Visible**: it is seen by every later call of every process.
/// A dropped future may have done its work or not, never half of it.
#[async_trait]
pub trait Driver: Send + Sync + fmt::Debug {
    /// The name under which configurations know the driver.
    fn name(&self) -> &'static str;

    async fn stat(&self, path: &StorePath) -> Result<Stat, Error>;

    /// A small file, whole.
    async fn get(&self, path: &StorePath, limit: usize) -> Result<Bytes, Error>;

    /// A small file, whole, that some other request may have just written: durable when it is read.
    async fn get_settled(&self, path: &StorePath, limit: usize) -> Result<Bytes, Error> {
        let content = self.get(path, limit).await?;
        self.settle(std::slice::from_ref(path)).await?;
        Ok(content)
    }

    /// A file to read from. What is read is what it was, also when it is replaced or removed meanwhile; where the store
    /// keeps nothing for its readers, the stream then ends with an error, never with other bytes or too few.
    async fn open(&self, path: &StorePath) -> Result<Opened, Error>;

    /// Writes small files, replacing what is there; each is atomic, all are durable at the end, in no order: after a
    /// failure or a crash any of them may be there.
    async fn put(&self, writes: Vec<Put>) -> Result<(), Error>;

    /// Makes these small files be there, as [`put`](Self::put) does. What is there with that content may be left as it
    /// is, where looking costs less than writing.
    async fn ensure(&self, writes: Vec<Put>) -> Result<(), Error> {
        let mut absent = Vec::new();
        for write in writes {
            match self.get_settled(&write.path, write.content.len()).await {
                Ok(content) if content == write.content => {}
                Ok(_) | Err(Error::NotFound(_) | Error::TooLarge { .. }) => absent.push(write),
                Err(error) => return Err(error),
            }
        }
        if absent.is_empty() {
            return Ok(());
        }
        self.put(absent).await
    }

    /// Makes what some other request may have just written durable: the files, and their names.
    /// `NotFound` when one is not there.
    async fn settle(&self, paths: &[StorePath]) -> Result<(), Error>;

    /// A URL with which whoever has it reads the file from the store by itself for that long, whether it is there or
    /// not. `None` where the store gives none.
    async fn redirect(
        &self,
        path: &StorePath,
        fetch: Fetch,
        valid: Duration,
    ) -> Result<Option<String>, Error> {
        let _nowhere = (path, fetch, valid);
        Ok(None)
    }

    /// The names in a directory that sort after `after`, in byte order, at most `limit`.
    /// `NotFound` for a directory that does not exist, where the store can tell.
    async fn list(
        &self,
        directory: &StorePath,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Entry>, Error>;

    /// Removes a file, or a directory with all that is in it. `NotFound` when it is not there.
    async fn remove(&self, path: &StorePath) -> Result<(), Error>;

    /// Removes a small file if it holds this content; whether it did. What another writer put there meanwhile is left, or
    /// put back.
    async fn remove_if(&self, path: &StorePath, content: &[u8]) -> Result<bool, Error>;

    /// Removes a directory, and those in it, if there is no file in them. A store without directories has nothing to do.
    async fn prune(&self, directory: &StorePath) -> Result<(), Error> {
        let _nothing = directory;
        Ok(())
    }

    /// A new place to write an upload's bytes to, outside of the layout. `hint` is part of the place's name:
    /// letters, digits and dashes.
    async fn stage(&self, hint: &str) -> Result<Box<dyn Stage>, Error>;

    /// Reads what was staged.
    async fn open_staged(&self, place: &str) -> Result<Opened, Error>;

    /// Makes the concatenation of what lies at `places` the content of `target`, all or nothing, durable. When content
    /// of the right length is there already, it is made durable and the places are left alone: content is addressed by
    /// its digest, so equal names hold equal bytes. The places may be gone afterwards, or not.
    async fn publish(&self, places: &[Staged], target: &StorePath) -> Result<Publication, Error>;

    /// Gives up places; unknown ones are ignored.
    async fn discard(&self, places: &[String]) -> Result<(), Error>;

    /// Places that nobody has written to since `before`, in byte order, after `after`, at most `limit`: to find what
    /// a crash left.
    async fn staged(
        &self,
        before: SystemTime,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, Error>;

    /// Removes what crashes left in the driver's own temporary places before that time. Answers with their number.
    async fn sweep(&self, before: SystemTime) -> Result<usize, Error>;
}

/// What whoever has a URL may do with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fetch {
    /// Read the file, whole or in ranges.
    Get,
    /// Learn its length.
    Head,
}

/// What is known of a path without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// Bytes; 0 for a directory.
    pub size: u64,
    pub is_directory: bool,
    /// When the content changed; of a directory, when an entry came or went, where the store keeps that.
    pub modified: Option<SystemTime>,
}

/// A name in a directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    pub name: String,
    pub is_directory: bool,
}

/// A small file to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Put {
    pub path: StorePath,
    pub content: Bytes,
}

/// A file that is open for reading.
#[derive(Debug)]
pub struct Opened {
    pub size: u64,
    pub modified: Option<SystemTime>,
    pub object: Box<dyn Object>,
}

/// The content of an open file.
pub trait Object: Send + Sync + fmt::Debug {
    /// The file of this machine that the content is, all of it and as it is, where there is one: somebody may have a way
    /// to send it that costs less than reading it.
    fn file(&self) -> Option<Arc<File>> {
        None
    }

    /// The bytes of `range`, which lies within the size. A file that turns out shorter is an error in the stream.
    fn read(self: Box<Self>, range: Range<u64>) -> ByteStream;
}

/// A place that takes an upload's bytes. Dropped before it is finished, it takes them with it.
#[async_trait]
pub trait Stage: Send + fmt::Debug {
    /// Appends all pieces. After an error, or when the future was dropped, the stage is of no more use.
    async fn write(&mut self, pieces: Vec<Bytes>) -> Result<(), Error>;

    /// Makes the bytes durable and closes the place: it is never written again.
    async fn finish(self: Box<Self>) -> Result<Staged, Error>;
}

/// A finished place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Staged {
    pub place: String,
    /// Bytes.
    pub length: u64,
}

/// How a publication came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Publication {
    New,
    /// The content had been there.
    Existed,
}
