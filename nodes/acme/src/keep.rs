//! Where the document is kept, and who has the right to change it.

mod cluster;
mod file;
mod seal;

use std::io;
use std::path::PathBuf;

use async_trait::async_trait;

pub(crate) use cluster::InCluster;
pub(crate) use file::InFile;

use crate::document::Document;
pub use seal::Unreadable;

/// Where the document is kept. One process at a time has the right to write; which one is found out with every look.
#[async_trait]
pub(crate) trait Keep: Send + Sync {
    /// What is kept now. Asks for the right as well, if nobody has it.
    async fn look(&self) -> Result<Seen, KeepError>;

    /// Says that this process answers, and serves, what this version says.
    fn adopted(&self, version: u64);

    /// Writes, if the right of `term` still stands, and answers with the new version.
    async fn write(&self, term: u64, document: &Document) -> Result<u64, KeepError>;

    /// Gives the right up.
    async fn leave(&self);
}

/// What a look saw.
pub(crate) struct Seen {
    pub(crate) version: u64,
    /// If this process has not adopted it.
    pub(crate) document: Option<Document>,
    /// The term of this process's right to write, if it has it.
    pub(crate) right: Option<u64>,
    /// Live processes that have not adopted this version.
    pub(crate) unaware: u32,
}

/// Why the document cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    #[error("cachefile: {}", path.display())]
    File { path: PathBuf, source: io::Error },
    /// Whatever it is, it is somebody's.
    #[error(
        "cachefile: {} is not empty, and was not written by roadstead; name another file, or a directory, or empty it",
        path.display()
    )]
    Foreign { path: PathBuf },
    #[error("cachefile: {} was written by a newer version", path.display())]
    Newer { path: PathBuf },
    /// Another process has it now.
    #[error("another process has the right to order")]
    Fenced,
    /// It may be back in a moment.
    #[error("{reason}")]
    Unavailable { reason: String },
    #[error("it cannot be written: {0}")]
    Unwritable(String),
    /// `encryptionkey`, or `cluster.secret`, is another than that of the others.
    #[error(
        "what the metadata service keeps is encrypted with another key; encryptionkey, or else cluster.secret, must be the same for all processes"
    )]
    Sealed(#[from] Unreadable),
}
