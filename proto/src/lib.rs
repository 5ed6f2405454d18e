//! The wire between Roadstead's own processes: the only generated code.
//!
//! A message that has been sent once keeps its field numbers for ever; what cannot go on as it is gets a new version of
//! the package. What the raft group logs travels inside as opaque bytes with a version of their own.

/// The metadata service: raft between its members, proposals and reads for nodes, and the group's administration.
#[expect(
    clippy::pedantic,
    clippy::clone_on_ref_ptr,
    clippy::allow_attributes_without_reason,
    clippy::allow_attributes,
    unused_qualifications,
    unused_results,
    reason = "generated"
)]
pub mod metadata {
    pub mod v1 {
        tonic::include_proto!("roadstead.metadata.v1");
    }
}

/// Bytes of one message at most, in either direction. What may be longer travels as a stream.
pub const MESSAGE_BYTES: usize = 4 << 20;

/// Bytes of a message of the raft log between members at most: a batch of entries.
pub const PEER_MESSAGE_BYTES: usize = 64 << 20;
