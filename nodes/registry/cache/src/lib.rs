//! What the store need not be asked again: descriptors of blobs and manifests, and the bytes of manifests.
//!
//! Two tiers: the memory of this process, and Redis in the reference's layout of keys. Nothing here may make a request
//! fail, and nothing here may tell of content that was deleted: `DESIGN.md` says what is believed, and why.

mod cache;
mod epoch;
mod fact;
mod memory;
mod options;
mod redis;
mod watch;
mod weighed;

pub use cache::{Cache, Removal};
pub use epoch::EpochSource;
pub use fact::{Descriptor, Key, Kind};
pub use memory::{Stats, Ticket};
pub use options::{
    Addr, Credentials, Descriptors, Identity, Options, Patience, RedisOptions, Servers, Tls,
    TrustedWhile,
};
pub use watch::{Answer, Seen, Tier, Watch};
