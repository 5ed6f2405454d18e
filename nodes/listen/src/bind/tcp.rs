//! TCP addresses.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use tokio::net::lookup_host;

use crate::listener::Listener;

/// Every address at once: IPv6 sockets take IPv4 too, where the machine has IPv6.
const EVERYWHERE: [IpAddr; 2] = [
    IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    IpAddr::V4(Ipv4Addr::UNSPECIFIED),
];
const LOOPBACK: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::LOCALHOST),
    IpAddr::V6(Ipv6Addr::LOCALHOST),
];

/// Connections that may wait to be accepted. The system caps it at `net.core.somaxconn`, which is 4096 by default.
const BACKLOG: i32 = 4096;

/// Port 0 on both loopback addresses: the port of the first may be taken on the second, and another is tried.
const TRIES: usize = 16;

/// Listens on all addresses of the machine for no host, on both loopback addresses for `localhost`, else on the first
/// address that the name resolves to and the machine has.
pub(super) async fn bind(host: Option<&str>, port: u16) -> io::Result<Vec<Listener>> {
    match host {
        None => Ok(vec![first_of(
            EVERYWHERE.map(|address| SocketAddr::new(address, port)),
        )?]),
        Some("localhost") => both(port),
        Some(host) => {
            let host = host.trim_matches(['[', ']']);
            Ok(vec![first_of(lookup_host((host, port)).await?)?])
        }
    }
}

/// The first that can be bound; else why the first could not.
fn first_of(choices: impl IntoIterator<Item = SocketAddr>) -> io::Result<Listener> {
    let mut refused = None;
    for choice in choices {
        match listen(choice) {
            Err(error) if is_absent(&error) => refused = refused.or(Some(error)),
            bound => return bound,
        }
    }
    Err(refused.unwrap_or_else(|| io::ErrorKind::AddrNotAvailable.into()))
}

/// The second on the port of the first, if the machine has such addresses.
fn both(port: u16) -> io::Result<Vec<Listener>> {
    for _again in 0..TRIES {
        match pair(port) {
            Err(error) if port == 0 && error.kind() == io::ErrorKind::AddrInUse => {}
            bound => return bound,
        }
    }
    Err(io::ErrorKind::AddrInUse.into())
}

fn pair(port: u16) -> io::Result<Vec<Listener>> {
    let [first, second] = LOOPBACK;
    let first = match listen(SocketAddr::new(first, port)) {
        Err(error) if is_absent(&error) => return Ok(vec![listen((second, port).into())?]),
        bound => bound?,
    };
    let port = first.local_addr().map_or(port, |address| address.port());
    match listen(SocketAddr::new(second, port)) {
        Ok(second) => Ok(vec![first, second]),
        Err(error) if is_absent(&error) => Ok(vec![first]),
        Err(error) => Err(error),
    }
}

fn listen(address: SocketAddr) -> io::Result<Listener> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    // The port of a process that has just ended is free, whatever its connections still wait for.
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if address.is_ipv6() {
        // Said rather than left to net.ipv6.bindv6only: `:5000` is every address on every machine.
        sockopt::set_ipv6_v6only(&socket, !address.ip().is_unspecified())?;
    }
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Listener::tcp(socket.into())
}

/// Whether the machine has no such address, or no address of this family at all.
fn is_absent(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrNotAvailable
        || Errno::from_io_error(error) == Some(Errno::AFNOSUPPORT)
}
