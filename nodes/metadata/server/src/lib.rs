//! A member of the raft group: openraft around the metadata machine, its disk, its peers, its gRPC services.
//!
//! [`Server::build`] opens the disk, [`Server::run`] takes part until it is drained or its disk fails.

mod bootstrap;
mod clock;
mod group;
mod hand_over;
mod leases;
mod network;
mod participant;
mod propose;
mod read;
mod server;
mod services;
#[cfg(test)]
#[path = "../tests/simulation/simulation.rs"]
mod simulation;
mod status;
mod store;
mod telling;
mod types;

pub use server::{BuildError, Failed, Options, Server};
pub use store::StoreError;
pub use telling::Telling;
pub use types::FormError;
