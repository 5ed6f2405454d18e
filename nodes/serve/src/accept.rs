//! Accepting connections, and letting them end.

mod announced;
mod answering;
mod answers;
mod outgoing;
mod seats;
mod seldom;

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::FutureExt as _;
use http::{HeaderValue, Request, Version, header};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use ipnet::IpNet;
use roadstead_listen::{AcceptError, Listener, Peer, Stream, Tls, first_bytes, tells_http};
use roadstead_telemetry::metrics::Metrics;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout};
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

pub use answering::Answering;
use seats::{Seat, Seats};
use seldom::Seldom;

use crate::OtherEnd;
use crate::files::{Files, Sending, Unwritten};
use crate::workers::{Place, Workers};
pub use outgoing::InFile;
use outgoing::Outgoing;

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

/// A client has this long to shake hands.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(20);

/// How often it is looked whether a connection that should leave has nothing under way.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(50);

/// A request that a client sent before it knew of a drain arrives within this, or the client asks again elsewhere.
const ARRIVES_WITHIN: Duration = Duration::from_secs(1);

/// A listener is closed when nobody has connected for this long: the kernel tells of a connection after it was made, and
/// resets those that nobody has accepted by then.
const NOBODY_COMES_FOR: Duration = Duration::from_millis(50);

/// When connections keep coming, it is closed all the same.
const CLOSED_WITHIN: Duration = Duration::from_secs(1);

/// After an error that is not about one connection (out of file descriptors, say).
const ACCEPT_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// How connections are served.
#[derive(Debug, Clone)]
pub struct Options {
    /// A client that takes no byte of an answer for this long is cut off.
    pub stalled_after: Duration,
    /// Connections are still accepted for this long when the drain has begun. Balancers send them until their next check
    /// finds that this server is not ready.
    pub lame_duck: Duration,
    /// What is under way then may take this long.
    pub drain_within: Duration,
    pub http2: bool,
    /// Connections at a time. When there are more, idle ones are closed, and then new ones wait.
    pub connections: usize,
    /// Connections begin with a PROXY header, which these may write; whoever else connects is turned away. None: there is
    /// no such header.
    pub proxy_protocol: Option<Vec<IpNet>>,
    /// Told how many connections there are.
    pub metrics: Option<Metrics>,
    /// Threads that each serve their connections alone; else whoever is free serves any.
    pub workers: Option<Workers>,
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drained {
    /// All that was under way was finished.
    Whole,
    /// Something was cut off when the time was over.
    CutOff,
}

/// The three steps of an end.
#[derive(Debug, Clone)]
struct Ending {
    /// Whoever asks is told to ask elsewhere next.
    drain: CancellationToken,
    /// Nothing new.
    close: CancellationToken,
    /// Nothing more.
    cut_off: CancellationToken,
}

/// Serves the listeners until the drain begins, then finishes what is under way.
pub async fn serve(
    listeners: Vec<Listener>,
    tls: Option<Tls>,
    service: impl Answering,
    options: Options,
    drain: CancellationToken,
) -> Drained {
    let connections = TaskTracker::new();
    let seats = Seats::new(options.connections);
    let end = Ending {
        drain,
        close: CancellationToken::new(),
        cut_off: CancellationToken::new(),
    };
    let distrust = Distrust::default();
    let accepting = listeners.into_iter().map(|listener| {
        let serving = Serving {
            distrust: distrust.clone(),
            tls: tls.clone(),
            builder: builder(&options),
            service: service.clone(),
            options: options.clone(),
            end: end.clone(),
        };
        accept(listener, serving, seats.clone(), connections.clone())
    });
    futures::future::join_all(accepting).await;
    end.close.cancel();
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

/// Clients that do not trust the certificate: the first is told of in full, since somebody has to do something about it.
#[derive(Clone, Default)]
struct Distrust(Arc<AtomicBool>);

impl Distrust {
    fn tell(&self, peer: &Peer) {
        if self.0.swap(true, Ordering::Relaxed) {
            tracing::debug!(%peer, "a client does not trust the certificate");
        } else {
            tracing::warn!(
                %peer,
                "a client does not trust the certificate: where it is signed by an authority of your own, give that \
                 authority's certificate to each client (docker: /etc/docker/certs.d/HOST:PORT/ca.crt); where an \
                 intermediate is missing, append it to http.tls.certificate"
            );
        }
    }
}

/// What each connection is served with.
#[derive(Clone)]
struct Serving<A> {
    distrust: Distrust,
    tls: Option<Tls>,
    builder: Builder<TokioExecutor>,
    service: A,
    options: Options,
    end: Ending,
}

async fn accept<A: Answering>(
    listener: Listener,
    serving: Serving<A>,
    seats: Seats,
    connections: TaskTracker,
) {
    let (drain, lame_duck) = (serving.end.drain.clone(), serving.options.lame_duck);
    let begin = |seat, stream, peer| {
        let connection = Connection {
            seat,
            peer,
            serving: serving.clone(),
            files: None,
            unwritten: Unwritten::default(),
        };
        let place = serving.options.workers.as_ref().and_then(Workers::place);
        begin_at(place, connection, stream, &connections);
    };
    loop {
        let Some(accepted) = drain.run_until_cancelled(listener.accept()).await else {
            break;
        };
        match accepted {
            Ok((stream, peer)) => {
                // Whoever was accepted is served, also if the drain begins in this moment.
                let seat = tokio::select! {
                    biased;
                    seat = seats.take() => seat,
                    () = drain.cancelled() => break,
                };
                begin(seat, stream, peer);
            }
            Err(error) => {
                tracing::error!(%error, "connections cannot be accepted");
                tokio::time::sleep(ACCEPT_AGAIN_AFTER).await;
            }
        }
    }
    // Whoever has connected is served: with the listener their connections would break.
    let until = Instant::now() + lame_duck;
    while until.elapsed() < CLOSED_WITHIN {
        let left = until.saturating_duration_since(Instant::now());
        let next = async { (listener.accept().await, seats.take().await) };
        match timeout(left.max(NOBODY_COMES_FOR), next).await {
            Ok((Ok((stream, peer)), seat)) => begin(seat, stream, peer),
            Ok((Err(_told_before), _)) => tokio::time::sleep(ACCEPT_AGAIN_AFTER).await,
            Err(_nobody_comes) => break,
        }
    }
    for (stream, peer) in listener.close() {
        // Whoever finds no seat now would not be served before the end.
        if let Some(seat) = seats.take().now_or_never() {
            begin(seat, stream, peer);
        }
    }
}

/// Serves a connection here, or at its worker's.
fn begin_at<A: Answering>(
    place: Option<Place>,
    connection: Connection<A>,
    stream: Stream,
    connections: &TaskTracker,
) {
    let Some(place) = place else {
        connections.spawn(connection.serve(stream));
        return;
    };
    let runtime = place.runtime.clone();
    let moved = async move {
        let _until_it_ends = place;
        match stream.move_here() {
            Ok(stream) => connection.serve(stream).await,
            Err(error) => tracing::error!(%error, "a connection cannot be served"),
        }
    };
    connections.spawn_on(moved, &runtime);
}

/// One connection, from its first byte to its last.
struct Connection<A> {
    seat: Seat,
    peer: Peer,
    serving: Serving<A>,
    /// What goes out by itself, where nothing is encrypted.
    files: Option<Files>,
    /// Whether the client has yet to take what was written.
    unwritten: Unwritten,
}

impl<A: Answering> Connection<A> {
    async fn serve(mut self, stream: Stream) {
        let metrics = self.serving.options.metrics.clone();
        let _counted = metrics.as_ref().map(Metrics::connected);
        let sending = Sending::new(stream);
        self.unwritten = sending.unwritten();
        if self.serving.tls.is_none() {
            self.files = Some(sending.files());
        }
        let mut stream = TimeoutStream::new(sending);
        stream.set_write_timeout(Some(self.serving.options.stalled_after));
        let stream = Box::pin(stream);
        let Some(ranges) = self.serving.options.proxy_protocol.clone() else {
            return self.shake_hands(stream).await;
        };
        let announced = announced::read(stream, self.peer, &ranges, HANDSHAKE_WITHIN);
        match self.before_it_ends(Box::pin(announced)).await {
            Some(Ok((stream, peer))) => {
                self.peer = peer;
                Box::pin(self.shake_hands(stream)).await;
            }
            Some(Err(error)) => {
                tracing::warn!(peer = %self.peer, %error, "a connection without a PROXY header is closed");
            }
            None => {}
        }
    }

    async fn shake_hands<S>(self, stream: S)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Some(tls) = self.serving.tls.clone() else {
            return self.listen(stream).await;
        };
        let shaking = Box::pin(tls.accept(stream, HANDSHAKE_WITHIN));
        let Some(shaken) = self.before_it_ends(shaking).await else {
            return;
        };
        match shaken {
            Ok(stream) => Box::pin(self.listen(stream)).await,
            Err(AcceptError::PlainHttp(client)) => {
                tracing::debug!(peer = %self.peer, "plain HTTP came where TLS is spoken");
                client.refuse(HANDSHAKE_WITHIN).await;
            }
            Err(AcceptError::Validated) => {
                tracing::info!(peer = %self.peer, "a certification authority found its challenge");
            }
            Err(AcceptError::Distrusted) => self.serving.distrust.tell(&self.peer),
            Err(error) => {
                tracing::debug!(peer = %self.peer, %error, "a TLS handshake failed");
            }
        }
    }

    /// Waits until the client has said enough to tell which HTTP it speaks: before that, no other time limit runs.
    async fn listen<S>(self, stream: S)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let heard = Box::pin(first_bytes(stream, tells_http, HEADERS_WITHIN));
        if let Some(Ok(stream)) = self.before_it_ends(heard).await {
            self.serve_http(stream).await;
        }
    }

    /// What happens before the first request is given up when somebody needs the seat, or in a drain when the client had
    /// not sent that request before it. Boxed, so that a connection that rests has no room for its handshake.
    async fn before_it_ends<T>(&self, work: Pin<Box<impl Future<Output = T>>>) -> Option<T> {
        let drained = async {
            self.serving.end.close.cancelled().await;
            tokio::time::sleep(ARRIVES_WITHIN).await;
        };
        tokio::select! {
            done = work => Some(done),
            () = drained => None,
            () = self.seat.leave.cancelled() => None,
        }
    }

    async fn serve_http<S>(self, stream: S)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Self {
            seat,
            peer,
            files,
            unwritten,
            serving:
                Serving {
                    tls,
                    builder,
                    service,
                    options,
                    end,
                    distrust: _,
                },
        } = self;
        let other_end = OtherEnd {
            address: peer.address(),
            is_tls: tls.is_some(),
        };
        let (answers, drain) = (seat.answers.clone(), end.drain.clone());
        let service = service_fn(move |mut request: Request<Incoming>| {
            let (service, begun) = (service.clone(), answers.begin());
            request.extensions_mut().insert(other_end);
            // HTTP/2 puts a frame's head before the bytes, and looks at them.
            let is_http1 = request.version() <= Version::HTTP_11;
            let files = files.clone().filter(|_| is_http1);
            let drain = drain.clone();
            async move {
                let mut answer = service.oneshot(request).await?;
                if is_http1 && drain.is_cancelled() {
                    let close = HeaderValue::from_static("close");
                    answer.headers_mut().insert(header::CONNECTION, close);
                }
                Ok::<_, Infallible>(begun.watch(Outgoing::of(answer, files.as_ref())))
            }
        });
        let mut serving = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
        let beside = is_drained(&seat, &end.close, options.stalled_after);
        let meanwhile = Seldom::new(beside);
        let ended = tokio::select! {
            // What the client has sent is read before a drain is looked at.
            biased;
            ended = &mut serving => ended,
            is_drain = meanwhile => {
                if !is_drain {
                    return;
                }
                serving.as_mut().graceful_shutdown();
                tokio::select! {
                    ended = &mut serving => ended,
                    () = end.cut_off.cancelled() => return,
                    () = seat.answers.all_stalled(options.stalled_after) => return,
                    () = has_nothing_under_way(&seat, &unwritten) => return,
                }
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%peer, %error, "a connection ended early");
        }
    }
}

/// Ends when the connection has to go, or, with true, in a drain.
async fn is_drained(seat: &Seat, close: &CancellationToken, stalled_after: Duration) -> bool {
    tokio::select! {
        biased;
        () = seat.answers.all_stalled(stalled_after) => false,
        () = asked_to_leave(seat) => false,
        () = close.cancelled() => true,
    }
}

/// Ends when the seat is wanted by another, unless a request came in between.
async fn asked_to_leave(seat: &Seat) {
    seat.leave.cancelled().await;
    while seat.answers.idle_for().is_none() {
        tokio::time::sleep(LOOK_AGAIN_AFTER).await;
    }
}

/// Ends when, in a drain, the client asks for nothing: it may have sent half of a request's head, or speak HTTP/2 and say
/// nothing. What it sent before the drain began has time to arrive, and what it is sent it has time to take.
async fn has_nothing_under_way(seat: &Seat, unwritten: &Unwritten) {
    let is_idle = || {
        let idle = seat.answers.idle_for();
        idle.is_some_and(|idle| idle >= ARRIVES_WITHIN) && !unwritten.is_there()
    };
    tokio::time::sleep(ARRIVES_WITHIN).await;
    while !is_idle() {
        tokio::time::sleep(LOOK_AGAIN_AFTER).await;
    }
}

fn builder(options: &Options) -> Builder<TokioExecutor> {
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

#[cfg(test)]
#[path = "accept_tests.rs"]
mod tests;
