//! The trait that every store implements.

use std::fmt;
use std::fs::File;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt as _, TryStreamExt as _};

use crate::fence::{Gone, Still, Under};
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

    /// Writes a small file, as [`put`](Self::put) does, if none is there; whether it did. Of several who try at once, one
    /// does. A store that knows no conditions (some speak S3 without them) lets the last one replace the others' file.
    async fn put_new(&self, write: Put) -> Result<bool, Error>;

    /// Makes these small files be there, as [`put`](Self::put) does. What is there with that content may be left as it
    /// is, where looking costs less than writing.
    async fn ensure(&self, writes: Vec<Put>) -> Result<(), Error> {
        match absent(self, writes).await? {
            none if none.is_empty() => Ok(()),
            absent => self.put(absent).await,
        }
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

    /// Makes it possible to write under an epoch; again is no error. Whoever holds its lease calls this once, and has to be
    /// told by the log *after* it returned that the lease stands, before anything is written under it. So one who was
    /// paused in between writes nothing that [`end_epochs`](Self::end_epochs) did not see.
    async fn begin_epoch(&self, epoch: u64) -> Result<(), Error> {
        let _unfenced = epoch;
        Ok(())
    }

    /// Epochs that were begun and not ended, where the store keeps them.
    async fn epochs(&self) -> Result<Vec<u64>, Error> {
        Ok(Vec::new())
    }

    /// Ends epochs: nothing is written under them any more, by nobody, from when this returned and the time that it
    /// answers with has passed. The time counts for all epochs that were over when this was called, also where none is
    /// kept: it has to be called with none as well.
    async fn end_epochs(&self, epochs: &[u64]) -> Result<Duration, Error> {
        let _unfenced = epochs;
        Ok(Duration::ZERO)
    }

    /// As [`put`](Self::put), under an epoch. `Fenced` when that has ended: some of the files may be there, and no more
    /// of them appear.
    async fn put_under(&self, under: Under<'_>, writes: Vec<Put>) -> Result<(), Error> {
        let _unfenced = under;
        self.put(writes).await
    }

    /// As [`ensure`](Self::ensure), under an epoch. What is there already is no proof that the epoch is.
    async fn ensure_under(&self, under: Under<'_>, writes: Vec<Put>) -> Result<(), Error> {
        match absent(self, writes).await? {
            none if none.is_empty() => Ok(()),
            absent => self.put_under(under, absent).await,
        }
    }

    /// Removes directories with all that lay in them when the caller was still asked to; in one go, since asking costs.
    /// `Fenced` when it is not: then nothing was removed. What somebody puts there again after that question is left,
    /// where the store can tell; elsewhere requests expire, within what [`end_epochs`](Self::end_epochs) answers: so long
    /// does whoever takes over wait, and whoever dropped this future, before anybody may put there again what was removed.
    async fn remove_fenced(
        &self,
        directories: &[StorePath],
        still: Still<'_>,
    ) -> Result<Vec<Gone>, Error> {
        if !still().await {
            return Err(Error::Fenced);
        }
        let mut gone = Vec::with_capacity(directories.len());
        for directory in directories {
            match self.remove(directory).await {
                Ok(()) | Err(Error::NotFound(_)) => gone.push(Gone::Entirely),
                Err(error) => return Err(error),
            }
        }
        Ok(gone)
    }

    /// Tries whether the fences hold in this store: an error that tells why nothing may be collected from it while it is
    /// written to.
    async fn prove_fences(&self) -> Result<(), Error> {
        Ok(())
    }

    /// All names in a directory, and of each that is a directory the file of that path in it; in no order. Nothing when the
    /// directory does not exist.
    async fn leaves(
        &self,
        directory: &StorePath,
        file: &str,
        read: Read<'_>,
    ) -> Result<Vec<Leaf>, Error> {
        crate::leaves::by_looking(self, directory, file, read).await
    }

    /// Small files, each as [`get`](Self::get) gives it.
    async fn get_each(&self, paths: &[StorePath], limit: usize) -> Vec<Result<Bytes, Error>> {
        let mut all = Vec::with_capacity(paths.len());
        for path in paths {
            all.push(self.get(path, limit).await);
        }
        all
    }

    /// Which of these files and directories are there.
    async fn which_exist(&self, paths: &[StorePath]) -> Result<Vec<bool>, Error> {
        each(paths, |path| async move {
            match self.stat(path).await {
                Ok(_) => Ok(true),
                Err(Error::NotFound(_)) => Ok(false),
                Err(error) => Err(error),
            }
        })
        .await
    }

    /// Which of these names of a directory, in byte order, have a file of that path in them. Of files that do not go
    /// without the name going too, as a tag's: a driver may take one that was there moments ago for there.
    async fn which_hold(
        &self,
        directory: &StorePath,
        file: &str,
        names: &[&str],
    ) -> Result<Vec<bool>, Error> {
        let files = names.iter().map(|name| {
            format!("{}/{name}/{file}", directory.as_str().trim_end_matches('/')).parse()
        });
        let files: Result<Vec<StorePath>, _> = files.collect();
        // What a directory tells can be a part of a path, and the file's path was written here.
        let files = files.map_err(|_malformed| Error::NotFound(directory.clone()))?;
        self.which_exist(&files).await
    }

    /// The first `limit` names of each of these directories, as [`list`](Self::list) gives them. Of one that is not there,
    /// none.
    async fn list_each(
        &self,
        directories: &[StorePath],
        limit: usize,
    ) -> Result<Vec<Vec<Entry>>, Error> {
        each(directories, |directory| async move {
            match self.list(directory, None, limit).await {
                Err(Error::NotFound(_)) => Ok(Vec::new()),
                listed => listed,
            }
        })
        .await
    }

    /// A new place to write an upload's bytes to, outside of the layout. `hint` is part of the place's name:
    /// letters, digits and dashes.
    async fn stage(&self, hint: &str) -> Result<Box<dyn Stage>, Error>;

    /// Stages what is there whole: as [`stage`](Self::stage), all of it written, and finished.
    async fn stage_whole(&self, hint: &str, pieces: Vec<Bytes>) -> Result<Staged, Error> {
        let mut stage = self.stage(hint).await?;
        stage.write(pieces).await?;
        stage.finish().await
    }

    /// Reads what was staged.
    async fn open_staged(&self, place: &str) -> Result<Opened, Error>;

    /// Makes the concatenation of what lies at `places` the content of `target`, all or nothing, durable. When content
    /// of the right length is there already, it is made durable and the places are left alone: content is addressed by
    /// its digest, so equal names hold equal bytes. The places may be gone afterwards, or not.
    async fn publish(
        &self,
        places: &[Staged],
        target: &StorePath,
        attempt: Attempt,
    ) -> Result<Publication, Error>;

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

/// Questions that are asked of a store at a time.
const AT_ONCE: usize = 16;

/// Asks the same of each path, of some at a time.
async fn each<'a, T, F: Future<Output = Result<T, Error>>>(
    paths: &'a [StorePath],
    ask: impl Fn(&'a StorePath) -> F,
) -> Result<Vec<T>, Error> {
    let asked: Vec<F> = paths.iter().map(ask).collect();
    stream::iter(asked).buffered(AT_ONCE).try_collect().await
}

/// Those that are not there with this content. The others are, and durable.
async fn absent<D: Driver + ?Sized>(driver: &D, writes: Vec<Put>) -> Result<Vec<Put>, Error> {
    let mut absent = Vec::new();
    for write in writes {
        let there = driver.get_settled(&write.path, write.content.len()).await;
        match there {
            Ok(content) if content == write.content => {}
            Ok(_) | Err(Error::NotFound(_) | Error::TooLarge { .. }) => absent.push(write),
            Err(error) => return Err(error),
        }
    }
    Ok(absent)
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

/// What [`Driver::leaves`] is to read.
#[derive(Clone, Copy)]
pub enum Read<'a> {
    Nothing,
    /// Up to so many bytes of each.
    All(usize),
    /// The same, where it does not have the content that one guesses of its directory's name: what a store can tell without
    /// reading is not read.
    Unless(usize, &'a (dyn Fn(&str) -> Option<Bytes> + Send + Sync)),
}

impl fmt::Debug for Read<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nothing => "Nothing",
            Self::All(_) => "All",
            Self::Unless(..) => "Unless",
        })
    }
}

/// A name in a directory, and the file in it that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    pub name: String,
    pub is_directory: bool,
    /// `None` where there is no such file, whatever else there is.
    pub file: Option<LeafFile>,
}

/// What is known of such a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeafFile {
    /// Bytes.
    pub size: u64,
    pub modified: Option<SystemTime>,
    /// `None` where nothing was to be read, or it is longer than the limit.
    pub content: Option<Bytes>,
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

/// Whether the same publication was asked for before: where it takes long, one that was lost half-way is gone on with. What
/// is not finished stays until it is [swept](Driver::sweep).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    First,
    /// Somebody was asked, and may have been lost.
    Again,
}

/// How a publication came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Publication {
    New,
    /// The content had been there.
    Existed,
}
