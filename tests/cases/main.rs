//! The end-to-end cases: a registry as a process, real clients, the reference beside it.

mod api;
mod auth;
mod clients;
mod durability;
mod htpasswd;
mod load;
mod metadata;
mod operations;
mod proxies;
mod reference;
mod rooms;
mod samples;
mod seeds;
mod start;
mod tls;
mod uploads;
