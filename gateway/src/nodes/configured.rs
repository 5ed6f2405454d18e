//! Nodes that the configuration names: one by one, or by names that are resolved again and again.

use std::net::IpAddr;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::net::NetError;
use hickory_resolver::proto::rr::RData;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{NodeInfo, Nodes};

/// A name server that does not answer must not keep other names from being resolved.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);

/// Where nodes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// One node, whatever its name resolves to.
    Node { host: String, port: u16 },
    /// A node at each address of the name.
    Addresses { host: String, port: u16 },
    /// A node at each target of the name's SRV records.
    Services(String),
}

/// What the configuration says.
#[derive(Debug)]
pub struct Configured {
    places: Vec<Place>,
    resolve_every: Duration,
}

impl Configured {
    pub fn new(places: Vec<Place>, resolve_every: Duration) -> Self {
        Self {
            places,
            resolve_every,
        }
    }

    /// Looks all names up again and again; those that cannot be found keep the nodes that they had.
    async fn keep_resolving(self, told: watch::Sender<Vec<NodeInfo>>) {
        let mut resolver = None;
        let mut known: Vec<Vec<NodeInfo>> = self.places.iter().map(Place::fixed).collect();
        loop {
            for (place, nodes) in self.places.iter().zip(&mut known) {
                if matches!(place, Place::Node { .. }) {
                    continue;
                }
                match lookup(&mut resolver, place).await {
                    Ok(found) if found.is_empty() => {
                        tracing::warn!(
                            ?place,
                            "the name resolves to nothing: its nodes stay as they were"
                        );
                    }
                    Ok(found) => *nodes = found,
                    Err(error) => {
                        tracing::warn!(
                            ?place,
                            error,
                            "the name cannot be resolved: its nodes stay as they were"
                        );
                    }
                }
            }
            let mut all: Vec<NodeInfo> = known.iter().flatten().cloned().collect();
            all.sort_by(|a, b| a.name.cmp(&b.name));
            all.dedup_by(|a, b| a.name == b.name);
            told.send_if_modified(|before| {
                let is_new = *before != all;
                *before = all;
                is_new
            });
            tokio::time::sleep(self.resolve_every).await;
        }
    }
}

impl Nodes for Configured {
    fn watch(self: Box<Self>, drain: CancellationToken) -> watch::Receiver<Vec<NodeInfo>> {
        let fixed: Vec<NodeInfo> = self.places.iter().flat_map(Place::fixed).collect();
        let (told, watched) = watch::channel(fixed);
        tokio::spawn(async move { drain.run_until_cancelled(self.keep_resolving(told)).await });
        watched
    }
}

impl Place {
    /// What is known without asking anybody.
    fn fixed(&self) -> Vec<NodeInfo> {
        match self {
            Self::Node { host, port } => vec![NodeInfo::at(host, *port)],
            Self::Addresses { .. } | Self::Services(_) => Vec::new(),
        }
    }
}

async fn lookup(
    resolver: &mut Option<TokioResolver>,
    place: &Place,
) -> Result<Vec<NodeInfo>, String> {
    let asking = async {
        match place {
            Place::Node { host, port } => Ok(vec![NodeInfo::at(host, *port)]),
            Place::Addresses { host, port } => addresses(host, *port).await,
            Place::Services(name) => {
                let resolver = match resolver {
                    Some(resolver) => resolver,
                    None => resolver.insert(built().map_err(|error| error.to_string())?),
                };
                resolver.clear_cache();
                services(resolver, name)
                    .await
                    .map_err(|error| error.to_string())
            }
        }
    };
    match tokio::time::timeout(ANSWERS_WITHIN, asking).await {
        Ok(found) => found,
        Err(_elapsed) => Err("the name server does not answer".to_owned()),
    }
}

/// As every other program of this machine resolves names: `/etc/hosts` counts.
async fn addresses(host: &str, port: u16) -> Result<Vec<NodeInfo>, String> {
    let found = tokio::net::lookup_host((host, port)).await;
    let found = found.map_err(|error| error.to_string())?;
    let node = |ip: IpAddr| NodeInfo {
        server_name: host.to_owned(),
        ..NodeInfo::at(&ip.to_string(), port)
    };
    Ok(found.map(|address| node(address.ip())).collect())
}

fn built() -> Result<TokioResolver, NetError> {
    TokioResolver::builder_tokio()?.build()
}

async fn services(resolver: &TokioResolver, name: &str) -> Result<Vec<NodeInfo>, NetError> {
    let found = resolver.srv_lookup(name).await?;
    let targets = found
        .answers()
        .iter()
        .filter_map(|record| match &record.data {
            RData::SRV(service) => {
                let host = service.target.to_utf8();
                Some(NodeInfo::at(host.trim_end_matches('.'), service.port))
            }
            _other => None,
        });
    Ok(targets.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn names_become_nodes_and_stay_when_they_cannot_be_resolved() {
        let node = |host: &str| Place::Node {
            host: host.to_owned(),
            port: 5000,
        };
        let places = vec![
            node("::1"),
            node("a"),
            Place::Addresses {
                host: "localhost".to_owned(),
                port: 5001,
            },
            Place::Addresses {
                host: "no-such-name.invalid".to_owned(),
                port: 1,
            },
        ];
        let drain = CancellationToken::new();
        let configured = Configured::new(places, Duration::from_millis(10));
        let mut watched = Box::new(configured).watch(drain.clone());
        let names = |nodes: &[NodeInfo]| -> Vec<String> {
            nodes.iter().map(|node| node.name.clone()).collect()
        };
        assert_eq!(
            names(&watched.borrow()),
            ["[::1]:5000", "a:5000"],
            "known at once"
        );
        let resolved =
            watched.wait_for(|nodes| names(nodes).contains(&"127.0.0.1:5001".to_owned()));
        let resolved = tokio::time::timeout(Duration::from_secs(30), resolved).await;
        let nodes = resolved.expect("in time").expect("told").clone();
        let local = nodes.iter().find(|node| node.name == "127.0.0.1:5001");
        assert_eq!(local.expect("there").server_name, "localhost");
        assert!(names(&nodes).contains(&"a:5000".to_owned()));
        drain.cancel();
    }
}
