//! Taking a body in: hashing it while it is written, one batch ahead of both.

use bytes::Bytes;
use roadstead_oci::Hasher;
use roadstead_storage::{Driver, Error as StoreError, Stage, Staged};

use crate::body::{Body, BodyError};
use crate::error::Error;

/// Bytes that are gathered before they are hashed and written. Two batches are held by one transfer.
const BATCH: usize = 512 * 1024;

/// Pieces of one batch: each costs memory of its own, however few bytes it has.
const PIECES: usize = 1024;

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
        let absorbed = absorb(stage, received.hasher, batch.pieces);
        // A store that fails does not wait for a client that is slow.
        let next;
        (received.hasher, next) = tokio::try_join!(absorbed, async { Ok(gather(body).await) })?;
        batch = next;
    }
}

#[derive(Default)]
struct Batch {
    pieces: Vec<Bytes>,
    bytes: usize,
    /// Present in the last batch.
    end: Option<Result<(), BodyError>>,
}

async fn gather(body: &mut Body) -> Batch {
    let mut batch = Batch::default();
    while batch.bytes < BATCH && batch.pieces.len() < PIECES {
        match body.next().await {
            Ok(Some(piece)) => {
                batch.bytes += piece.len();
                batch.pieces.push(piece);
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
