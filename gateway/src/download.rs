//! Bytes on their way to a client. A blob whose node is lost goes on from another at the byte where it stopped: the client
//! sees one answer. What cannot go on ends in an error, which resets the client's connection: a short answer must never look
//! like a whole one.

mod plan;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use futures::future::BoxFuture;
use http::Response;
use http_body::{Body as _, Frame, SizeHint};
use tokio::time::{Instant, Sleep};

use crate::Gateway;
use crate::call::Call;
use crate::exchange::NodeBody;
use crate::node::Standing;
use crate::replay::replay;
use plan::Plan;

/// How often a body that stands still is looked after.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// A blob, with all that can be done for it to arrive whole.
pub(crate) async fn blob(gateway: &Arc<Gateway>, call: &Arc<Call>) -> Response<Body> {
    match replay(gateway, call, None).await {
        Ok(response) => {
            let plan = Plan::of(&response, gateway, call);
            response.map(|body| {
                Body::new(Passed {
                    plan,
                    ..Passed::as_it_is(gateway, body)
                })
            })
        }
        Err(own) => own,
    }
}

/// A node's body, passed on.
pub(crate) struct Passed {
    state: State,
    plan: Option<Plan>,
    length: SizeHint,
    idle: Duration,
    /// Since when nothing came; absent while the client has something to take.
    waiting: Option<(Instant, Pin<Box<Sleep>>)>,
}

type Polled = Poll<Option<Result<Frame<Bytes>, Broken>>>;

enum State {
    Reading(NodeBody),
    /// Another node is asked for the rest.
    Resuming(BoxFuture<'static, Result<(NodeBody, Plan), Broken>>),
    Over,
}

/// Why a body ends before its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    #[error("the node's answer broke off")]
    Off,
    #[error("no other node could go on")]
    NobodyGoesOn,
    #[error("another node has something else there")]
    NotTheSame,
}

impl Passed {
    pub(crate) fn as_it_is(gateway: &Gateway, body: NodeBody) -> Self {
        Self {
            length: body.size_hint(),
            state: State::Reading(body),
            plan: None,
            idle: gateway.options.timeouts.idle,
            waiting: None,
        }
    }

    /// What a node's next frame means. None: the node failed, and the rest is to come from elsewhere.
    fn read(&mut self, frame: Option<Result<Frame<Bytes>, hyper::Error>>) -> Option<Polled> {
        match frame {
            Some(Ok(frame)) => {
                if let (Some(plan), Some(data)) = (&mut self.plan, frame.data_ref()) {
                    plan.came(data.len() as u64);
                }
                Some(Poll::Ready(Some(Ok(frame))))
            }
            None if self.plan.as_ref().is_none_or(Plan::is_done) => {
                self.state = State::Over;
                Some(Poll::Ready(None))
            }
            None | Some(Err(_)) => None,
        }
    }

    /// Whether a node that sends nothing is given up.
    fn is_given_up(&mut self, context: &mut Context<'_>) -> bool {
        let State::Reading(body) = &self.state else {
            return false;
        };
        let (since, look) = self
            .waiting
            .get_or_insert_with(|| (Instant::now(), Box::pin(tokio::time::sleep(LOOK_EVERY))));
        while look.as_mut().poll(context).is_ready() {
            let is_down = body
                .node()
                .is_some_and(|node| node.standing() == Standing::Down);
            if since.elapsed() >= self.idle || (is_down && self.plan.is_some()) {
                return true;
            }
            look.as_mut().reset(Instant::now() + LOOK_EVERY);
        }
        false
    }

    fn resume(&mut self) -> Result<(), Broken> {
        if let State::Reading(body) = &self.state
            && let Some(node) = body.node()
        {
            tracing::info!(node = node.name(), "a download broke off");
            node.failed();
        }
        let plan = self.plan.take().ok_or(Broken::Off)?;
        self.waiting = None;
        self.state = State::Resuming(Box::pin(plan.go_on()));
        Ok(())
    }
}

impl http_body::Body for Passed {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        loop {
            let step = match &mut self.state {
                State::Over => return Poll::Ready(None),
                State::Reading(body) => match Pin::new(body).poll_frame(context) {
                    Poll::Ready(frame) => {
                        self.waiting = None;
                        match self.read(frame) {
                            Some(passed) => return passed,
                            None => self.resume(),
                        }
                    }
                    Poll::Pending if self.is_given_up(context) => self.resume(),
                    Poll::Pending => return Poll::Pending,
                },
                State::Resuming(asking) => match asking.as_mut().poll(context) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Ok((body, plan))) => {
                        self.state = State::Reading(body);
                        self.plan = Some(plan);
                        Ok(())
                    }
                    Poll::Ready(Err(broken)) => Err(broken),
                },
            };
            if let Err(broken) = step {
                tracing::warn!(%broken, "a client's answer is cut off");
                self.state = State::Over;
                return Poll::Ready(Some(Err(broken)));
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.state {
            State::Reading(body) => {
                body.is_end_stream() && self.plan.as_ref().is_none_or(Plan::is_done)
            }
            State::Resuming(_) => false,
            State::Over => true,
        }
    }

    /// Of the whole: it is asked for before the first byte.
    fn size_hint(&self) -> SizeHint {
        self.length
    }
}
