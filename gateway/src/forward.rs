//! The way of a request.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use http::{HeaderValue, Method, Request, Response, StatusCode, Version, header};
use http_body_util::{BodyExt as _, Limited};
use roadstead_serve::body::{Body as Incoming, BodyError};

use crate::Gateway;
use crate::account::Account;
use crate::answer::{self, API_VERSION};
use crate::budget::Room;
use crate::call::Call;
use crate::download::{self, Passed};
use crate::headers::REQUEST_ID;
use crate::replay::{pass_on, replay};
use crate::route::Kind;
use crate::upload;

/// Bodies of this length are held, whatever they are.
const SMALL: u64 = 64 * 1024;

/// What of a body is held to find out its length.
const LONGEST_LIST: usize = 4 << 20;

pub(crate) async fn answer(gateway: Arc<Gateway>, request: Request<Body>) -> Response<Body> {
    let names_its_host = roadstead_serve::names_its_host(&request);
    let (call, body) = Call::parse(&gateway.options, request);
    let call = Arc::new(call);
    let mut account = Account::open(&gateway.telling, &call);
    let mut response = if names_its_host {
        respond(&gateway, &call, body, &mut account).await
    } else {
        answer::no_host()
    };
    stamp(&call, &mut response);
    if call.method == Method::HEAD {
        response = answer::without_body(response);
    }
    account.follow(response)
}

async fn respond(
    gateway: &Arc<Gateway>,
    call: &Arc<Call>,
    body: Incoming,
    account: &mut Account,
) -> Response<Body> {
    match call.route.kind {
        Kind::Root => return answer::root(),
        Kind::Live => return answer::live(),
        Kind::Ready => return answer::ready(gateway),
        _ if call.method == Method::CONNECT => {
            return answer::plain(
                StatusCode::METHOD_NOT_ALLOWED,
                "405 this is not an open proxy\n",
            );
        }
        _ if gateway.options.refuse_ancient && is_ancient(call) => {
            return answer::plain(StatusCode::NOT_FOUND, "404 this client is too old\n");
        }
        _ => {}
    }
    let Ok(in_flight) = Arc::clone(&gateway.in_flight).try_acquire_owned() else {
        gateway.telling.metrics.shed();
        return answer::overloaded();
    };
    account.holds(in_flight);
    gateway.retries.request();
    let response = carry(gateway, call, body).await;
    let has_no_end = http_body::Body::size_hint(response.body())
        .exact()
        .is_none();
    if call.version == Version::HTTP_10 && has_no_end {
        with_its_length(gateway, response).await
    } else {
        response
    }
}

/// In HTTP/1.0 a body of unknown length ends with its connection, and looks whole when that breaks: it is held until its
/// length is known. Nodes say the lengths of all but lists.
async fn with_its_length(gateway: &Gateway, response: Response<Body>) -> Response<Body> {
    let patience = gateway.options.timeouts.patience;
    let Some(_room) = gateway.memory.take(LONGEST_LIST, patience).await else {
        return answer::no_memory();
    };
    let (parts, body) = response.into_parts();
    match Limited::new(body, LONGEST_LIST).collect().await {
        Ok(whole) => Response::from_parts(parts, Body::from(whole.to_bytes())),
        Err(_broken_or_too_long) => answer::given_up(),
    }
}

/// To a node and back.
async fn carry(gateway: &Arc<Gateway>, call: &Arc<Call>, body: Incoming) -> Response<Body> {
    let kind = &call.route.kind;
    let carried = match kind {
        Kind::Blob => return download::blob(gateway, call).await,
        Kind::Chunk | Kind::Close | Kind::Whole(_) if call.has_body() => {
            return upload::carry(gateway, call, body).await;
        }
        _ if !call.has_body() => replay(gateway, call, None).await,
        _ if can_be_held(call, gateway.options.manifest_size) => {
            match hold(gateway, call, body).await {
                Ok((held, _room)) => replay(gateway, call, Some(held)).await,
                Err(refused) => Err(refused),
            }
        }
        _ => pass_on(gateway, call, body).await,
    };
    match carried {
        Ok(response) => response.map(|body| Body::new(Passed::as_it_is(gateway, body))),
        Err(own) => own,
    }
}

/// Whether a body is small, or a manifest's.
fn can_be_held(call: &Call, manifest: usize) -> bool {
    let is_manifest = call.route.kind == Kind::ManifestPut;
    match call.length {
        Some(length) => length <= SMALL || (is_manifest && length <= manifest as u64),
        None => is_manifest,
    }
}

/// The whole body, with the room that it takes: taken before the first byte, since nobody may wait who holds any. One of
/// unknown length that is longer than a manifest may be is refused here: no node would take it.
async fn hold(
    gateway: &Gateway,
    call: &Call,
    mut body: Incoming,
) -> Result<(Bytes, Room), Response<Body>> {
    let limit = gateway.options.manifest_size;
    let most = call.length.and_then(|length| usize::try_from(length).ok());
    let patience = gateway.options.timeouts.patience;
    let room = gateway.memory.take(most.unwrap_or(limit), patience).await;
    let room = room.ok_or_else(answer::no_memory)?;
    let mut whole = Vec::new();
    while let Some(piece) = body.next().await.map_err(|error| not_received(&error))? {
        if whole.len() + piece.len() > most.unwrap_or(limit) {
            return Err(answer::error(
                StatusCode::PAYLOAD_TOO_LARGE,
                roadstead_oci::ErrorCode::ManifestInvalid,
                "the manifest is too large",
            ));
        }
        whole.extend_from_slice(&piece);
    }
    Ok((whole.into(), room))
}

pub(crate) fn not_received(error: &BodyError) -> Response<Body> {
    match error {
        BodyError::Aborted => answer::client_closed(),
        BodyError::Idle(_) => answer::too_slow(),
    }
}

/// What every answer carries.
fn stamp(call: &Call, response: &mut Response<Body>) {
    let headers = response.headers_mut();
    if call.route.is_api {
        headers.insert(API_VERSION, HeaderValue::from_static("registry/2.0"));
    }
    headers.insert(REQUEST_ID, call.id.clone());
}

/// Docker before 1.6, and programs that do not say what they are: they speak the first version of the API.
fn is_ancient(call: &Call) -> bool {
    let agent = call.headers.get(header::USER_AGENT);
    let agent = agent.and_then(|agent| agent.to_str().ok());
    agent.is_some_and(|agent| agent.starts_with("Go ") || is_ancient_docker(agent))
}

fn is_ancient_docker(agent: &str) -> bool {
    let Some(version) = agent.strip_prefix("docker/") else {
        return false;
    };
    let mut parts = version.split(|c: char| !c.is_ascii_digit());
    let mut number = || parts.next().and_then(|part| part.parse::<u32>().ok());
    match (number(), number()) {
        (Some(0), _) => true,
        // Those under development spoke the second version already.
        (Some(1), Some(5)) => !version.contains("-dev"),
        (Some(1), Some(minor)) => minor < 5,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ancient_docker_is_known() {
        for ancient in [
            "docker/1.5.0 go/go1.3",
            "docker/1.3.2",
            "docker/0.9",
            "docker/1.4",
        ] {
            assert!(is_ancient_docker(ancient), "{ancient}");
        }
        for newer in [
            "docker/1.6.0",
            "docker/1.5.0-dev",
            "docker/1.13.1",
            "docker/20.10.5",
            "docker/",
            "skopeo/1.5",
        ] {
            assert!(!is_ancient_docker(newer), "{newer}");
        }
    }
}
