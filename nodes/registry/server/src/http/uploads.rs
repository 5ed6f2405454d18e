//! `/v2/<name>/blobs/uploads/` and the sessions below it.

use axum::body::Body;
use http::{HeaderName, Method, Response, StatusCode, header};
use roadstead_oci::{Algorithm, ContentRange, Digest, ErrorCode, Name};

use super::answer::{empty, set};
use super::error::Failure;
use super::request::Call;
use super::route::RawName;
use super::{Api, CONTENT_DIGEST, known_digest, known_name, location};
use crate::body::Body as Incoming;
use crate::error::Error;
use crate::session::Ticket;
use crate::upload::Chunk;

const UPLOAD_UUID: HeaderName = HeaderName::from_static("docker-upload-uuid");

/// `POST`: a blob mounted from elsewhere, or sent in this very request, or else a new session.
pub(super) async fn open(
    api: &Api,
    call: &Call,
    name: &RawName,
    body: Incoming,
) -> Result<Response<Body>, Failure> {
    let name = known_name(name)?;
    if let Some(digest) = call.query.get("mount") {
        let digest = known_digest(digest)?;
        let from = call
            .query
            .get("from")
            .map(|from| known_name(&from.parse().map_err(|_malformed| from.to_owned())).cloned());
        let from = from.transpose()?;
        // Nobody learns by a mount what lies where they may not look.
        if call.may_pull(from.as_ref()) && api.registry.mount(name, &digest, from.as_ref()).await? {
            api.tell_blob_mounted(call, name, &digest, from.as_ref())
                .await;
            return Ok(created(call, name, &digest));
        }
    } else if let Some(digest) = call.query.get("digest") {
        let digest = known_digest(digest)?;
        api.registry.push_whole(name, &digest, body).await?;
        api.tell_blob_pushed(call, name, &digest).await;
        return Ok(created(call, name, &digest));
    }
    let algorithm = match call.query.get("digest-algorithm") {
        None | Some("") => Algorithm::CANONICAL,
        Some(named) => named
            .parse()
            .map_err(|error| Failure::new(ErrorCode::DigestInvalid, format!("{error}")))?,
    };
    let ticket = api.registry.open_upload(name, algorithm).await?;
    Ok(stands_at(api, call, &ticket, StatusCode::ACCEPTED))
}

/// Everything else that is done with a session.
pub(super) async fn answer(
    api: &Api,
    call: &Call,
    name: &RawName,
    id: &str,
    body: Incoming,
) -> Result<Response<Body>, Failure> {
    let name = known_name(name)?;
    if matches!(call.method, Method::GET | Method::HEAD) {
        let ticket = api.registry.upload_status(name, id).await?;
        return Ok(stands_at(api, call, &ticket, StatusCode::NO_CONTENT));
    }
    let ticket = api.registry.ticket(name, id, call.query.get("_state"))?;
    match call.method {
        Method::PATCH => {
            let chunk = chunk(api, call, &ticket, body)?;
            let appended = api.registry.append(ticket.clone(), chunk).await;
            let ticket = appended.map_err(|error| told_where(api, call, &ticket, error))?;
            Ok(stands_at(api, call, &ticket, StatusCode::ACCEPTED))
        }
        Method::PUT => complete(api, call, name, ticket, body).await,
        _ => {
            let id = api.registry.cancel_upload(ticket).await?;
            let mut response = empty(StatusCode::NO_CONTENT);
            set(&mut response, UPLOAD_UUID, id.to_string());
            Ok(response)
        }
    }
}

async fn complete(
    api: &Api,
    call: &Call,
    name: &Name,
    ticket: Ticket,
    body: Incoming,
) -> Result<Response<Body>, Failure> {
    let Some(digest) = call.query.get("digest") else {
        return Err(Failure::new(
            ErrorCode::DigestInvalid,
            "the digest parameter is missing",
        ));
    };
    let digest = known_digest(digest)?;
    let chunk = chunk(api, call, &ticket, body)?;
    let completed = api.registry.complete(ticket.clone(), &digest, chunk).await;
    completed.map_err(|error| told_where(api, call, &ticket, error))?;
    api.tell_blob_pushed(call, name, &digest).await;
    Ok(created(call, name, &digest))
}

/// The body as a chunk, if the headers agree with each other.
fn chunk(api: &Api, call: &Call, ticket: &Ticket, body: Incoming) -> Result<Chunk, Failure> {
    let range = match call
        .header(header::CONTENT_RANGE)
        .map(str::parse::<ContentRange>)
    {
        None => None,
        Some(Ok(range)) => Some(range),
        Some(Err(_malformed)) => {
            let error = Error::RangeInvalid {
                offset: ticket.state.offset,
            };
            return Err(told_where(api, call, ticket, error));
        }
    };
    if let (Some(range), Some(length)) = (range, call.content_length())
        && range.length() != length
    {
        return Err(Error::SizeInvalid.into());
    }
    Ok(Chunk { range, body })
}

/// A client whose bytes do not fit is told where the upload stands, and how to go on.
fn told_where(api: &Api, call: &Call, ticket: &Ticket, error: Error) -> Failure {
    let Error::RangeInvalid { offset } = error else {
        return error.into();
    };
    let mut now = ticket.clone();
    now.state.offset = offset;
    Failure::from(error)
        .with_header(header::LOCATION, location::of_upload(api, call, &now))
        .with_header(header::RANGE, range(offset))
        .with_header(UPLOAD_UUID, ticket.origin.session.to_string())
}

fn stands_at(api: &Api, call: &Call, ticket: &Ticket, status: StatusCode) -> Response<Body> {
    let mut response = empty(status);
    set(
        &mut response,
        header::LOCATION,
        location::of_upload(api, call, ticket),
    );
    set(&mut response, header::RANGE, range(ticket.state.offset));
    set(
        &mut response,
        UPLOAD_UUID,
        ticket.origin.session.to_string(),
    );
    response
}

/// First and last byte, both inclusive; the reference writes `0-0` for none as well as for one.
fn range(offset: u64) -> String {
    format!("0-{}", offset.saturating_sub(1))
}

fn created(call: &Call, name: &Name, digest: &Digest) -> Response<Body> {
    let mut response = empty(StatusCode::CREATED);
    set(
        &mut response,
        header::LOCATION,
        location::of_blob(call, name, digest),
    );
    set(&mut response, CONTENT_DIGEST, digest.to_string());
    response
}
