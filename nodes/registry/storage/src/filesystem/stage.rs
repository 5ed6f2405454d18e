//! Writing an upload's bytes to a file of their own.

use std::fs::File;
use std::io::{IoSlice, Write as _};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::direct::{DIRECT_FROM, Direct};
use super::tree::{Tree, write_error};
use crate::driver::{Stage, Staged};
use crate::error::Error;

/// Slices given to one `writev`.
const SLICES: usize = 64;

/// A file under `/roadstead/uploads` that is being written.
#[derive(Debug)]
pub(super) struct FileStage {
    tree: Arc<Tree>,
    place: String,
    /// `None` when finished.
    file: Option<Arc<File>>,
    length: u64,
    /// Once it is large.
    direct: Option<Direct>,
}

impl FileStage {
    pub(super) fn create(tree: Arc<Tree>, place: String) -> Result<Self, Error> {
        let file = tree.create_staged(&place)?;
        Ok(Self {
            tree,
            place,
            file: Some(Arc::new(file)),
            length: 0,
            direct: None,
        })
    }

    /// All of it, durable. Blocks.
    pub(super) fn whole(tree: Arc<Tree>, place: String, pieces: &[Bytes]) -> Result<Staged, Error> {
        let mut stage = Self::create(tree, place)?;
        if let Some(file) = &stage.file {
            write_all(file, pieces)?;
            settle(&stage.tree, file)?;
        }
        stage.length = length_of(pieces);
        Ok(stage.finished())
    }

    /// Nothing is left to be discarded.
    fn finished(&mut self) -> Staged {
        self.file = None;
        Staged {
            place: std::mem::take(&mut self.place),
            length: self.length,
        }
    }
}

#[async_trait]
impl Stage for FileStage {
    async fn write(&mut self, pieces: Vec<Bytes>) -> Result<(), Error> {
        let Some(file) = &self.file else {
            return Err(Error::Damaged);
        };
        let (file, tree) = (Arc::clone(file), Arc::clone(&self.tree));
        let (begun, mut direct) = (self.length, self.direct.take());
        self.length += length_of(&pieces);
        let written = tokio::task::spawn_blocking(move || {
            if direct.is_none() && begun >= DIRECT_FROM && tree.is_local() {
                direct = Some(Direct::after(begun));
            }
            match &mut direct {
                Some(direct) => direct.write(&file, &pieces)?,
                None => write_all(&file, &pieces)?,
            }
            Ok(direct)
        });
        self.direct = super::joined(written.await)?;
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<Staged, Error> {
        let Some(file) = self.file.clone() else {
            return Err(Error::Damaged);
        };
        let (tree, direct) = (Arc::clone(&self.tree), self.direct.take());
        let settled = tokio::task::spawn_blocking(move || {
            direct.map_or(Ok(()), |direct| direct.finish(&file))?;
            settle(&tree, &file)
        });
        super::joined(settled.await)?;
        Ok(self.finished())
    }
}

fn length_of(pieces: &[Bytes]) -> u64 {
    pieces.iter().map(|piece| piece.len() as u64).sum()
}

/// Makes the content durable, and the name.
fn settle(tree: &Tree, file: &File) -> Result<(), Error> {
    file.sync_data()
        .map_err(|error| write_error("syncing an upload", error))?;
    // Taken for a crash's leftover, and swept, while its client was very slow.
    let is_named = rustix::fs::fstat(file).is_ok_and(|stat| stat.st_nlink > 0);
    if !is_named {
        return Err(Error::Damaged);
    }
    tree.sync_uploads()
}

fn write_all(mut file: &File, pieces: &[Bytes]) -> Result<(), Error> {
    for group in pieces.chunks(SLICES) {
        let mut slices: Vec<IoSlice<'_>> = group.iter().map(|piece| IoSlice::new(piece)).collect();
        let mut rest = slices.as_mut_slice();
        IoSlice::advance_slices(&mut rest, 0);
        while !rest.is_empty() {
            match file.write_vectored(rest) {
                Ok(0) => {
                    return Err(write_error(
                        "writing an upload",
                        std::io::ErrorKind::WriteZero.into(),
                    ));
                }
                Ok(written) => IoSlice::advance_slices(&mut rest, written),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(write_error("writing an upload", error)),
            }
        }
    }
    Ok(())
}

impl Drop for FileStage {
    fn drop(&mut self) {
        if self.file.take().is_none() {
            return;
        }
        let (tree, place) = (Arc::clone(&self.tree), std::mem::take(&mut self.place));
        let discard = move || {
            if let Err(error) = tree.discard(&place) {
                tracing::warn!(%error, place, "an abandoned upload's bytes stay until they are swept");
            }
        };
        // Freeing a large file takes a while.
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(discard)),
            Err(_no_runtime) => discard(),
        }
    }
}
