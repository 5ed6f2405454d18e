//! Deleting manifests, tags and blobs. Only links go: the bytes stay until they are collected.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use roadstead_oci::{Digest, Name, Tag};
use roadstead_storage::{Error as StoreError, layout};

use tokio::sync::{RwLock, RwLockReadGuard};

use crate::Registry;
use crate::error::Error;

/// Repositories that share a lock. A deletion holds up the pushes of those few.
const STRIPES: usize = 256;

/// Keeps a manifest's deletion apart from pushes to its repository: it decides which tags go by looking, and a tag that
/// moved meanwhile must not go with them. Good within this process, which has the store for itself.
#[derive(Debug)]
pub(crate) struct Deletions(Box<[RwLock<()>]>);

impl Default for Deletions {
    fn default() -> Self {
        Self((0..STRIPES).map(|_| RwLock::new(())).collect())
    }
}

impl Deletions {
    fn of(&self, name: &Name) -> &RwLock<()> {
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        let stripe = hasher.finish() % STRIPES as u64;
        &self.0[usize::try_from(stripe).unwrap_or(0)]
    }

    /// No manifest of the repository is deleted while this is held.
    pub(crate) async fn held_off(&self, name: &Name) -> RwLockReadGuard<'_, ()> {
        self.of(name).read().await
    }
}

/// Tags looked at in one step.
const PAGE: usize = 1000;

impl Registry {
    /// Removes a manifest from the repository, and the tags that point to it.
    ///
    /// The tags go first: cut off half way, the manifest can still be deleted.
    pub(crate) async fn remove_manifest(&self, name: &Name, digest: &Digest) -> Result<(), Error> {
        self.check_deletion()?;
        let unknown = || Error::ManifestUnknown {
            name: name.clone(),
            reference: digest.to_string(),
        };
        let _alone = self.deletions.of(name).write().await;
        let link = layout::revision_link(name, digest);
        if !self.exists(&link).await? {
            return Err(unknown());
        }
        self.remove_tags_of(name, digest).await?;
        match self.store.remove(&link).await {
            Err(StoreError::NotFound(_)) => Err(unknown()),
            removed => Ok(removed?),
        }
    }

    async fn remove_tags_of(&self, name: &Name, digest: &Digest) -> Result<(), Error> {
        let mut after = None;
        while let Some(tag) = self.next_tag_of(name, digest, &mut after).await? {
            match self.store.remove(&layout::tag(name, &tag)).await {
                Err(StoreError::NotFound(_)) => {}
                removed => removed?,
            }
        }
        Ok(())
    }

    /// The first tag after `after` that points to this manifest.
    async fn next_tag_of(
        &self,
        name: &Name,
        digest: &Digest,
        after: &mut Option<String>,
    ) -> Result<Option<Tag>, Error> {
        loop {
            let page = match self
                .store
                .list(&layout::tags(name), after.as_deref(), PAGE)
                .await
            {
                Err(StoreError::NotFound(_)) => return Ok(None),
                page => page?,
            };
            if page.is_empty() {
                return Ok(None);
            }
            for entry in page {
                let tag = entry.name.parse::<Tag>().ok();
                *after = Some(entry.name);
                if let Some(tag) = tag
                    && self
                        .follow(&layout::tag_current(name, &tag))
                        .await?
                        .as_ref()
                        == Some(digest)
                {
                    return Ok(Some(tag));
                }
            }
        }
    }

    /// Removes a tag; the manifest stays, and other tags on it.
    pub(crate) async fn remove_tag(&self, name: &Name, tag: &Tag) -> Result<(), Error> {
        self.check_deletion()?;
        let unknown = || Error::ManifestUnknown {
            name: name.clone(),
            reference: tag.to_string(),
        };
        if !self.exists(&layout::tag_current(name, tag)).await? {
            return Err(unknown());
        }
        match self.store.remove(&layout::tag(name, tag)).await {
            Err(StoreError::NotFound(_)) => Err(unknown()),
            removed => Ok(removed?),
        }
    }

    pub(crate) async fn remove_blob(&self, name: &Name, digest: &Digest) -> Result<(), Error> {
        self.check_deletion()?;
        match self.store.remove(&layout::layer_link(name, digest)).await {
            Err(StoreError::NotFound(_)) => Err(Error::BlobUnknown {
                name: name.clone(),
                digest: digest.clone(),
            }),
            removed => Ok(removed?),
        }
    }

    fn check_deletion(&self) -> Result<(), Error> {
        if self.options.delete_enabled {
            return Ok(());
        }
        Err(Error::Unsupported(
            "deletion is off: set storage.delete.enabled to true",
        ))
    }
}
