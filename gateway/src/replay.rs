//! Requests that can be sent again: those without a body, and those whose body is held whole.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use http::{Method, Request, Response, StatusCode};
use roadstead_serve::body::Body as Incoming;

use crate::Gateway;
use crate::answer;
use crate::call::Call;
use crate::exchange::{NodeBody, Why};
use crate::tries::{Tries, is_worth_another_try};

/// A request as a node is to see it.
pub(crate) fn request(call: &Call, body: Body) -> Request<Body> {
    let mut request = Request::new(body);
    *request.method_mut() = call.method.clone();
    *request.uri_mut() = call.target.parse().unwrap_or_default();
    *request.headers_mut() = call.headers.clone();
    request
}

/// What came of it: a node's answer, or the gateway's own.
pub(crate) type Carried = Result<Response<NodeBody>, Response<Body>>;

/// Sends a request until somebody answers it.
pub(crate) async fn replay(gateway: &Arc<Gateway>, call: &Call, body: Option<Bytes>) -> Carried {
    let mut tries = Tries::of(gateway, call);
    let mut refused: Option<Response<NodeBody>> = None;
    let mut may_be_done = false;
    loop {
        let picked = match tries.next().await {
            Ok(picked) => picked,
            Err(given_up) => return refused.ok_or(given_up),
        };
        let body = body.clone().map_or_else(Body::empty, Body::from);
        match tries.exchange(picked, request(call, body)).await {
            Ok(response) if is_worth_another_try(response.status()) => {
                if let Some(before) = refused.replace(response) {
                    before.into_body().discard().await;
                }
            }
            Ok(response) if may_be_done && is_gone_as_asked(call, response.status()) => {
                return Err(deleted(call));
            }
            Ok(response) => return Ok(response),
            Err(fault) => may_be_done |= !matches!(fault.why, Why::NotConnected(_)),
        }
    }
}

/// Whether something is not there that an earlier try may have deleted.
fn is_gone_as_asked(call: &Call, status: StatusCode) -> bool {
    call.method == Method::DELETE && status == StatusCode::NOT_FOUND
}

/// What the earlier try would have answered.
fn deleted(call: &Call) -> Response<Body> {
    if call.route.session.is_some() {
        answer::empty(StatusCode::NO_CONTENT)
    } else {
        answer::empty(StatusCode::ACCEPTED)
    }
}

/// Sends a request whose body is passed on as it comes: tried again only while no node can have seen any of it.
pub(crate) async fn pass_on(gateway: &Arc<Gateway>, call: &Call, body: Incoming) -> Carried {
    let mut tries = Tries::of(gateway, call);
    let mut unsent = Box::new(request(call, streamed(body)));
    if let Some(length) = call.length {
        unsent
            .headers_mut()
            .insert(http::header::CONTENT_LENGTH, length.into());
    }
    loop {
        let picked = tries.next().await?;
        match tries.exchange_fed(picked, *unsent).await {
            Ok(response) => return Ok(response),
            Err(fault) => match fault.unsent {
                Some(request) => unsent = request,
                None => return Err(answer::given_up()),
            },
        }
    }
}

fn streamed(body: Incoming) -> Body {
    Body::from_stream(futures::stream::unfold(body, async |mut body| {
        let piece = body.next().await.transpose()?;
        Some((piece, body))
    }))
}
