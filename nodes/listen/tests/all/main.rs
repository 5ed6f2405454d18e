//! The room against real clients: openssl, curl, and connections of this process.

mod activation;
mod ca;
mod clients;
mod handshake;
mod pairs;
mod reload;
mod server;
mod sockets;
mod tools;
