//! Keys that change elsewhere.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use super::super::algorithm::Algorithm;
use super::super::forge::Signer;
use super::*;

/// A token server: what it answers, and how often it was asked.
#[derive(Clone, Default)]
struct Server {
    answer: Arc<Mutex<Option<Vec<u8>>>>,
    asked: Arc<AtomicUsize>,
}

impl Server {
    fn publish(&self, ids: &[&str]) {
        *self.answer.lock().unwrap() = Some(set(ids));
    }

    fn fail(&self) {
        *self.answer.lock().unwrap() = None;
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn remote(&self) -> Remote {
        let server = self.clone();
        Remote::with(Arc::new(move || {
            server.asked.fetch_add(1, Ordering::SeqCst);
            let answer = server.answer.lock().unwrap().clone();
            answer.ok_or(FetchError::Status(503))
        }))
    }
}

fn set(ids: &[&str]) -> Vec<u8> {
    let keys = ids.iter().map(|id| Signer::new(Algorithm::EdDSA).jwk(id));
    let keys: Vec<_> = keys.collect();
    json!({ "keys": keys }).to_string().into_bytes()
}

async fn knows(remote: &Remote, id: &str) -> Option<bool> {
    remote.keys_called(id).await.map(|keys| !keys.is_empty())
}

#[tokio::test(start_paused = true)]
async fn keys_rotate_without_a_restart() {
    let server = Server::default();
    server.publish(&["one"]);
    let remote = server.remote();
    assert_eq!(knows(&remote, "one").await, Some(true));
    assert_eq!(knows(&remote, "one").await, Some(true));
    assert_eq!(server.asked(), 1);
    server.publish(&["one", "two"]);
    tokio::time::advance(TRY_EVERY).await;
    assert_eq!(knows(&remote, "two").await, Some(true));
    assert_eq!(server.asked(), 2);
    // One that was withdrawn goes after a while, though nothing unknown came.
    server.publish(&["two"]);
    tokio::time::advance(WAIT_AFTER).await;
    assert_eq!(knows(&remote, "one").await, Some(false));
    assert_eq!(knows(&remote, "two").await, Some(true));
}

#[tokio::test(start_paused = true)]
async fn an_old_set_is_used_while_it_is_fetched_again() {
    let server = Server::default();
    server.publish(&["one"]);
    let remote = server.remote();
    assert_eq!(knows(&remote, "one").await, Some(true));
    server.publish(&["two"]);
    tokio::time::advance(REFRESH_AFTER).await;
    assert_eq!(knows(&remote, "one").await, Some(true));
    let running = remote.refresh();
    if let Some(running) = running {
        running.await;
    }
    assert_eq!(server.asked(), 2);
    assert_eq!(knows(&remote, "two").await, Some(true));
}

#[tokio::test(start_paused = true)]
async fn unknown_names_are_no_way_to_attack_the_token_server() {
    let server = Server::default();
    server.publish(&["one"]);
    let remote = server.remote();
    let names: Vec<String> = (0..1000).map(|n| n.to_string()).collect();
    let together = futures::future::join_all(names.iter().map(|id| knows(&remote, id))).await;
    assert!(together.iter().all(|known| *known == Some(false)));
    for id in &names {
        assert_eq!(knows(&remote, id).await, Some(false));
    }
    assert_eq!(server.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_last_good_set_stays_and_without_one_nobody_can_tell() {
    let server = Server::default();
    let remote = server.remote();
    assert_eq!(knows(&remote, "one").await, None);
    server.publish(&["one"]);
    assert_eq!(knows(&remote, "one").await, None);
    assert_eq!(server.asked(), 1);
    tokio::time::advance(TRY_EVERY).await;
    assert_eq!(knows(&remote, "one").await, Some(true));
    server.fail();
    tokio::time::advance(Duration::from_hours(24)).await;
    assert_eq!(knows(&remote, "one").await, Some(true));
    *server.answer.lock().unwrap() = Some(b"<html>".to_vec());
    tokio::time::advance(Duration::from_hours(24)).await;
    assert_eq!(knows(&remote, "one").await, Some(true));
    assert_eq!(server.asked(), 4);
}

#[test]
fn urls_that_keys_cannot_come_from_are_told() {
    for url in [
        "",
        "keys.json",
        "/keys.json",
        "ftp://a/b",
        "https://",
        "http:///x",
        "file:///x",
    ] {
        assert!(Remote::new(url).is_err(), "{url}");
    }
    assert!(Remote::new("https://auth.example/jwks").is_ok());
}

/// Answers one request after another, and tells where.
fn serve(answers: Vec<Vec<u8>>) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            let mut byte = [0];
            while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|n| n > 0) {
                request.push(byte[0]);
                // What a TLS client says first has no such end.
                if !request.starts_with(b"GET ") && request.len() >= 4 {
                    break;
                }
            }
            // The client may have heard enough.
            let _sent = stream.write_all(&answer);
        }
    });
    address
}

fn answer(status: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nLocation: http://127.0.0.1:1/\r\nConnection: close\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

#[test]
fn a_set_comes_over_http() {
    let large = vec![b' '; usize::try_from(MAX_BYTES).unwrap() + 1];
    let address = serve(vec![
        answer("200 OK", &set(&["one"])),
        answer("302 Found", b""),
        answer("500 Oh", &set(&["one"])),
        answer("200 OK", &large),
    ]);
    let agent = agent(false, RootCerts::PlatformVerifier);
    let uri = format!("http://{address}/jwks").parse().unwrap();
    assert!(jwks::parse(&fetch(&agent, &uri).unwrap()).is_ok());
    assert!(matches!(fetch(&agent, &uri), Err(FetchError::Status(302))));
    assert!(matches!(fetch(&agent, &uri), Err(FetchError::Status(500))));
    assert!(matches!(fetch(&agent, &uri), Err(FetchError::Http(_))));
}

#[test]
fn https_is_not_given_up() {
    let address = serve(vec![answer("200 OK", &set(&["one"]))]);
    let secure = agent(true, RootCerts::PlatformVerifier);
    let plain = format!("http://{address}/jwks").parse().unwrap();
    assert!(matches!(fetch(&secure, &plain), Err(FetchError::Http(_))));
    // There is no TLS behind it.
    let uri = format!("https://{address}/jwks").parse().unwrap();
    assert!(matches!(fetch(&secure, &uri), Err(FetchError::Http(_))));
}

/// Answers one request after another over TLS, as `127.0.0.1`, and tells where and with which certificate.
fn serve_tls(connections: usize, answer: Vec<u8>) -> (std::net::SocketAddr, Vec<u8>) {
    let pair = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let certificate = params.self_signed(&pair).unwrap().der().clone();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider);
    let config = config.with_safe_default_protocol_versions().unwrap();
    let key = rustls_pki_types::PrivateKeyDer::try_from(pair.serialize_der()).unwrap();
    let config = config.with_no_client_auth();
    let config = Arc::new(
        config
            .with_single_cert(vec![certificate.clone()], key)
            .unwrap(),
    );
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for _ in 0..connections {
            let (stream, _) = listener.accept().unwrap();
            let session = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = rustls::StreamOwned::new(session, stream);
            let mut request = [0; 4096];
            // A client that does not trust the certificate hangs up.
            if stream.read(&mut request).is_ok_and(|n| n > 0) {
                let _sent = stream.write_all(&answer);
                stream.conn.send_close_notify();
                let _sent = stream.flush();
            }
        }
    });
    (address, certificate.to_vec())
}

#[test]
fn only_a_server_with_a_trusted_certificate_is_believed() {
    let (address, certificate) = serve_tls(2, answer("200 OK", &set(&["one"])));
    let uri = format!("https://{address}/jwks").parse().unwrap();
    let system = agent(true, RootCerts::PlatformVerifier);
    let told = fetch(&system, &uri).unwrap_err().to_string();
    assert!(told.contains("certificate"), "{told}");
    let certificate = ureq::tls::Certificate::from_der(&certificate).to_owned();
    let trusting = agent(true, RootCerts::new_with_certs(&[certificate]));
    assert!(jwks::parse(&fetch(&trusting, &uri).unwrap()).is_ok());
}

#[test]
fn errors_do_not_tell_the_url_s_password() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    for url in [
        format!("http://user:HIDDEN@{address}/HIDDEN?HIDDEN"),
        "http://user:HIDDEN@invalid.invalid/".to_owned(),
    ] {
        let told = fetch(
            &agent(false, RootCerts::PlatformVerifier),
            &url.parse().unwrap(),
        );
        let told = told.unwrap_err();
        assert!(!format!("{told} {told:?}").contains("HIDDEN"), "{told:?}");
    }
}
