//! A file that is read again when it changed. A new version that cannot be used leaves the old one in place.

use std::fmt;
use std::fs::{File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustix::fs::OFlags;
use sha2::{Digest as _, Sha256};
use tokio::sync::Mutex;

use crate::clock::{Clock, system_clock};

/// A file's times move in steps of its file system's clock, up to two seconds wide (FAT; NFS caches for longer). One
/// that changed this recently may change again without its times showing it, and is read again.
const SETTLED_AFTER: Duration = Duration::from_secs(2);

/// Bytes of a file at most: a hundred thousand users.
const MAX_FILE: u64 = 16 << 20;

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// As it was configured.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It is not a file.
    #[error("{} is not a file", path.display())]
    NotAFile {
        /// As it was configured.
        path: PathBuf,
    },
    /// It is larger than any file of its kind.
    #[error("{} is larger than {limit} bytes", path.display())]
    TooLarge {
        /// As it was configured.
        path: PathBuf,
        /// In bytes.
        limit: u64,
    },
    /// What it says makes no sense.
    #[error("{}: {source}", path.display())]
    Unfit {
        /// As it was configured.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

type Parse<T> = fn(&[u8]) -> Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// The last version of a file that could be used.
pub(crate) struct Watched<T> {
    path: PathBuf,
    parse: Parse<T>,
    clock: Clock,
    /// Held while the file is looked at: one thread, however many requests wait for it.
    state: Arc<Mutex<State<T>>>,
}

struct State<T> {
    good: Arc<T>,
    /// What was parsed last, be it good or not.
    judged: [u8; 32],
    /// Of that version, unless it may still change without showing it.
    seen: Option<Stamp>,
    /// What was logged last, so that it is logged once.
    complaint: Option<String>,
}

/// What tells one version of a file from the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    /// Cannot be set back, as `modified` can.
    changed: (i64, i64),
}

impl<T: Send + Sync + 'static> Watched<T> {
    /// Reads the file, on this thread. It must be good the first time.
    pub(crate) fn open(path: PathBuf, parse: Parse<T>) -> Result<Self, FileError> {
        // Compared with the file system's times, so never another clock.
        let clock = system_clock();
        let (content, stamp) = read(&path)?;
        let state = State {
            good: Arc::new(parsed(&path, parse, &content)?),
            judged: Sha256::digest(&content).into(),
            seen: stamp.settled(clock()),
            complaint: None,
        };
        Ok(Self {
            path,
            parse,
            clock,
            state: Arc::new(Mutex::new(state)),
        })
    }

    /// The newest version that could be used.
    pub(crate) async fn current(&self) -> Arc<T> {
        let mut state = Arc::clone(&self.state).lock_owned().await;
        let (path, parse, now) = (self.path.clone(), self.parse, (self.clock)());
        // The work goes on when this request is given up: it holds the lock until it is through.
        let look = tokio::task::spawn_blocking(move || {
            state.look(&path, parse, now);
            Arc::clone(&state.good)
        });
        match look.await {
            Ok(good) => good,
            Err(_stopped) => Arc::clone(&self.state.lock().await.good),
        }
    }
}

impl<T> State<T> {
    fn look(&mut self, path: &Path, parse: Parse<T>, now: SystemTime) {
        match self.renew(path, parse, now) {
            Ok(()) => self.complaint = None,
            Err(error) => {
                let complaint = error.to_string();
                if self.complaint.as_ref() != Some(&complaint) {
                    tracing::error!(error = %complaint, "a changed file cannot be used; what it said before stays in force");
                    self.complaint = Some(complaint);
                }
            }
        }
    }

    fn renew(&mut self, path: &Path, parse: Parse<T>, now: SystemTime) -> Result<(), FileError> {
        let metadata = path.metadata().map_err(|source| trouble(path, source))?;
        if self.seen == Some(Stamp::of(&metadata)) {
            return Ok(());
        }
        let (content, stamp) = read(path)?;
        let digest: [u8; 32] = Sha256::digest(&content).into();
        self.seen = stamp.settled(now);
        if self.judged != digest {
            self.judged = digest;
            self.good = Arc::new(parsed(path, parse, &content)?);
            tracing::info!(path = %path.display(), "a changed file is in force");
        }
        Ok(())
    }
}

impl<T> fmt::Debug for Watched<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Itself, if what changes from now on will show in it.
    fn settled(self, now: SystemTime) -> Option<Self> {
        let seconds = u64::try_from(self.changed.0).ok()?;
        let changed = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))?;
        let age = match now.duration_since(changed) {
            Ok(age) => age,
            Err(ahead) => ahead.duration(),
        };
        (age > SETTLED_AFTER).then_some(self)
    }
}

fn parsed<T>(path: &Path, parse: Parse<T>, content: &[u8]) -> Result<T, FileError> {
    parse(content).map_err(|source| FileError::Unfit {
        path: path.to_owned(),
        source,
    })
}

fn trouble(path: &Path, source: io::Error) -> FileError {
    FileError::Read {
        path: path.to_owned(),
        source,
    }
}

/// The whole file, with what told its version before it was read: a change meanwhile shows the next time.
fn read(path: &Path) -> Result<(Vec<u8>, Stamp), FileError> {
    let trouble = |source| trouble(path, source);
    // Opening a pipe would wait for somebody to write into it.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let opened = File::options().read(true).custom_flags(flags).open(path);
    let file = opened.map_err(trouble)?;
    let metadata = file.metadata().map_err(trouble)?;
    if !metadata.is_file() {
        return Err(FileError::NotAFile {
            path: path.to_owned(),
        });
    }
    let stamp = Stamp::of(&metadata);
    let mut content = Vec::new();
    let mut limited = file.take(MAX_FILE.saturating_add(1));
    let read = limited.read_to_end(&mut content).map_err(trouble)?;
    if u64::try_from(read).is_ok_and(|read| read <= MAX_FILE) {
        Ok((content, stamp))
    } else {
        Err(FileError::TooLarge {
            path: path.to_owned(),
            limit: MAX_FILE,
        })
    }
}

#[cfg(test)]
#[path = "watched_tests.rs"]
mod tests;
