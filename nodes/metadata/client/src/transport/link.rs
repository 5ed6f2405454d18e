//! What calls go through: a connection to another process, or whatever stands in for one.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::{BoxFuture, Either, MapErr, TryFutureExt as _};
use http::{Request, Response};
use tonic::body::Body;
use tonic::transport::Channel;
use tower::{BoxError, Service};

use super::{Identity, NotAnAddress, channel};

/// Makes connections to the other processes of a cluster.
pub trait Dial: fmt::Debug + Send + Sync {
    /// A connection to the process at `host:port`, made when it is first used, and again when it broke.
    fn dial(&self, addr: &str) -> Result<Link, NotAnAddress>;
}

impl Dial for Identity {
    fn dial(&self, addr: &str) -> Result<Link, NotAnAddress> {
        channel(addr, self).map(|channel| Link(Way::Channel(channel)))
    }
}

type Called = Result<Response<Body>, BoxError>;

/// One request over something that is no connection.
pub trait Carry: Send + Sync {
    fn carry(&self, request: Request<Body>) -> BoxFuture<'static, Called>;
}

/// A connection. Cheap to clone.
#[derive(Clone)]
pub struct Link(Way);

#[derive(Clone)]
enum Way {
    Channel(Channel),
    Carried(Arc<dyn Carry>),
}

impl Link {
    pub fn carried(by: Arc<dyn Carry>) -> Self {
        Self(Way::Carried(by))
    }
}

type OverChannel =
    MapErr<<Channel as Service<Request<Body>>>::Future, fn(tonic::transport::Error) -> BoxError>;

impl Service<Request<Body>> for Link {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = Either<OverChannel, BoxFuture<'static, Called>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        match &mut self.0 {
            Way::Channel(channel) => channel.poll_ready(context).map_err(BoxError::from),
            Way::Carried(_) => Poll::Ready(Ok(())),
        }
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        match &mut self.0 {
            Way::Channel(channel) => {
                let boxed: fn(tonic::transport::Error) -> BoxError = BoxError::from;
                Either::Left(channel.call(request).map_err(boxed))
            }
            Way::Carried(by) => Either::Right(by.carry(request)),
        }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").finish_non_exhaustive()
    }
}
