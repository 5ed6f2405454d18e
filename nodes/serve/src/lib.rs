//! Serving HTTP: what the registry and the gateway have in common, and neither knows of the other.
//!
//! [`serve`] accepts connections, bounds them, and drains them: HTTP/1.0, 1.1 and 2, with TLS or without. [`Via`] says how
//! a request came, and what proxies are believed; [`body::Body`] is what a client sends.

mod accept;
pub mod body;
mod challenges;
mod files;
mod receipts;
mod via;
mod workers;

pub use accept::{Answering, Drained, InFile, Options, serve};
pub use axum::Router;
pub use challenges::challenges;
pub use receipts::{RECEIPT, Receipts, Received};
pub use via::{OtherEnd, Via, names_its_host};
pub use workers::Workers;
