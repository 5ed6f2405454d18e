//! Pulling: what a name and a reference lead to, and its bytes.

use std::borrow::Cow;
use std::ops::Deref;

use bytes::Bytes;
use futures::TryStreamExt as _;
use roadstead_cache::{Descriptor, Key, Ticket};
use roadstead_oci::{Digest, Manifest, Name, Reference};
use roadstead_storage::{Error as StoreError, Fetch, Opened, StorePath, layout};

use crate::Registry;
use crate::collect::admission::{ATTEMPTS, Flight, data, of_blob, of_manifest, undone};
use crate::error::Error;
use crate::room::{Room, SMALL, Turn};

/// Manifests larger than what may be pushed today can have been pushed under another limit.
const READ_LIMIT: usize = 64 << 20;

/// KiB of large manifests that are read at a time.
pub(crate) const MANIFESTS_IN_MEMORY: u32 = 8 * 1024;

/// A stored manifest, its bytes exactly as they were pushed.
#[derive(Debug)]
pub(crate) struct StoredManifest {
    pub(crate) digest: Digest,
    pub(crate) media_type: Cow<'static, str>,
    pub(crate) content: Content,
}

/// A manifest's bytes, for as long as something is done with them here. A large one is not for keeping until a client has
/// taken it: that is streamed.
#[derive(Debug)]
pub(crate) struct Content {
    bytes: Bytes,
    _room: Option<Room>,
}

impl Deref for Content {
    type Target = Bytes;

    fn deref(&self) -> &Bytes {
        &self.bytes
    }
}

/// What is sent of a manifest.
#[derive(Debug)]
pub(crate) enum Sending {
    Whole(Bytes),
    Stream(Opened),
}

/// A blob of a repository.
#[derive(Debug)]
pub(crate) struct FoundBlob {
    /// Under which it is stored.
    pub(crate) digest: Digest,
    /// Bytes.
    pub(crate) size: u64,
    /// If the store was asked.
    opened: Option<Opened>,
}

impl StoredManifest {
    fn of(digest: Digest, content: Content) -> Self {
        let media_type = Manifest::content_type(&content);
        Self {
            digest,
            media_type,
            content,
        }
    }
}

impl Registry {
    pub(crate) async fn manifest(
        &self,
        name: &Name,
        reference: &Reference,
    ) -> Result<StoredManifest, Error> {
        let unknown = || Error::ManifestUnknown {
            name: name.clone(),
            reference: reference.to_string(),
        };
        // Where a tag points is never remembered.
        let asked = match reference {
            Reference::Tag(tag) => self.follow(&layout::tag_current(name, tag)).await?,
            Reference::Digest(digest) => Some(digest.clone()),
        };
        let asked = asked.ok_or_else(unknown)?;
        let mut flight = self.lookup(of_manifest(name, &asked));
        for _ in 0..ATTEMPTS {
            if !self.admit(&mut flight).await?.is_empty() {
                return Err(unknown());
            }
            let stored = self.stored_manifest(name, &asked, flight.ticket());
            let stored = stored.await?.ok_or_else(unknown)?;
            let is_news = stored.digest != asked && flight.widen([data(&stored.digest)]);
            if !is_news && self.stands(&flight)? {
                return Ok(stored);
            }
        }
        Err(undone())
    }

    async fn stored_manifest(
        &self,
        name: &Name,
        asked: &Digest,
        ticket: Ticket,
    ) -> Result<Option<StoredManifest>, Error> {
        let key = Key::manifest(name, asked);
        if self.cache.find(ticket, &key).await.is_some() {
            if let Some(content) = self.manifest_content(asked).await? {
                return Ok(Some(StoredManifest::of(asked.clone(), content)));
            }
            self.forget(&key).await;
        }
        let Some(digest) = self.linked_manifest(name, asked).await? else {
            return Ok(None);
        };
        let Some(content) = self.manifest_content(&digest).await? else {
            return Ok(None);
        };
        let stored = StoredManifest::of(digest, content);
        if stored.digest == *asked {
            let descriptor = Descriptor {
                size: stored.content.len() as u64,
                media_type: stored.media_type.clone(),
            };
            self.cache.learn(ticket, &key, &descriptor);
        }
        Ok(Some(stored))
    }

    /// A manifest's bytes, from memory or the store: they never change.
    pub(crate) async fn manifest_content(&self, digest: &Digest) -> Result<Option<Content>, Error> {
        if let Some(bytes) = self.cache.manifest(digest) {
            return Ok(Some(Content { bytes, _room: None }));
        }
        let content = self.manifest_bytes(digest).await?;
        if let Some(content) = &content {
            self.cache.keep_manifest(digest, &content.bytes);
        }
        Ok(content)
    }

    /// What was known is not so: somebody else had a hand in the store.
    async fn forget(&self, key: &Key) {
        tracing::warn!(name = %key.name, digest = %key.digest, "known to exist, and not in the storage: forgotten");
        self.cache.removing(key).await.end().await;
    }

    /// The bytes for a client, which may take them as slowly as it likes: of a large manifest, they come from the store as
    /// it does.
    pub(crate) async fn send_manifest(
        &self,
        digest: &Digest,
        content: Content,
    ) -> Result<Sending, Error> {
        if content.len() <= SMALL {
            return Ok(Sending::Whole(content.bytes));
        }
        drop(content);
        let opened = self.store.open(&layout::blob_data(digest)).await?;
        Ok(Sending::Stream(opened))
    }

    pub(crate) async fn manifest_bytes(&self, digest: &Digest) -> Result<Option<Content>, Error> {
        self.manifest_bytes_in(digest, None).await
    }

    /// The same, with a turn that is taken before a large one is read.
    pub(crate) async fn manifest_bytes_in(
        &self,
        digest: &Digest,
        turn: Option<&Turn<'_>>,
    ) -> Result<Option<Content>, Error> {
        let data = layout::blob_data(digest);
        let content = match self.store.get(&data, SMALL).await {
            Err(StoreError::TooLarge { .. }) => self.large_manifest(&data, turn).await,
            Ok(bytes) => Ok(Content { bytes, _room: None }),
            Err(error) => Err(error.into()),
        };
        match content {
            Ok(content) => Ok(Some(content)),
            Err(Error::Store(StoreError::NotFound(_))) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn large_manifest(
        &self,
        data: &StorePath,
        turn: Option<&Turn<'_>>,
    ) -> Result<Content, Error> {
        if let Some(turn) = turn {
            turn.take().await?;
        }
        let size = self.store.stat(data).await?.size;
        let room = self.manifests_in_memory.wait(size).await?;
        Ok(Content {
            bytes: self.whole(data).await?,
            _room: Some(room),
        })
    }

    /// Read in pieces: not each thread of those that wait for the disk is to need memory for all of it.
    async fn whole(&self, data: &StorePath) -> Result<Bytes, Error> {
        let Opened { size, object, .. } = self.store.open(data).await?;
        let Some(length) = usize::try_from(size)
            .ok()
            .filter(|size| *size <= READ_LIMIT)
        else {
            let (path, limit) = (data.clone(), READ_LIMIT);
            return Err(StoreError::TooLarge { path, limit }.into());
        };
        let mut whole = Vec::with_capacity(length);
        let mut pieces = object.read(0..size);
        while let Some(piece) = pieces.try_next().await? {
            whole.extend_from_slice(&piece);
        }
        Ok(whole.into())
    }

    /// A blob that the repository has, to be sent.
    pub(crate) async fn blob(&self, name: &Name, digest: &Digest) -> Result<FoundBlob, Error> {
        let flight = self.lookup(of_blob(name, digest));
        self.admitted_blob(flight, name, digest).await
    }

    /// The same for one who asks whether it is there. Who is told so does not bring it: without a lease nobody is.
    pub(crate) async fn promised_blob(
        &self,
        name: &Name,
        digest: &Digest,
    ) -> Result<FoundBlob, Error> {
        let flight = self.promise(of_blob(name, digest));
        self.admitted_blob(flight, name, digest).await
    }

    async fn admitted_blob(
        &self,
        mut flight: Flight,
        name: &Name,
        digest: &Digest,
    ) -> Result<FoundBlob, Error> {
        for _ in 0..ATTEMPTS {
            if !self.admit(&mut flight).await?.is_empty() {
                return Err(Error::BlobUnknown {
                    name: name.clone(),
                    digest: digest.clone(),
                });
            }
            let found = self.found_blob(name, digest, flight.ticket()).await?;
            let is_news = found.digest != *digest && flight.widen([data(&found.digest)]);
            if !is_news && self.stands(&flight)? {
                return Ok(found);
            }
        }
        Err(undone())
    }

    pub(crate) async fn found_blob(
        &self,
        name: &Name,
        digest: &Digest,
        ticket: Ticket,
    ) -> Result<FoundBlob, Error> {
        let key = Key::blob(name, digest);
        if let Some(known) = self.cache.find(ticket, &key).await {
            return Ok(FoundBlob {
                digest: digest.clone(),
                size: known.size,
                opened: None,
            });
        }
        let (digest, opened) = self.stored_blob(&key, ticket).await?;
        Ok(FoundBlob {
            digest,
            size: opened.size,
            opened: Some(opened),
        })
    }

    /// A blob's bytes.
    pub(crate) async fn open(&self, name: &Name, found: FoundBlob) -> Result<Opened, Error> {
        if let Some(opened) = found.opened {
            return Ok(opened);
        }
        match self.store.open(&layout::blob_data(&found.digest)).await {
            Err(StoreError::NotFound(_)) => {
                let key = Key::blob(name, &found.digest);
                self.forget(&key).await;
                // It is not in flight any more, and learns nothing.
                let (_, opened) = self.stored_blob(&key, Ticket::default()).await?;
                Ok(opened)
            }
            opened => Ok(opened?),
        }
    }

    /// As the store says it, which is remembered: the digest under which it is stored, and its bytes.
    async fn stored_blob(&self, key: &Key, ticket: Ticket) -> Result<(Digest, Opened), Error> {
        let Key { name, digest, .. } = key;
        let unknown = || Error::BlobUnknown {
            name: name.clone(),
            digest: digest.clone(),
        };
        let linked = self.linked_blob(name, digest).await?.ok_or_else(unknown)?;
        let opened = match self.store.open(&layout::blob_data(&linked)).await {
            Err(StoreError::NotFound(_)) => return Err(unknown()),
            opened => opened?,
        };
        if linked == *digest {
            self.cache
                .learn(ticket, key, &Descriptor::of_blob(opened.size));
        }
        Ok((linked, opened))
    }

    /// Where the store itself gives a blob's bytes to a client, if it does and clients are to be sent there.
    pub(crate) async fn elsewhere(
        &self,
        digest: &Digest,
        fetch: Fetch,
    ) -> Result<Option<String>, Error> {
        let Some(valid) = self.options.redirects else {
            return Ok(None);
        };
        let data = layout::blob_data(digest);
        Ok(self.store.redirect(&data, fetch, valid).await?)
    }

    /// Bytes of a blob that was just seen to be there.
    pub(crate) async fn blob_size(&self, name: &Name, digest: &Digest) -> Result<u64, Error> {
        match self.cache.describe(&Key::blob(name, digest)).await {
            Some(known) => Ok(known.size),
            None => Ok(self.store.stat(&layout::blob_data(digest)).await?.size),
        }
    }

    /// Whether the repository has ever held a manifest.
    pub(crate) async fn check_known(&self, name: &Name) -> Result<(), Error> {
        if self.exists(&layout::manifests(name)).await? {
            Ok(())
        } else {
            Err(Error::NameUnknown(name.clone()))
        }
    }
}

#[cfg(test)]
#[path = "cached_tests.rs"]
mod tests;
