//! TCP and unix sockets.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use roadstead_listen::{Address, BindError, Listener, Options, Peer, bind};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWrite as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio::time::timeout;

use crate::server::SOON;

fn tcp(host: Option<&str>, port: u16) -> Options {
    Options {
        setting: "http.addr",
        address: Address::Tcp {
            host: host.map(str::to_owned),
            port,
        },
        inherited: None,
    }
}

fn unix(path: &Path) -> Options {
    Options {
        setting: "http.addr",
        address: Address::Unix(path.to_owned()),
        inherited: None,
    }
}

fn port(listener: &Listener) -> u16 {
    listener.local_addr().unwrap().port()
}

/// Whether this machine has IPv6 on its loopback interface.
fn has_ipv6() -> bool {
    std::net::TcpListener::bind("[::1]:0").is_ok()
}

#[tokio::test]
async fn a203_no_host_is_every_address_of_both_families() {
    let listener = bind(tcp(None, 0)).await.unwrap().remove(0);
    let port = port(&listener);
    let mut loopbacks = vec![IpAddr::V4(Ipv4Addr::LOCALHOST)];
    if has_ipv6() {
        assert_eq!(listener.to_string(), format!("[::]:{port}"));
        loopbacks.push("::1".parse().unwrap());
    }
    for loopback in loopbacks {
        let client = TcpStream::connect((loopback, port)).await.unwrap();
        let (_stream, peer) = listener.accept().await.unwrap();
        // Of an IPv4 client the IPv4 address, not the mapped one that the socket sees.
        assert_eq!(peer, Peer::Tcp(client.local_addr().unwrap()));
    }
}

#[tokio::test]
async fn a304_one_address_is_that_address() {
    let listener = bind(tcp(Some("0.0.0.0"), 0)).await.unwrap().remove(0);
    let address = listener.local_addr().unwrap();
    assert_eq!(address.ip(), Ipv4Addr::UNSPECIFIED);
    assert_eq!(listener.to_string(), format!("0.0.0.0:{}", address.port()));
}

#[tokio::test]
async fn localhost_is_both_loopback_addresses_on_one_port() {
    let listeners = bind(tcp(Some("localhost"), 0)).await.unwrap();
    assert_eq!(listeners.len(), if has_ipv6() { 2 } else { 1 });
    for listener in &listeners {
        let address = listener.local_addr().unwrap();
        assert!(address.ip().is_loopback());
        assert_eq!(address.port(), port(&listeners[0]));
    }
}

#[tokio::test]
async fn a_port_that_is_taken_is_named_with_its_setting() {
    let first = bind(tcp(Some("127.0.0.1"), 0)).await.unwrap().remove(0);
    let port = port(&first);
    for host in [None, Some("127.0.0.1"), Some("localhost")] {
        let error = bind(tcp(host, port)).await.unwrap_err();
        assert!(matches!(error, BindError::InUse { .. }), "{error:?}");
        let address = format!("{}:{port}", host.unwrap_or_default());
        let said = error.to_string();
        assert!(
            said.starts_with(&format!("http.addr: {address} is in use")),
            "{said}"
        );
    }
}

#[tokio::test]
async fn an_address_of_another_machine_is_refused() {
    // TEST-NET-1 (RFC 5737): nobody's.
    let error = bind(tcp(Some("192.0.2.1"), 0)).await.unwrap_err();
    let said = error.to_string();
    assert!(
        said.starts_with("http.addr: cannot listen on 192.0.2.1:0"),
        "{said}"
    );
}

#[tokio::test]
async fn tcp_answers_go_out_at_once_and_in_one_call() {
    let listener = bind(tcp(Some("127.0.0.1"), 0)).await.unwrap().remove(0);
    let address: SocketAddr = listener.local_addr().unwrap();
    let _client = TcpStream::connect(address).await.unwrap();
    let (stream, _peer) = listener.accept().await.unwrap();
    assert!(stream.is_write_vectored());
    let roadstead_listen::Stream::Tcp(stream) = stream else {
        panic!("not TCP");
    };
    assert!(stream.nodelay().unwrap());
}

#[tokio::test]
async fn a_unix_socket_serves_with_the_mode_of_the_umask() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("registry.sock");
    let listener = bind(unix(&path)).await.unwrap().remove(0);
    assert_eq!(listener.to_string(), path.display().to_string());
    assert_eq!(listener.local_addr(), None);
    // What the umask leaves to a socket is what it leaves to a directory, but for the sticky bits.
    std::fs::create_dir(directory.path().join("d")).unwrap();
    let mode = |name: &str| {
        let found = std::fs::metadata(directory.path().join(name)).unwrap();
        found.permissions().mode() & 0o777
    };
    assert_eq!(mode("registry.sock"), mode("d"));
    let mut client = UnixStream::connect(&path).await.unwrap();
    let (mut stream, peer) = listener.accept().await.unwrap();
    assert_eq!(peer, Peer::Unix);
    assert_eq!(peer.address(), None);
    client.write_all(b"ping").await.unwrap();
    let mut heard = [0; 4];
    stream.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"ping");
}

#[tokio::test]
async fn a_stale_socket_is_replaced_and_a_living_one_is_not() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("registry.sock");
    let first = bind(unix(&path)).await.unwrap();
    let error = bind(unix(&path)).await.unwrap_err();
    assert!(matches!(error, BindError::InUse { .. }), "{error:?}");
    UnixStream::connect(&path)
        .await
        .expect("the first still listens");
    drop(first);
    assert!(path.symlink_metadata().unwrap().file_type().is_socket());
    let second = bind(unix(&path)).await.unwrap();
    UnixStream::connect(&path)
        .await
        .expect("the second listens");
    drop(second);
}

#[tokio::test]
async fn what_is_not_a_socket_is_left_alone() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("registry.sock");
    std::fs::write(&path, "precious").unwrap();
    let error = bind(unix(&path)).await.unwrap_err();
    assert!(matches!(error, BindError::NotASocket { .. }), "{error:?}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    let link = directory.path().join("link.sock");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    assert!(bind(unix(&link)).await.is_err());
    assert!(link.symlink_metadata().unwrap().is_symlink());
}

/// A full queue refuses nobody: it is somebody who is busy.
#[tokio::test]
async fn a_living_socket_that_is_busy_is_not_taken_for_a_stale_one() {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketType};
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("registry.sock");
    let address = SocketAddrUnix::new(&path).unwrap();
    let busy = rustix::net::socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
    rustix::net::bind(&busy, &address).unwrap();
    rustix::net::listen(&busy, 0).unwrap();
    let _waiting = UnixStream::connect(&path).await.unwrap();
    let error = bind(unix(&path)).await.unwrap_err();
    assert!(matches!(error, BindError::InUse { .. }), "{error:?}");
}

/// Another process has begun to look at a stale socket, and is paused: its turn is waited for, and what it makes of it is
/// respected.
#[tokio::test]
async fn a_stale_socket_is_dealt_with_by_one_process_at_a_time() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("registry.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let turn = std::fs::File::open(directory.path()).unwrap();
    turn.lock().unwrap();
    let options = unix(&path);
    let starting = tokio::spawn(async move { bind(options).await });
    let inode = format!(":{} ", turn.metadata().unwrap().ino());
    let waits = || {
        let locks = std::fs::read_to_string("/proc/locks").unwrap();
        let mut waiting = locks.lines().filter(|line| line.contains("-> FLOCK"));
        waiting.any(|line| line.contains(&inode))
    };
    timeout(SOON, async {
        while !waits() {
            assert!(!starting.is_finished(), "it did not wait");
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("it waits for its turn");
    std::fs::remove_file(&path).unwrap();
    let _faster = UnixListener::bind(&path).unwrap();
    drop(turn);
    let error = starting.await.unwrap().unwrap_err();
    assert!(matches!(error, BindError::InUse { .. }), "{error:?}");
    UnixStream::connect(&path)
        .await
        .expect("the faster is reached");
}

/// All start at once on a stale socket; whoever gets it must be the one that clients reach.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_that_start_on_a_stale_socket_one_gets_it() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("registry.sock");
    for _round in 0..20 {
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let starting: Vec<_> = (0..8)
            .map(|_| {
                let options = unix(&path);
                tokio::spawn(async move { bind(options).await })
            })
            .collect();
        let mut won = Vec::new();
        for started in starting {
            match started.await.unwrap() {
                Ok(listeners) => won.extend(listeners),
                Err(error) => assert!(matches!(error, BindError::InUse { .. }), "{error:?}"),
            }
        }
        assert_eq!(won.len(), 1);
        let (client, accepted) = tokio::join!(UnixStream::connect(&path), won[0].accept());
        client.unwrap();
        accepted.unwrap();
        std::fs::remove_file(&path).unwrap();
    }
}
