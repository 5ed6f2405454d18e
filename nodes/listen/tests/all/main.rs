//! The room against real clients: openssl, curl, and connections of this process.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a helper fails its test where it stands"
)]

mod activation;
mod ca;
mod clients;
mod handshake;
mod pairs;
mod reload;
mod server;
mod sockets;
mod supplied;
mod tools;
