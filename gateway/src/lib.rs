//! The gateway: stands in front of the nodes and turns their failures into nothing.
//!
//! The way of a request: [`roadstead_serve`] accepts it; [`route`] says what it is; [`pool`] picks a node; [`replay`],
//! [`download`] and [`upload`] carry it there and back, each with what can be done when a node is lost meanwhile. Which
//! nodes there are is told by [`Nodes`]; which are well is found out by [`health`].

mod account;
mod answer;
mod budget;
mod call;
mod dial;
mod download;
mod exchange;
mod forward;
mod headers;
mod health;
mod node;
mod nodes;
mod options;
mod pool;
mod replay;
mod route;
mod tries;
mod upload;

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::{Request, Response};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

pub use account::Telling;
pub use answer::{debug_router, redirect_router};
pub use dial::{ClientTls, Dial, ProxyVersion, TlsFault};
pub use nodes::{Configured, Members, NodeInfo, Nodes, Place};
pub use options::{Expect, HealthOptions, Limits, Options, Retries, Timeouts};

use budget::{Memory, RetryBudget};
use pool::Pool;

/// A gateway. Cheap to share behind an `Arc`.
#[derive(Debug)]
pub struct Gateway {
    options: Options,
    pool: Arc<Pool>,
    retries: RetryBudget,
    memory: Memory,
    in_flight: Arc<Semaphore>,
    telling: Telling,
    drain: CancellationToken,
}

impl Gateway {
    /// A gateway to the nodes that these tell of. It looks after them until the drain.
    pub fn build(
        options: Options,
        dial: Dial,
        nodes: Vec<Box<dyn Nodes>>,
        telling: Telling,
        drain: CancellationToken,
    ) -> Arc<Self> {
        let pool = Pool::build(&options, dial, telling.metrics.clone());
        pool.follow(nodes, &drain);
        Arc::new(Self {
            retries: RetryBudget::new(&options.retries),
            memory: Memory::of(options.limits.memory),
            in_flight: Arc::new(Semaphore::new(
                options.limits.requests.min(Semaphore::MAX_PERMITS),
            )),
            pool,
            telling,
            drain,
            options,
        })
    }

    /// The gateway as a service.
    pub fn service(self: &Arc<Self>) -> Service {
        Service(Arc::clone(self))
    }
}

/// Answers requests. A router would have one route to choose from, and box every request's future for it.
#[derive(Debug, Clone)]
pub struct Service(Arc<Gateway>);

impl<B> tower::Service<Request<B>> for Service
where
    B: http_body::Body<Data = Bytes, Error: Into<axum::BoxError>> + Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let answer = forward::answer(Arc::clone(&self.0), request.map(Body::new));
        Box::pin(answer.map(Ok))
    }
}
