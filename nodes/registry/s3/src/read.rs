//! Reading objects: streams that go on where they broke, and notice what is missing.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::primitives::ByteStream as Body;
use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use futures::stream;
use roadstead_storage::{ByteStream, Error, Object, StorePath};
use tokio::sync::mpsc;

use crate::failure::{Failure, chain};
use crate::store::{Head, Store};

/// The largest piece that is handed on.
const PIECE: usize = 256 << 10;
/// Pieces that are read before somebody wants them: 2 MiB of each download.
const AHEAD: usize = 8;
/// So long without a byte, and the connection counts as dead.
const STALLED: Duration = Duration::from_secs(30);
/// Connections in a row that may break without a byte.
const BREAKS: u32 = 4;
/// Before going on after a break; doubles with each in a row. Beginning anew has the SDK's tries besides.
const PAUSE: Duration = Duration::from_millis(100);

const GET: &str = "GetObject";

/// An object as it was when it was opened.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) store: Arc<Store>,
    pub(crate) key: String,
    pub(crate) head: Head,
}

impl Object for Found {
    fn read(self: Box<Self>, range: Range<u64>) -> ByteStream {
        // Begins when it is first asked, which is within a runtime.
        stream::once(async move {
            let (pieces, stream) = mpsc::channel(AHEAD);
            tokio::spawn(self.pump(range, pieces));
            stream::unfold(stream, |mut stream| async move {
                stream.recv().await.map(|piece| (piece, stream))
            })
        })
        .flatten()
        .boxed()
    }
}

/// What a reader takes pieces from.
type Pieces = mpsc::Sender<Result<Bytes, Error>>;

impl Found {
    /// Reads until all is read or nobody wants it.
    async fn pump(self: Box<Self>, range: Range<u64>, pieces: Pieces) {
        let (mut at, mut breaks) = (range.start, 0);
        while at < range.end {
            let before = at;
            let broken = tokio::select! {
                biased;
                () = pieces.closed() => return,
                read = self.read_on(&mut at, range.end, &pieces) => match read {
                    Ok(()) => return,
                    Err(broken) => broken,
                },
            };
            breaks = if at == before { breaks + 1 } else { 0 };
            if broken.is_absent() || broken.is_changed() || breaks == BREAKS {
                // Whoever does not listen any more does not miss it.
                drop(pieces.send(Err(broken.other())).await);
                return;
            }
            tracing::debug!(
                key = self.key,
                at,
                ?broken,
                "a download goes on where it broke"
            );
            tokio::time::sleep(PAUSE * 2_u32.pow(breaks)).await;
        }
    }

    /// One request, from `at` to the end; `at` is moved with what was handed on.
    async fn read_on(&self, at: &mut u64, end: u64, pieces: &Pieces) -> Result<(), Failure> {
        let etag = self.head.etag.as_deref();
        let mut body = get(&self.store, &self.key, etag, *at..end).await?;
        while let Some(mut read) = next(&self.key, &mut body).await? {
            if read.len() as u64 > end - *at {
                return Err(Failure::odd(GET, &self.key, "is longer than asked for"));
            }
            while !read.is_empty() {
                let piece = read.split_to(read.len().min(PIECE));
                let length = piece.len() as u64;
                if pieces.send(Ok(piece)).await.is_err() {
                    return Ok(());
                }
                *at += length;
            }
        }
        if *at < end {
            return Err(Failure::odd(GET, &self.key, "ended early"));
        }
        Ok(())
    }
}

/// A range of an object that must still have that entity tag.
async fn get(
    store: &Store,
    key: &str,
    etag: Option<&str>,
    range: Range<u64>,
) -> Result<Body, Failure> {
    let last = range.end.saturating_sub(1);
    let get = store.clients.quick.get_object();
    let get = get.bucket(&store.bucket).key(key);
    let get = get.set_if_match(etag.map(str::to_owned));
    let got = get.range(format!("bytes={}-{last}", range.start)).send();
    let got = got.await.map_err(|error| Failure::of(GET, key, &error))?;
    match size(&got, key)? {
        size if size == range.end - range.start => Ok(got.body),
        _ => Err(Failure::odd(
            GET,
            key,
            "is not the range that was asked for",
        )),
    }
}

fn size(got: &GetObjectOutput, key: &str) -> Result<u64, Failure> {
    let size = got.content_length.and_then(|size| u64::try_from(size).ok());
    size.ok_or_else(|| Failure::odd(GET, key, "tells no length"))
}

async fn next(key: &str, body: &mut Body) -> Result<Option<Bytes>, Failure> {
    match tokio::time::timeout(STALLED, body.next()).await {
        Ok(None) => Ok(None),
        Ok(Some(Ok(piece))) => Ok(Some(piece)),
        Ok(Some(Err(error))) => Err(Failure::odd(GET, key, chain(&error))),
        Err(_elapsed) => Err(Failure::odd(GET, key, "stalled")),
    }
}

/// A small object, whole.
pub(crate) async fn whole(store: &Store, path: &StorePath, limit: usize) -> Result<Bytes, Error> {
    let key = store.keys.file(path);
    let once = || async {
        let get = store.clients.quick.get_object();
        let got = get.bucket(&store.bucket).key(&key).send().await;
        let got = got.map_err(|error| Failure::of(GET, &key, &error))?;
        let size = size(&got, &key)?;
        match usize::try_from(size).ok().filter(|size| *size <= limit) {
            Some(size) => collect(&key, got.body, size).await.map(Some),
            None => Ok(None),
        }
    };
    let read = again(once).await.map_err(|failure| failure.reading(path))?;
    read.ok_or_else(|| Error::TooLarge {
        path: path.clone(),
        limit,
    })
}

/// A range of an object, whole.
pub(crate) async fn part(
    store: &Store,
    key: &str,
    head: &Head,
    range: Range<u64>,
) -> Result<Bytes, Failure> {
    let length = usize::try_from(range.end - range.start);
    let length = length.map_err(|_larger| Failure::odd(GET, key, "is larger than memory"))?;
    let once = || async {
        let body = get(store, key, head.etag.as_deref(), range.clone()).await?;
        collect(key, body, length).await
    };
    again(once).await
}

async fn collect(key: &str, mut body: Body, length: usize) -> Result<Bytes, Failure> {
    let mut all = BytesMut::with_capacity(length);
    while let Some(piece) = next(key, &mut body).await? {
        if piece.len() > length - all.len() {
            return Err(Failure::odd(GET, key, "is longer than it said"));
        }
        all.extend_from_slice(&piece);
    }
    if all.len() < length {
        return Err(Failure::odd(GET, key, "ended early"));
    }
    Ok(all.freeze())
}

/// Once more when the answer broke off; what has no answer was tried again already.
async fn again<T, F>(once: impl Fn() -> F) -> Result<T, Failure>
where
    F: Future<Output = Result<T, Failure>>,
{
    let mut breaks = 0;
    loop {
        match once().await {
            Err(failure) if failure.is_break() && breaks < BREAKS => {
                tokio::time::sleep(PAUSE * 2_u32.pow(breaks)).await;
                breaks += 1;
            }
            done => return done,
        }
    }
}
