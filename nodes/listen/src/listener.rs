//! A socket that accepts.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use crate::stream::Stream;

/// A socket to accept connections on. It prints as its address: `[::]:5000`, `/run/registry.sock`.
#[derive(Debug)]
pub struct Listener(Socket);

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener, SocketAddr),
    Unix(UnixListener, Option<PathBuf>),
}

/// Who connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Peer {
    /// By TCP, from this address. An IPv4 client of a dual-stack socket has its IPv4 address.
    Tcp(SocketAddr),
    /// By the unix socket: a process of this machine.
    Unix,
}

impl Peer {
    /// The address, if there is one.
    pub fn address(self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(address),
            Self::Unix => None,
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix => f.write_str("unix"),
        }
    }
}

impl Listener {
    pub(crate) fn tcp(socket: std::net::TcpListener) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let address = socket.local_addr()?;
        Ok(Self(Socket::Tcp(TcpListener::from_std(socket)?, address)))
    }

    /// The path as it was asked for, or else as the socket has it.
    pub(crate) fn unix(
        socket: std::os::unix::net::UnixListener,
        path: Option<PathBuf>,
    ) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let path = match path {
            Some(path) => Some(path),
            None => socket.local_addr()?.as_pathname().map(PathBuf::from),
        };
        Ok(Self(Socket::Unix(UnixListener::from_std(socket)?, path)))
    }

    /// The address with the port that was chosen; none for a unix socket.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        match &self.0 {
            Socket::Tcp(_, address) => Some(*address),
            Socket::Unix(..) => None,
        }
    }

    /// The next connection. An error is about the listener or the process (no more file descriptors, say): wait a little
    /// before the next call. Connections that ended before they were accepted are passed over.
    ///
    /// Nothing is lost when the future is dropped.
    pub async fn accept(&self) -> io::Result<(Stream, Peer)> {
        loop {
            match self.accept_any().await {
                Err(error) if is_about_one_connection(&error) => {}
                accepted => return accepted,
            }
        }
    }

    /// Closes the listener behind those who wait to be accepted now. The kernel itself is asked: what it has told of may be
    /// a moment old.
    pub fn close(self) -> Vec<(Stream, Peer)> {
        let mut waiting = Vec::new();
        let next: Box<dyn Fn() -> io::Result<(Stream, Peer)>> = match self.0 {
            Socket::Tcp(socket, _) => {
                let Ok(socket) = socket.into_std() else {
                    return waiting;
                };
                Box::new(move || {
                    let (stream, peer) = socket.accept()?;
                    stream.set_nonblocking(true)?;
                    Ok(tcp(TcpStream::from_std(stream)?, peer))
                })
            }
            Socket::Unix(socket, _) => {
                let Ok(socket) = socket.into_std() else {
                    return waiting;
                };
                Box::new(move || {
                    let (stream, _unnamed) = socket.accept()?;
                    stream.set_nonblocking(true)?;
                    Ok((Stream::Unix(UnixStream::from_std(stream)?), Peer::Unix))
                })
            }
        };
        loop {
            match next() {
                Ok(accepted) => waiting.push(accepted),
                Err(error) if is_about_one_connection(&error) => {}
                Err(_nobody_waits) => return waiting,
            }
        }
    }

    async fn accept_any(&self) -> io::Result<(Stream, Peer)> {
        match &self.0 {
            Socket::Tcp(socket, _) => {
                let (stream, peer) = socket.accept().await?;
                Ok(tcp(stream, peer))
            }
            Socket::Unix(socket, _) => {
                let (stream, _unnamed) = socket.accept().await?;
                Ok((Stream::Unix(stream), Peer::Unix))
            }
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.0 {
            Socket::Tcp(socket, _) => socket.as_fd(),
            Socket::Unix(socket, _) => socket.as_fd(),
        }
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Socket::Tcp(_, address) => address.fmt(f),
            Socket::Unix(_, Some(path)) => path.display().fmt(f),
            Socket::Unix(_, None) => f.write_str("a unix socket without a name"),
        }
    }
}

fn tcp(stream: TcpStream, peer: SocketAddr) -> (Stream, Peer) {
    // Answers are written whole: waiting for more to send with them would only delay them.
    let _best_effort = stream.set_nodelay(true);
    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
    (Stream::Tcp(stream), Peer::Tcp(peer))
}

/// accept(2) also reports what the network did to a connection that waited: that is no reason to stop accepting.
fn is_about_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{
        ConnectionAborted, ConnectionRefused, ConnectionReset, HostUnreachable, NetworkDown,
        NetworkUnreachable, TimedOut,
    };
    matches!(
        error.kind(),
        ConnectionAborted
            | ConnectionRefused
            | ConnectionReset
            | HostUnreachable
            | NetworkDown
            | NetworkUnreachable
            | TimedOut
    )
}
