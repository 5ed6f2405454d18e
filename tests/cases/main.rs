//! The end-to-end cases: a registry as a process, real clients, the reference beside it.

mod api;
mod auth;
mod cache;
mod clients;
mod cluster;
mod durability;
mod ending;
mod failures;
mod gateway;
mod htpasswd;
mod kubernetes;
mod load;
mod mail;
mod metadata;
mod operations;
mod proxies;
mod raw;
mod reference;
mod rooms;
mod s3;
mod samples;
mod seeds;
mod start;
mod tls;
mod uploads;
