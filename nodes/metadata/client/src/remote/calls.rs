//! Calls of which question or answer may be longer than a message.

use std::sync::Arc;
use std::time::Duration;

use futures::stream;
use roadstead_machine::{
    Collection, Invalidated, Segment, SessionId, Stamp, decode_collection, decode_invalidated,
};
use roadstead_proto::metadata::v1 as wire;
use tonic::Status;

use super::leader::Service;

/// Places in one message: at 4 KiB each, which no driver reaches, it is a quarter of what a message may have.
const PLACES: usize = 256;

pub(super) async fn segments(mut service: Service, id: SessionId) -> Result<Vec<Segment>, Status> {
    let session = id.0.to_vec();
    let asked = service.segments(wire::SegmentsRequest { session }).await?;
    let mut pieces = asked.into_inner();
    let mut segments = Vec::new();
    while let Some(piece) = pieces.message().await? {
        let piece = piece.segments.into_iter();
        segments.extend(piece.map(|wire::Segment { place, length }| Segment { place, length }));
    }
    Ok(segments)
}

pub(super) async fn unheld(
    mut service: Service,
    places: Arc<Vec<String>>,
) -> Result<Vec<String>, Status> {
    let mut at = 0;
    let question = stream::iter(std::iter::from_fn(move || {
        let rest = places.get(at..).filter(|rest| !rest.is_empty())?;
        let piece = rest.iter().take(PLACES).cloned().collect::<Vec<_>>();
        at += piece.len();
        Some(wire::UnheldPiece { places: piece })
    }));
    let mut pieces = service.unheld(question).await?.into_inner();
    let mut unheld = Vec::new();
    while let Some(piece) = pieces.message().await? {
        unheld.extend(piece.places);
    }
    Ok(unheld)
}

pub(super) async fn collection(
    mut service: Service,
    known: Option<Stamp>,
    wait: Duration,
) -> Result<Option<Collection>, Status> {
    let known = known.map(|stamp| wire::CollectionStamp {
        version: stamp.version,
        is_over: stamp.is_over,
        term: stamp.term,
    });
    let wait = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
    let request = wire::CollectionRequest { known, wait };
    let mut pieces = service.collection(request).await?.into_inner();
    let mut whole = Vec::new();
    while let Some(piece) = pieces.message().await? {
        whole.extend(piece.content);
    }
    if whole.is_empty() {
        return Ok(None);
    }
    let collection = decode_collection(&whole);
    collection
        .map(Some)
        .map_err(|error| Status::internal(error.to_string()))
}

pub(super) async fn invalidations(
    mut service: Service,
    known: Option<u64>,
    wait: Duration,
) -> Result<Option<Invalidated>, Status> {
    let wait = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
    let request = wire::InvalidationsRequest { known, wait };
    let mut pieces = service.invalidations(request).await?.into_inner();
    let mut whole = Vec::new();
    while let Some(piece) = pieces.message().await? {
        whole.extend(piece.content);
    }
    if whole.is_empty() {
        return Ok(None);
    }
    let told = decode_invalidated(&whole).map(Some);
    told.map_err(|error| Status::internal(error.to_string()))
}
