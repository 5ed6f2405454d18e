//! The PROXY protocol: a proxy that passes bytes on says first where they come from.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use ipnet::IpNet;
use ppp::{v1, v2};
use roadstead_listen::Peer;
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// How a header of the first version begins, and how long it is at most, its end included.
const LINE_PREFIX: &[u8] = b"PROXY";
const LONGEST_LINE: usize = 107;

/// Bytes behind the fixed part of a header of the second version: more than this nobody needs.
const LONGEST_REST: usize = 2048;

/// A header that cannot be read, or was not written by one who may.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unannounced {
    #[error("it does not come from a trusted proxy")]
    Stranger,
    #[error("it does not begin with a PROXY header")]
    NoHeader,
    #[error("the PROXY header did not come in time")]
    TooLate,
    #[error("the connection broke")]
    Broken(#[source] io::Error),
}

/// Reads the header off a stream, and nothing behind it. The peer is then whom the proxy names; the proxy itself where it
/// speaks for itself.
pub(super) async fn read<S: AsyncRead + Unpin>(
    mut stream: S,
    proxy: Peer,
    trusted: &[IpNet],
    within: Duration,
) -> Result<(S, Peer), Unannounced> {
    let address = proxy.address().map(|address| address.ip().to_canonical());
    let is_trusted =
        address.is_none_or(|address| trusted.iter().any(|range| range.contains(&address)));
    if !is_trusted {
        return Err(Unannounced::Stranger);
    }
    match tokio::time::timeout(within, header(&mut stream)).await {
        Ok(named) => Ok((stream, named?.map_or(proxy, Peer::Tcp))),
        Err(_elapsed) => Err(Unannounced::TooLate),
    }
}

/// Byte by byte where it is not known how many there are: whatever comes behind it belongs to another protocol.
async fn header<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Option<SocketAddr>, Unannounced> {
    let mut header = Vec::with_capacity(LONGEST_LINE);
    while header.len() < v2::PROTOCOL_PREFIX.len() {
        header.push(stream.read_u8().await.map_err(Unannounced::Broken)?);
        if header == LINE_PREFIX {
            return line(stream, header).await;
        }
        // Nobody is to wait for a header that does not come.
        if !v2::PROTOCOL_PREFIX.starts_with(&header) && !LINE_PREFIX.starts_with(&header) {
            return Err(Unannounced::NoHeader);
        }
    }
    binary(stream, header).await
}

async fn line<S: AsyncRead + Unpin>(
    stream: &mut S,
    mut header: Vec<u8>,
) -> Result<Option<SocketAddr>, Unannounced> {
    while !header.ends_with(b"\r\n") {
        if header.len() >= LONGEST_LINE {
            return Err(Unannounced::NoHeader);
        }
        header.push(stream.read_u8().await.map_err(Unannounced::Broken)?);
    }
    let parsed = v1::Header::try_from(header.as_slice());
    let parsed = parsed.map_err(|_malformed| Unannounced::NoHeader)?;
    Ok(named_in_text(&parsed.addresses))
}

async fn binary<S: AsyncRead + Unpin>(
    stream: &mut S,
    mut header: Vec<u8>,
) -> Result<Option<SocketAddr>, Unannounced> {
    let mut fixed = [0; 4];
    stream
        .read_exact(&mut fixed)
        .await
        .map_err(Unannounced::Broken)?;
    header.extend_from_slice(&fixed);
    let length = usize::from(u16::from_be_bytes([fixed[2], fixed[3]]));
    if length > LONGEST_REST {
        return Err(Unannounced::NoHeader);
    }
    let mut rest = vec![0; length];
    stream
        .read_exact(&mut rest)
        .await
        .map_err(Unannounced::Broken)?;
    header.extend_from_slice(&rest);
    let parsed = v2::Header::try_from(header.as_slice());
    let parsed = parsed.map_err(|_malformed| Unannounced::NoHeader)?;
    if parsed.command == v2::Command::Local {
        return Ok(None);
    }
    Ok(named_in_binary(&parsed.addresses))
}

fn named_in_text(addresses: &v1::Addresses) -> Option<SocketAddr> {
    match addresses {
        v1::Addresses::Tcp4(ends) => Some((ends.source_address, ends.source_port).into()),
        v1::Addresses::Tcp6(ends) => Some((ends.source_address, ends.source_port).into()),
        v1::Addresses::Unknown => None,
    }
}

fn named_in_binary(addresses: &v2::Addresses) -> Option<SocketAddr> {
    match addresses {
        v2::Addresses::IPv4(ends) => Some((ends.source_address, ends.source_port).into()),
        v2::Addresses::IPv6(ends) => Some((ends.source_address, ends.source_port).into()),
        v2::Addresses::Unspecified | v2::Addresses::Unix(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    const WITHIN: Duration = Duration::from_secs(5);

    fn proxy() -> Peer {
        Peer::Tcp("10.0.0.1:1".parse().unwrap())
    }

    /// Whom the bytes name, and what is left behind them.
    async fn said(bytes: &[u8]) -> Result<(Peer, Vec<u8>), Unannounced> {
        let (mut client, server) = tokio::io::duplex(1 << 16);
        client.write_all(bytes).await.unwrap();
        drop(client);
        let (mut stream, peer) =
            read(server, proxy(), &["10.0.0.0/8".parse().unwrap()], WITHIN).await?;
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.unwrap();
        Ok((peer, rest))
    }

    #[tokio::test(start_paused = true)]
    async fn both_versions_name_the_client_and_leave_what_follows() {
        let client: SocketAddr = "192.0.2.7:4711".parse().unwrap();
        let node: SocketAddr = "10.0.0.2:5000".parse().unwrap();
        let text = b"PROXY TCP4 192.0.2.7 10.0.0.2 4711 5000\r\nGET / HTTP/1.1\r\n".to_vec();
        let (peer, rest) = said(&text).await.unwrap();
        assert_eq!(
            (peer, rest.as_slice()),
            (Peer::Tcp(client), &b"GET / HTTP/1.1\r\n"[..])
        );
        let command = v2::Version::Two | v2::Command::Proxy;
        let mut binary = v2::Builder::with_addresses(command, v2::Protocol::Stream, (client, node))
            .write_tlv(v2::Type::ALPN, b"h2")
            .unwrap()
            .build()
            .unwrap();
        binary.extend_from_slice(b"\x16\x03");
        let (peer, rest) = said(&binary).await.unwrap();
        assert_eq!(
            (peer, rest.as_slice()),
            (Peer::Tcp(client), &b"\x16\x03"[..])
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_proxy_may_speak_for_itself() {
        let (peer, _) = said(b"PROXY UNKNOWN\r\n").await.unwrap();
        assert_eq!(peer, proxy());
        let ends: (SocketAddr, SocketAddr) =
            ("1.1.1.1:1".parse().unwrap(), "2.2.2.2:2".parse().unwrap());
        let local = v2::Version::Two | v2::Command::Local;
        let local = v2::Builder::with_addresses(local, v2::Protocol::Stream, ends)
            .build()
            .unwrap();
        assert_eq!(said(&local).await.unwrap().0, proxy());
    }

    #[tokio::test(start_paused = true)]
    async fn anything_else_is_turned_away() {
        for other in [
            "GET / HTTP/1.1\r\n\r\n",
            "PROXY TCP4 a b c d\r\n",
            "\r\n\r\n\0\r\nQUIX",
        ] {
            let refused = said(other.as_bytes()).await;
            assert!(
                matches!(refused, Err(Unannounced::NoHeader)),
                "{other:?}: {refused:?}"
            );
        }
        let long = format!("PROXY {}", "x".repeat(5000));
        assert!(said(long.as_bytes()).await.is_err());
        let (_silent, server) = tokio::io::duplex(64);
        let stranger = Peer::Tcp("192.0.2.1:1".parse().unwrap());
        let range = ["10.0.0.0/8".parse().unwrap()];
        let refused = read(server, stranger, &range, WITHIN).await;
        assert!(matches!(refused, Err(Unannounced::Stranger)));
        let (_silent, server) = tokio::io::duplex(64);
        let late = read(server, proxy(), &range, WITHIN).await;
        assert!(matches!(late, Err(Unannounced::TooLate)));
    }
}
