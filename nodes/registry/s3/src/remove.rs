//! Removing: objects by the thousand, what lies below a prefix, and what crashes left.

use std::sync::Arc;
use std::time::SystemTime;

use aws_sdk_s3::types::{Delete, MultipartUpload, ObjectIdentifier};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use roadstead_storage::{Error, StorePath};

use crate::failure::Failure;
use crate::list::{Listing, PAGE};
use crate::store::{AT_ONCE, Store};

/// Removes a file, or what lies in a directory.
pub(crate) async fn remove(store: &Store, path: &StorePath) -> Result<(), Error> {
    let key = store.keys.file(path);
    let file = async {
        match store.head(&key).await {
            Ok(_) => object(store, &key).await.map(|()| true),
            Err(failure) if failure.is_absent() => Ok(false),
            Err(failure) => Err(failure),
        }
    };
    let below = below(store, store.keys.directory(path));
    let (file, below) = futures::future::join(file, below).await;
    match (
        file.map_err(Failure::writing)?,
        below.map_err(Failure::writing)?,
    ) {
        (false, 0) => Err(Error::NotFound(path.clone())),
        _ => Ok(()),
    }
}

/// Removes all keys with that prefix. Answers with their number.
async fn below(store: &Store, prefix: String) -> Result<usize, Failure> {
    let listing = Listing {
        prefix,
        page: PAGE,
        ..Listing::default()
    };
    let (mut removed, mut token) = (0, None);
    loop {
        let page = listing.page(store, token).await?;
        let keys = page.contents.unwrap_or_default().into_iter();
        let keys: Vec<String> = keys.filter_map(|object| object.key).collect();
        removed += keys.len();
        objects(store, keys).await?;
        token = page.next_continuation_token;
        if token.is_none() {
            return Ok(removed);
        }
    }
}

async fn object(store: &Store, key: &str) -> Result<(), Failure> {
    let delete = store.clients.quick.delete_object();
    let deleted = delete.bucket(&store.bucket).key(key).send().await;
    deleted
        .map(drop)
        .map_err(|error| Failure::of("DeleteObject", key, &error))
}

/// Removes an object if it holds this content; whether it did. A store that knows no conditional deletion removes what was
/// written in the moment between as well.
pub(crate) async fn object_if(store: &Store, key: &str, content: &[u8]) -> Result<bool, Failure> {
    let get = store.clients.quick.get_object().bucket(&store.bucket);
    let found = match get.key(key).send().await {
        Ok(found) => found,
        Err(error) => {
            let failure = Failure::of("GetObject", key, &error);
            return if failure.is_absent() {
                Ok(false)
            } else {
                Err(failure)
            };
        }
    };
    let is_as_long = found
        .content_length
        .and_then(|length| usize::try_from(length).ok());
    if is_as_long != Some(content.len()) {
        return Ok(false);
    }
    let etag = found.e_tag;
    let body = found.body.collect().await;
    let body = body.map_err(|error| Failure::odd("GetObject", key, error.to_string()))?;
    if body.into_bytes() != content {
        return Ok(false);
    }
    let delete = store.clients.quick.delete_object().bucket(&store.bucket);
    match delete.key(key).set_if_match(etag).send().await {
        Ok(_) => Ok(true),
        Err(error) => {
            let failure = Failure::of("DeleteObject", key, &error);
            if failure.is_changed() || failure.is_absent() {
                return Ok(false);
            }
            if failure.status() == Some(501) {
                return object(store, key).await.map(|()| true);
            }
            Err(failure)
        }
    }
}

/// Removes objects; it is no error when they are not there.
pub(crate) async fn objects(store: &Store, keys: Vec<String>) -> Result<(), Failure> {
    if let [key] = keys.as_slice() {
        return object(store, key).await;
    }
    for keys in keys.chunks(PAGE.unsigned_abs() as usize) {
        many(store, keys).await?;
    }
    Ok(())
}

async fn many(store: &Store, keys: &[String]) -> Result<(), Failure> {
    const DELETE: &str = "DeleteObjects";
    let prefix = keys.first().map_or("", String::as_str);
    let invalid =
        |error: aws_sdk_s3::error::BuildError| Failure::odd(DELETE, prefix, error.to_string());
    let named = keys
        .iter()
        .map(|key| ObjectIdentifier::builder().key(key).build());
    let named: Vec<ObjectIdentifier> = named.collect::<Result<_, _>>().map_err(invalid)?;
    let named = Delete::builder().set_objects(Some(named)).quiet(true);
    let named = named.build().map_err(invalid)?;
    let delete = store.clients.quick.delete_objects();
    let deleted = delete.bucket(&store.bucket).delete(named).send().await;
    let deleted = deleted.map_err(|error| Failure::of(DELETE, prefix, &error))?;
    match deleted
        .errors()
        .iter()
        .find(|error| error.code() != Some("NoSuchKey"))
    {
        None => Ok(()),
        Some(error) => Err(Failure::coded(
            DELETE,
            error.key().unwrap_or_default(),
            error.code().unwrap_or_default(),
            error.message().unwrap_or_default(),
        )),
    }
}

/// Aborts multipart uploads of ours that began before. Answers with their number.
pub(crate) async fn sweep(store: &Arc<Store>, before: SystemTime) -> Result<usize, Failure> {
    let mut aborted = 0;
    for prefix in store.keys.multiparts() {
        let (mut key, mut id) = (None, None);
        loop {
            let list = store.clients.quick.list_multipart_uploads();
            let list = list.bucket(&store.bucket).prefix(&prefix);
            let list = list.set_key_marker(key).set_upload_id_marker(id);
            let page = list.send().await;
            let page =
                page.map_err(|error| Failure::of("ListMultipartUploads", &prefix, &error))?;
            let uploads = page.uploads.unwrap_or_default().into_iter();
            let old = uploads.filter(|upload| is_older(upload, before));
            // A store that knows no prefixes must not cost others their uploads.
            let ours =
                old.filter(|upload| upload.key().is_some_and(|key| key.starts_with(&prefix)));
            let ended =
                stream::iter(ours.map(|upload| abort(store, upload))).buffer_unordered(AT_ONCE);
            aborted += ended
                .try_fold(0, |sum, ()| std::future::ready(Ok(sum + 1)))
                .await?;
            if page.is_truncated != Some(true) {
                break;
            }
            (key, id) = (page.next_key_marker, page.next_upload_id_marker);
        }
    }
    Ok(aborted)
}

fn is_older(upload: &MultipartUpload, before: SystemTime) -> bool {
    let began = upload.initiated().copied();
    let began = began.and_then(|time| SystemTime::try_from(time).ok());
    began.is_some_and(|began| began < before)
}

async fn abort(store: &Store, upload: MultipartUpload) -> Result<(), Failure> {
    let (key, id) = (upload.key.unwrap_or_default(), upload.upload_id);
    let abort = store.clients.quick.abort_multipart_upload();
    let abort = abort.bucket(&store.bucket).key(&key).set_upload_id(id);
    match abort
        .send()
        .await
        .map_err(|error| Failure::of("AbortMultipartUpload", &key, &error))
    {
        Err(failure) if !failure.is_ended_upload() => Err(failure),
        _ => Ok(()),
    }
}
