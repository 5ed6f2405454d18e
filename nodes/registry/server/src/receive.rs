//! Taking a body in: hashing it while it is written, one batch ahead of both.

use bytes::Bytes;
use roadstead_oci::Hasher;
use roadstead_storage::{Error as StoreError, Stage};

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

/// Writes a body to a stage, hashing on from `hasher`, and stops after `limit` bytes: a body that has more is told
/// apart by its length.
pub(crate) async fn receive(
    stage: &mut dyn Stage,
    hasher: Hasher,
    body: &mut Body,
    limit: u64,
) -> Result<Received, Error> {
    let mut received = Received {
        hasher,
        length: 0,
        end: Ok(()),
    };
    let mut batch = gather(body).await;
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
