//! Mounting: a blob that is stored already becomes one of another repository's, without its bytes being sent.

use roadstead_cache::Key;
use roadstead_oci::{Digest, Name};
use roadstead_storage::{Error as StoreError, layout};

use crate::Registry;
use crate::collect::admission::{ATTEMPTS, Flight, of_blob, undone};
use crate::error::Error;

impl Registry {
    /// Mounts a blob from a repository that has it, or, where none is named, from whichever has. Answers whether it
    /// was there; if not, the client uploads it.
    pub(crate) async fn mount(
        &self,
        name: &Name,
        digest: &Digest,
        from: Option<&Name>,
    ) -> Result<bool, Error> {
        let mut flight = self.promise(of_blob(name, digest));
        for _ in 0..ATTEMPTS {
            // What is being reaped does not exist.
            if !self.admit(&mut flight).await?.is_empty()
                || !self.mount_once(name, digest, from, &flight).await?
            {
                return Ok(false);
            }
            if self.stands(&flight)? {
                return Ok(true);
            }
        }
        Err(undone())
    }

    async fn mount_once(
        &self,
        name: &Name,
        digest: &Digest,
        from: Option<&Name>,
        flight: &Flight,
    ) -> Result<bool, Error> {
        let ticket = flight.ticket();
        let known = match from {
            Some(from) => self.cache.find(ticket, &Key::blob(from, digest)).await,
            None => None,
        };
        let found = match from {
            Some(from) if known.is_none() => self.linked_blob(from, digest).await?,
            _ => Some(digest.clone()),
        };
        let Some(found) = found.filter(|found| found == digest) else {
            return Ok(false);
        };
        match self.store.settle(&[layout::blob_data(&found)]).await {
            Ok(()) => {}
            Err(StoreError::NotFound(_)) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        self.link_blob(name, &found, flight).await?;
        if let Some(known) = known {
            self.cache.learn(ticket, &Key::blob(name, digest), &known);
        }
        Ok(true)
    }
}
