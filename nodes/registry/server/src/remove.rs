//! Deleting manifests, tags and blobs. Only links go: the bytes stay until they are collected.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use roadstead_cache::Key;
use roadstead_metadata::Unit;
use roadstead_oci::{Digest, Name, Tag};
use roadstead_storage::{Error as StoreError, StorePath, layout};
use tokio::sync::{RwLock, RwLockReadGuard};

use crate::Registry;
use crate::belief::Withdrawal;
use crate::collect::admission::{layer, revision};
use crate::error::Error;
use crate::link::pointed_to;

/// Repositories that share a lock. A deletion holds up the pushes of those few.
const STRIPES: usize = 256;

/// Keeps a manifest's deletion apart from pushes to its repository: it decides which tags go by looking, and a tag that
/// moved meanwhile must not go with them. Good within this process, which has the store for itself.
///
/// The look at all tags is long and takes no lock: each tag that is to go is looked at again under the lock, and tags
/// that were pushed behind the look's back are told to it.
#[derive(Debug)]
pub(crate) struct Deletions {
    locks: Box<[RwLock<()>]>,
    under_way: Mutex<Vec<Arc<Deletion>>>,
}

/// A manifest's deletion that is under way.
#[derive(Debug)]
struct Deletion {
    name: Name,
    digest: Digest,
    /// Pushed since the deletion began.
    tagged: Mutex<Vec<Tag>>,
}

impl Default for Deletions {
    fn default() -> Self {
        Self {
            locks: (0..STRIPES).map(|_| RwLock::new(())).collect(),
            under_way: Mutex::default(),
        }
    }
}

impl Deletions {
    fn of(&self, name: &Name) -> &RwLock<()> {
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        let stripe = hasher.finish() % STRIPES as u64;
        &self.locks[usize::try_from(stripe).unwrap_or(0)]
    }

    /// Nothing of the repository is removed by the deletion of a manifest while this is held.
    pub(crate) async fn held_off(&self, name: &Name) -> RwLockReadGuard<'_, ()> {
        self.of(name).read().await
    }

    /// Tags were pointed to a manifest. Told while deletions are held off.
    pub(crate) fn tell(&self, name: &Name, digest: &Digest, tags: &[Tag]) {
        for deletion in lock(&self.under_way).iter() {
            if deletion.name == *name && deletion.digest == *digest {
                lock(&deletion.tagged).extend_from_slice(tags);
            }
        }
    }

    fn begin(&self, name: &Name, digest: &Digest) -> UnderWay<'_> {
        let deletion = Arc::new(Deletion {
            name: name.clone(),
            digest: digest.clone(),
            tagged: Mutex::default(),
        });
        lock(&self.under_way).push(Arc::clone(&deletion));
        UnderWay {
            deletions: self,
            deletion,
        }
    }
}

/// Told of pushes until it is dropped.
struct UnderWay<'a> {
    deletions: &'a Deletions,
    deletion: Arc<Deletion>,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        lock(&self.deletions.under_way).retain(|other| !Arc::ptr_eq(other, &self.deletion));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Tags listed in one step, and looked at together.
const PAGE: usize = 1000;
const AT_ONCE: usize = 16;

impl Registry {
    /// Removes a manifest from the repository, and the tags that point to it.
    ///
    /// The tags go first: cut off half way, the manifest can still be deleted.
    pub(crate) async fn remove_manifest(&self, name: &Name, digest: &Digest) -> Result<(), Error> {
        self.check_deletion()?;
        let withdrawal = self.withdraw(revision(name, digest)).await?;
        let removed = self.remove_manifest_here(name, digest, withdrawal.as_ref());
        let removed = removed.await;
        let removed = ended(withdrawal, removed).await?;
        removed.ok_or_else(|| Error::ManifestUnknown {
            name: name.clone(),
            reference: digest.to_string(),
        })
    }

    /// `None` if it is not there.
    async fn remove_manifest_here(
        &self,
        name: &Name,
        digest: &Digest,
        withdrawal: Option<&Withdrawal>,
    ) -> Result<Option<()>, Error> {
        let under_way = self.deletions.begin(name, digest);
        let link = layout::revision_link(name, digest);
        if !self.exists(&link).await? {
            return Ok(None);
        }
        self.remove_tags_of(name, digest).await?;
        let alone = self.deletions.of(name).write().await;
        let pushed_since = std::mem::take(&mut *lock(&under_way.deletion.tagged));
        for tag in pushed_since {
            self.remove_if_tag_of(name, digest, &tag).await?;
        }
        let key = Key::manifest(name, digest);
        let directory = layout::revision(name, digest);
        let removed = self.remove_known(&key, &directory, withdrawal);
        let removed = removed.await?;
        drop(alone);
        if removed.is_some() && !self.lease.is_unlimited() {
            // Other nodes may have tagged it since the look; from now on, a push there finds the manifest gone.
            self.remove_tags_of(name, digest).await?;
        }
        Ok(removed)
    }

    /// Tells other nodes that a link is about to be removed, if there are any, and sees to it that none of them writes it
    /// or a tag to it any more which began to before: under a lease that holds or under one that is over.
    async fn withdraw(&self, unit: Unit) -> Result<Option<Withdrawal>, Error> {
        if self.lease.is_unlimited() {
            return Ok(None);
        }
        let belief = self.following.belief();
        let mut withdrawal = belief.withdraw(&self.lease, unit).await?;
        self.following.end_epochs_at_once().await?;
        withdrawal.begins()?;
        Ok(Some(withdrawal))
    }

    /// Removes the directory of a link; `None` if there is no link. Whatever comes of it, nothing that was known of what it
    /// led to is believed afterwards.
    async fn remove_known(
        &self,
        key: &Key,
        directory: &StorePath,
        withdrawal: Option<&Withdrawal>,
    ) -> Result<Option<()>, Error> {
        let removal = self.cache.removing(key).await;
        let removed = self.remove_linked(directory, withdrawal).await;
        removal.end().await;
        removed
    }

    /// One of several nodes may be so late that the same was removed and pushed again at another: it empties the directory
    /// that it opened before it asked the log whether it still has its lease. What is pushed again lies in one made later.
    pub(crate) async fn remove_linked(
        &self,
        directory: &StorePath,
        withdrawal: Option<&Withdrawal>,
    ) -> Result<Option<()>, Error> {
        let link = layout::link_in(directory);
        let Some(withdrawal) = withdrawal else {
            return match self.store.remove(&link).await {
                Err(StoreError::NotFound(_)) => Ok(None),
                removed => Ok(Some(removed?)),
            };
        };
        if !self.exists(&link).await? {
            return Ok(None);
        }
        let still = withdrawal.still();
        let directory = std::slice::from_ref(directory);
        let _or_pushed_again = self.store.remove_fenced(directory, &still).await?;
        Ok(Some(()))
    }

    async fn remove_tags_of(&self, name: &Name, digest: &Digest) -> Result<(), Error> {
        let (directory, mut after) = (layout::tags(name), None);
        loop {
            let page = match self.store.list(&directory, after.as_deref(), PAGE).await {
                Err(StoreError::NotFound(_)) => return Ok(()),
                page => page?,
            };
            let Some(last) = page.last() else {
                return Ok(());
            };
            after = Some(last.name.clone());
            let tags: Vec<Tag> = page
                .iter()
                .filter_map(|entry| entry.name.parse().ok())
                .collect();
            for some in tags.chunks(AT_ONCE) {
                let looks = some.iter().map(|tag| self.is_tag_of(name, digest, tag));
                let looks = futures::future::try_join_all(looks).await?;
                for (tag, _) in some.iter().zip(looks).filter(|(_, is_one)| *is_one) {
                    let _alone = self.deletions.of(name).write().await;
                    self.remove_if_tag_of(name, digest, tag).await?;
                }
            }
        }
    }

    async fn is_tag_of(&self, name: &Name, digest: &Digest, tag: &Tag) -> Result<bool, Error> {
        let current = self.follow(&layout::tag_current(name, tag)).await?;
        Ok(current.as_ref() == Some(digest))
    }

    /// Removes a tag unless it has moved on: the store looks again in the moment in which it goes.
    async fn remove_if_tag_of(&self, name: &Name, digest: &Digest, tag: &Tag) -> Result<(), Error> {
        let link = layout::tag_current(name, tag);
        let Some(content) = self.link_content(&link).await? else {
            return Ok(());
        };
        if pointed_to(&content).as_ref() == Some(digest)
            && self.store.remove_if(&link, &content).await?
        {
            self.forget_tag(name, tag).await?;
        }
        Ok(())
    }

    /// Removes a tag; the manifest stays, and other tags on it.
    pub(crate) async fn remove_tag(&self, name: &Name, tag: &Tag) -> Result<(), Error> {
        self.check_deletion()?;
        let link = layout::tag_current(name, tag);
        let Some(content) = self.link_content(&link).await? else {
            return Err(Error::ManifestUnknown {
                name: name.clone(),
                reference: tag.to_string(),
            });
        };
        let withdrawal = match pointed_to(&content) {
            Some(digest) => self.withdraw(revision(name, &digest)).await?,
            None => None,
        };
        let removed = async {
            // One that moved meanwhile was pushed after it was removed.
            if self.store.remove_if(&link, &content).await? {
                self.forget_tag(name, tag).await?;
            }
            Ok(())
        };
        ended(withdrawal, removed.await).await
    }

    /// What the reference remembers of a tag that is gone. Nobody reads it without the tag: one that is pushed again at
    /// the same time may lose some of it.
    async fn forget_tag(&self, name: &Name, tag: &Tag) -> Result<(), Error> {
        match self.store.remove(&layout::tag_indexes(name, tag)).await {
            Ok(()) | Err(StoreError::NotFound(_)) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(self.store.prune(&layout::tag(name, tag)).await?)
    }

    async fn link_content(&self, link: &StorePath) -> Result<Option<Bytes>, Error> {
        match self.store.get(link, layout::LINK_LIMIT).await {
            Ok(content) => Ok(Some(content)),
            Err(StoreError::NotFound(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    pub(crate) async fn remove_blob(&self, name: &Name, digest: &Digest) -> Result<(), Error> {
        self.check_deletion()?;
        let withdrawal = self.withdraw(layer(name, digest)).await?;
        let (key, directory) = (Key::blob(name, digest), layout::layer(name, digest));
        let removed = self.remove_known(&key, &directory, withdrawal.as_ref());
        let removed = removed.await;
        let removed = ended(withdrawal, removed).await?;
        removed.ok_or_else(|| Error::BlobUnknown {
            name: name.clone(),
            digest: digest.clone(),
        })
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

/// Also what was not there may be believed by another node: somebody was about to say that it is gone. What failed may
/// happen yet, and is withdrawn for longer.
async fn ended<T>(withdrawal: Option<Withdrawal>, removed: Result<T, Error>) -> Result<T, Error> {
    let removed = removed?;
    if let Some(withdrawal) = withdrawal {
        withdrawal.end().await?;
    }
    Ok(removed)
}

#[cfg(test)]
#[path = "remove_tests.rs"]
mod tests;
