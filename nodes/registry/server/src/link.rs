//! Links: what says that content belongs to a repository, or what a tag points to.

use std::sync::Arc;

use bytes::Bytes;
use roadstead_metadata::Unavailable;
use roadstead_oci::{Digest, Name, Tag};
use roadstead_storage::{Driver, Error as StoreError, Put, StorePath, Under, layout};

use crate::Registry;
use crate::collect::admission::Flight;
use crate::error::Error;

/// What becomes of a link that is there already.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Already {
    IsReplaced,
    /// If it holds the same.
    IsKept,
}

impl Registry {
    /// What a link points to. The link's content counts, not its name. One that does not hold a digest (a crash of a
    /// registry that writes in place leaves such) counts as absent, and is mended by the next push.
    pub(crate) async fn follow(&self, link: &StorePath) -> Result<Option<Digest>, Error> {
        follow(&*self.store, link).await
    }

    /// The blob that a digest stands for in this repository.
    pub(crate) async fn linked_blob(
        &self,
        name: &Name,
        digest: &Digest,
    ) -> Result<Option<Digest>, Error> {
        self.follow(&layout::layer_link(name, digest)).await
    }

    /// The manifest that a digest stands for in this repository.
    pub(crate) async fn linked_manifest(
        &self,
        name: &Name,
        digest: &Digest,
    ) -> Result<Option<Digest>, Error> {
        self.follow(&layout::revision_link(name, digest)).await
    }

    /// What a tag points to, if the repository still has that manifest.
    pub(crate) async fn tagged(&self, name: &Name, tag: &Tag) -> Result<Option<Digest>, Error> {
        match self.follow(&layout::tag_current(name, tag)).await? {
            Some(digest) => self.linked_manifest(name, &digest).await,
            None => Ok(None),
        }
    }

    /// Links a blob that is stored and durable, unless the epoch has ended. Durable when it returns.
    pub(crate) async fn link_blob(
        &self,
        name: &Name,
        digest: &Digest,
        flight: &Flight,
    ) -> Result<(), Error> {
        let link = link_to(layout::layer_link(name, digest), digest);
        self.write_under(flight, vec![link], Already::IsKept).await
    }

    /// Writes links or tags, unless the flight's epoch has ended. What was begun is in flight until the store is done with
    /// it, also when the request is dropped.
    pub(crate) async fn write_under(
        &self,
        flight: &Flight,
        writes: Vec<Put>,
        already: Already,
    ) -> Result<(), Error> {
        let (epoch, entered) = (flight.epoch()?, flight.entered());
        let in_store = self.following.in_store(epoch);
        let (store, lease) = (Arc::clone(&self.store), self.lease.clone());
        let writing = tokio::spawn(async move {
            let is_held = || lease.epoch() == Some(epoch);
            let under = Under {
                epoch: in_store,
                is_held: &is_held,
            };
            let written = match already {
                Already::IsReplaced => store.put_under(under, writes).await,
                Already::IsKept => store.ensure_under(under, writes).await,
            };
            drop(entered);
            written
        });
        Ok(writing.await.map_err(Unavailable::because)??)
    }

    /// What a link points to, durable where another request may have just written it.
    pub(crate) async fn follow_settled(&self, link: &StorePath) -> Result<Option<Digest>, Error> {
        let got = self.store.get_settled(link, layout::LINK_LIMIT).await;
        held_by(link, got)
    }

    pub(crate) async fn exists(&self, path: &StorePath) -> Result<bool, Error> {
        exists(&*self.store, path).await
    }
}

/// What a link points to, in any store.
pub(crate) async fn follow(store: &dyn Driver, link: &StorePath) -> Result<Option<Digest>, Error> {
    held_by(link, store.get(link, layout::LINK_LIMIT).await)
}

/// The digest that a link holds.
pub(crate) fn pointed_to(content: &[u8]) -> Option<Digest> {
    std::str::from_utf8(content).ok()?.trim_end().parse().ok()
}

fn held_by(link: &StorePath, got: Result<Bytes, StoreError>) -> Result<Option<Digest>, Error> {
    match got {
        Ok(content) => {
            let digest = pointed_to(&content);
            if digest.is_none() {
                tracing::warn!(%link, "a link does not hold a digest and counts as absent");
            }
            Ok(digest)
        }
        Err(StoreError::NotFound(_)) => Ok(None),
        Err(StoreError::TooLarge { .. }) => {
            tracing::warn!(%link, "a link is too large to be one and counts as absent");
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

pub(crate) async fn exists(store: &dyn Driver, path: &StorePath) -> Result<bool, Error> {
    match store.stat(path).await {
        Ok(_) => Ok(true),
        Err(StoreError::NotFound(_)) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

pub(crate) fn link_to(path: StorePath, digest: &Digest) -> Put {
    Put {
        path,
        content: Bytes::from(digest.to_string()),
    }
}
