//! The lock on a storage root: a registry on its own has the root for itself, the nodes of a cluster share it.
//!
//! The kernel holds it for as long as the process lives. Between machines it holds as far as the file system carries
//! locks (NFS does): a registry on its own looks at the claim as well, which needs no lock.

use std::fs::{File, TryLockError};
use std::path::Path;

use anyhow::{Context as _, Result, bail};

/// In the storage root, beside what the reference keeps there.
const FILE: &str = "roadstead/lock";

/// Held until it is dropped.
#[derive(Debug)]
pub(crate) struct RootLock {
    _file: File,
}

impl RootLock {
    /// For a registry on its own.
    pub(super) fn alone(root: &Path) -> Result<Self> {
        let taken = "is in use by another roadstead; give each its own root";
        Self::take(root, File::try_lock, taken)
    }

    /// For a node of a cluster.
    pub(super) fn shared(root: &Path) -> Result<Self> {
        let taken = "is in use by a roadstead that serves it alone; stop that one first";
        Self::take(root, File::try_lock_shared, taken)
    }

    fn take(
        root: &Path,
        lock: impl FnOnce(&File) -> Result<(), TryLockError>,
        taken: &str,
    ) -> Result<Self> {
        let path = root.join(FILE);
        let place = || format!("storage.filesystem.rootdirectory: {}", path.display());
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory).with_context(place)?;
        }
        let mut options = File::options();
        let options = options.read(true).write(true).create(true).truncate(false);
        let file = options.open(&path).with_context(place)?;
        match lock(&file) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                bail!(
                    "storage.filesystem.rootdirectory: {} {taken}",
                    root.display()
                )
            }
            // The logs and the claim are left to tell.
            Err(TryLockError::Error(error)) if error.kind() == std::io::ErrorKind::Unsupported => {
                tracing::warn!(
                    "the storage root is on a file system without locks: two servers on it may not notice each other"
                );
            }
            Err(TryLockError::Error(error)) => return Err(error).with_context(place),
        }
        Ok(Self { _file: file })
    }
}
