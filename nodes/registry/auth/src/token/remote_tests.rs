//! Keys that change elsewhere.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};

use jsonwebtoken::Algorithm;
use serde_json::json;

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
    let agent = agent(false);
    let uri = format!("http://{address}/jwks").parse().unwrap();
    assert!(jwks::parse(&fetch(&agent, &uri).unwrap()).is_ok());
    assert!(matches!(fetch(&agent, &uri), Err(FetchError::Status(302))));
    assert!(matches!(fetch(&agent, &uri), Err(FetchError::Status(500))));
    assert!(matches!(fetch(&agent, &uri), Err(FetchError::Http(_))));
}

#[test]
fn https_is_not_given_up() {
    let address = serve(vec![answer("200 OK", &set(&["one"]))]);
    let secure = agent(true);
    let plain = format!("http://{address}/jwks").parse().unwrap();
    assert!(matches!(fetch(&secure, &plain), Err(FetchError::Http(_))));
    // There is no TLS behind it.
    let uri = format!("https://{address}/jwks").parse().unwrap();
    assert!(matches!(fetch(&secure, &uri), Err(FetchError::Http(_))));
}
