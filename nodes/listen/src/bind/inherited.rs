//! Socket activation: systemd opens the socket, and hands it over with the process.

use std::io;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;

use listenfd::ListenFd;
use rustix::net::sockopt;

use super::BindError;
use crate::listener::Listener;

/// A socket that was opened before this process began.
#[derive(Debug)]
pub struct Inherited(Socket);

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Inherited {
    /// Takes the socket that `LISTEN_PID` and `LISTEN_FDS` announce; none if they are not set, or meant for another
    /// process. From then on it is not passed on to programs that this process starts.
    ///
    /// Call it at the start of `main`, before there are threads: whoever reads the environment hands in the two numbers,
    /// and this function removes both variables, so that no program started later takes them for its own. (The library
    /// that makes a socket of a number reads the two variables itself, and does the removing. It gets to do so only
    /// after the numbers have been checked here.)
    pub fn take(
        listen_pid: Option<u32>,
        listen_fds: Option<u32>,
    ) -> Result<Option<Self>, BindError> {
        let count = match (listen_pid, listen_fds) {
            (Some(pid), Some(count)) if pid == std::process::id() => count,
            _other => return Ok(None),
        };
        match count {
            0 => Ok(None),
            1 => take_first().map(Some).map_err(BindError::NotInheritable),
            many => Err(BindError::ManyInherited(many)),
        }
    }

    pub(super) fn listen(self) -> io::Result<Listener> {
        match self.0 {
            Socket::Tcp(socket) => Listener::tcp(socket),
            Socket::Unix(socket) => Listener::unix(socket, None),
        }
    }
}

fn take_first() -> io::Result<Inherited> {
    let absent = || io::Error::other("LISTEN_FDS and LISTEN_PID were removed already");
    let mut handed_over = ListenFd::from_env();
    // What is not a unix socket stays where it is, and is tried as a TCP one.
    let socket = match handed_over.take_unix_listener(0) {
        Ok(unix) => Socket::Unix(unix.ok_or_else(absent)?),
        Err(_not_unix) => Socket::Tcp(handed_over.take_tcp_listener(0)?.ok_or_else(absent)?),
    };
    let listens = match &socket {
        Socket::Tcp(tcp) => sockopt::socket_acceptconn(tcp),
        Socket::Unix(unix) => sockopt::socket_acceptconn(unix),
    }?;
    if listens {
        Ok(Inherited(socket))
    } else {
        Err(io::Error::other("the socket does not listen (Accept=yes?)"))
    }
}
