//! Taking a body in: hashing it while it is written, one batch ahead of both.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use roadstead_oci::Hasher;
use roadstead_storage::{Driver, Error as StoreError, Stage, Staged};

use crate::body::{Body, BodyError};
use crate::error::Error;

/// Bytes that are gathered before they are hashed and written. Two batches are held by one transfer.
const BATCH: usize = 512 * 1024;

/// Pieces of the first batch: each costs memory of its own, however few bytes it has.
const PIECES: usize = 1024;

/// Where the memory of a batch begins: files that are written past the kernel's memory ask for that.
const ALIGNED: usize = 4096;

/// What came in.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) hasher: Hasher,
    pub(crate) length: u64,
    /// How the body ended.
    pub(crate) end: Result<(), BodyError>,
}

/// Stores a body at a place of its own, durable, hashing on from `hasher`. One that was said to have so many bytes has
/// them, or is refused.
pub(crate) async fn receive(
    store: &dyn Driver,
    hint: &str,
    hasher: Hasher,
    body: &mut Body,
    expected: Option<u64>,
) -> Result<(Staged, Received), Error> {
    let batch = gather(body).await;
    if let Some(end) = batch.end {
        let length = batch.bytes as u64;
        check(expected, length, &end)?;
        let hashed = hash(hasher, batch.pieces.clone());
        let (hasher, staged) = tokio::join!(hashed, store.stage_whole(hint, batch.pieces));
        let (staged, hasher) = (staged?, hasher?);
        let received = Received {
            hasher,
            length,
            end,
        };
        return Ok((staged, received));
    }
    let mut stage = store.stage(hint).await?;
    let limit = expected.unwrap_or(u64::MAX);
    let received = write(&mut *stage, hasher, batch, body, limit).await?;
    check(expected, received.length, &received.end)?;
    Ok((stage.finish().await?, received))
}

fn check(expected: Option<u64>, length: u64, end: &Result<(), BodyError>) -> Result<(), Error> {
    if let Some(expected) = expected {
        end.clone()?;
        if length != expected {
            return Err(Error::SizeInvalid);
        }
    }
    Ok(())
}

/// Writes a body, of which the first batch has come, to a stage. Stops after `limit` bytes: a body that has more is told
/// apart by its length.
async fn write(
    stage: &mut dyn Stage,
    hasher: Hasher,
    mut batch: Batch,
    body: &mut Body,
    limit: u64,
) -> Result<Received, Error> {
    let mut received = Received {
        hasher,
        length: 0,
        end: Ok(()),
    };
    let mut copied = Copied {
        rest: std::mem::take(&mut batch.rest),
        spare: None,
    };
    loop {
        received.length += batch.bytes as u64;
        if let Some(end) = batch.end {
            received.hasher = absorb(stage, received.hasher, batch.pieces).await?;
            received.end = end;
            return Ok(received);
        }
        if received.length > limit {
            return Ok(received);
        }
        let absorbed = absorb(stage, received.hasher, batch.pieces.clone());
        // A store that fails does not wait for a client that is slow.
        let next;
        (received.hasher, next) =
            tokio::try_join!(absorbed, async { Ok(copied.next(body).await) })?;
        copied.take_back(batch);
        batch = next;
    }
}

#[derive(Debug, Default)]
struct Batch {
    pieces: Vec<Bytes>,
    bytes: usize,
    /// What came with the last piece and is too much for it.
    rest: Bytes,
    /// Present in the last batch.
    end: Option<Result<(), BodyError>>,
}

/// The first batch, as it comes: most bodies end within it.
async fn gather(body: &mut Body) -> Batch {
    let mut batch = Batch::default();
    while batch.bytes < BATCH && batch.pieces.len() < PIECES {
        match body.next().await {
            Ok(Some(mut piece)) => {
                let now = piece.split_to(piece.len().min(BATCH - batch.bytes));
                batch.bytes += now.len();
                batch.pieces.push(now);
                batch.rest = piece;
            }
            Ok(None) => batch.end = Some(Ok(())),
            Err(error) => batch.end = Some(Err(error)),
        }
        if batch.end.is_some() {
            break;
        }
    }
    batch
}

/// Batches of a long body, each in one piece: what was read is copied together, so that the memory that it was read into,
/// and that of the batches, is used again and again. Fresh memory costs more than the copy: the kernel clears it.
struct Copied {
    /// Of the piece that did not fit.
    rest: Bytes,
    /// Of the batch before the last.
    spare: Option<BytesMut>,
}

impl Copied {
    async fn next(&mut self, body: &mut Body) -> Batch {
        let mut buffer = self.spare.take().unwrap_or_else(aligned);
        let mut end = None;
        while buffer.len() < BATCH && end.is_none() {
            if self.rest.is_empty() {
                match body.next().await {
                    Ok(Some(piece)) => self.rest = piece,
                    Ok(None) => end = Some(Ok(())),
                    Err(error) => end = Some(Err(error)),
                }
            }
            let now = self.rest.len().min(BATCH - buffer.len());
            buffer.put(self.rest.split_to(now));
        }
        Batch {
            bytes: buffer.len(),
            pieces: vec![buffer.freeze()],
            rest: Bytes::new(),
            end,
        }
    }

    /// The store may hold on to what it was given: then there is nothing to be used again.
    fn take_back(&mut self, batch: Batch) {
        let only = batch.pieces.into_iter().next();
        let buffer = only.and_then(|piece| piece.try_into_mut().ok());
        // Pieces of the first batch are as they came.
        self.spare = buffer
            .filter(|buffer| buffer.capacity() >= BATCH)
            .map(|mut buffer| {
                buffer.clear();
                buffer
            });
    }
}

/// Memory for one batch.
fn aligned() -> BytesMut {
    let mut buffer = BytesMut::with_capacity(BATCH + ALIGNED);
    let skipped = buffer.as_ptr().align_offset(ALIGNED).min(ALIGNED);
    buffer.put_bytes(0, skipped);
    buffer.advance(skipped);
    buffer
}

/// Hashes and writes at the same time, both on threads that may be busy for a while.
async fn absorb(
    stage: &mut dyn Stage,
    hasher: Hasher,
    pieces: Vec<Bytes>,
) -> Result<Hasher, Error> {
    if pieces.is_empty() {
        return Ok(hasher);
    }
    let hashed = hash(hasher, pieces.clone());
    let (hasher, written) = tokio::join!(hashed, stage.write(pieces));
    written?;
    hasher
}

/// Below this, hashing takes less time than handing it to another thread.
const INLINE: usize = 16 * 1024;

pub(crate) async fn hash(mut hasher: Hasher, pieces: Vec<Bytes>) -> Result<Hasher, Error> {
    let bytes: usize = pieces.iter().map(Bytes::len).sum();
    let update = move || {
        for piece in &pieces {
            hasher.update(piece);
        }
        hasher
    };
    if bytes <= INLINE {
        return Ok(update());
    }
    tokio::task::spawn_blocking(update).await.map_err(|error| {
        let source = std::io::Error::other(error);
        StoreError::Io {
            what: "hashing was cut off".to_owned(),
            source,
        }
        .into()
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::StreamExt as _;
    use roadstead_oci::{Algorithm, Digest};
    use roadstead_storage::Memory;

    use super::*;

    fn body(content: &[u8], piece: usize) -> Body {
        let pieces: Vec<_> = content
            .chunks(piece)
            .map(|piece| Ok(Bytes::copy_from_slice(piece)))
            .collect();
        Body::new(futures::stream::iter(pieces), Duration::from_mins(1), false)
    }

    /// However long it is, and however it comes.
    #[tokio::test]
    async fn what_is_stored_and_hashed_is_what_came() {
        let store = Memory::new();
        for length in [1, BATCH - 1, BATCH, BATCH + 1, 3 * BATCH, 5 * BATCH + 4097] {
            for piece in [700, 64 * 1024, BATCH, 2 * BATCH + 1] {
                let content: Vec<u8> = (0..=250).cycle().take(length).collect();
                let hasher = Hasher::new(Algorithm::Sha256);
                let mut body = body(&content, piece);
                let taken = receive(&store, "a", hasher, &mut body, None).await;
                let (staged, received) = taken.unwrap();
                let whole = Digest::of(Algorithm::Sha256, &content);
                assert_eq!(
                    (staged.length, received.length),
                    (length as u64, length as u64)
                );
                assert_eq!(received.hasher.finish(), whole);
                let opened = store.open_staged(&staged.place).await.unwrap();
                let mut read = Vec::new();
                let mut pieces = opened.object.read(0..opened.size);
                while let Some(piece) = pieces.next().await {
                    read.extend_from_slice(&piece.unwrap());
                }
                assert!(read == content, "{length} bytes in pieces of {piece}");
            }
        }
    }

    #[tokio::test]
    async fn a_long_body_takes_the_memory_of_two_batches() {
        let content = vec![7; 6 * BATCH];
        let mut body = body(&content, 100_000);
        let first = gather(&mut body).await;
        assert_eq!((first.bytes, first.rest.is_empty()), (BATCH, false));
        let mut copied = Copied {
            rest: first.rest.clone(),
            spare: None,
        };
        copied.take_back(first);
        let mut places = std::collections::BTreeSet::new();
        let mut before = Batch::default();
        for _ in 0..5 {
            let batch = copied.next(&mut body).await;
            assert_eq!((batch.bytes, batch.pieces.len()), (BATCH, 1));
            assert_eq!(batch.pieces[0].as_ptr().align_offset(ALIGNED), 0);
            places.insert(batch.pieces[0].as_ptr());
            copied.take_back(std::mem::replace(&mut before, batch));
        }
        assert_eq!(places.len(), 2);
    }
}
