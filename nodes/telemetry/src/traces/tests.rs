//! A collector of one's own: what reaches it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};

use tracing_subscriber::layer::SubscriberExt as _;

use super::*;
use crate::request::Request as Asked;

const PATIENCE: Duration = Duration::from_mins(1);

/// A collector that takes what is sent on one connection, and tells the path and body of each request.
fn collector() -> (String, Receiver<(String, Vec<u8>)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (tell, told) = channel();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        loop {
            let mut path = String::new();
            if reader.read_line(&mut path).unwrap_or(0) == 0 {
                return;
            }
            let mut length = 0;
            loop {
                let mut header = String::new();
                reader.read_line(&mut header).unwrap();
                let header = header.trim().to_ascii_lowercase();
                if header.is_empty() {
                    break;
                }
                if let Some(value) = header.strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                .unwrap();
            if tell.send((path.trim().to_owned(), body)).is_err() {
                return;
            }
        }
    });
    (address, told)
}

fn options(endpoint: &str) -> Options {
    Options {
        endpoint: endpoint.to_owned(),
        service: "registry".to_owned(),
        identity: Identity {
            version: "1.2.3".to_owned(),
            instance: "one".to_owned(),
        },
    }
}

fn contains(body: &[u8], part: &[u8]) -> bool {
    body.windows(part.len()).any(|window| window == part)
}

#[test]
fn a_request_reaches_the_collector_without_its_secrets() {
    let (address, told) = collector();
    let traces = Traces::start(&options(&address)).unwrap();
    let subscriber = tracing_subscriber::registry().with(traces.layer());
    tracing::subscriber::with_default(subscriber, || {
        let span = Asked {
            method: "GET",
            uri: "/v2/?_state=hush&n=1",
            ..Asked::default()
        }
        .span();
        let mut headers = HeaderMap::new();
        let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        headers.insert("traceparent", parent.parse().unwrap());
        continue_from(&span, &headers);
        let _within = span.enter();
        tracing::info!("response completed");
    });
    traces.finish(PATIENCE);
    let (path, body) = told.recv_timeout(PATIENCE).expect("a batch arrives");
    assert_eq!(path, "POST /v1/traces HTTP/1.1");
    for part in [
        "GET",
        "/v2/?_state=REDACTED&n=1",
        "response completed",
        "service.version",
        "registry",
    ] {
        assert!(contains(&body, part.as_bytes()), "{part}");
    }
    assert!(!contains(&body, b"hush"), "a secret");
    let trace = 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c_u128.to_be_bytes();
    assert!(contains(&body, &trace), "the client's trace");
}

#[test]
fn endpoints_that_cannot_be_spoken_to_are_refused() {
    for endpoint in [
        "https://127.0.0.1:4318",
        "127.0.0.1:4318",
        "http://",
        "",
        "http://u:hush@h:4318",
    ] {
        let error = Traces::start(&options(endpoint)).expect_err(endpoint);
        assert!(!error.to_string().contains("hush"), "{error}");
    }
}

/// The exporter's thread ends, and finishing does, whether or not anybody is there.
#[test]
fn a_collector_that_is_not_there_holds_nobody_up() {
    let gone = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let traces = Traces::start(&options(&format!("http://{gone}/"))).unwrap();
    let subscriber = tracing_subscriber::registry().with(traces.layer());
    tracing::subscriber::with_default(subscriber, || {
        drop(tracing::error_span!("lost").entered());
    });
    traces.finish(PATIENCE);
}
