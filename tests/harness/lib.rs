//! The harness of the end-to-end cases: servers as processes, images made from seeds, and the clients that people use.
//!
//! | room | what it holds |
//! |---|---|
//! | [`registry`] | [`Registry`]: Roadstead, or the reference, as a process on a port of its own |
//! | [`gateway`] | [`Gateway`] as a process, in front of such |
//! | [`client`] | [`Client`], [`Repository`]: the HTTP API, one call a step, every answer kept whole |
//! | [`image`] | [`Image`], [`Content`]: images and indexes from a seed, byte for byte the same in each run |
//! | [`run`] | [`Run`]: another program with a deadline, shown with its output when it fails |
//! | [`tools`], [`docker`], [`podman`] | skopeo, curl and oras; a docker engine and a store of podman's of one's own |
//! | [`machine`] | [`Machine`]: namespaces with a docker engine that runs containers, for tutorials word by word |
//! | [`redis`] | [`Redis`]: a server that can be killed, paused and asked what it holds |
//! | [`seaweed`], [`link`] | an object store that speaks S3; a way to it that shows requests, and may be bad |
//! | [`network`], [`cable`] | places with addresses of their own; ways between them, and to servers, that can be cut |
//! | [`tokens`] | [`TokenServer`], which knows users and signs what they may do; [`Signer`], which signs anything |
//! | [`pebble`] | [`Pebble`]: a certification authority that speaks ACME, and its name server |
//! | [`mail`] | [`MailServer`]: as much of SMTP as one client needs, with and without TLS |
//! | [`wait`] | conditions with a sentence and a deadline |
//!
//! What goes wrong here panics, with everything that helps to see why.

#![expect(clippy::panic, reason = "a harness fails its test where it stands")]

pub mod cable;
pub mod client;
pub mod docker;
pub mod gateway;
pub mod image;
pub mod link;
pub mod machine;
pub mod mail;
pub mod network;
pub mod pebble;
pub mod podman;
pub mod process;
pub mod proxy;
pub mod redis;
pub mod registry;
pub mod run;
pub mod seaweed;
pub mod tokens;
pub mod tools;
pub mod wait;

pub use cable::Cable;
pub use client::{Answer, Client, Repository};
pub use docker::Docker;
pub use gateway::Gateway;
pub use image::{Content, Document, Family, Image};
pub use link::{Link, Weather};
pub use machine::Machine;
pub use mail::{MailServer, Manner};
pub use network::{Network, Place};
pub use pebble::Pebble;
pub use podman::Podman;
pub use redis::Redis;
pub use registry::{Kind, Options, Registry};
pub use run::{Output, Run};
pub use seaweed::Seaweed;
pub use tokens::{Signer, TokenServer};
pub use wait::{poll, wait_for, wait_until, wait_until_async};

/// A directory of one's own, removed with everything in it when it is dropped.
pub fn scratch() -> tempfile::TempDir {
    tempfile::Builder::new()
        .prefix("roadstead-")
        .tempdir()
        .expect("a temporary directory")
}
