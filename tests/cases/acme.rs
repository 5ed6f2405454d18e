//! Certificates by ACME, ordered from Let's Encrypt's own test authority.

mod alone;
mod cluster;
mod renewal;
mod server;
mod suggestion;
