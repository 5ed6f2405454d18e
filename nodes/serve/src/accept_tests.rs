//! What a drain does to connections that are being made, are kept, and are being written to.

use std::net::SocketAddr;

use axum::Router;
use axum::body::Bytes;
use roadstead_listen::{Address, Options as Listening, bind};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::*;

const A_DAY: Duration = Duration::from_hours(24);
const ASKED: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";

/// A server that answers with these bytes.
async fn server(answer: Bytes, lame_duck: Duration) -> (SocketAddr, CancellationToken) {
    serving(
        Router::new().fallback(async move || answer),
        lame_duck,
        None,
    )
    .await
}

async fn serving(
    service: Router,
    lame_duck: Duration,
    workers: Option<Workers>,
) -> (SocketAddr, CancellationToken) {
    let listening = Listening {
        setting: "addr",
        address: Address::Tcp {
            host: Some("127.0.0.1".to_owned()),
            port: 0,
        },
        inherited: None,
    };
    let listeners = bind(listening).await.unwrap();
    let addr = listeners[0].local_addr().unwrap();
    let options = Options {
        stalled_after: A_DAY,
        lame_duck,
        drain_within: 2 * A_DAY,
        http2: true,
        connections: 10,
        proxy_protocol: None,
        metrics: None,
        workers,
    };
    let drain = CancellationToken::new();
    tokio::spawn(serve(listeners, None, service, options, drain.clone()));
    (addr, drain)
}

/// What a kept connection is answered.
async fn ask(client: &mut TcpStream) -> String {
    client.write_all(ASKED).await.unwrap();
    let mut answer = vec![0; 4096];
    let read = client.read(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer[..read]).into_owned()
}

#[tokio::test]
async fn each_connection_stays_with_its_worker() {
    let who = || std::thread::current().name().unwrap().to_owned();
    let service = Router::new().fallback(async move || who());
    let workers = Workers::start(2).unwrap();
    let (addr, drain) = serving(service, Duration::ZERO, Some(workers)).await;
    let mut clients = Vec::new();
    for nth in 0..4 {
        clients.push(TcpStream::connect(addr).await.unwrap());
        let answer = ask(clients.last_mut().unwrap()).await;
        assert!(answer.ends_with(&format!("serve-{}", nth % 2)), "{answer}");
    }
    for (nth, client) in clients.iter_mut().enumerate() {
        let answer = ask(client).await;
        assert!(answer.ends_with(&format!("serve-{}", nth % 2)), "{answer}");
    }
    drain.cancel();
    for mut client in clients {
        let mut rest = String::new();
        client.read_to_string(&mut rest).await.unwrap();
        assert_eq!(rest, "", "it is closed");
    }
}

#[tokio::test]
async fn a_lame_duck_takes_connections_and_tells_kept_ones_to_leave() {
    let (addr, drain) = server(Bytes::from_static(b"well"), A_DAY).await;
    let mut kept = TcpStream::connect(addr).await.unwrap();
    let answer = ask(&mut kept).await;
    assert!(answer.starts_with("HTTP/1.1 200") && !answer.contains("close"));
    drain.cancel();
    for mut client in [kept, TcpStream::connect(addr).await.unwrap()] {
        client.write_all(ASKED).await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(answer.to_lowercase().contains("connection: close"));
        assert!(answer.ends_with("well"), "{answer}");
    }
}

/// The body was let go of when its last byte was in the server's buffer. The clock runs ahead whenever nobody has anything
/// to do: a minute passes before the client reads.
#[tokio::test(start_paused = true)]
async fn a_drain_waits_for_what_a_slow_client_has_not_taken() {
    const LONG: usize = 64 << 20;
    let (addr, drain) = server(Bytes::from(vec![7; LONG]), Duration::ZERO).await;
    let mut client = TcpStream::connect(addr).await.unwrap();
    client.write_all(ASKED).await.unwrap();
    let mut first = [0; 12];
    client.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
    drain.cancel();
    tokio::time::sleep(Duration::from_mins(1)).await;
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).await.unwrap();
    assert!(rest.len() > LONG, "{} bytes came", rest.len());
}
