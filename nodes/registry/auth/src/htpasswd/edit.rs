//! Changing an htpasswd file, as Apache's `htpasswd` does. What else stands in the file stays as it is, with Unix line ends.

use std::fmt;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, fchown};
use std::path::{Path, PathBuf};

use super::create::{directory_of, sync_directory};
use super::password::{APACHE_COST, Hash, PasswordError};

/// Bytes of a user's name at most, as in Apache's tool.
const USER_BYTES: usize = 255;

/// Why a file cannot be changed.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// No line could hold it.
    #[error(
        "a user's name has 1 to {USER_BYTES} bytes, no colon and no control character, no space at its ends, and no # at its beginning"
    )]
    User,
    /// No hash could be made of it.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// The file or its directory.
    #[error("{}: {source}", path.display())]
    File {
        /// As it was given.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It is not text.
    #[error("{} is not UTF-8", path.display())]
    NotText {
        /// As it was given.
        path: PathBuf,
    },
    /// It was changed since it was read.
    #[error("{} was changed by somebody else meanwhile; nothing was written", path.display())]
    Changed {
        /// As it was given.
        path: PathBuf,
    },
    /// It would belong to somebody else afterwards, who may not let the registry read it.
    #[error("{} belongs to another user, and that cannot be kept: {source}", path.display())]
    Owner {
        /// As it was given.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// An htpasswd file's text, to be changed and saved.
#[derive(Clone, PartialEq, Eq)]
pub struct Htpasswd {
    lines: Vec<String>,
    /// As it was read, if it was.
    original: Option<String>,
}

impl Htpasswd {
    /// What Apache's tool uses where it is not told otherwise.
    pub const DEFAULT_COST: u32 = APACHE_COST;

    /// A file without users.
    pub fn empty() -> Self {
        Self {
            lines: Vec::new(),
            original: None,
        }
    }

    /// Reads a file.
    pub fn open(path: &Path) -> Result<Self, EditError> {
        let bytes = fs::read(path).map_err(|source| trouble(path, source))?;
        let text = String::from_utf8(bytes).map_err(|_other| EditError::NotText {
            path: path.to_owned(),
        })?;
        Ok(Self {
            lines: text.lines().map(str::to_owned).collect(),
            original: Some(text),
        })
    }

    /// The line `user:$2y$…`, without its end. Takes as long as the cost says. Of passwords longer than
    /// [`PASSWORD_BYTES`](super::PASSWORD_BYTES) the rest makes no difference.
    pub fn line(user: &str, password: &str, cost: u32) -> Result<String, EditError> {
        if !is_user(user) {
            return Err(EditError::User);
        }
        Ok(format!("{user}:{}", Hash::of(password, cost)?.as_str()))
    }

    /// Gives a user a password; whether the user was there before.
    pub fn set(&mut self, user: &str, password: &str, cost: u32) -> Result<bool, EditError> {
        let line = Self::line(user, password, cost)?;
        // Of several lines for a user the last counts: one line shall remain, in the place of the first.
        let first = self.lines.iter().position(|line| is_of(line, user));
        match first {
            Some(at) => {
                self.delete(user);
                self.lines.insert(at, line);
            }
            None => self.lines.push(line),
        }
        Ok(first.is_some())
    }

    /// Takes a user out; whether there was such a user.
    pub fn delete(&mut self, user: &str) -> bool {
        let before = self.lines.len();
        self.lines.retain(|line| !is_of(line, user));
        self.lines.len() < before
    }

    /// Whether this is the user's password; `None` without such a user. A hash of another kind fits no password.
    pub fn verify(&self, user: &str, password: &str) -> Option<bool> {
        let line = self.lines.iter().rfind(|line| is_of(line, user))?;
        let (_, hash) = line.split_once(':')?;
        Some(Hash::parse(hash.trim()).is_ok_and(|hash| hash.fits(password)))
    }

    /// Writes the file, at once and durably, with the mode and owner that it had. A symbolic link stays one. A new file can
    /// be read by its owner alone.
    pub fn save(&self, path: &Path) -> Result<(), EditError> {
        let trouble = |source| trouble(path, source);
        let target = match path.canonicalize() {
            Ok(target) => target,
            Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_owned(),
            Err(error) => return Err(trouble(error)),
        };
        let directory = directory_of(&target);
        let mut new = tempfile::NamedTempFile::new_in(directory).map_err(trouble)?;
        for line in &self.lines {
            writeln!(new, "{line}").map_err(trouble)?;
        }
        match fs::metadata(&target) {
            Ok(old) => Self::keep(path, &old, new.as_file())?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(trouble(error)),
        }
        new.as_file().sync_all().map_err(trouble)?;
        self.still_the_same(path, &target)?;
        new.persist(&target).map_err(|error| trouble(error.error))?;
        sync_directory(directory).map_err(trouble)
    }

    /// Gives the new file what the old one had.
    fn keep(path: &Path, old: &fs::Metadata, new: &fs::File) -> Result<(), EditError> {
        let mine = new.metadata().map_err(|source| trouble(path, source))?;
        if (mine.uid(), mine.gid()) != (old.uid(), old.gid()) {
            fchown(new, Some(old.uid()), Some(old.gid())).map_err(|source| EditError::Owner {
                path: path.to_owned(),
                source,
            })?;
        }
        new.set_permissions(old.permissions())
            .map_err(|source| trouble(path, source))
    }

    /// Two who change the file at once would lose one's change. This leaves them a moment, not a minute.
    fn still_the_same(&self, path: &Path, target: &Path) -> Result<(), EditError> {
        match (&self.original, fs::read(target)) {
            (Some(original), Ok(now)) if *original.as_bytes() != now => Err(EditError::Changed {
                path: path.to_owned(),
            }),
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for Htpasswd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Htpasswd({} lines)", self.lines.len())
    }
}

fn trouble(path: &Path, source: io::Error) -> EditError {
    EditError::File {
        path: path.to_owned(),
        source,
    }
}

/// Whether a line is a user's, as the registry reads it.
fn is_of(line: &str, user: &str) -> bool {
    let line = line.trim_start_matches('\u{feff}').trim();
    !line.starts_with('#') && line.split_once(':').is_some_and(|(name, _)| name == user)
}

fn is_user(user: &str) -> bool {
    let fits = |c: char| c != ':' && !c.is_control();
    (1..=USER_BYTES).contains(&user.len())
        && user.chars().all(fits)
        && user.trim() == user
        && !user.starts_with(['#', '\u{feff}'])
}

#[cfg(test)]
#[path = "edit_tests.rs"]
mod tests;
