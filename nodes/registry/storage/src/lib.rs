//! Where content lies: the [`Driver`] trait, the drivers, and the reference registry's layout over them.
//!
//! A driver is right when it passes the suite in `contract`.

pub mod claim;
#[cfg(any(test, feature = "contract"))]
pub mod contract;
mod driver;
mod error;
mod fence;
mod filesystem;
pub mod layout;
mod leaves;
mod memory;
mod metered;
mod paced;
mod path;

pub use driver::{
    Attempt, ByteStream, Driver, Entry, Fetch, Leaf, LeafFile, Object, Opened, Publication, Put,
    Read, Stage, Staged, Stat,
};
pub use error::Error;
pub use fence::{Gone, Still, Under};
pub use filesystem::{Filesystem, OpenError};
pub use memory::Memory;
pub use metered::{Meter, Metered};
pub use paced::{Pace, Paced};
pub use path::{PathError, StorePath};
