//! What can go wrong with a store, named by what can be done about it.

use std::io;

use crate::StorePath;

/// An error of a driver.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is nothing at this path. Anything but this means that it is not known whether there is.
    #[error("{0}: not found")]
    NotFound(StorePath),
    /// A small file is larger than the caller takes.
    #[error("{path}: larger than {limit} bytes")]
    TooLarge { path: StorePath, limit: usize },
    /// The store is full: make room.
    #[error("the storage is full: {0}")]
    Full(#[source] io::Error),
    /// The store takes no writes.
    #[error("the storage is read-only: {0}")]
    ReadOnly(#[source] io::Error),
    /// The root directory was removed or replaced under the running process.
    #[error("the storage root is gone")]
    Vanished,
    /// Whoever writes has lost the right to, or what it wrote under has ended.
    #[error("the lease that this was written under is over")]
    Fenced,
    /// Segments of an upload are not what was recorded.
    #[error("stored parts of an upload are missing or damaged")]
    Damaged,
    /// Anything else that the store says.
    #[error("{what}: {source}")]
    Io { what: String, source: io::Error },
}

impl Error {
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound(_))
    }

    /// Whether an operator has to do something before writes succeed again.
    pub fn is_write_refused(&self) -> bool {
        matches!(self, Self::Full(_) | Self::ReadOnly(_) | Self::Vanished)
    }
}
