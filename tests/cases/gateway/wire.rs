//! What lies on the wire: what is refused, and what a node sees of the rest.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use roadstead_oci::{Algorithm, Digest};
use roadstead_tests::image::noise;
use roadstead_tests::tools::curl;
use roadstead_tests::{Gateway, wait_until};

use super::{SOON, node, path_of};
use crate::raw::Raw;

/// Something that answers every request in the same way, and keeps what it was sent.
pub(super) struct Recorder {
    pub(super) addr: SocketAddr,
    heard: Arc<Mutex<Vec<String>>>,
}

pub(super) const PLAIN: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";

impl Recorder {
    /// Checks are answered as well; they are not kept.
    pub(super) fn answering(answer: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let addr = listener.local_addr().expect("its number");
        let heard = Arc::<Mutex<Vec<String>>>::default();
        let keep = Arc::clone(&heard);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let keep = Arc::clone(&keep);
                std::thread::spawn(move || serve(stream, answer, &keep));
            }
        });
        Self { addr, heard }
    }

    pub(super) fn heard(&self) -> String {
        self.heard.lock().expect("kept").join("\n---\n")
    }
}

/// Answers each time that a head has come: requests have no bodies here, unless they are smuggled.
fn serve(mut stream: TcpStream, answer: &str, keep: &Mutex<Vec<String>>) {
    let mut said = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(read @ 1..) = stream.read(&mut buffer) {
        said.extend_from_slice(&buffer[..read]);
        if !said.windows(4).any(|four| four == b"\r\n\r\n") {
            continue;
        }
        let text = String::from_utf8_lossy(&said).into_owned();
        said.clear();
        let is_check = text.contains("user-agent: roadstead-gateway");
        let answer = if is_check { PLAIN } else { answer };
        if !is_check {
            keep.lock().expect("kept").push(text);
        }
        if stream.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

fn in_front_of(recorder: &Recorder) -> Gateway {
    let gateway = Gateway::open(&[recorder.addr], "");
    gateway.wait_until(recorder.addr, "up");
    gateway
}

#[test]
fn what_two_servers_could_read_differently_is_refused_or_made_plain() {
    let recorder = Recorder::answering(PLAIN);
    let gateway = in_front_of(&recorder);
    let smuggled = "GET /v2/evil/tags/list HTTP/1.1\r\nHost: x\r\n\r\n";
    let length = smuggled.len();
    for refused in [
        format!("Content-Length: 0\r\nContent-Length: {length}\r\n"),
        format!("Content-Length: {length}, 0\r\n"),
        format!("Content-Length: +{length}\r\n"),
        format!("Content-Length: {length}x\r\n"),
        format!("Content-Length : {length}\r\n"),
        "Transfer-Encoding: chunked, identity\r\n".to_owned(),
        "Transfer-Encoding: xchunked\r\n".to_owned(),
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n".to_owned(),
        "X-Folded: a\r\n b: c\r\n".to_owned(),
        "X-Bare: a\rTransfer-Encoding: chunked\r\n".to_owned(),
        "X-Nul: a\0b\r\n".to_owned(),
        "Host: y\r\n".to_owned(),
    ] {
        let request = format!("POST /v2/ HTTP/1.1\r\nHost: x\r\n{refused}\r\n{smuggled}");
        let answers = Raw::at(gateway.addr())
            .say(request.as_bytes())
            .close_half()
            .answers();
        let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
        assert_eq!(statuses, [400], "{refused:?}");
    }
    assert_eq!(recorder.heard(), "", "nothing of it reached the node");
    // A length beside chunks does not count (RFC 9112, section 6.3), and is not passed on.
    let body = format!("{length:x}\r\n{smuggled}\r\n0\r\n\r\n");
    for both in [
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
    ] {
        let request =
            format!("POST /v2/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{both}\r\n{body}");
        let answers = Raw::at(gateway.addr())
            .say(request.as_bytes())
            .close_half()
            .answers();
        assert!(answers.len() <= 1, "one request: {answers:?}");
    }
    for heard in recorder
        .heard()
        .split("\n---\n")
        .filter(|heard| !heard.is_empty())
    {
        let head = heard
            .split("\r\n\r\n")
            .next()
            .unwrap_or_default()
            .to_ascii_lowercase();
        let lengths =
            head.matches("content-length:").count() + head.matches("transfer-encoding:").count();
        assert!(lengths <= 1, "{heard}");
        assert!(!head.starts_with("get /v2/evil"), "{heard}");
    }
}

#[test]
fn a_request_without_a_host_or_with_two_is_refused() {
    let recorder = Recorder::answering(PLAIN);
    let gateway = in_front_of(&recorder);
    for hosts in ["", "Host: a\r\nHost: a\r\n"] {
        let request = format!("GET /v2/ HTTP/1.1\r\n{hosts}\r\n");
        let answer = Raw::at(gateway.addr()).say(request.as_bytes()).answer();
        assert_eq!(answer.status, 400, "{hosts:?}");
    }
    assert_eq!(recorder.heard(), "");
}

#[test]
fn a_node_sees_the_client_and_nothing_of_its_connection() {
    let recorder = Recorder::answering(PLAIN);
    let gateway = in_front_of(&recorder);
    let request = "GET /v2/x/tags/list?n=5 HTTP/1.1\r\nHost: registry.example:8443\r\nConnection: close, X-Hidden\r\n\
                   X-Hidden: 1\r\nTE: trailers\r\nProxy-Authorization: Basic x\r\nUpgrade: websocket\r\n\
                   X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: https\r\nAuthorization: Basic y\r\n\r\n";
    assert_eq!(
        Raw::at(gateway.addr())
            .say(request.as_bytes())
            .answer()
            .status,
        200
    );
    let heard = recorder.heard().to_ascii_lowercase();
    assert!(
        heard.starts_with("get /v2/x/tags/list?n=5 http/1.1\r\n"),
        "{heard}"
    );
    for line in [
        "host: registry.example:8443",
        "authorization: basic y",
        "x-forwarded-for: 203.0.113.9",
        "x-real-ip: 203.0.113.9",
        "x-forwarded-proto: https",
        "x-forwarded-host: registry.example:8443",
        "forwarded: for=203.0.113.9;proto=https;host=\"registry.example:8443\"",
    ] {
        assert!(heard.contains(&format!("{line}\r\n")), "{line}\n{heard}");
    }
    for gone in ["x-hidden", "\nte:", "proxy-authorization", "upgrade"] {
        assert!(!heard.contains(gone), "{gone}\n{heard}");
    }
}

#[test]
fn what_comes_before_and_after_an_answer_does_not_disturb_it() {
    let recorder = Recorder::answering(
        "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\
         Connection: X-Hop\r\nX-Hop: 1\r\n\r\n2\r\n{}\r\n0\r\nX-Sum: 1\r\n\r\n",
    );
    let gateway = in_front_of(&recorder);
    for _ in 0..3 {
        let answer = gateway.client().get("/v2/x/tags/list").expect_status(200);
        assert_eq!(answer.body, b"{}");
        assert_eq!(answer.header("x-hop"), None);
    }
    let http10 = "GET /v2/x/tags/list HTTP/1.0\r\n\r\n";
    let answer = Raw::at(gateway.addr()).say(http10.as_bytes()).hear();
    let answer = String::from_utf8(answer).expect("text");
    assert!(
        !answer.to_ascii_lowercase().contains("transfer-encoding"),
        "{answer}"
    );
    assert!(answer.ends_with("\r\n\r\n{}"), "{answer}");
}

#[test]
fn an_answer_that_breaks_off_is_not_ended_cleanly() {
    let recorder = Recorder::answering(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\nzzz\r\n",
    );
    let gateway = in_front_of(&recorder);
    let get = "GET /v2/x/tags/list HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let heard = Raw::at(gateway.addr()).say(get.as_bytes()).hear();
    assert!(
        !heard.ends_with(b"0\r\n\r\n"),
        "{}",
        String::from_utf8_lossy(&heard)
    );
    // Where the end of the connection is the end of the answer, half an answer would look like a whole one.
    let get = "GET /v2/x/tags/list HTTP/1.0\r\n\r\n";
    let answer = Raw::at(gateway.addr()).say(get.as_bytes()).answer();
    assert_eq!(answer.status, 503, "{}", answer.head);
}

#[test]
fn a_client_that_waits_to_send_is_told_by_the_node() {
    let (_registry, addr) = node();
    let gateway = Gateway::open(&[addr], "");
    gateway.wait_until(addr, "up");
    let bytes = noise(5, 100_000);
    let session = gateway.repository("expect").open_upload();
    let ask = |target: &str| {
        let head = format!(
            "PATCH {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n",
            bytes.len()
        );
        Raw::at(gateway.addr()).say(head.as_bytes())
    };
    let unknown =
        ask("/v2/expect/blobs/uploads/0192a8d0-1234-8abc-8def-0123456789ab?_state=x").answer();
    assert_eq!(unknown.status, 404, "at once, and nothing was asked for");
    let mut raw = ask(path_of(&session));
    let mut told = [0; 25];
    raw.stream().read_exact(&mut told).expect("it is told");
    assert_eq!(&told, b"HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(raw.say(&bytes).answer().status, 202);
}

#[test]
fn a_refusal_reaches_a_client_that_has_not_sent_all() {
    let (_registry, addr) = node();
    let gateway = Gateway::open(&[addr], "");
    gateway.wait_until(addr, "up");
    let unknown = "/v2/early/blobs/uploads/0192a8d0-1234-8abc-8def-0123456789ab?_state=x";
    for length in ["Content-Length: 1000", "Transfer-Encoding: chunked"] {
        let head =
            format!("PATCH {unknown} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{length}\r\n\r\n");
        let mut raw = Raw::at(gateway.addr()).say(head.as_bytes());
        let mut status = [0; 12];
        raw.stream().read_exact(&mut status).expect("an answer");
        assert_eq!(&status, b"HTTP/1.1 404", "{length}");
    }
}

#[test]
fn http2_without_tls_is_spoken() {
    let (registry, addr) = node();
    let gateway = Gateway::open(&[addr], "");
    gateway.wait_until(addr, "up");
    let bytes = noise(6, 3 << 20);
    let digest = Digest::of(Algorithm::Sha256, &bytes);
    registry
        .repository("two")
        .push_blob(&bytes, &digest)
        .expect_status(201);
    let url = format!("http://{}/v2/two/blobs/{digest}", gateway.addr());
    let got = curl(&["--http2-prior-knowledge", &url])
        .answer
        .expect_status(200);
    assert!(got.body == bytes);
    let expected = format!("/v2/two/blobs/{digest} HTTP/2.0");
    wait_until("it was logged", SOON, || gateway.log().contains(&expected));
}
