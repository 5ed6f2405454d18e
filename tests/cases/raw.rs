//! Bytes on a socket: what no HTTP library would send.

#![expect(clippy::panic, reason = "a step fails its case where it stands")]

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use roadstead_tests::Registry;

/// Longer than any answer takes; a peer that neither answers nor closes is a failure.
const DEADLINE: Duration = Duration::from_secs(20);

/// A connection that says what it is told to.
#[derive(Debug)]
pub(crate) struct Raw(TcpStream);

/// One answer as it came: its status, its head and its body.
#[derive(Debug)]
pub(crate) struct Heard {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Raw {
    #[track_caller]
    pub(crate) fn to(registry: &Registry) -> Self {
        Self::at(registry.addr())
    }

    #[track_caller]
    pub(crate) fn at(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).expect("connected");
        stream.set_read_timeout(Some(DEADLINE)).expect("set");
        stream.set_write_timeout(Some(DEADLINE)).expect("set");
        Self(stream)
    }

    /// For those who read or write in between.
    pub(crate) fn stream(&mut self) -> &mut TcpStream {
        &mut self.0
    }

    /// A peer that closed already takes nothing, which is an answer as well.
    pub(crate) fn say(mut self, bytes: &[u8]) -> Self {
        let _taken_or_not = self.0.write_all(bytes);
        self
    }

    /// Nothing more will come from here.
    pub(crate) fn close_half(self) -> Self {
        let _closed_by_the_peer_already = self.0.shutdown(Shutdown::Write);
        self
    }

    /// Everything until the peer closes.
    #[track_caller]
    pub(crate) fn hear(mut self) -> Vec<u8> {
        let mut heard = Vec::new();
        match self.0.read_to_end(&mut heard) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            Err(error) => panic!("the registry neither answers nor closes: {error}"),
        }
        heard
    }

    /// All answers until the peer closes. Requests must have been `GET`s and the like, not `HEAD`s.
    #[track_caller]
    pub(crate) fn answers(self) -> Vec<Heard> {
        let bytes = self.hear();
        let mut rest = bytes.as_slice();
        let mut all = Vec::new();
        while !rest.is_empty() {
            let (one, left) = first_answer(rest);
            rest = left;
            all.push(one);
        }
        all
    }

    /// The one answer before the peer closes.
    #[track_caller]
    pub(crate) fn answer(self) -> Heard {
        let mut all = self.answers();
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0)
    }
}

/// Takes an answer off the front.
#[track_caller]
fn first_answer(bytes: &[u8]) -> (Heard, &[u8]) {
    let shown = || String::from_utf8_lossy(bytes).into_owned();
    let end = bytes
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .unwrap_or_else(|| panic!("no head: {}", shown()));
    let (head, rest) = (&bytes[..end], &bytes[end + 4..]);
    let head = String::from_utf8(head.to_vec()).expect("a head in text");
    let status = head
        .strip_prefix("HTTP/1.")
        .and_then(|rest| rest.get(2..5)?.parse().ok())
        .unwrap_or_else(|| panic!("no status: {head}"));
    let length = head
        .lines()
        .find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            let is_it = name.eq_ignore_ascii_case("content-length");
            is_it.then(|| value.parse().expect("a length"))
        })
        .unwrap_or(0);
    assert!(rest.len() >= length, "a cut answer: {}", shown());
    let (body, rest) = rest.split_at(length);
    let body = body.to_vec();
    (Heard { status, head, body }, rest)
}

/// One request, and the one answer: the connection is to be closed behind it.
#[track_caller]
pub(crate) fn ask(registry: &Registry, method: &str, target: &str, headers: &str) -> Heard {
    let request = format!(
        "{method} {target} HTTP/1.1\r\nHost: registry\r\nConnection: close\r\n{headers}\r\n"
    );
    Raw::to(registry).say(request.as_bytes()).answer()
}
