//! From places to the object that the layout wants, on the store's side.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use roadstead_storage::{Attempt, Error, Publication, Staged, StorePath};

use crate::failure::Failure;
use crate::join::Join;
use crate::keys;
use crate::plan::{Part, plan};
use crate::read;
use crate::store::{AT_ONCE, CONTENT_TYPE, Head, Store, dressed};

/// What one copy, and one part of one, may be at most.
const MOST_COPY: u64 = 5 << 30;

/// A place: its key, and what is known of it.
pub(crate) type Source = (String, Head);

pub(crate) async fn publish(
    store: &Arc<Store>,
    places: &[Staged],
    target: &StorePath,
    attempt: Attempt,
) -> Result<Publication, Error> {
    let total: u64 = places.iter().map(|staged| staged.length).sum();
    let key = store.keys.file(target);
    match store.head(&key).await {
        Ok(head) if head.size == total => return Ok(Publication::Existed),
        Ok(_torn) => {}
        Err(failure) if failure.is_absent() => {}
        Err(failure) => return Err(failure.other()),
    }
    let lookups: Vec<_> = places.iter().map(|staged| store.place(staged)).collect();
    let sources: Arc<[Source]> = stream::iter(lookups)
        .buffered(AT_ONCE)
        .try_filter(|(_, head)| std::future::ready(head.size > 0))
        .try_collect::<Vec<_>>()
        .await?
        .into();
    let published = match &*sources {
        [source] if total <= store.parts.copy_threshold.min(MOST_COPY) => {
            copy(store, source, &key).await
        }
        [_, _, ..] | [] if total <= store.parts.chunk => gather(store, &sources, &key).await,
        _ => Join::of(store, &sources, &key).attempt(attempt).await,
    };
    published.map_err(Failure::joining)?;
    Ok(Publication::New)
}

async fn copy(store: &Store, (from, head): &Source, key: &str) -> Result<(), Failure> {
    let copy = store.clients.moving(head.size).copy_object();
    let copy = copy.bucket(&store.bucket).key(key);
    let copy = copy.copy_source(keys::source(&store.bucket, from));
    let copy = copy.set_copy_source_if_match(head.etag.clone());
    let copy = copy.content_type(CONTENT_TYPE);
    let copied = dressed!(copy, store.dress).send().await;
    copied
        .map(drop)
        .map_err(|error| Failure::of("CopyObject", from, &error))
}

/// Few bytes of several places, or none: read, and written as one object.
async fn gather(store: &Store, sources: &[Source], key: &str) -> Result<(), Failure> {
    let lengths: Vec<u64> = sources.iter().map(|(_, head)| head.size).collect();
    let total = lengths.iter().sum();
    let _room = store.room(total).await?;
    let all = match plan(&lengths, total).pop() {
        Some(part) => joined(store, sources, part).await?,
        None => Bytes::new(),
    };
    let client = store.clients.carrying(all.len());
    store.put(client, key, all).await.map(drop)
}

/// A part's bytes, of several places.
pub(crate) async fn joined(
    store: &Store,
    sources: &[Source],
    part: Part,
) -> Result<Bytes, Failure> {
    let mut all = BytesMut::new();
    for span in part {
        let (key, head) = &sources[span.source];
        let read = read::part(store, key, head, span.range).await?;
        all.extend_from_slice(&read);
    }
    Ok(all.freeze())
}
