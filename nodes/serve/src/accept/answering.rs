//! What a connection's requests are handed to.

use std::convert::Infallible;

use axum::body::Body;
use http::{Request, Response};
use hyper::body::Incoming;
use tower::Service;

/// What answers requests: a router, or one thing alone.
pub trait Answering:
    Service<Request<Incoming>, Response = Response<Body>, Error = Infallible, Future: Send>
    + Clone
    + Send
    + Sync
    + 'static
{
}

impl<S> Answering for S where
    S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static
{
}
