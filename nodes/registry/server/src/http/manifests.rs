//! `/v2/<name>/manifests/<reference>`.

use axum::body::Body;
use http::{HeaderName, Method, Response, StatusCode, header};
use roadstead_oci::{ErrorCode, Reference, ReferenceError, Tag};
use roadstead_storage::Opened;

use super::answer::{empty, set};
use super::error::Failure;
use super::events::ManifestSeen;
use super::request::Call;
use super::route::RawName;
use super::{Api, CONTENT_DIGEST, is_held, known_name, location};
use crate::body::Body as Incoming;
use crate::error::Error;
use crate::manifest_put::Push;
use crate::pull::Sending;

const OCI_SUBJECT: HeaderName = HeaderName::from_static("oci-subject");
const OCI_TAG: HeaderName = HeaderName::from_static("oci-tag");

pub(super) async fn answer(
    api: &Api,
    call: &Call,
    name: &RawName,
    reference: &str,
    body: Incoming,
) -> Result<Response<Body>, Failure> {
    let name = known_name(name)?;
    let reference = match (reference.parse::<Reference>(), &call.method) {
        (Ok(reference), _) => reference,
        (Err(ReferenceError::Digest(malformed)), _) => {
            return Err(Failure::new(
                ErrorCode::DigestInvalid,
                malformed.to_string(),
            ));
        }
        (Err(ReferenceError::Tag(malformed)), &Method::PUT) => {
            return Err(Failure::new(ErrorCode::TagInvalid, malformed.to_string()));
        }
        // What cannot be a tag is not there.
        (Err(ReferenceError::Tag(_)), _) => {
            return Err(Error::ManifestUnknown {
                name: name.clone(),
                reference: reference.to_owned(),
            }
            .into());
        }
    };
    match call.method {
        Method::PUT => put(api, call, name, &reference, body).await,
        Method::DELETE => {
            match &reference {
                Reference::Digest(digest) => {
                    api.registry.remove_manifest(name, digest).await?;
                    api.tell_digest_deleted(call, name, digest).await;
                }
                Reference::Tag(tag) => {
                    api.registry.remove_tag(name, tag).await?;
                    api.tell_tag_deleted(call, name, tag).await;
                }
            }
            Ok(empty(StatusCode::ACCEPTED))
        }
        _ => get(api, call, name, &reference).await,
    }
}

/// The type is the stored one, whatever `Accept` says: a client that names no type, or only `*/*`, gets its manifest.
async fn get(
    api: &Api,
    call: &Call,
    name: &roadstead_oci::Name,
    reference: &Reference,
) -> Result<Response<Body>, Failure> {
    let stored = api.registry.manifest(name, reference).await?;
    let digest = stored.digest.to_string();
    let mut response = if is_held(call, &digest) {
        empty(StatusCode::NOT_MODIFIED)
    } else {
        let seen = ManifestSeen {
            name,
            reference,
            digest: &stored.digest,
            media_type: &stored.media_type,
            bytes: &stored.content,
        };
        api.tell_manifest_pulled(call, seen);
        let (length, body) = if call.is_head() {
            (stored.content.len() as u64, Body::empty())
        } else {
            let sending = api.registry.send_manifest(&stored.digest, stored.content);
            match sending.await? {
                Sending::Whole(bytes) => (bytes.len() as u64, Body::from(bytes)),
                Sending::Stream(Opened { size, object, .. }) => {
                    (size, Body::from_stream(object.read(0..size)))
                }
            }
        };
        let mut response = Response::new(body);
        set(&mut response, header::CONTENT_TYPE, stored.media_type);
        set(&mut response, header::CONTENT_LENGTH, length.to_string());
        response
    };
    set(&mut response, header::ETAG, format!("\"{digest}\""));
    set(&mut response, CONTENT_DIGEST, digest);
    Ok(response)
}

async fn put(
    api: &Api,
    call: &Call,
    name: &roadstead_oci::Name,
    reference: &Reference,
    body: Incoming,
) -> Result<Response<Body>, Failure> {
    let limit = api.registry.options().limits.manifest_size;
    let too_large = || Error::ManifestTooLarge { limit };
    let tags = call
        .query
        .all("tag")
        .map(str::parse::<Tag>)
        .collect::<Result<Vec<_>, _>>();
    let tags =
        tags.map_err(|malformed| Failure::new(ErrorCode::TagInvalid, malformed.to_string()))?;
    let length = call.content_length();
    if length.is_some_and(|length| length > limit as u64) {
        return Err(too_large().into());
    }
    let (bytes, _room) = api.manifests_in_memory.take_in(body, length).await?;
    let content_type = call.header(header::CONTENT_TYPE);
    let push = Push {
        name,
        reference,
        tags: tags.clone(),
        content_type,
        bytes: bytes.clone(),
    };
    let pushed = api.registry.put_manifest(push).await?;
    let seen = ManifestSeen {
        name,
        reference,
        digest: &pushed.digest,
        media_type: pushed.media_type.as_str(),
        bytes: &bytes,
    };
    api.tell_manifest_pushed(call, seen).await;
    let mut response = empty(StatusCode::CREATED);
    set(
        &mut response,
        header::LOCATION,
        location::of_manifest(call, name, &pushed.digest.to_string()),
    );
    set(&mut response, CONTENT_DIGEST, pushed.digest.to_string());
    if let Some(subject) = pushed.subject {
        set(&mut response, OCI_SUBJECT, subject.to_string());
    }
    for tag in tags {
        if let Ok(value) = tag.as_str().parse() {
            response.headers_mut().append(OCI_TAG, value);
        }
    }
    Ok(response)
}
