//! Accepting connections, and letting them end.

mod answers;
mod seats;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use seats::{Seat, Seats};

use crate::http::Peer;

/// A client has this long to send a request's headers, and may leave a connection idle for as long. More than the 60 s
/// for which proxies commonly keep idle connections to upstreams: they close first, and lose no request.
const HEADERS_WITHIN: Duration = Duration::from_secs(75);

/// Bytes that HTTP/1 may buffer of one connection, in each direction. Larger reads make larger writes.
const BUFFER: usize = 256 * 1024;

/// HTTP/2: streams of one connection, bytes under way in each, and how a silent peer is found out.
const STREAMS: u32 = 100;
const WINDOW: u32 = 1 << 20;
const PING_EVERY: Duration = Duration::from_secs(30);
const PONG_WITHIN: Duration = Duration::from_secs(20);

/// How a client begins that speaks HTTP/2 (RFC 9113, section 3.4), and when to look whether more of it came.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(50);

/// After an error that is not about one connection (out of file descriptors, say).
const ACCEPT_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// How connections are served.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// A client that takes no byte of an answer for this long is cut off.
    pub stalled_after: Duration,
    /// What is under way when the drain begins may take this long.
    pub drain_within: Duration,
    pub http2: bool,
    /// Connections at a time. When there are more, idle ones are closed, and then new ones wait.
    pub connections: usize,
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drained {
    /// All that was under way was finished.
    Whole,
    /// Something was cut off when the time was over.
    CutOff,
}

/// The two steps of an end.
#[derive(Debug, Clone)]
struct Ending {
    /// Nothing new.
    drain: CancellationToken,
    /// Nothing more.
    cut_off: CancellationToken,
}

/// Serves the listeners until the drain begins, then finishes what is under way.
pub async fn serve(
    listeners: Vec<TcpListener>,
    service: axum::Router,
    options: Options,
    drain: CancellationToken,
) -> Drained {
    let connections = TaskTracker::new();
    let seats = Seats::new(options.connections);
    let end = Ending {
        drain,
        cut_off: CancellationToken::new(),
    };
    let accepting = listeners.into_iter().map(|listener| {
        accept(
            listener,
            service.clone(),
            options,
            end.clone(),
            Room {
                seats: seats.clone(),
                connections: connections.clone(),
            },
        )
    });
    futures::future::join_all(accepting).await;
    connections.close();
    match timeout(options.drain_within, connections.wait()).await {
        Ok(()) => Drained::Whole,
        Err(_elapsed) => {
            tracing::warn!(
                connections = connections.len(),
                "the drain took too long: what is under way is cut off"
            );
            end.cut_off.cancel();
            connections.wait().await;
            Drained::CutOff
        }
    }
}

/// Where connections are kept.
#[derive(Debug)]
struct Room {
    seats: Seats,
    connections: TaskTracker,
}

async fn accept(
    listener: TcpListener,
    service: axum::Router,
    options: Options,
    end: Ending,
    room: Room,
) {
    let builder = builder(options);
    loop {
        let Some(accepted) = end.drain.run_until_cancelled(listener.accept()).await else {
            return;
        };
        match accepted {
            Ok((stream, peer)) => {
                let Some(seat) = end.drain.run_until_cancelled(room.seats.take()).await else {
                    return;
                };
                let (builder, service, end) = (builder.clone(), service.clone(), end.clone());
                let connection = Connection { seat, peer, end };
                room.connections
                    .spawn(connection.serve(stream, builder, service, options));
            }
            Err(error) if is_about_one_connection(&error) => {}
            Err(error) => {
                tracing::error!(%error, "connections cannot be accepted");
                tokio::time::sleep(ACCEPT_AGAIN_AFTER).await;
            }
        }
    }
}

/// One connection, from its first byte to its last.
struct Connection {
    seat: Seat,
    peer: SocketAddr,
    end: Ending,
}

impl Connection {
    async fn serve(
        self,
        stream: TcpStream,
        builder: Builder<TokioExecutor>,
        service: axum::Router,
        options: Options,
    ) {
        // Answers are written whole: waiting for more to send with them would only delay them.
        let _best_effort = stream.set_nodelay(true);
        let Self { seat, peer, end } = self;
        let begun = tokio::select! {
            begun = has_begun(&stream) => begun,
            () = end.drain.cancelled() => false,
            () = seat.leave.cancelled() => false,
        };
        if !begun {
            return;
        }
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(options.stalled_after));
        let answers = seat.answers.clone();
        let this_end = Peer {
            address: Some(peer),
            is_tls: false,
        };
        let service = service_fn(move |mut request: Request<Incoming>| {
            let (service, begun) = (service.clone(), answers.begin());
            request.extensions_mut().insert(this_end);
            async move { Ok::<_, Infallible>(begun.watch(service.oneshot(request).await?)) }
        });
        let mut serving =
            std::pin::pin!(builder.serve_connection(TokioIo::new(Box::pin(stream)), service));
        let ended = tokio::select! {
            ended = &mut serving => ended,
            () = seat.answers.all_stalled(options.stalled_after) => return,
            () = asked_to_leave(&seat) => return,
            () = end.drain.cancelled() => {
                serving.as_mut().graceful_shutdown();
                match end.cut_off.run_until_cancelled(serving).await {
                    Some(ended) => ended,
                    None => return,
                }
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%peer, %error, "a connection ended early");
        }
    }
}

/// Ends when the seat is wanted by another, unless a request came in between.
async fn asked_to_leave(seat: &Seat) {
    seat.leave.cancelled().await;
    while seat.answers.idle_for().is_none() {
        tokio::time::sleep(LOOK_AGAIN_AFTER).await;
    }
}

/// Waits until the client has said enough to tell which HTTP it speaks: before that, no other time limit runs.
async fn has_begun(stream: &TcpStream) -> bool {
    let begun = async {
        let mut first = [0; PREFACE.len()];
        loop {
            let heard = stream.peek(&mut first).await?;
            if heard == 0 || heard == PREFACE.len() || !PREFACE.starts_with(&first[..heard]) {
                return Ok::<_, io::Error>(heard > 0);
            }
            tokio::time::sleep(LOOK_AGAIN_AFTER).await;
        }
    };
    matches!(timeout(HEADERS_WITHIN, begun).await, Ok(Ok(true)))
}

fn builder(options: Options) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    if !options.http2 {
        builder = builder.http1_only();
    }
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_WITHIN)
        // As the reference spells them: there are scripts that look for `Docker-Content-Digest` to the letter.
        .title_case_headers(true)
        // A client that has said all may close its side, and still wants the answer.
        .half_close(true)
        .max_buf_size(BUFFER)
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .initial_stream_window_size(WINDOW)
        // Streams that wait must not starve those that go on.
        .initial_connection_window_size(8 * WINDOW)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PONG_WITHIN);
    builder
}

fn is_about_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    )
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;
    use tokio::time::Instant;

    use super::*;

    async fn connected() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap());
        let (client, accepted) = tokio::join!(client, listener.accept());
        (client.unwrap(), accepted.unwrap().0)
    }

    #[tokio::test]
    async fn a_client_that_says_nothing_or_too_little_is_let_go() {
        for said in ["", "P", "PRI * HT"] {
            let (mut client, server) = connected().await;
            client.write_all(said.as_bytes()).await.unwrap();
            tokio::time::pause();
            let begun = Instant::now();
            assert!(!has_begun(&server).await, "{said:?}");
            assert!(begun.elapsed() >= HEADERS_WITHIN);
            tokio::time::resume();
        }
    }

    #[tokio::test]
    async fn a_client_that_says_enough_is_heard() {
        for said in ["G", "PUT", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
            let (mut client, server) = connected().await;
            client.write_all(said.as_bytes()).await.unwrap();
            assert!(has_begun(&server).await, "{said:?}");
        }
    }
}
