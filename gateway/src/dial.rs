//! Connections to nodes: TCP, a PROXY header where it is wanted, TLS where it is configured, HTTP over it.

mod sender;
mod tls;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use http::uri::Scheme;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use ppp::{v1, v2};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

pub(crate) use sender::Sender;
pub use tls::{ClientTls, TlsFault};

use crate::nodes::NodeInfo;

/// What is read from a node at once, at most: large reads make large writes. Small answers take small buffers.
const BUFFER: usize = 512 * 1024;

/// HTTP/2: what a node may send ahead of the client, and in one frame. A connection has one request at a time.
const WINDOW: u32 = 1 << 20;
const FRAME: u32 = 256 * 1024;

/// How nodes are connected to.
#[derive(Debug, Clone)]
pub struct Dial {
    pub connect_within: Duration,
    /// Plain HTTP without.
    pub tls: Option<ClientTls>,
    /// HTTP/2 instead of HTTP/1.1.
    pub http2: bool,
    /// What connections begin with.
    pub proxy: Option<ProxyVersion>,
}

/// A version of the PROXY protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyVersion {
    V1,
    V2,
}

impl Dial {
    /// Whether a connection belongs to one client.
    pub(crate) fn is_for_one_client(&self) -> bool {
        self.proxy.is_some()
    }

    /// Connects on behalf of a client, or on the gateway's own.
    pub(crate) async fn connect(
        &self,
        to: &NodeInfo,
        client: Option<SocketAddr>,
    ) -> io::Result<Sender> {
        match tokio::time::timeout(self.connect_within, self.connect_now(to, client)).await {
            Ok(connected) => connected,
            Err(_elapsed) => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "no connection in time",
            )),
        }
    }

    async fn connect_now(&self, to: &NodeInfo, client: Option<SocketAddr>) -> io::Result<Sender> {
        let mut stream = TcpStream::connect((to.host.as_str(), to.port)).await?;
        // Requests are written whole: waiting for more to send with them would only delay them.
        stream.set_nodelay(true)?;
        if let Some(version) = self.proxy {
            let header = proxy_header(version, client, stream.local_addr()?, stream.peer_addr()?)?;
            stream.write_all(&header).await?;
        }
        match &self.tls {
            None => self.handshake(stream).await,
            Some(tls) => {
                let stream = tls.connect(stream, &to.server_name).await?;
                self.handshake(stream).await
            }
        }
    }

    async fn handshake<S>(&self, stream: S) -> io::Result<Sender>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let stream = TokioIo::new(stream);
        if self.http2 {
            let (sender, connection) = http2::Builder::new(TokioExecutor::new())
                .initial_stream_window_size(WINDOW)
                .initial_connection_window_size(WINDOW)
                .max_frame_size(FRAME)
                .handshake(stream)
                .await
                .map_err(io::Error::other)?;
            tokio::spawn(watched(connection));
            let scheme = self.tls.as_ref().map_or(Scheme::HTTP, |_| Scheme::HTTPS);
            return Ok(Sender::Http2(sender, scheme));
        }
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(BUFFER)
            .handshake(stream)
            .await
            .map_err(io::Error::other)?;
        tokio::spawn(watched(connection));
        Ok(Sender::Http1(sender))
    }
}

async fn watched(connection: impl Future<Output = hyper::Result<()>>) {
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a connection to a node ended early");
    }
}

/// Says where a connection comes from: the client, or, without one, the gateway itself.
fn proxy_header(
    version: ProxyVersion,
    client: Option<SocketAddr>,
    own: SocketAddr,
    node: SocketAddr,
) -> io::Result<Vec<u8>> {
    let (source, destination) = same_family(client.unwrap_or(own), node);
    match version {
        ProxyVersion::V1 => {
            let line = v1::Addresses::from((source, destination));
            Ok(line.to_string().into_bytes())
        }
        ProxyVersion::V2 => {
            let command = match client {
                Some(_) => v2::Command::Proxy,
                None => v2::Command::Local,
            };
            let addresses = (source, destination);
            v2::Builder::with_addresses(v2::Version::Two | command, v2::Protocol::Stream, addresses)
                .build()
        }
    }
}

/// Both ends as the protocol wants them: of one family.
fn same_family(a: SocketAddr, b: SocketAddr) -> (SocketAddr, SocketAddr) {
    let canonical =
        |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
    let (a, b) = (canonical(a), canonical(b));
    if a.is_ipv4() == b.is_ipv4() {
        return (a, b);
    }
    let mapped = |address: SocketAddr| match address.ip() {
        IpAddr::V4(ip) => SocketAddr::new(ip.to_ipv6_mapped().into(), address.port()),
        IpAddr::V6(_) => address,
    };
    (mapped(a), mapped(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxy_headers_name_the_client() {
        let [client, own, node] =
            ["192.0.2.1:7", "10.0.0.1:8", "10.0.0.2:9"].map(|a| a.parse().unwrap());
        let line = proxy_header(ProxyVersion::V1, Some(client), own, node).unwrap();
        assert_eq!(
            String::from_utf8(line).unwrap(),
            "PROXY TCP4 192.0.2.1 10.0.0.2 7 9\r\n"
        );
        let binary = proxy_header(ProxyVersion::V2, Some(client), own, node).unwrap();
        let parsed = v2::Header::try_from(binary.as_slice()).unwrap();
        assert_eq!(parsed.addresses, (client, node).into());
        let own_check = proxy_header(ProxyVersion::V2, None, own, node).unwrap();
        let parsed = v2::Header::try_from(own_check.as_slice()).unwrap();
        assert_eq!(parsed.command, v2::Command::Local);
        let mixed = proxy_header(
            ProxyVersion::V1,
            Some("[2001:db8::1]:7".parse().unwrap()),
            own,
            node,
        );
        let mixed = String::from_utf8(mixed.unwrap()).unwrap();
        assert!(
            mixed.starts_with("PROXY TCP6 2001:db8::1 ::ffff:"),
            "{mixed}"
        );
    }
}
