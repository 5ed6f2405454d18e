//! What nodes ask: proposals, and linearizable reads.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::time::Duration;

use futures::{Stream, stream};
use roadstead_machine::{
    Machine, NodeId, Session, SessionId, Stamp, Timestamp, decode_command, encode_collection,
    encode_invalidated, encode_nodes, encode_outcome, encode_standing,
};
use roadstead_metadata::{Clock, Secrets};
use roadstead_proto::metadata::v1 as wire;
use roadstead_proto::metadata::v1::metadata_server::Metadata;
use tokio::time::{Instant, sleep};
use tonic::{Request, Response, Status, Streaming};

use crate::leases::Leases;
use crate::propose::Proposer;
use crate::read::Reads;
use crate::services::status_of;
use crate::store::Store;

/// Segments or places in one message of a stream: far below what a message may have.
const ITEMS: usize = 256;

/// Bytes of one command at most.
const COMMAND_BYTES: usize = 1 << 20;

/// Places that may be asked about at once: they are held in memory.
const PLACES: usize = 4_000_000;

/// Bytes in one message of a stream.
const PIECE: usize = 256 << 10;

/// How long somebody may wait for the collection to move on, and how often it is looked whether it did: here, without
/// asking anybody.
const WAIT: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(100);

#[derive(Clone)]
pub(crate) struct MetadataService {
    pub(crate) store: Store,
    pub(crate) proposer: Proposer,
    pub(crate) reads: Reads,
    pub(crate) clock: Clock,
    pub(crate) leases: Leases,
}

type Pieces<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl MetadataService {
    fn present(&self) -> u64 {
        let clock = (self.clock)();
        self.store.look(|machine| machine.present(clock)).0
    }

    /// Looks at the state once what was acknowledged before is in it.
    async fn read<T>(&self, look: impl FnOnce(&Machine) -> T) -> Result<T, Status> {
        let confirmed = self.reads.confirm().await;
        confirmed.map_err(|refusal| status_of(&refusal))?;
        Ok(self.store.look(look))
    }
}

fn session_id(bytes: &[u8]) -> Result<SessionId, Status> {
    let id = bytes.try_into();
    id.map(SessionId)
        .map_err(|_length| Status::invalid_argument("a session's id has 16 bytes"))
}

fn unfit(error: impl std::fmt::Display) -> Status {
    Status::invalid_argument(error.to_string())
}

#[async_trait::async_trait]
impl Metadata for MetadataService {
    async fn propose(
        &self,
        request: Request<wire::ProposeRequest>,
    ) -> Result<Response<wire::ProposeResponse>, Status> {
        let wire::ProposeRequest { command, until } = request.into_inner();
        if command.len() > COMMAND_BYTES {
            return Err(Status::out_of_range("the command is too large"));
        }
        let bytes = command.len();
        let command = decode_command(&command).map_err(unfit)?;
        let until = Timestamp(if until == 0 { u64::MAX } else { until });
        let proposed = self.proposer.propose(command, bytes, until).await;
        let outcome = proposed.map_err(|refusal| status_of(&refusal))?;
        let encoded = outcome.as_ref().map(encode_outcome).transpose();
        let outcome = encoded.map_err(|error| Status::internal(error.to_string()))?;
        Ok(Response::new(wire::ProposeResponse {
            outcome: outcome.unwrap_or_default(),
            present: self.present(),
        }))
    }

    async fn present(
        &self,
        _request: Request<wire::PresentRequest>,
    ) -> Result<Response<wire::PresentResponse>, Status> {
        self.read(|_machine| ()).await?;
        let present = self.present();
        Ok(Response::new(wire::PresentResponse { present }))
    }

    async fn session(
        &self,
        request: Request<wire::SessionRequest>,
    ) -> Result<Response<wire::SessionResponse>, Status> {
        let id = session_id(&request.into_inner().session)?;
        let found = self.read(|machine| machine.session(id).map(Session::standing));
        let encoded = found.await?.as_ref().map(encode_standing).transpose();
        let standing = encoded.map_err(|error| Status::internal(error.to_string()))?;
        Ok(Response::new(wire::SessionResponse {
            standing: standing.unwrap_or_default(),
            present: self.present(),
        }))
    }

    type SegmentsStream = Pieces<wire::SegmentsPiece>;

    async fn segments(
        &self,
        request: Request<wire::SegmentsRequest>,
    ) -> Result<Response<Self::SegmentsStream>, Status> {
        let id = session_id(&request.into_inner().session)?;
        let held = |machine: &Machine| {
            machine
                .session(id)
                .map(|session| session.segments().to_vec())
        };
        let mut segments = self.read(held).await?.unwrap_or_default().into_iter();
        let pieces = std::iter::from_fn(move || {
            let piece = segments.by_ref().take(ITEMS).map(|segment| wire::Segment {
                place: segment.place,
                length: segment.length,
            });
            let segments: Vec<_> = piece.collect();
            (!segments.is_empty()).then_some(Ok(wire::SegmentsPiece { segments }))
        });
        Ok(Response::new(Box::pin(stream::iter(pieces))))
    }

    async fn open_sessions(
        &self,
        _request: Request<wire::OpenSessionsRequest>,
    ) -> Result<Response<wire::OpenSessionsResponse>, Status> {
        let sessions = self.read(Machine::open_sessions).await?;
        Ok(Response::new(wire::OpenSessionsResponse {
            sessions: sessions as u64,
            present: self.present(),
        }))
    }

    async fn is_fresh(
        &self,
        request: Request<wire::IsFreshRequest>,
    ) -> Result<Response<wire::IsFreshResponse>, Status> {
        let opened = Timestamp(request.into_inner().opened);
        let now = (self.clock)();
        let fresh = self.read(|machine| machine.is_fresh(opened, now)).await?;
        Ok(Response::new(wire::IsFreshResponse {
            fresh,
            present: self.present(),
        }))
    }

    async fn renew(
        &self,
        request: Request<wire::RenewRequest>,
    ) -> Result<Response<wire::RenewResponse>, Status> {
        let asked = self.leases.now();
        let wire::RenewRequest { node, epoch } = request.into_inner();
        let node = node.as_slice().try_into().map(NodeId);
        let node = node.map_err(|_length| Status::invalid_argument("a node's id has 16 bytes"))?;
        let known = |machine: &Machine| (machine.nodes().clone(), machine.secret_since());
        let (nodes, secret_since) = self.read(known).await?;
        let renewal = self.leases.renew(node, epoch, asked, &nodes);
        Ok(Response::new(wire::RenewResponse {
            held: renewal.is_some(),
            draining: renewal.unwrap_or_default(),
            present: self.present(),
            secret_since: secret_since.0,
            members: self.store.members(),
        }))
    }

    async fn secrets(
        &self,
        _request: Request<wire::SecretsRequest>,
    ) -> Result<Response<wire::SecretsResponse>, Status> {
        let clock = (self.clock)();
        let known = self.read(|machine| Secrets::of(machine, clock)).await?;
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let secrets = known.all.into_iter().map(|one| wire::Secret {
            secret: one.bytes,
            age: millis(one.age),
            good_for: one.good_for.map(millis),
        });
        Ok(Response::new(wire::SecretsResponse {
            secrets: secrets.collect(),
            since: known.since.0,
            present: self.present(),
        }))
    }

    async fn nodes(
        &self,
        _request: Request<wire::NodesRequest>,
    ) -> Result<Response<wire::NodesResponse>, Status> {
        let known = |machine: &Machine| {
            let authentication = machine.authentication().map(ToOwned::to_owned);
            (machine.nodes().clone(), authentication)
        };
        let (nodes, authentication) = self.read(known).await?;
        let nodes = encode_nodes(&nodes).map_err(|error| Status::internal(error.to_string()))?;
        Ok(Response::new(wire::NodesResponse {
            nodes,
            present: self.present(),
            authentication,
            members: self.store.members(),
        }))
    }

    type CollectionStream = Pieces<wire::CollectionPiece>;

    async fn collection(
        &self,
        request: Request<wire::CollectionRequest>,
    ) -> Result<Response<Self::CollectionStream>, Status> {
        let wire::CollectionRequest { known, wait } = request.into_inner();
        let known = known.map(|stamp| Stamp {
            version: stamp.version,
            is_over: stamp.is_over,
            term: stamp.term,
        });
        // One who does not lead says so at once.
        self.read(|_machine| ()).await?;
        let until = Instant::now() + Duration::from_millis(wait).min(WAIT);
        let is_known = |machine: &Machine| Some(machine.collection().stamp()) == known;
        while self.store.look(is_known) && Instant::now() < until {
            sleep(LOOK_EVERY).await;
        }
        let found = self
            .read(|machine| (!is_known(machine)).then(|| encode_collection(machine.collection())));
        let encoded = found.await?.transpose();
        let content = encoded.map_err(|error| Status::internal(error.to_string()))?;
        let content = content.unwrap_or_default();
        let pieces = content.chunks(PIECE).map(|piece| {
            let content = piece.to_vec();
            Ok(wire::CollectionPiece { content })
        });
        let pieces: Vec<_> = pieces.collect();
        Ok(Response::new(Box::pin(stream::iter(pieces))))
    }

    type InvalidationsStream = Pieces<wire::InvalidationsPiece>;

    async fn invalidations(
        &self,
        request: Request<wire::InvalidationsRequest>,
    ) -> Result<Response<Self::InvalidationsStream>, Status> {
        let wire::InvalidationsRequest { known, wait } = request.into_inner();
        // One who does not lead says so at once.
        self.read(|_machine| ()).await?;
        let wait = Duration::from_millis(wait).min(WAIT);
        self.store.invalidated_since(known, wait).await;
        let look = |machine: &Machine| {
            let all = machine.invalidations();
            (Some(all.version()) != known).then(|| encode_invalidated(&all.since(known)))
        };
        let encoded = self.read(look).await?.transpose();
        let content = encoded.map_err(|error| Status::internal(error.to_string()))?;
        let content = content.unwrap_or_default();
        let pieces = content.chunks(PIECE).map(|piece| {
            let content = piece.to_vec();
            Ok(wire::InvalidationsPiece { content })
        });
        let pieces: Vec<_> = pieces.collect();
        Ok(Response::new(Box::pin(stream::iter(pieces))))
    }

    type UnheldStream = Pieces<wire::UnheldPiece>;

    async fn unheld(
        &self,
        request: Request<Streaming<wire::UnheldPiece>>,
    ) -> Result<Response<Self::UnheldStream>, Status> {
        let mut pieces = request.into_inner();
        let mut places = BTreeSet::new();
        while let Some(piece) = pieces.message().await? {
            places.extend(piece.places);
            if places.len() > PLACES {
                return Err(Status::out_of_range("too many places at once"));
            }
        }
        self.read(|_machine| ()).await?;
        // There may be millions of them to go through.
        let look = move |machine: &Machine| {
            for held in machine.places() {
                places.remove(held);
            }
            places
        };
        let looked = self.store.look_long(look).await;
        let mut unheld = looked
            .map_err(|error| Status::internal(error.to_string()))?
            .into_iter();
        let pieces = std::iter::from_fn(move || {
            let places: Vec<String> = unheld.by_ref().take(ITEMS).collect();
            (!places.is_empty()).then_some(Ok(wire::UnheldPiece { places }))
        });
        Ok(Response::new(Box::pin(stream::iter(pieces))))
    }
}
