//! A unix socket, and what an earlier process left in its place.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use crate::listener::Listener;

/// Listens on the path. Its mode is what the umask leaves.
///
/// A process that ends leaves its socket file behind. Such a file is removed if nobody answers on it. Of processes that
/// start at the same time only one looks and removes at a time: none removes what another has just made.
pub(super) async fn bind(path: PathBuf) -> io::Result<Vec<Listener>> {
    let named = path.clone();
    let socket = tokio::task::spawn_blocking(move || take(&path))
        .await
        .map_err(io::Error::other)??;
    Ok(vec![Listener::unix(socket, Some(named))?])
}

fn take(path: &Path) -> io::Result<UnixListener> {
    let _turn = turn(path)?;
    match UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
        bound => return bound,
    }
    if !fs::symlink_metadata(path)?.file_type().is_socket() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    if is_alive(path)? {
        return Err(io::ErrorKind::AddrInUse.into());
    }
    fs::remove_file(path)?;
    tracing::info!(path = %path.display(), "removed a socket on which nobody listens");
    UnixListener::bind(path)
}

/// The exclusive lock of the directory, which leaves no file behind. It lasts from the first look to the `listen`.
fn turn(path: &Path) -> io::Result<File> {
    let directory = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or_else(|| Path::new("."));
    let directory = File::open(directory)?;
    directory.lock()?;
    Ok(directory)
}

/// Whether somebody listens. Only a refusal says that nobody does: a full queue answers too.
fn is_alive(path: &Path) -> io::Result<bool> {
    use rustix::io::Errno;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    match rustix::net::connect(&socket, &SocketAddrUnix::new(path)?) {
        Ok(()) | Err(Errno::AGAIN | Errno::INPROGRESS | Errno::PROTOTYPE) => Ok(true),
        Err(Errno::CONNREFUSED) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
