//! A collector of one's own: what reaches it.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};

use tracing_subscriber::layer::SubscriberExt as _;

use super::*;
use crate::request::Request as Asked;

const PATIENCE: Duration = Duration::from_mins(1);

/// What was sent: the first line of a request, and its body.
type Told = Receiver<(String, Vec<u8>)>;

/// A collector that takes what is sent on one connection, and tells it.
fn collector() -> (String, Told) {
    let (address, told) = collector_over(|stream| stream);
    (format!("http://{address}"), told)
}

/// The same over TLS, as `127.0.0.1`, and its certificate.
fn secure_collector() -> (String, Told, String) {
    let pair = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let certificate = params.self_signed(&pair).unwrap();
    let key = rustls_pki_types::PrivateKeyDer::try_from(pair.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider);
    let config = config.with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth();
    let config = config.with_single_cert(vec![certificate.der().clone()], key);
    let config = Arc::new(config.unwrap());
    let (address, told) = collector_over(move |stream| {
        let session = rustls::ServerConnection::new(config).unwrap();
        rustls::StreamOwned::new(session, stream)
    });
    (format!("https://{address}"), told, certificate.pem())
}

fn collector_over<S: Read + Write>(
    over: impl FnOnce(TcpStream) -> S + Send + 'static,
) -> (SocketAddr, Told) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, told) = channel();
    std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(over(stream));
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
            reader
                .get_mut()
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
        certificate: None,
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
        "ftp://127.0.0.1:4318",
        "https://",
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

fn trace_something(options: &Options) {
    let traces = Traces::start(options).unwrap();
    let subscriber = tracing_subscriber::registry().with(traces.layer());
    tracing::subscriber::with_default(subscriber, || {
        drop(tracing::error_span!("something").entered());
    });
    traces.finish(PATIENCE);
}

#[test]
fn a_collector_over_tls_is_believed_by_its_certificate_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("collector.pem");
    let (address, told, certificate) = secure_collector();
    std::fs::write(&path, certificate).unwrap();
    trace_something(&Options {
        certificate: Some(path.clone()),
        ..options(&address)
    });
    let (line, body) = told.recv_timeout(PATIENCE).expect("a batch arrives");
    assert_eq!(line, "POST /v1/traces HTTP/1.1");
    assert!(contains(&body, b"something"));

    // The system does not trust it, and neither does who trusts another.
    let (address, told, _) = secure_collector();
    trace_something(&options(&address));
    assert!(told.recv_timeout(PATIENCE).is_err(), "nothing is told");
    let (address, told, _) = secure_collector();
    trace_something(&Options {
        certificate: Some(path),
        ..options(&address)
    });
    assert!(told.recv_timeout(PATIENCE).is_err(), "nothing is told");
}

#[test]
fn a_file_without_certificates_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("collector.pem");
    let asked = Options {
        certificate: Some(path.clone()),
        ..options("https://127.0.0.1:4318")
    };
    let told = || Traces::start(&asked).unwrap_err().to_string();
    let start = "OTEL_EXPORTER_OTLP_CERTIFICATE: ";
    assert!(told().starts_with(start) && told().contains("No such file"));
    std::fs::write(&path, "junk").unwrap();
    assert!(told().ends_with("it has no certificate"), "{}", told());
}
