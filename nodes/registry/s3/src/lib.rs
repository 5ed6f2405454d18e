//! The `s3` driver: content as objects of a bucket, in the layout and under the keys of the reference registry.
//!
//! A crate of its own, so that only who needs it compiles Amazon's SDK. The way of an upload: a [`stage`] gathers it
//! into objects beside the layout, [`publish`] has the store copy them to where they belong.

mod connect;
mod discards;
mod driver;
mod failure;
mod fence;
mod http;
mod join;
mod keys;
mod leaves;
mod list;
mod multipart;
mod options;
mod plan;
mod presign;
mod probe;
mod publish;
mod read;
mod remove;
mod stage;
mod store;

pub use connect::ConnectError;
pub use driver::S3;
pub use options::{Credentials, Encryption, Options, Parts, Variants};
pub use probe::ProbeError;
