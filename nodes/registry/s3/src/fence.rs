//! Requests that expire: what was allowed a moment ago is refused by the store itself when it comes late.
//!
//! A request is signed first, for a short time and by the store's own clock as its last answer told it. Only then it is asked
//! whether the lease, or the term, still stands; then it is sent. Tried again, it is signed and asked anew.

use std::time::{Duration, SystemTime};

use aws_sdk_s3::presigning::{PresignedRequest, PresigningConfig};
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use roadstead_storage::{Error, Gone, Put, Still, StorePath, Under};
use tokio::time::Instant;

use crate::failure::Failure;
use crate::list::{Listing, PAGE};
use crate::store::{AT_ONCE, CONTENT_TYPE, Store, dressed};

/// For how long a signed request is taken, by the store's clock.
const VALID: Duration = Duration::from_secs(20);

/// By how much the clocks of a store's servers may differ, and run apart from ours between two answers.
const CLOCKS: Duration = Duration::from_secs(10);

/// After it, nothing that was signed is taken.
pub(crate) const EXPIRY: Duration = VALID.saturating_add(CLOCKS);

/// Tries of one request, and the time before the second; it doubles with each.
const TRIES: u32 = 5;
const BACKOFF: Duration = Duration::from_millis(250);

/// Keys removed for one question.
const REMOVED_AT_ONCE: usize = 256;

/// What is asked of the store.
#[derive(Debug, Clone)]
enum Act {
    Put(Bytes),
    Delete,
}

impl Act {
    fn name(&self) -> &'static str {
        match self {
            Self::Put(_) => "PutObject",
            Self::Delete => "DeleteObject",
        }
    }
}

/// A request that somebody may still send.
struct Signed {
    request: PresignedRequest,
    act: Act,
    key: String,
}

impl Store {
    /// The store's time, or a moment earlier.
    async fn time(&self) -> Result<SystemTime, Failure> {
        if self.clients.http.time().is_none() {
            let listing = Listing {
                prefix: self.keys.places(),
                page: 1,
                ..Listing::default()
            };
            listing.page(self, None).await?;
        }
        let time = self.clients.http.time();
        time.ok_or_else(|| Failure::odd("sign", "", "the store's answers tell no time"))
    }

    async fn signed(&self, key: &str, act: Act, since: SystemTime) -> Result<Signed, Failure> {
        let odd = |error: String| Failure::odd("sign", key, error);
        let config = PresigningConfig::builder()
            .start_time(since)
            .expires_in(VALID);
        let config = config.build().map_err(|error| odd(error.to_string()))?;
        let client = &self.clients.quick;
        let request = match act {
            Act::Put(_) => {
                let put = client.put_object().bucket(&self.bucket).key(key);
                let put = dressed!(put.content_type(CONTENT_TYPE), self.dress);
                let signed = put.presigned(config).await;
                signed.map_err(|error| Failure::of("sign", key, &error))?
            }
            Act::Delete => {
                let delete = client.delete_object().bucket(&self.bucket).key(key);
                let signed = delete.presigned(config).await;
                signed.map_err(|error| Failure::of("sign", key, &error))?
            }
        };
        let key = key.to_owned();
        Ok(Signed { request, act, key })
    }

    async fn send(&self, signed: Signed) -> Result<(), Failure> {
        let Signed { request, act, key } = signed;
        let operation = act.name();
        let body = match act {
            Act::Put(content) => content,
            Act::Delete => Bytes::new(),
        };
        let request = request.into_http_1x_request(body.into());
        let answered = self.clients.http.send_signed(request).await;
        let (status, body) = answered.map_err(|error| Failure::lost(operation, &key, &*error))?;
        match status {
            200..300 => Ok(()),
            404 if operation == "DeleteObject" => Ok(()),
            _ => Err(Failure::answered(operation, &key, status, &body)),
        }
    }
}

/// Writes while the lease is held.
pub(crate) async fn put(store: &Store, under: Under<'_>, writes: Vec<Put>) -> Result<(), Error> {
    let writes: Vec<_> = writes
        .into_iter()
        .map(|Put { path, content }| put_one(store, under, store.keys.file(&path), content))
        .collect();
    let mut written = stream::iter(writes).buffer_unordered(AT_ONCE);
    let mut first = Ok(());
    // All of them, so that nothing is on its way when this returns.
    while let Some(one) = written.next().await {
        first = first.and(one);
    }
    first
}

async fn put_one(
    store: &Store,
    under: Under<'_>,
    key: String,
    content: Bytes,
) -> Result<(), Error> {
    let mut wait = BACKOFF;
    for attempt in 1.. {
        let since = store.time().await.map_err(Failure::writing)?;
        let signed = store.signed(&key, Act::Put(content.clone()), since).await;
        let signed = signed.map_err(Failure::writing)?;
        if !(under.is_held)() {
            return Err(Error::Fenced);
        }
        match store.send(signed).await {
            Ok(()) => return Ok(()),
            Err(failure) if attempt < TRIES && failure.may_pass() => {}
            Err(failure) => return Err(failure.writing()),
        }
        tokio::time::sleep(wait).await;
        wait *= 2;
    }
    Ok(())
}

/// Removes all that lies in these directories while `still` says so.
pub(crate) async fn remove(
    store: &Store,
    directories: &[StorePath],
    still: Still<'_>,
) -> Result<Vec<Gone>, Error> {
    if !still().await {
        return Err(Error::Fenced);
    }
    for some in directories.chunks(REMOVED_AT_ONCE) {
        let listed: Vec<_> = some
            .iter()
            .map(|directory| below(store, directory))
            .collect();
        let mut listed = stream::iter(listed).buffer_unordered(AT_ONCE);
        let mut keys = Vec::new();
        while let Some(below) = listed.next().await {
            keys.extend(below.map_err(Failure::other)?);
        }
        for some in keys.chunks(REMOVED_AT_ONCE) {
            remove_keys(store, some.to_vec(), still).await?;
        }
    }
    Ok(vec![Gone::Entirely; directories.len()])
}

async fn below(store: &Store, directory: &StorePath) -> Result<Vec<String>, Failure> {
    let listing = Listing {
        prefix: store.keys.directory(directory),
        page: PAGE,
        ..Listing::default()
    };
    let (mut keys, mut token) = (Vec::new(), None);
    loop {
        let page = listing.page(store, token).await?;
        let found = page.contents.unwrap_or_default().into_iter();
        keys.extend(found.filter_map(|object| object.key));
        token = page.next_continuation_token;
        if token.is_none() {
            return Ok(keys);
        }
    }
}

/// All are signed, then it is asked, then they are sent. One that got no answer may still be on its way: then this returns
/// when it has expired, so that what is put there again is not hit by it.
async fn remove_keys(store: &Store, mut keys: Vec<String>, still: Still<'_>) -> Result<(), Error> {
    let (mut wait, mut lost) = (BACKOFF, None);
    for attempt in 1.. {
        let since = store.time().await.map_err(Failure::writing)?;
        let mut all = Vec::with_capacity(keys.len());
        for key in &keys {
            let signed = store.signed(key, Act::Delete, since).await;
            all.push(signed.map_err(Failure::writing)?);
        }
        if !still().await {
            return Err(Error::Fenced);
        }
        let sent: Vec<_> = all
            .into_iter()
            .map(|signed| async {
                let key = signed.key.clone();
                store.send(signed).await.map_err(|failure| (key, failure))
            })
            .collect();
        let mut sent = stream::iter(sent).buffer_unordered(AT_ONCE);
        keys.clear();
        while let Some(sent) = sent.next().await {
            match sent {
                Ok(()) => {}
                Err((key, failure)) if attempt < TRIES && failure.may_pass() => {
                    if failure.status().is_none() {
                        lost = Some(Instant::now());
                    }
                    keys.push(key);
                }
                Err((_, failure)) => return Err(failure.writing()),
            }
        }
        if keys.is_empty() {
            break;
        }
        tokio::time::sleep(wait).await;
        wait *= 2;
    }
    if let Some(lost) = lost {
        tokio::time::sleep_until(lost + EXPIRY).await;
    }
    Ok(())
}

/// Tries whether the store takes what is signed, and refuses what has expired.
pub(crate) async fn prove(store: &Store) -> Result<(), Error> {
    let path: StorePath = PROOF.parse().map_err(|_malformed| Error::Damaged)?;
    let key = store.keys.file(&path);
    let now = store.time().await.map_err(Failure::writing)?;
    let (taken, late) = ("in time".into(), "too late".into());
    let write = store.signed(&key, Act::Put(taken), now).await;
    let taken = store.send(write.map_err(Failure::writing)?).await;
    taken.map_err(|failure| {
        unfit(
            "refuses requests that are signed in their URL",
            Some(failure),
        )
    })?;
    for late in [Act::Put(late), Act::Delete] {
        let expired = store.signed(&key, late, now - EXPIRY).await;
        match store.send(expired.map_err(Failure::writing)?).await {
            Err(failure) if matches!(failure.status(), Some(400 | 403)) => {}
            Ok(()) => return Err(unfit("takes requests that have expired", None)),
            Err(failure) => return Err(failure.writing()),
        }
    }
    let delete = store.signed(&key, Act::Delete, now).await;
    let deleted = store.send(delete.map_err(Failure::writing)?).await;
    deleted.map_err(|failure| {
        unfit(
            "refuses removals that are signed in their URL",
            Some(failure),
        )
    })
}

const PROOF: &str = "/roadstead/fence";

fn unfit(what: &str, failure: Option<Failure>) -> Error {
    let what = format!("the store {what}: nothing can be collected from it while it is written to");
    let source = match failure {
        Some(failure) => std::io::Error::other(failure.other()),
        None => std::io::ErrorKind::Unsupported.into(),
    };
    Error::Io { what, source }
}
