//! The gateway: clients never notice that a node is lost.
//!
//! Two registries that stand alone cannot share a store: where a transfer goes on at another node, both hold the same
//! content, and where an upload goes on, the node comes back.

mod cluster;
mod downloads;
mod entry;
mod health;
mod passing;
mod soak;
mod tokens;
mod uploads;
mod wire;

use std::net::SocketAddr;
use std::time::Duration;

use roadstead_tests::gateway::own_address;
use roadstead_tests::{Options, Registry};

/// Longer than anything takes that is waited for, on a machine that others keep busy.
const SOON: Duration = Duration::from_mins(1);

/// A registry that is open to everybody, at an address that it keeps.
fn node() -> (Registry, SocketAddr) {
    let addr = own_address();
    (Registry::roadstead(Options::default().at(addr)), addr)
}

/// The path of a `Location`.
fn path_of(location: &str) -> &str {
    let rest = location
        .split_once("://")
        .map_or(location, |(_, rest)| rest);
    rest.find('/').and_then(|at| rest.get(at..)).unwrap_or(rest)
}
