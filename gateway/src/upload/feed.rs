//! A request's body that is fed while it is sent, and sent again from what is held.

use std::task::Poll;
use std::time::Duration;

use axum::body::{Body, Bytes};
use roadstead_serve::body::BodyError;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout};

use super::Source;
use super::held::Held;

/// Pieces on their way into a connection.
const UNDER_WAY: usize = 2;

/// Whoever waits to be told to send is told after this at the latest: there may be something before the node that does not
/// pass the word on.
const GO_AHEAD_WITHIN: Duration = Duration::from_secs(30);

/// A chunk that is open for so long is ended if others need its room.
const OPEN_FOR: Duration = Duration::from_secs(2);

enum Fed {
    Piece(Bytes),
    End,
}

/// Why a body ends before its end.
#[derive(Debug, thiserror::Error)]
#[error("the client's body broke off")]
struct BrokeOff;

/// The sending side. Dropped before [`end`](Self::end), the body breaks off.
pub(super) struct Feeder(mpsc::Sender<Fed>);

pub(super) fn body() -> (Feeder, Body) {
    let (sender, mut receiver) = mpsc::channel(UNDER_WAY);
    let mut was_woken = false;
    let pieces = futures::stream::poll_fn(move |context| match receiver.poll_recv(context) {
        Poll::Ready(Some(Fed::Piece(piece))) => Poll::Ready(Some(Ok(piece))),
        Poll::Ready(Some(Fed::End)) => Poll::Ready(None),
        Poll::Ready(None) => Poll::Ready(Some(Err(BrokeOff))),
        Poll::Pending => {
            // hyper does not listen for an answer before it is polled once more after the head was written; and the node
            // may refuse what is not sent yet, or say that it waits for it.
            if !std::mem::replace(&mut was_woken, true) {
                context.waker().wake_by_ref();
            }
            Poll::Pending
        }
    });
    (Feeder(sender), Body::from_stream(pieces))
}

/// How feeding ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// The client's body is at its end, and was sent whole.
    Whole,
    /// So much is held that a node should have it first.
    Full,
    /// The client's body broke off. What came was sent, and ended cleanly where that is allowed.
    Client(BodyError),
    /// The node takes nothing.
    Stuck,
    /// There is no room to hold what comes.
    NoRoom,
}

/// How a body is fed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Manner {
    /// May be ended early, so that a node acknowledges what it has. Else it is sent as a whole, and no longer held when
    /// there is no room for it.
    pub(super) in_chunks: bool,
    pub(super) chunk: usize,
    /// How long the node may take nothing.
    pub(super) idle: Duration,
}

impl Feeder {
    async fn send(&self, piece: Bytes, idle: Duration) -> Result<(), Ended> {
        match timeout(idle, self.0.send(Fed::Piece(piece))).await {
            Ok(Ok(())) => Ok(()),
            // The node is gone: its connection says so.
            Ok(Err(_closed)) => std::future::pending().await,
            Err(_elapsed) => Err(Ended::Stuck),
        }
    }

    async fn end(&self, idle: Duration) -> Result<(), Ended> {
        match timeout(idle, self.0.send(Fed::End)).await {
            // A body of known length is over before its end is said; and if the node is gone, its connection says so.
            Ok(Ok(()) | Err(_)) => Ok(()),
            Err(_elapsed) => Err(Ended::Stuck),
        }
    }

    /// Sends what is held, and then what comes, until the body or the chunk is at its end. The node's go-ahead is awaited
    /// first, where the client awaits it. Nothing is lost when the future is dropped.
    pub(super) async fn feed(
        self,
        source: &mut Source,
        held: &mut Held,
        manner: Manner,
        go_ahead: Option<oneshot::Receiver<()>>,
    ) -> Ended {
        if let Some(go_ahead) = go_ahead {
            let _told_or_long_enough = timeout(GO_AHEAD_WITHIN, go_ahead).await;
        }
        let ended = self.feed_all(source, held, manner).await;
        let ended = ended.unwrap_or_else(|stuck| stuck);
        let ends_cleanly = match &ended {
            Ended::Whole | Ended::Full => true,
            Ended::Client(_) | Ended::NoRoom => manner.in_chunks,
            Ended::Stuck => false,
        };
        if ends_cleanly && let Err(stuck) = self.end(manner.idle).await {
            return stuck;
        }
        ended
    }

    async fn feed_all(
        &self,
        source: &mut Source,
        held: &mut Held,
        manner: Manner,
    ) -> Result<Ended, Ended> {
        let opened = Instant::now();
        for piece in held.pieces() {
            self.send(piece.clone(), manner.idle).await?;
        }
        loop {
            let may_end = manner.in_chunks && held.length() > 0;
            if may_end && (held.is_full(manner.chunk) || held.is_old(opened.elapsed() >= OPEN_FOR))
            {
                return Ok(Ended::Full);
            }
            match source.look().await {
                Ok(true) => {}
                Ok(false) => return Ok(Ended::Whole),
                Err(broke_off) => return Ok(Ended::Client(broke_off)),
            }
            match source.hold_next(held, manner).await? {
                Some(piece) => self.send(piece, manner.idle).await?,
                None => return Ok(Ended::Full),
            }
        }
    }
}
