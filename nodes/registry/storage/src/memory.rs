//! The `inmemory` driver: for trying things out, and for tests. Gone with the process.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::{Bound, Range};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;

use crate::driver::{
    Attempt, ByteStream, Driver, Entry, Object, Opened, Publication, Put, Stage, Staged, Stat,
};
use crate::fence::{Gone, Still, Under};
use crate::{Error, StorePath};

/// A store in this process's memory.
#[derive(Clone, Default)]
pub struct Memory {
    store: Arc<Mutex<Store>>,
}

#[derive(Default)]
struct Store {
    /// By path; directories exist as far as files lie in them.
    files: BTreeMap<String, File>,
    staged: BTreeMap<String, File>,
    stages: u64,
    epochs: BTreeSet<u64>,
}

#[derive(Debug, Clone)]
struct File {
    pieces: Arc<[Bytes]>,
    modified: SystemTime,
}

impl File {
    fn new(pieces: impl Into<Arc<[Bytes]>>) -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "the age of a file, as a file system would tell it"
        )]
        Self {
            pieces: pieces.into(),
            modified: SystemTime::now(),
        }
    }

    fn size(&self) -> u64 {
        length(&self.pieces)
    }

    fn opened(self) -> Opened {
        Opened {
            size: self.size(),
            modified: Some(self.modified),
            object: Box::new(self),
        }
    }
}

fn length(pieces: &[Bytes]) -> u64 {
    pieces.iter().map(|piece| piece.len() as u64).sum()
}

impl Object for File {
    fn read(self: Box<Self>, range: Range<u64>) -> ByteStream {
        let mut start = 0;
        let mut parts = Vec::new();
        for piece in self.pieces.iter() {
            let end = start + piece.len() as u64;
            let (from, to) = (range.start.clamp(start, end), range.end.clamp(start, end));
            if from < to
                && let (Ok(from), Ok(to)) =
                    (usize::try_from(from - start), usize::try_from(to - start))
            {
                parts.push(Ok(piece.slice(from..to)));
            }
            start = end;
        }
        futures::stream::iter(parts).boxed()
    }
}

impl Store {
    fn put(&mut self, writes: Vec<Put>) {
        for Put { path, content } in writes {
            let file = File::new([content]);
            self.files.insert(path.as_str().to_owned(), file);
        }
    }

    fn below(&self, directory: &StorePath) -> Vec<(String, File)> {
        let prefix = under(directory);
        let files = self.files.range(prefix.clone()..);
        let files = files.take_while(|(path, _)| path.starts_with(&prefix));
        let files = files.map(|(path, file)| (path.clone(), file.clone()));
        files.collect()
    }
}

impl Memory {
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn file(&self, path: &StorePath) -> Result<File, Error> {
        self.lock()
            .files
            .get(path.as_str())
            .cloned()
            .ok_or_else(|| Error::NotFound(path.clone()))
    }
}

fn under(directory: &StorePath) -> String {
    format!("{}/", directory.as_str().trim_end_matches('/'))
}

#[async_trait]
impl Driver for Memory {
    fn name(&self) -> &'static str {
        "inmemory"
    }

    async fn stat(&self, path: &StorePath) -> Result<Stat, Error> {
        let store = self.lock();
        if let Some(file) = store.files.get(path.as_str()) {
            return Ok(Stat {
                size: file.size(),
                is_directory: false,
                modified: Some(file.modified),
            });
        }
        let prefix = under(path);
        match store.files.range(prefix.clone()..).next() {
            Some((first, _)) if first.starts_with(&prefix) => Ok(Stat {
                size: 0,
                is_directory: true,
                modified: None,
            }),
            _ => Err(Error::NotFound(path.clone())),
        }
    }

    async fn get(&self, path: &StorePath, limit: usize) -> Result<Bytes, Error> {
        let file = self.file(path)?;
        if file.size() > limit as u64 {
            return Err(Error::TooLarge {
                path: path.clone(),
                limit,
            });
        }
        Ok(match file.pieces.as_ref() {
            [whole] => whole.clone(),
            pieces => pieces
                .iter()
                .fold(BytesMut::new(), |mut all, piece| {
                    all.extend_from_slice(piece);
                    all
                })
                .freeze(),
        })
    }

    async fn open(&self, path: &StorePath) -> Result<Opened, Error> {
        Ok(self.file(path)?.opened())
    }

    async fn put(&self, writes: Vec<Put>) -> Result<(), Error> {
        self.lock().put(writes);
        Ok(())
    }

    async fn put_new(&self, write: Put) -> Result<bool, Error> {
        let mut store = self.lock();
        let is_new = !store.files.contains_key(write.path.as_str());
        if is_new {
            store.put(vec![write]);
        }
        Ok(is_new)
    }

    async fn settle(&self, paths: &[StorePath]) -> Result<(), Error> {
        paths.iter().try_for_each(|path| self.file(path).map(drop))
    }

    async fn list(
        &self,
        directory: &StorePath,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Entry>, Error> {
        let prefix = under(directory);
        let store = self.lock();
        let mut names = BTreeMap::new();
        let mut exists = false;
        let mut from = Bound::Included(prefix.clone());
        // From child to child: a directory is left by jumping behind everything in it ('0' follows '/').
        while let Some((path, _)) = store.files.range((from, Bound::Unbounded)).next() {
            let Some(rest) = path.strip_prefix(&prefix) else {
                break;
            };
            exists = true;
            let (name, is_directory) = rest
                .split_once('/')
                .map_or((rest, false), |(name, _)| (name, true));
            from = if is_directory {
                Bound::Included(format!("{prefix}{name}0"))
            } else {
                Bound::Excluded(path.clone())
            };
            if after.is_none_or(|after| name > after) {
                names.insert(name.to_owned(), is_directory);
            }
        }
        if !exists {
            return Err(Error::NotFound(directory.clone()));
        }
        Ok(names
            .into_iter()
            .take(limit)
            .map(|(name, is_directory)| Entry { name, is_directory })
            .collect())
    }

    async fn remove(&self, path: &StorePath) -> Result<(), Error> {
        let mut store = self.lock();
        let before = store.files.len();
        let prefix = under(path);
        store
            .files
            .retain(|file, _| file != path.as_str() && !file.starts_with(&prefix));
        if store.files.len() == before {
            Err(Error::NotFound(path.clone()))
        } else {
            Ok(())
        }
    }

    async fn remove_if(&self, path: &StorePath, content: &[u8]) -> Result<bool, Error> {
        let mut store = self.lock();
        let holds = |file: &File| file.pieces.concat() == content;
        let is_it = store.files.get(path.as_str()).is_some_and(holds);
        if is_it {
            store.files.remove(path.as_str());
        }
        Ok(is_it)
    }

    async fn begin_epoch(&self, epoch: u64) -> Result<(), Error> {
        self.lock().epochs.insert(epoch);
        Ok(())
    }

    async fn epochs(&self) -> Result<Vec<u64>, Error> {
        Ok(self.lock().epochs.iter().copied().collect())
    }

    async fn end_epochs(&self, epochs: &[u64]) -> Result<Duration, Error> {
        self.lock().epochs.retain(|epoch| !epochs.contains(epoch));
        Ok(Duration::ZERO)
    }

    async fn put_under(&self, under: Under<'_>, writes: Vec<Put>) -> Result<(), Error> {
        let mut store = self.lock();
        if !store.epochs.contains(&under.epoch) {
            return Err(Error::Fenced);
        }
        store.put(writes);
        Ok(())
    }

    async fn remove_fenced(
        &self,
        directories: &[StorePath],
        still: Still<'_>,
    ) -> Result<Vec<Gone>, Error> {
        let seen: Vec<_> = {
            let store = self.lock();
            let seen = directories.iter().map(|directory| store.below(directory));
            seen.collect()
        };
        if !still().await {
            return Err(Error::Fenced);
        }
        let mut store = self.lock();
        let gone = seen.into_iter().zip(directories).map(|(seen, directory)| {
            for (path, file) in seen {
                let is_it = |now: &File| Arc::ptr_eq(&now.pieces, &file.pieces);
                if store.files.get(&path).is_some_and(is_it) {
                    store.files.remove(&path);
                }
            }
            if store.below(directory).is_empty() {
                Gone::Entirely
            } else {
                Gone::Not
            }
        });
        Ok(gone.collect())
    }

    async fn stage(&self, hint: &str) -> Result<Box<dyn Stage>, Error> {
        let mut store = self.lock();
        store.stages += 1;
        let place = format!("{hint}.{}", store.stages);
        Ok(Box::new(MemoryStage {
            place,
            pieces: Vec::new(),
            store: self.clone(),
        }))
    }

    async fn open_staged(&self, place: &str) -> Result<Opened, Error> {
        Ok(self
            .lock()
            .staged
            .get(place)
            .cloned()
            .ok_or(Error::Damaged)?
            .opened())
    }

    async fn publish(
        &self,
        places: &[Staged],
        target: &StorePath,
        _attempt: Attempt,
    ) -> Result<Publication, Error> {
        let mut store = self.lock();
        let total: u64 = places.iter().map(|staged| staged.length).sum();
        if store
            .files
            .get(target.as_str())
            .is_some_and(|file| file.size() == total)
        {
            return Ok(Publication::Existed);
        }
        let mut all = Vec::new();
        for Staged {
            place,
            length: expected,
        } in places
        {
            let file = store.staged.get(place).ok_or(Error::Damaged)?;
            if file.size() != *expected {
                return Err(Error::Damaged);
            }
            all.extend_from_slice(&file.pieces);
        }
        store
            .files
            .insert(target.as_str().to_owned(), File::new(all));
        Ok(Publication::New)
    }

    async fn discard(&self, places: &[String]) -> Result<(), Error> {
        let mut store = self.lock();
        for place in places {
            store.staged.remove(place);
        }
        Ok(())
    }

    async fn staged(
        &self,
        before: SystemTime,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, Error> {
        let store = self.lock();
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let places = store.staged.range::<str, _>((from, Bound::Unbounded));
        let old = places.filter(|(_, file)| file.modified < before);
        Ok(old.take(limit).map(|(place, _)| place.clone()).collect())
    }

    async fn sweep(&self, _before: SystemTime) -> Result<usize, Error> {
        Ok(0)
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Memory")
    }
}

#[derive(Debug)]
struct MemoryStage {
    place: String,
    pieces: Vec<Bytes>,
    store: Memory,
}

#[async_trait]
impl Stage for MemoryStage {
    async fn write(&mut self, pieces: Vec<Bytes>) -> Result<(), Error> {
        // Copied: a piece may be a small part of a large buffer that it would keep alive.
        self.pieces.extend(
            pieces
                .iter()
                .filter(|piece| !piece.is_empty())
                .map(|piece| Bytes::copy_from_slice(piece)),
        );
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<Staged, Error> {
        let length = length(&self.pieces);
        self.store
            .lock()
            .staged
            .insert(self.place.clone(), File::new(self.pieces));
        Ok(Staged {
            place: self.place,
            length,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn keeps_the_contract() {
        crate::contract::check(&|| Box::new(Memory::new())).await;
    }
}
