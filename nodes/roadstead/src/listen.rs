//! Binding the addresses that a configuration names.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::{Context as _, Result, bail};
use roadstead_config::Listen;
use tokio::net::TcpListener;

/// Every address at once: IPv6 sockets take IPv4 too, where the machine has IPv6.
const EVERYWHERE: [IpAddr; 2] = [
    IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    IpAddr::V4(Ipv4Addr::UNSPECIFIED),
];
const LOOPBACK: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::LOCALHOST),
    IpAddr::V6(Ipv6Addr::LOCALHOST),
];

/// Binds the address: all addresses of the machine for none, both loopback addresses for `localhost`, else whatever the
/// name resolves to.
pub(crate) async fn bind(listen: &Listen) -> Result<Vec<TcpListener>> {
    let addr = match listen {
        Listen::Tcp(addr) => addr,
        Listen::Unix(path) => bail!("http.net: cannot listen on {} yet", path.display()),
    };
    let bound = match addr.host.as_deref() {
        None => first_of(EVERYWHERE, addr.port)
            .await
            .map(|listener| vec![listener]),
        Some("localhost") => both(LOOPBACK, addr.port).await,
        Some(host) => TcpListener::bind((host.trim_matches(['[', ']']), addr.port))
            .await
            .map(|listener| vec![listener]),
    };
    bound.with_context(|| format!("http.addr: cannot listen on {addr}"))
}

async fn first_of(choices: [IpAddr; 2], port: u16) -> io::Result<TcpListener> {
    match TcpListener::bind((choices[0], port)).await {
        Err(error) if is_absent(&error) => TcpListener::bind((choices[1], port)).await,
        bound => bound,
    }
}

/// The second on the port of the first, if the machine has such addresses.
async fn both(addresses: [IpAddr; 2], port: u16) -> io::Result<Vec<TcpListener>> {
    let first = TcpListener::bind((addresses[0], port)).await?;
    let port = first.local_addr().map(|addr: SocketAddr| addr.port())?;
    match TcpListener::bind((addresses[1], port)).await {
        Ok(second) => Ok(vec![first, second]),
        Err(error) if is_absent(&error) => Ok(vec![first]),
        Err(error) => Err(error),
    }
}

/// Whether the machine has no address of this family.
fn is_absent(error: &io::Error) -> bool {
    use rustix::io::Errno;
    error.kind() == io::ErrorKind::AddrNotAvailable
        || Errno::from_io_error(error) == Some(Errno::AFNOSUPPORT)
}
