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

use std::sync::Arc;

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
    pub fn router(self: &Arc<Self>) -> axum::Router {
        axum::Router::new()
            .fallback(forward::answer)
            .with_state(Arc::clone(self))
    }
}
