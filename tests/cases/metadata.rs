//! The metadata service as processes: what was acknowledged is there, whoever dies, sleeps or loses its disk.

mod deaths;
pub(crate) mod group;
mod members;
mod sleep;
mod strangers;
