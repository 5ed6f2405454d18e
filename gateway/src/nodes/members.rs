//! Nodes that the metadata service knows: those that hold leases.

use std::sync::Arc;
use std::time::Duration;

use roadstead_metadata::{Metadata, Node};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{NodeInfo, Nodes};
use crate::options::Expect;

/// How often it is asked. A node that is lost is found out by checks; this is for those that come, drain or leave.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// What nodes call it when anybody may do anything.
const NO_AUTHENTICATION: &str = "none";

/// The nodes of a cluster. While the metadata service is away, those that it named last are served.
#[derive(Debug)]
pub struct Members(Arc<dyn Metadata>);

impl Members {
    pub fn of(metadata: Arc<dyn Metadata>) -> Self {
        Self(metadata)
    }

    async fn keep_asking(self, told: watch::Sender<Vec<NodeInfo>>) {
        let mut is_away = false;
        loop {
            match self.0.fleet().await {
                Ok(fleet) => {
                    if std::mem::take(&mut is_away) {
                        tracing::info!("the metadata service is back");
                    }
                    let expect = fleet.authentication.as_deref().map(expected);
                    let nodes = fleet.nodes.values().filter_map(info);
                    let nodes: Vec<NodeInfo> =
                        nodes.map(|info| NodeInfo { expect, ..info }).collect();
                    told.send_if_modified(|before| {
                        let is_new = *before != nodes;
                        *before = nodes;
                        is_new
                    });
                }
                Err(error) => {
                    if !std::mem::replace(&mut is_away, true) {
                        tracing::warn!(%error, "the nodes stay as they were: nobody says which there are now");
                    }
                }
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
    }
}

impl Nodes for Members {
    fn watch(self: Box<Self>, drain: CancellationToken) -> watch::Receiver<Vec<NodeInfo>> {
        let (told, watched) = watch::channel(Vec::new());
        tokio::spawn(async move { drain.run_until_cancelled(self.keep_asking(told)).await });
        watched
    }
}

/// What strangers are told where `auth` is of this kind.
fn expected(authentication: &str) -> Expect {
    if authentication == NO_AUTHENTICATION {
        Expect::Ok
    } else {
        Expect::Unauthorized
    }
}

/// None for an address that is none: nodes say theirs themselves.
fn info(node: &Node) -> Option<NodeInfo> {
    let (host, port) = node.address.rsplit_once(':')?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    Some(NodeInfo {
        draining: node.draining,
        ..NodeInfo::at(host, port.parse().ok()?)
    })
}

#[cfg(test)]
mod tests {
    use roadstead_metadata::Timestamp;

    use super::*;

    #[test]
    fn a_node_is_where_it_says() {
        let node = |address: &str, draining| Node {
            address: address.to_owned(),
            version: "1".to_owned(),
            epoch: 1,
            joined: Timestamp(1),
            draining,
        };
        let found = info(&node("[::1]:5000", true)).unwrap();
        assert_eq!(
            (found.host.as_str(), found.port, found.draining),
            ("::1", 5000, true)
        );
        assert_eq!(found.name, "[::1]:5000");
        assert!(!info(&node("a:1", false)).unwrap().draining);
        assert_eq!(info(&node("a", false)), None);
    }

    #[test]
    fn strangers_are_let_in_only_where_nobody_has_to_log_in() {
        assert_eq!(expected("none"), Expect::Ok);
        for kind in ["htpasswd", "token", "silly", "of a later version"] {
            assert_eq!(expected(kind), Expect::Unauthorized, "{kind}");
        }
    }
}
