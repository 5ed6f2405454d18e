//! The bucket, as everything here uses it: single requests on single objects.

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use aws_sdk_s3::Client;
use aws_sdk_s3::types::{ObjectCannedAcl, ServerSideEncryption, StorageClass};
use bytes::Bytes;
use lru::LruCache;
use roadstead_storage::{Error, Staged};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::connect::Clients;
use crate::discards::Discards;
use crate::failure::Failure;
use crate::keys::Keys;
use crate::options::{Encryption, Parts};

/// What the reference writes everything as.
pub(crate) const CONTENT_TYPE: &str = "application/octet-stream";
/// Requests at a time, of one call.
pub(crate) const AT_ONCE: usize = 16;
/// Finished places that are remembered, so that publishing one need not ask for it: 100 bytes each.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(4096).expect("is not zero");
/// Parts on their way to the store or back, of all uploads of this driver, hold no more than this, or one part.
const IN_FLIGHT: u64 = 256 << 20;
const UNIT: u64 = 1 << 20;

/// Says of a request that writes how its object is to be kept.
macro_rules! dressed {
    ($request:expr, $dress:expr) => {{
        let dress = &$dress;
        $request
            .set_storage_class(dress.class.clone())
            .set_acl(dress.acl.clone())
            .set_server_side_encryption(dress.encryption.clone())
            .set_ssekms_key_id(dress.kms_key.clone())
    }};
}
pub(crate) use dressed;

/// How objects are kept.
#[derive(Clone, Debug)]
pub(crate) struct Dress {
    pub(crate) class: Option<StorageClass>,
    pub(crate) acl: Option<ObjectCannedAcl>,
    pub(crate) encryption: Option<ServerSideEncryption>,
    pub(crate) kms_key: Option<String>,
}

/// What is known of an object without reading it.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) size: u64,
    pub(crate) etag: Option<String>,
    pub(crate) modified: Option<SystemTime>,
}

/// A bucket.
pub(crate) struct Store {
    pub(crate) clients: Clients,
    pub(crate) bucket: String,
    pub(crate) keys: Keys,
    pub(crate) parts: Parts,
    pub(crate) dress: Dress,
    pub(crate) discards: Discards,
    places: Mutex<LruCache<String, Head>>,
    in_flight: Arc<Semaphore>,
    in_flight_units: u32,
}

impl Store {
    pub(crate) fn new(clients: Clients, options: &crate::Options) -> Self {
        let (encryption, kms_key) = match &options.encryption {
            Encryption::None => (None, None),
            Encryption::Aes256 => (Some(ServerSideEncryption::Aes256), None),
            Encryption::Kms(key) => (Some(ServerSideEncryption::AwsKms), Some(key.clone())),
        };
        let acl = options.object_acl.as_str();
        let in_flight_units = units(IN_FLIGHT.max(options.parts.chunk));
        Self {
            clients,
            bucket: options.bucket.clone(),
            keys: Keys::new(&options.root),
            parts: options.parts,
            dress: Dress {
                class: options.storage_class.as_deref().map(StorageClass::from),
                acl: (acl != "private").then(|| ObjectCannedAcl::from(acl)),
                encryption,
                kms_key,
            },
            discards: Discards::default(),
            places: Mutex::new(LruCache::new(REMEMBERED)),
            in_flight: Arc::new(Semaphore::new(in_flight_units as usize)),
            in_flight_units,
        }
    }

    /// Waits until a part of that size may be held, too.
    pub(crate) async fn room(&self, bytes: u64) -> Result<OwnedSemaphorePermit, Failure> {
        let units = units(bytes).min(self.in_flight_units);
        Arc::clone(&self.in_flight)
            .acquire_many_owned(units)
            .await
            .map_err(|closed| Failure::odd("write", "", closed.to_string()))
    }

    pub(crate) async fn head(&self, key: &str) -> Result<Head, Failure> {
        let head = self.clients.quick.head_object();
        let head = head.bucket(&self.bucket).key(key).send().await;
        let head = head.map_err(|error| Failure::of("HeadObject", key, &error))?;
        let length = head
            .content_length
            .and_then(|size| u64::try_from(size).ok());
        let modified = head.last_modified.and_then(|time| time.try_into().ok());
        Ok(Head {
            size: length.ok_or_else(|| Failure::odd("HeadObject", key, "tells no length"))?,
            etag: head.e_tag,
            modified,
        })
    }

    /// Writes an object, whole. Answers with its entity tag.
    pub(crate) async fn put(
        &self,
        client: &Client,
        key: &str,
        content: Bytes,
    ) -> Result<Option<String>, Failure> {
        let put = client.put_object().bucket(&self.bucket).key(key);
        let put = put.content_type(CONTENT_TYPE).body(content.into());
        let put = dressed!(put, self.dress).send().await;
        put.map(|put| put.e_tag)
            .map_err(|error| Failure::of("PutObject", key, &error))
    }

    /// Writes an object if there is none; whether it did. Said to be another's where this request's own first try had
    /// made it and its answer was lost.
    pub(crate) async fn put_new(&self, key: &str, content: Bytes) -> Result<bool, Failure> {
        let client = &self.clients.quick;
        let put = client.put_object().bucket(&self.bucket).key(key);
        let put = put.content_type(CONTENT_TYPE).body(content.clone().into());
        let put = dressed!(put, self.dress).if_none_match("*").send().await;
        let failure = match put {
            Ok(_) => return Ok(true),
            Err(error) => Failure::of("PutObject", key, &error),
        };
        match failure.status() {
            // Another is there, or is being written in this moment.
            Some(409 | 412) => Ok(false),
            // It knows no conditions.
            Some(501) => match self.head(key).await {
                Ok(_) => Ok(false),
                Err(failure) if failure.is_absent() => {
                    self.put(client, key, content).await.map(|_etag| true)
                }
                Err(failure) => Err(failure),
            },
            _ => Err(failure),
        }
    }

    /// A place was finished here.
    pub(crate) fn remember(&self, place: &str, size: u64, etag: Option<String>) {
        let head = Head {
            size,
            etag,
            modified: None,
        };
        self.places().put(place.to_owned(), head);
    }

    pub(crate) fn forget(&self, place: &str) {
        self.places().pop(place);
    }

    /// A place as it was when it was finished, or as it is now.
    pub(crate) async fn place(&self, staged: &Staged) -> Result<(String, Head), Error> {
        let key = self.keys.place(&staged.place).ok_or(Error::Damaged)?;
        let known = self.places().get(&staged.place).cloned();
        let head = match known {
            Some(head) => head,
            None => self.head(&key).await.map_err(Failure::joining)?,
        };
        if head.size != staged.length {
            return Err(Error::Damaged);
        }
        Ok((key, head))
    }

    fn places(&self) -> std::sync::MutexGuard<'_, LruCache<String, Head>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn units(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX >> 4)
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("bucket", &self.bucket)
            .field("keys", &self.keys)
            .finish_non_exhaustive()
    }
}
