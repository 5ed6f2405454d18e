//! How a server ends, whoever does not read, ask or answer meanwhile.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::Duration;

use roadstead_tests::registry::program;
use roadstead_tests::{Client, Options, Registry, scratch, wait_for};
use rustix::process::{Pid, Signal, kill_process};

/// No case waits longer for anything.
const PATIENCE: Duration = Duration::from_mins(1);

/// Ended when it is dropped.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// Reads up to the line that says where it listens, and not a byte more than the reader's buffer holds.
fn announced(stderr: &mut BufReader<ChildStderr>) -> SocketAddr {
    let mut line = String::new();
    loop {
        line.clear();
        let read = stderr.read_line(&mut line).expect("text");
        assert_ne!(read, 0, "it ended before it listened");
        if let Some((_, rest)) = line.split_once("listening on ") {
            let address = rest.split(['"', ',', ' ', '\n']).next();
            return address.expect("a word").parse().expect("an address");
        }
    }
}

/// A pipe holds 64 KiB, and each of these requests makes a line of the log and more of the access log.
#[test]
fn outputs_that_nobody_reads_stop_neither_requests_nor_the_end() {
    let home = scratch();
    let mut command = Command::new(program());
    command
        .arg("serve")
        .current_dir(home.path())
        .env_clear()
        .env("REGISTRY_HTTP_ADDR", "127.0.0.1:0")
        .env("REGISTRY_LOG_LEVEL", "debug")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut server = Server(command.spawn().expect("it starts"));
    let mut stderr = BufReader::new(server.0.stderr.take().expect("a pipe"));
    let addr = announced(&mut stderr);
    let client = Client::new(&format!("http://{addr}"));
    let long = "x".repeat(100);
    for n in 0..1000 {
        client
            .get(&format!("/v2/a/manifests/{n}{long}"))
            .expect_status(404);
    }
    kill_process(Pid::from_child(&server.0), Signal::TERM).expect("it runs");
    let ended = wait_for("it ended, with its outputs full", PATIENCE, || {
        server.0.try_wait().expect("a child")
    });
    assert_eq!(ended.code(), Some(0));
    let mut rest = String::new();
    stderr.read_to_string(&mut rest).expect("text");
    assert!(
        !rest.contains("stopped: nothing was cut off"),
        "the pipe was not full"
    );
}

#[test]
fn a_hangup_ends_nobody() {
    let mut registry = Registry::roadstead(Options::default());
    registry.process().signal(Signal::HUP);
    registry
        .process()
        .wait_for_log("it says so", PATIENCE, |log| {
            log.contains("SIGHUP").then_some(())
        });
    registry.client().get("/v2/").expect_status(200);
    assert_eq!(registry.stop().code(), Some(0));
}

/// The drain may take an hour, and nobody has an hour's work.
#[test]
fn a_drain_does_not_wait_for_clients_that_ask_for_nothing() {
    let options = Options::default().env("REGISTRY_HTTP_DRAINTIMEOUT", "1h");
    let mut registry = Registry::roadstead(options);
    let said = |bytes: &[u8]| {
        let mut stream = TcpStream::connect(registry.addr()).expect("a connection");
        stream.write_all(bytes).expect("it is taken");
        stream
    };
    let _half_a_head = said(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n");
    let _silent = said(b"");
    // The preface, and an empty SETTINGS frame.
    let mut http2 = said(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
    let mut settings = [0; 9];
    http2.read_exact(&mut settings).expect("its settings");
    let mut kept = said(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n");
    let mut status = [0; 15];
    kept.read_exact(&mut status).expect("an answer");
    assert_eq!(&status, b"HTTP/1.1 200 OK");
    assert_eq!(registry.stop().code(), Some(0));
}
