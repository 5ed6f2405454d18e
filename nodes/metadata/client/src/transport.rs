//! Connections between processes of a cluster: always mutual TLS, so that a stranger gets nothing past the handshake.

mod accept;
mod identity;
mod link;
mod verify;

use std::io;
use std::time::Duration;

use http::Uri;
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint};

pub use accept::{Incoming, Secured, incoming};
pub use identity::{Files, Identity, IdentityError, SHORTEST_SECRET};
pub use link::{Carry, Dial, Link};

/// Reaching a host that is up takes a round trip of its kernel; a process that has too much to do takes longer for the
/// handshake, and one that is cut off in that would never be connected with.
const REACHED_WITHIN: Duration = Duration::from_secs(1);
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// A connection on which nothing is heard is asked whether it lives, and given up.
const PING_EVERY: Duration = Duration::from_secs(2);
const PONG_WITHIN: Duration = Duration::from_secs(2);

/// An address that is not `host:port`.
#[derive(Debug, thiserror::Error)]
#[error("{0} is not an address: host:port is")]
pub struct NotAnAddress(String);

/// A channel to the process at `host:port`, connected when it is first used, and again when it broke.
fn channel(addr: &str, identity: &Identity) -> Result<Channel, NotAnAddress> {
    let wrong = || NotAnAddress(addr.to_owned());
    let uri: Uri = format!("http://{addr}").parse().map_err(|_unfit| wrong())?;
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    if host.is_empty() {
        return Err(wrong());
    }
    uri.port().ok_or_else(wrong)?;
    let name = identity.name_of(host).ok_or_else(wrong)?;
    let endpoint = Endpoint::from(uri)
        .connect_timeout(CONNECT_WITHIN)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PONG_WITHIN)
        .keep_alive_while_idle(true);
    let connector = TlsConnector::from(identity.client());
    let addr = addr.to_owned();
    let dial = move |_uri: Uri| dial(addr.clone(), connector.clone(), name.clone());
    Ok(endpoint.connect_with_connector_lazy(tower::service_fn(dial)))
}

async fn dial(
    addr: String,
    connector: TlsConnector,
    name: ServerName<'static>,
) -> io::Result<TokioIo<tokio_rustls::client::TlsStream<TcpStream>>> {
    let stream = tokio::time::timeout(REACHED_WITHIN, TcpStream::connect(addr)).await??;
    stream.set_nodelay(true)?;
    Ok(TokioIo::new(connector.connect(name, stream).await?))
}

#[cfg(test)]
mod tests;
