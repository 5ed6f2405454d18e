//! Sending requests over a connection, whichever HTTP it speaks. It has one request at a time.

use axum::body::Body;
use http::header::HOST;
use http::uri::{Authority, Scheme};
use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};

#[derive(Debug)]
pub(crate) enum Sender {
    Http1(http1::SendRequest<Body>),
    Http2(http2::SendRequest<Body>, Scheme),
}

impl Sender {
    /// The answer's head, or why there is none, with the request if the node cannot have seen it.
    pub(crate) async fn send(
        &mut self,
        request: Request<Body>,
    ) -> Result<Response<Incoming>, TrySendError<Request<Body>>> {
        match self {
            Self::Http1(sender) => sender.try_send_request(request).await,
            Self::Http2(sender, scheme) => {
                sender.try_send_request(for_http2(request, scheme)).await
            }
        }
    }

    /// Whether it takes a request now.
    pub(crate) fn is_ready(&self) -> bool {
        match self {
            Self::Http1(sender) => sender.is_ready(),
            Self::Http2(sender, _) => sender.is_ready(),
        }
    }

    /// Whether it will never take one again.
    pub(crate) fn is_closed(&self) -> bool {
        match self {
            Self::Http1(sender) => sender.is_closed(),
            Self::Http2(sender, _) => sender.is_closed(),
        }
    }
}

/// HTTP/2 names the host in the target. One that comes again is that already.
fn for_http2(mut request: Request<Body>, scheme: &Scheme) -> Request<Body> {
    let host = request.headers_mut().remove(HOST);
    let authority = host.and_then(|host| Authority::try_from(host.as_bytes()).ok());
    let mut parts = request.uri().clone().into_parts();
    parts.scheme.get_or_insert_with(|| scheme.clone());
    // Whoever names no host asks for none.
    let nobody = || Authority::from_static("localhost");
    let authority = parts.authority.or(authority).unwrap_or_else(nobody);
    parts.authority = Some(authority);
    if let Ok(uri) = Uri::from_parts(parts) {
        *request.uri_mut() = uri;
    }
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_goes_into_the_target_once() {
        let request = Request::get("/v2/?n=1").header(HOST, "registry:8443");
        let request = request.body(Body::empty()).unwrap();
        let mut request = for_http2(request, &Scheme::HTTPS);
        for _ in 0..2 {
            assert_eq!(request.uri(), "https://registry:8443/v2/?n=1");
            assert!(!request.headers().contains_key(HOST));
            request = for_http2(request, &Scheme::HTTPS);
        }
    }
}
