//! Pulling: what a name and a reference lead to, and its bytes.

use std::borrow::Cow;

use bytes::Bytes;
use roadstead_oci::{Digest, Manifest, Name, Reference};
use roadstead_storage::{Error as StoreError, Fetch, Opened, layout};

use crate::Registry;
use crate::error::Error;

/// Manifests larger than what may be pushed today can have been pushed under another limit.
const READ_LIMIT: usize = 64 << 20;

/// A stored manifest, its bytes exactly as they were pushed.
#[derive(Debug)]
pub(crate) struct StoredManifest {
    pub(crate) digest: Digest,
    pub(crate) media_type: Cow<'static, str>,
    pub(crate) bytes: Bytes,
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
        let bytes = self.manifest_bytes(&digest).await?.ok_or_else(unknown)?;
        let media_type = Manifest::content_type(&bytes);
        Ok(StoredManifest {
            digest,
            media_type,
            bytes,
        })
    }

    pub(crate) async fn manifest_bytes(&self, digest: &Digest) -> Result<Option<Bytes>, Error> {
        match self.store.get(&layout::blob_data(digest), READ_LIMIT).await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(StoreError::NotFound(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
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
        let Some(valid) = self.options.redirects else {
            return Ok(None);
        };
        let data = layout::blob_data(digest);
        Ok(self.store.redirect(&data, fetch, valid).await?)
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
