//! The words of the OCI distribution specification: names, tags, digests, manifests, ranges and error codes.
//!
//! A value of one of these types that exists is right: each is made by parsing, and nothing below checks again.
//! The room is pure: no I/O, no async, no HTTP library.

mod digest;
mod error;
mod hash;
mod manifest;
mod media_type;
mod name;
mod range;
mod reference;

pub use digest::{Algorithm, Digest, DigestError};
pub use error::{ErrorCode, ErrorDocument, ErrorEntry};
pub use hash::{HashState, Hasher, StateError};
pub use manifest::{Child, Descriptor, Manifest, ManifestError, Platform, Shape};
pub use media_type::{MediaType, essence};
pub use name::{Name, NameError};
pub use range::{ByteRange, ContentRange, RangeError};
pub use reference::{Reference, ReferenceError, Tag, TagError};
