//! Sockets that were opened before the process began: this test program runs itself as the process.

use std::io::Read as _;
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use roadstead_listen::{Address, BindError, Inherited, Options, bind};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;

/// A child that does not outlive its test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ended_already = self.0.kill();
        let _status = self.0.wait();
    }
}

impl Process {
    /// Runs the test of that name in a process that got the socket as systemd gives it.
    fn with(socket: OwnedFd, variables: &str, test: &str) -> Self {
        let script = format!("exec 3<&0 </dev/null; export {variables}; exec \"$0\" \"$@\"");
        let child = Command::new("sh")
            .args(["-c", &script])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "--ignored", "--nocapture", test])
            .stdin(Stdio::from(socket))
            .stdout(Stdio::piped())
            .spawn();
        Self(child.unwrap())
    }

    fn end(mut self) -> (ExitStatus, String) {
        let mut output = String::new();
        let mut stdout = self.0.stdout.take().unwrap();
        stdout.read_to_string(&mut output).unwrap();
        (self.0.wait().unwrap(), output)
    }
}

fn read(mut stream: impl std::io::Read) -> String {
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    said
}

/// What it is given beside the socket, and must not use.
fn elsewhere(inherited: Option<Inherited>) -> Options {
    Options {
        setting: "http.addr",
        address: Address::Unix("/nowhere/at/all".into()),
        inherited,
    }
}

#[test]
#[ignore = "runs as the child of the tests below"]
fn child_that_serves_one() {
    let inherited = Inherited::take(Some(std::process::id()), Some(1)).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let listeners = bind(elsewhere(inherited)).await.unwrap();
        assert_eq!(listeners.len(), 1);
        let flags = rustix::io::fcntl_getfd(&listeners[0]).unwrap();
        let (mut stream, peer) = listeners[0].accept().await.unwrap();
        let said = format!("{} {} {flags:?}", listeners[0], peer.address().is_some());
        stream.write_all(said.as_bytes()).await.unwrap();
    });
}

#[test]
#[ignore = "runs as the child of a test below"]
fn child_that_is_refused() {
    let error = Inherited::take(Some(std::process::id()), Some(1)).unwrap_err();
    assert!(matches!(error, BindError::NotInheritable(_)), "{error:?}");
}

#[test]
fn a415_a_tcp_socket_is_served_instead_of_the_address() {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let process = Process::with(
        socket.into(),
        "LISTEN_PID=$$ LISTEN_FDS=1",
        "activation::child_that_serves_one",
    );
    let client = TcpStream::connect_timeout(&address, Duration::from_secs(20)).unwrap();
    client
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    assert_eq!(read(client), format!("{address} true FdFlags(CLOEXEC)"));
    let (status, output) = process.end();
    assert!(status.success(), "{output}");
}

#[test]
fn a415_a_unix_socket_is_served_instead_of_the_address() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("activated.sock");
    let socket = UnixListener::bind(&path).unwrap();
    let process = Process::with(
        socket.into(),
        "LISTEN_PID=$$ LISTEN_FDS=1",
        "activation::child_that_serves_one",
    );
    let client = UnixStream::connect(&path).unwrap();
    client
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    assert_eq!(
        read(client),
        format!("{} false FdFlags(CLOEXEC)", path.display())
    );
    let (status, output) = process.end();
    assert!(status.success(), "{output}");
}

#[test]
fn what_does_not_listen_is_refused() {
    let (one, _other) = UnixStream::pair().unwrap();
    let null = std::fs::File::open("/dev/null").unwrap();
    for handed_over in [OwnedFd::from(one), OwnedFd::from(null)] {
        let process = Process::with(
            handed_over,
            "LISTEN_PID=$$ LISTEN_FDS=1",
            "activation::child_that_is_refused",
        );
        let (status, output) = process.end();
        assert!(status.success(), "{output}");
        assert!(output.contains("1 passed"), "{output}");
    }
}

#[test]
fn numbers_for_another_process_or_none_are_passed_over() {
    let own = std::process::id();
    for (pid, fds) in [
        (None, None),
        (None, Some(1)),
        (Some(own), None),
        (Some(own + 1), Some(1)),
        (Some(own), Some(0)),
    ] {
        assert!(
            Inherited::take(pid, fds).unwrap().is_none(),
            "{pid:?} {fds:?}"
        );
    }
}

#[test]
fn more_than_one_socket_is_refused() {
    let error = Inherited::take(Some(std::process::id()), Some(2)).unwrap_err();
    assert!(error.to_string().contains("LISTEN_FDS is 2"), "{error}");
}
