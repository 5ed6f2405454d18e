//! One request to one node, and its answer.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes};
use http::{Request, Response};
use http_body::{Body as _, Frame};
use hyper::body::Incoming;

use crate::call::Call;
use crate::dial::{Dial, Sender};
use crate::headers;
use crate::node::{Node, Picked};

/// Why there is no answer.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) why: Why,
    /// The request, if the node cannot have seen anything of it.
    pub(crate) unsent: Option<Box<Request<Body>>>,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum Why {
    #[error("no connection")]
    NotConnected(#[source] io::Error),
    #[error("the connection broke")]
    Broken(#[source] hyper::Error),
    #[error("no answer in time")]
    TimedOut,
    #[error("the node went down")]
    WentDown,
}

/// Sends a request to a node. What goes wrong with the node is noted there.
pub(crate) async fn exchange(
    dial: &Dial,
    picked: Picked,
    request: Request<Body>,
    call: &Call,
    answers_within: Duration,
) -> Result<Response<NodeBody>, Fault> {
    let client = call.other_end.address;
    let node = std::sync::Arc::clone(picked.node());
    let sent = tokio::select! {
        sent = send(dial, &node, request, client) => sent,
        () = tokio::time::sleep(answers_within) => Err(Why::TimedOut.into()),
        () = node.went_down() => Err(Why::WentDown.into()),
    };
    match sent {
        Ok((mut response, sender)) => {
            node.did_well();
            headers::remove_hop_by_hop(response.headers_mut());
            let keeps = !dial.is_for_one_client();
            Ok(response.map(|incoming| NodeBody::new(incoming, picked, sender, keeps)))
        }
        Err(fault) => {
            tracing::info!(node = node.name(), why = %fault.why, cause = ?fault.why, "a node failed a request");
            blame(&node, call, &fault.why);
            Err(fault)
        }
    }
}

/// Notes what a failure says of the node.
fn blame(node: &Node, call: &Call, why: &Why) {
    match why {
        // Whoever breaks off a body breaks the connection to the node.
        _ if call.learnt.client_broke_off() => {}
        Why::WentDown => {}
        Why::TimedOut => node.is_slow(),
        Why::NotConnected(_) | Why::Broken(_) => {
            if node.failed() {
                tracing::warn!(
                    node = node.name(),
                    "a node fails requests, and is taken out for a while"
                );
            }
        }
    }
}

type Sent = (Response<Incoming>, Sender);

async fn send(
    dial: &Dial,
    node: &Node,
    mut request: Request<Body>,
    client: Option<SocketAddr>,
) -> Result<Sent, Fault> {
    if !dial.is_for_one_client() {
        while let Some(mut sender) = node.idle_connection() {
            match sender.send(request).await {
                Ok(response) => return Ok((response, sender)),
                // The node had closed the connection: another will do.
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(Why::Broken(error.into_error()).into()),
                },
            }
        }
    }
    let mut sender = match dial.connect(&node.info, client).await {
        Ok(sender) => sender,
        Err(error) => {
            return Err(Fault {
                why: Why::NotConnected(error),
                unsent: Some(Box::new(request)),
            });
        }
    };
    match sender.send(request).await {
        Ok(response) => Ok((response, sender)),
        Err(mut error) => Err(Fault {
            unsent: error.take_message().map(Box::new),
            why: Why::Broken(error.into_error()),
        }),
    }
}

impl From<Why> for Fault {
    fn from(why: Why) -> Self {
        Self { why, unsent: None }
    }
}

/// The body of a node's answer. The node has the request until its last byte was read.
#[derive(Debug)]
pub(crate) struct NodeBody {
    /// Absent when nobody is to see it.
    incoming: Option<Incoming>,
    held: Option<(Picked, Sender)>,
    keeps: bool,
}

impl NodeBody {
    fn new(incoming: Incoming, picked: Picked, sender: Sender, keeps: bool) -> Self {
        let mut body = Self {
            incoming: Some(incoming),
            held: Some((picked, sender)),
            keeps,
        };
        if body.is_end_stream() {
            body.finish();
        }
        body
    }

    /// The node, until all was read.
    pub(crate) fn node(&self) -> Option<&std::sync::Arc<Node>> {
        self.held.as_ref().map(|(picked, _)| picked.node())
    }

    /// No body, in place of this one.
    pub(crate) fn into_empty(mut self) -> Self {
        self.incoming = None;
        self.held = None;
        self
    }

    fn finish(&mut self) {
        if let Some((picked, sender)) = self.held.take()
            && self.keeps
        {
            picked.node().keep(sender);
        }
    }

    /// Reads a small body to its end, so that its connection can be used again; a large one is dropped with it.
    pub(crate) async fn discard(mut self) {
        const SMALL: usize = 64 * 1024;
        let mut read = 0;
        while read < SMALL {
            let frame = std::future::poll_fn(|context| Pin::new(&mut self).poll_frame(context));
            match frame.await {
                Some(Ok(frame)) => read += frame.data_ref().map_or(0, Bytes::len),
                Some(Err(_)) | None => return,
            }
        }
    }
}

impl http_body::Body for NodeBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(incoming) = &mut self.incoming else {
            return Poll::Ready(None);
        };
        let frame = ready!(Pin::new(incoming).poll_frame(context));
        match &frame {
            Some(Err(_)) => self.keeps = false,
            None => self.finish(),
            Some(Ok(_)) if self.is_end_stream() => self.finish(),
            Some(Ok(_)) => {}
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.incoming
            .as_ref()
            .is_none_or(http_body::Body::is_end_stream)
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.incoming.as_ref().map_or_else(
            || http_body::SizeHint::with_exact(0),
            http_body::Body::size_hint,
        )
    }
}
