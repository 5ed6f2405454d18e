//! Pulling: what a name and a reference lead to, and its bytes.

use std::borrow::Cow;
use std::ops::Deref;
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt as _;
use roadstead_oci::{Digest, Manifest, Name, Reference};
use roadstead_storage::{Error as StoreError, Fetch, Opened, StorePath, layout};

use crate::Registry;
use crate::error::Error;
use crate::room::{Room, SMALL, Turn};

/// Manifests larger than what may be pushed today can have been pushed under another limit.
const READ_LIMIT: usize = 64 << 20;

/// KiB of large manifests that are read at a time.
pub(crate) const MANIFESTS_IN_MEMORY: u32 = 8 * 1024;

/// How long a client may begin to read where it was sent: the reference's.
const REDIRECT_FOR: Duration = Duration::from_mins(20);

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
        let digest = match reference {
            Reference::Tag(tag) => self.tagged(name, tag).await?,
            Reference::Digest(digest) => self.linked_manifest(name, digest).await?,
        };
        let digest = digest.ok_or_else(unknown)?;
        let content = self.manifest_bytes(&digest).await?.ok_or_else(unknown)?;
        let media_type = Manifest::content_type(&content);
        Ok(StoredManifest {
            digest,
            media_type,
            content,
        })
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

    /// A blob that the repository has, and under which digest it is stored.
    pub(crate) async fn blob(
        &self,
        name: &Name,
        digest: &Digest,
    ) -> Result<(Digest, Opened), Error> {
        let unknown = || Error::BlobUnknown {
            name: name.clone(),
            digest: digest.clone(),
        };
        let linked = self.linked_blob(name, digest).await?.ok_or_else(unknown)?;
        match self.store.open(&layout::blob_data(&linked)).await {
            Err(StoreError::NotFound(_)) => Err(unknown()),
            opened => Ok((linked, opened?)),
        }
    }

    /// Where the store itself gives a blob's bytes to a client, if it does and clients are to be sent there.
    pub(crate) async fn elsewhere(
        &self,
        digest: &Digest,
        fetch: Fetch,
    ) -> Result<Option<String>, Error> {
        if !self.options.redirects {
            return Ok(None);
        }
        let data = layout::blob_data(digest);
        Ok(self.store.redirect(&data, fetch, REDIRECT_FOR).await?)
    }

    /// Bytes of a blob that is stored.
    pub(crate) async fn blob_size(&self, digest: &Digest) -> Result<u64, Error> {
        Ok(self.store.stat(&layout::blob_data(digest)).await?.size)
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
