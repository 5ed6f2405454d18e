//! The answers of one connection that are under way, and what becomes of those that their client does not take.
//!
//! Over HTTP/1 a client that takes nothing stalls its connection, which is noticed there. Over HTTP/2 it may keep the
//! window of one stream closed and answer pings for ever: the body is not even asked for its next piece. What such a
//! body holds (an open file, buffers) is let go, and a connection on which nothing else happens is ended.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use http::Response;
use http_body::{Body as _, Frame, SizeHint};
use tokio::time::{Instant, sleep};

use super::outgoing::{Outgoing, Piece};

/// How often within the time allowed it is looked whether it is over.
const LOOKS: u32 = 4;

/// The requests of one connection. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Answers(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    /// Requests that are not answered to the last byte.
    requests: usize,
    /// Since when there is none.
    idle_since: Instant,
    bodies: Vec<Arc<Mutex<Held>>>,
}

/// A body that is being sent.
#[derive(Debug)]
struct Held {
    /// Absent when it was given up.
    body: Option<Outgoing>,
    /// Since when the client could have taken the next piece; absent while the body itself has none.
    untaken_since: Option<Instant>,
}

impl Answers {
    pub(super) fn none_yet() -> Self {
        Self(Arc::new(Mutex::new(State {
            requests: 0,
            idle_since: Instant::now(),
            bodies: Vec::new(),
        })))
    }

    /// How long no request has been under way.
    pub(super) fn idle_for(&self) -> Option<Duration> {
        let state = lock(&self.0);
        (state.requests == 0).then(|| state.idle_since.elapsed())
    }

    /// A request has come; it counts until its answer's body is gone.
    pub(super) fn begin(&self) -> Request {
        lock(&self.0).requests += 1;
        Request(self.clone())
    }

    /// Gives up what is not taken for this long. Ends when nothing but such is left, and somebody should end the
    /// connection.
    pub(super) async fn all_stalled(&self, allowed: Duration) {
        loop {
            sleep(allowed / LOOKS).await;
            if self.give_up(allowed) {
                return;
            }
        }
    }

    /// Whether there are requests, and their answers are all given up.
    fn give_up(&self, allowed: Duration) -> bool {
        let (requests, bodies) = {
            let state = lock(&self.0);
            (state.requests, state.bodies.clone())
        };
        let given_up = bodies.iter().filter(|held| held_given_up(held, allowed));
        let given_up = given_up.count();
        given_up > 0 && given_up == requests
    }
}

fn held_given_up(held: &Mutex<Held>, allowed: Duration) -> bool {
    let mut held = lock(held);
    let untaken = held
        .untaken_since
        .is_some_and(|since| since.elapsed() >= allowed);
    let dropped = if untaken { held.body.take() } else { None };
    let given_up = held.body.is_none();
    drop(held);
    drop(dropped);
    given_up
}

/// A request under way.
#[derive(Debug)]
pub(super) struct Request(Answers);

impl Request {
    /// The answer, watched to its end.
    pub(super) fn watch(self, answer: Response<Outgoing>) -> Response<Watched> {
        answer.map(|body| {
            if body.is_end_stream() {
                return Watched(None);
            }
            let held = Arc::new(Mutex::new(Held {
                body: Some(body),
                untaken_since: Some(Instant::now()),
            }));
            lock(&(self.0).0).bodies.push(Arc::clone(&held));
            Watched(Some(Watching {
                held,
                request: self,
            }))
        })
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        let mut state = lock(&(self.0).0);
        state.requests -= 1;
        if state.requests == 0 {
            state.idle_since = Instant::now();
        }
    }
}

/// The body of an answer; of one that is empty, nothing.
#[derive(Debug)]
pub(super) struct Watched(Option<Watching>);

#[derive(Debug)]
struct Watching {
    held: Arc<Mutex<Held>>,
    request: Request,
}

/// Why a body ends before its end.
#[derive(Debug, thiserror::Error)]
#[error("the client did not take the answer")]
struct NotTaken;

impl http_body::Body for Watched {
    type Data = Piece;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Piece>, axum::Error>>> {
        let Some(watching) = &self.0 else {
            return Poll::Ready(None);
        };
        let mut held = lock(&watching.held);
        let Some(body) = &mut held.body else {
            return Poll::Ready(Some(Err(axum::Error::new(NotTaken))));
        };
        let polled = Pin::new(body).poll_frame(context);
        held.untaken_since = polled.is_ready().then(Instant::now);
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(|watching| {
            let held = lock(&watching.held);
            held.body.as_ref().is_some_and(Outgoing::is_end_stream)
        })
    }

    fn size_hint(&self) -> SizeHint {
        let Some(watching) = &self.0 else {
            return SizeHint::with_exact(0);
        };
        let held = lock(&watching.held);
        held.body
            .as_ref()
            .map_or_else(SizeHint::default, Outgoing::size_hint)
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let mut state = lock(&(self.request.0).0);
        state.bodies.retain(|other| !Arc::ptr_eq(other, &self.held));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::{Body, Bytes};
    use std::sync::Weak;

    const ALLOWED: Duration = Duration::from_mins(1);

    /// An endless body, and what tells whether it is still held.
    fn endless(every: Duration) -> (Response<Outgoing>, Weak<()>) {
        let held = Arc::new(());
        let alive = Arc::downgrade(&held);
        let pieces = futures::stream::unfold(held, move |held| async move {
            sleep(every).await;
            Some((Ok::<_, std::io::Error>(Bytes::from_static(b"piece")), held))
        });
        (
            Outgoing::of(Response::new(Body::from_stream(pieces)), None),
            alive,
        )
    }

    async fn next(body: &mut Watched) -> bool {
        let frame = std::future::poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await;
        frame.is_some_and(|frame| frame.is_ok())
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_taken_is_let_go_and_the_connection_ends() {
        let answers = Answers::none_yet();
        let (endless, alive) = endless(Duration::ZERO);
        let mut answer = answers.begin().watch(endless);
        assert!(next(answer.body_mut()).await);
        answers.all_stalled(ALLOWED).await;
        assert!(alive.upgrade().is_none(), "what it held is released");
        assert!(!next(answer.body_mut()).await, "it ends with an error");
        assert!(answers.idle_for().is_none());
        drop(answer);
        assert!(answers.idle_for().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn one_stalled_answer_does_not_end_those_that_go_on() {
        let answers = Answers::none_yet();
        let (stalled, alive) = endless(Duration::ZERO);
        let stalled = answers.begin().watch(stalled);
        let (going_on, _) = endless(ALLOWED / 3);
        let mut going_on = answers.begin().watch(going_on);
        let taken = async {
            for _ in 0..20 {
                assert!(next(going_on.body_mut()).await);
            }
        };
        tokio::select! {
            () = answers.all_stalled(ALLOWED) => panic!("the connection ended"),
            () = taken => {}
        }
        assert!(alive.upgrade().is_none());
        drop(stalled);
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_is_slow_is_not_the_clients_fault() {
        let answers = Answers::none_yet();
        let (slow, alive) = endless(3 * ALLOWED);
        let mut answer = answers.begin().watch(slow);
        tokio::select! {
            () = answers.all_stalled(ALLOWED) => panic!("the connection ended"),
            came = next(answer.body_mut()) => assert!(came),
        }
        assert!(alive.upgrade().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_is_not_answered_yet_keeps_the_connection() {
        let answers = Answers::none_yet();
        let (stalled, alive) = endless(Duration::ZERO);
        let stalled = answers.begin().watch(stalled);
        let upload = answers.begin();
        tokio::select! {
            () = answers.all_stalled(ALLOWED) => panic!("the connection ended"),
            () = sleep(10 * ALLOWED) => {}
        }
        assert!(alive.upgrade().is_none());
        drop((upload, stalled));
    }
}
