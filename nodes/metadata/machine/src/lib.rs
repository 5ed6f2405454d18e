//! The metadata machine: what a registry's processes must agree on, as a pure state machine.
//!
//! A [`Command`] goes in with the time at which it was logged, an [`Outcome`] comes out. Two machines that apply the
//! same entries in the same order are equal. There is no I/O here, no clock and no randomness: time is the log's.

mod certificates;
mod cluster;
mod collection;
mod command;
mod invalidation;
mod machine;
mod renounced;
mod session;
mod snapshot;
mod time;

pub use certificates::{
    CertificateCommand, CertificateOutcome, Certificates, FOLLOWS_FOR, MAX_DOCUMENT, MAX_FOLLOWERS,
    MAX_RECORDS, RecordId, Told,
};
pub use cluster::{
    ClusterCommand, ClusterId, ClusterOutcome, Fingerprint, MAX_NODES, Node, NodeId, Nodes,
    SECRET_OVERLAP, Secret,
};
pub use collection::{
    ALONE, CollectCommand, CollectOutcome, Collection, MAX_CONDEMNED, MAX_UNITS, Run, Stamp, Unit,
};
pub use command::{Command, Entry, Outcome};
pub use invalidation::{
    Invalidated, InvalidationCommand, InvalidationId, InvalidationOutcome, Invalidations,
};
pub use machine::{FRESH_FOR, MAX_SEGMENTS, Machine, REMEMBER_FOR};
pub use session::{Origin, Receiving, Segment, Session, SessionId, Standing};
pub use snapshot::{
    FormatError, decode_collection, decode_command, decode_entry, decode_invalidated, decode_nodes,
    decode_outcome, decode_standing, encode_collection, encode_command, encode_entry,
    encode_invalidated, encode_nodes, encode_outcome, encode_standing,
};
pub use time::Timestamp;
