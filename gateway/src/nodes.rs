//! Which nodes there are: told by whoever knows, as they come and go.

mod configured;
mod members;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use configured::{Configured, Place};
pub use members::Members;

use crate::options::Expect;

/// One who knows nodes. When it cannot know for a while, what it said last stands.
pub trait Nodes: Send + Sync + std::fmt::Debug {
    /// The nodes at each moment. Keeps itself up to date until the drain.
    fn watch(self: Box<Self>, drain: CancellationToken) -> watch::Receiver<Vec<NodeInfo>>;
}

/// A node, as far as others know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeInfo {
    /// What it is called, in logs and figures; tells it apart from all others.
    pub name: String,
    /// A name or an IP address, without brackets.
    pub host: String,
    pub port: u16,
    /// The name in its certificate.
    pub server_name: String,
    /// Whether it has a lease, where there is such a thing.
    pub takes_writes: bool,
    /// Finishes what it has, and takes nothing new.
    pub draining: bool,
    /// What it is to answer to strangers, where somebody knows.
    pub expect: Option<Expect>,
}

impl NodeInfo {
    /// A node at this address, of which nothing else is known.
    pub fn at(host: &str, port: u16) -> Self {
        let name = if host.contains(':') {
            format!("[{host}]:{port}")
        } else {
            format!("{host}:{port}")
        };
        Self {
            name,
            host: host.to_owned(),
            port,
            server_name: host.to_owned(),
            takes_writes: true,
            draining: false,
            expect: None,
        }
    }
}
