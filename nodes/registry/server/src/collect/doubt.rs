//! Why nothing was collected: something in the store that could name anything.

use std::fmt;

use roadstead_oci::Digest;
use roadstead_storage::{Error as StoreError, StorePath};

use crate::error::Error;

/// Why nothing, or not all, was collected.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// Found before anything is removed.
    #[error("{place}: {doubt}; nothing was removed. {}", doubt.remedy())]
    Doubtful { place: String, doubt: Doubt },
    #[error(transparent)]
    Failed(#[from] Error),
}

/// What cannot be understood, and could name anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Doubt {
    /// A directory that a store has as soon as anything was pushed.
    NoStore,
    /// No manifest was ever pushed here, or what named the blobs is elsewhere.
    NoRepositories,
    /// A directory, where only a digest's or a repository's can be.
    StrangeName,
    /// A symbolic link to what is not there now.
    LeadsNowhere,
    /// A link that a crash tore, or no file.
    TornLink,
    /// The bytes of the manifest that this link leads to.
    NoBytes(Digest),
    Unreadable {
        manifest: Digest,
        reason: String,
    },
}

impl Doubt {
    pub(super) fn at(self, place: &StorePath) -> CollectError {
        self.at_text(place.to_string())
    }

    pub(super) fn at_text(self, place: String) -> CollectError {
        CollectError::Doubtful { place, doubt: self }
    }

    fn remedy(&self) -> &'static str {
        match self {
            Self::NoStore => "Look whether the storage is configured right, and mounted",
            Self::NoRepositories => {
                "Look whether all of the storage is mounted; where no image is wanted any more, remove the blobs by hand"
            }
            Self::StrangeName => "Move it out of the store, or give it a name that it can have",
            Self::LeadsNowhere => "Bring back what it leads to, or remove it",
            Self::TornLink => {
                "Push the image again, which mends it, or remove the directory that the link is in"
            }
            Self::NoBytes(_) => {
                "Bring them back, push the image again, or delete the manifest through the registry's API"
            }
            Self::Unreadable { .. } => "Mend it, or delete it through the registry's API",
        }
    }
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoStore => f.write_str("there is no such directory: no registry stores here"),
            Self::NoRepositories => f.write_str("no repository is in it, but there are blobs"),
            Self::StrangeName => f.write_str("no registry gives a directory this name"),
            Self::LeadsNowhere => f.write_str("leads to what is not there, or is no directory"),
            Self::TornLink => f.write_str("not a file that holds a digest"),
            Self::NoBytes(digest) => write!(f, "the bytes of the manifest {digest} are not there"),
            Self::Unreadable { manifest, reason } => {
                write!(f, "the manifest {manifest} cannot be read ({reason})")
            }
        }
    }
}

impl From<StoreError> for CollectError {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.into())
    }
}
