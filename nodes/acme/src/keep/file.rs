//! `cachefile`: a file that is appended to.
//!
//! Each line is a whole document, and the last one that is complete counts: so a power cut loses no more than the line
//! that was being written, also where the file is mounted by itself and cannot be replaced by another. Who may write holds
//! the kernel's lock on it; a process that is stopped holds it still, and one that dies does not.

use std::fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;

use super::{Keep, KeepError, Seen};
use crate::document::Document;

/// In a directory, beside what the reference keeps there.
const NAME: &str = "roadstead-acme";

/// How a line of this form begins.
const FORM: &str = "roadstead-acme 1 ";
const ANY_FORM: &str = "roadstead-acme ";

/// A file that is longer begins anew. Documents are a few kilobytes, with a hundred names some twenty.
const LONGEST: u64 = 256 << 10;

/// Bytes that are read at most.
const LARGEST: u64 = 4 << 20;

/// Nobody but the owner may read it.
const MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;

/// There is one term: whoever has the lock has it until the process ends.
const TERM: u64 = 1;

pub(crate) struct InFile {
    file: Arc<Mutex<Held>>,
    /// The version that this process has adopted.
    adopted: AtomicU64,
}

struct Held {
    path: PathBuf,
    file: File,
    has_lock: bool,
}

#[derive(Serialize, Deserialize)]
struct Line {
    version: u64,
    document: Document,
}

impl InFile {
    /// Opens the file, or one in the directory; what is not there yet becomes a directory, as in the reference. Blocks.
    pub(crate) fn open(path: &Path) -> Result<Self, KeepError> {
        let failed = |source| KeepError::File {
            path: path.to_owned(),
            source,
        };
        let path = match std::fs::metadata(path) {
            Ok(found) if found.is_dir() => path.join(NAME),
            Ok(_file) => path.to_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let mut builder = DirBuilder::new();
                let builder = builder.recursive(true).mode(DIRECTORY_MODE);
                builder.create(path).map_err(failed)?;
                path.join(NAME)
            }
            Err(error) => return Err(failed(error)),
        };
        let opened = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(MODE)
            .open(&path);
        let file = opened.map_err(failed)?;
        // One that was made by `touch` is readable by everybody.
        file.set_permissions(Permissions::from_mode(MODE))
            .map_err(failed)?;
        let mut held = Held {
            path,
            file,
            has_lock: false,
        };
        held.read()?;
        Ok(Self {
            file: Arc::new(Mutex::new(held)),
            adopted: AtomicU64::new(0),
        })
    }

    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Held) -> Result<T, KeepError> + Send + 'static,
    ) -> Result<T, KeepError> {
        let file = Arc::clone(&self.file);
        let worked =
            spawn_blocking(move || work(&mut file.lock().unwrap_or_else(PoisonError::into_inner)));
        worked.await.unwrap_or_else(|ended| {
            let reason = ended.to_string();
            Err(KeepError::Unavailable { reason })
        })
    }
}

#[async_trait]
impl Keep for InFile {
    async fn look(&self) -> Result<Seen, KeepError> {
        let adopted = self.adopted.load(Ordering::Relaxed);
        self.with(move |held| {
            let right = held.lock()?.then_some(TERM);
            let line = held.read()?;
            let version = line.as_ref().map_or(0, |line| line.version);
            let news = line.filter(|line| line.version != adopted);
            Ok(Seen {
                version,
                document: news.map(|line| line.document),
                right,
                unaware: 0,
            })
        })
        .await
    }

    fn adopted(&self, version: u64) {
        self.adopted.store(version, Ordering::Relaxed);
    }

    async fn write(&self, _term: u64, document: &Document) -> Result<u64, KeepError> {
        let document = document.clone();
        self.with(move |held| held.append(document)).await
    }

    /// The lock goes with the process.
    async fn leave(&self) {}
}

impl Held {
    fn failed(&self, source: io::Error) -> KeepError {
        let path = self.path.clone();
        KeepError::File { path, source }
    }

    fn lock(&mut self) -> Result<bool, KeepError> {
        if self.has_lock {
            return Ok(true);
        }
        match self.file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(false),
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {
                tracing::warn!(
                    "cachefile is on a file system without locks: two processes that share it may both order"
                );
            }
            Err(TryLockError::Error(error)) => return Err(self.failed(error)),
        }
        self.has_lock = true;
        Ok(true)
    }

    /// The last complete line; none of an empty file.
    fn read(&mut self) -> Result<Option<Line>, KeepError> {
        let content = self.content().map_err(|error| self.failed(error))?;
        let path = || self.path.clone();
        // Also of a file of which not even the first line was finished.
        let (bytes, form) = (content.as_bytes(), ANY_FORM.as_bytes());
        let length = bytes.len().min(form.len());
        if bytes[..length] != form[..length] {
            return Err(KeepError::Foreign { path: path() });
        }
        let parsed = |line: &str| serde_json::from_str(line.strip_prefix(FORM)?).ok();
        let last = content.lines().rev().find(|line| !line.is_empty());
        if let Some(line) = last
            && line.len() >= FORM.len()
            && !line.starts_with(FORM)
        {
            return Err(KeepError::Newer { path: path() });
        }
        Ok(content.lines().rev().find_map(parsed))
    }

    fn content(&mut self) -> io::Result<String> {
        self.file.rewind()?;
        let mut bytes = Vec::new();
        (&self.file).take(LARGEST).read_to_end(&mut bytes)?;
        // Cut within a character, a line is not complete anyway.
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn append(&mut self, document: Document) -> Result<u64, KeepError> {
        if !self.has_lock {
            return Err(KeepError::Fenced);
        }
        let before = self.read()?.map(|line| line.version);
        let version = before.unwrap_or_default() + 1;
        let line = Line { version, document };
        let json = serde_json::to_string(&line);
        let json = json.map_err(|error| KeepError::Unwritable(error.to_string()))?;
        self.add(&format!("{FORM}{json}\n"), before.is_some())
            .map_err(|error| self.failed(error))?;
        Ok(version)
    }

    fn add(&mut self, line: &str, has_lines: bool) -> io::Result<()> {
        let length = self.file.metadata()?.len();
        // Without a complete line there is the beginning of the first one, or nothing.
        if !has_lines || length > LONGEST {
            self.file.set_len(0)?;
        } else {
            // The line before may have been cut short.
            self.file.write_all(b"\n")?;
        }
        self.file.write_all(line.as_bytes())?;
        self.file.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(tries: u32) -> Document {
        Document {
            tries,
            ..Document::default()
        }
    }

    async fn tries(keep: &InFile) -> Option<u32> {
        let seen = keep.look().await.unwrap();
        seen.document.map(|document| document.tries)
    }

    #[tokio::test]
    async fn a_file_a_directory_and_what_is_not_there_yet() {
        let home = tempfile::tempdir().unwrap();
        let touched = home.path().join("touched");
        std::fs::write(&touched, "").unwrap();
        let absent = home.path().join("a/b");
        for (path, kept) in [
            (home.path().to_owned(), home.path().join(NAME)),
            (touched.clone(), touched),
            (absent.clone(), absent.join(NAME)),
        ] {
            let keep = InFile::open(&path).unwrap();
            assert_eq!(tries(&keep).await, None);
            assert_eq!(keep.write(TERM, &document(7)).await.unwrap(), 1);
            drop(keep);
            let mode = std::fs::metadata(&kept).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, MODE, "{}", kept.display());
            assert_eq!(tries(&InFile::open(&path).unwrap()).await, Some(7));
        }
    }

    #[tokio::test]
    async fn one_of_two_may_write_and_the_other_reads() {
        let home = tempfile::tempdir().unwrap();
        let first = InFile::open(home.path()).unwrap();
        let second = InFile::open(home.path()).unwrap();
        assert_eq!(first.look().await.unwrap().right, Some(TERM));
        assert_eq!(second.look().await.unwrap().right, None);
        let refused = second.write(TERM, &document(1)).await;
        assert!(matches!(refused, Err(KeepError::Fenced)));
        let version = first.write(TERM, &document(2)).await.unwrap();
        assert_eq!(tries(&second).await, Some(2));
        second.adopted(version);
        assert_eq!(tries(&second).await, None, "nothing new");
        drop(first);
        assert_eq!(second.look().await.unwrap().right, Some(TERM));
    }

    #[tokio::test]
    async fn a_line_that_was_cut_short_is_passed_over() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join(NAME);
        let keep = InFile::open(home.path()).unwrap();
        keep.look().await.unwrap();
        for n in [1, 2] {
            keep.write(TERM, &document(n)).await.unwrap();
        }
        drop(keep);
        let whole = std::fs::read(&path).unwrap();
        let first = whole.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        for length in 0..whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            let keep = InFile::open(home.path()).unwrap();
            let expected = match length {
                _ if length + 1 == whole.len() => Some(2),
                _ if length + 1 >= first => Some(1),
                _ => None,
            };
            assert_eq!(tries(&keep).await, expected, "{length} bytes");
            keep.write(TERM, &document(3)).await.unwrap();
            assert_eq!(tries(&keep).await, Some(3), "{length} bytes, and another");
        }
    }

    #[tokio::test]
    async fn it_does_not_grow_for_ever() {
        let home = tempfile::tempdir().unwrap();
        let keep = InFile::open(home.path()).unwrap();
        keep.look().await.unwrap();
        let mut large = document(0);
        large.failure = Some("x".repeat(100 << 10));
        for n in 1..=9 {
            large.tries = n;
            assert_eq!(keep.write(TERM, &large).await.unwrap(), u64::from(n));
        }
        let length = std::fs::metadata(home.path().join(NAME)).unwrap().len();
        assert!(length < 2 * LONGEST, "{length}");
        assert_eq!(tries(&keep).await, Some(9));
    }

    #[test]
    fn what_others_wrote_is_left_alone() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("cache");
        for content in [
            "{\"Email\": \"me@example.com\"}",
            "x",
            "-----BEGIN CERTIFICATE-----\n",
        ] {
            std::fs::write(&path, content).unwrap();
            let refused = InFile::open(&path).err().unwrap();
            assert!(matches!(refused, KeepError::Foreign { .. }), "{content}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), content);
        }
        std::fs::write(&path, "roadstead-acme 2 {\"version\": 3}\n").unwrap();
        let refused = InFile::open(&path).err().unwrap();
        assert!(matches!(refused, KeepError::Newer { .. }));
    }
}
