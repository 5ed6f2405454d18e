//! `/v2/<name>/blobs/<digest>`.

use axum::body::Body;
use http::{Method, Response, StatusCode, header};
use roadstead_oci::{ByteRange, ErrorCode, Name};
use roadstead_serve::InFile;
use roadstead_storage::{Fetch, Opened};

use super::answer::{empty, set};
use super::error::Failure;
use super::request::Call;
use super::route::RawName;
use super::{Api, CONTENT_DIGEST, is_held, known_digest, known_name};

/// Content addressed by its digest never changes: a year, as the reference says.
const FOR_EVER: &str = "max-age=31536000";

pub(super) async fn answer(
    api: &Api,
    call: &Call,
    name: &RawName,
    digest: &str,
) -> Result<Response<Body>, Failure> {
    let (name, digest) = (known_name(name)?, known_digest(digest)?);
    if call.method == Method::DELETE {
        api.registry.remove_blob(name, &digest).await?;
        api.tell_digest_deleted(call, name, &digest).await;
        return Ok(empty(StatusCode::ACCEPTED));
    }
    get(api, call, name, &digest).await
}

async fn get(
    api: &Api,
    call: &Call,
    name: &Name,
    digest: &roadstead_oci::Digest,
) -> Result<Response<Body>, Failure> {
    let text = digest.to_string();
    let found = if call.is_head() {
        api.registry.promised_blob(name, digest).await?
    } else {
        api.registry.blob(name, digest).await?
    };
    let mut response = if is_held(call, &text) {
        empty(StatusCode::NOT_MODIFIED)
    } else {
        let size = found.size;
        let fetch = if call.is_head() {
            Fetch::Head
        } else {
            Fetch::Get
        };
        if let Some(url) = api.registry.elsewhere(&found.digest, fetch).await? {
            api.tell_blob_pulled(call, name, digest, size);
            return Ok(elsewhere(url, text));
        }
        let opened = if call.is_head() {
            None
        } else {
            Some(api.registry.open(name, found).await?)
        };
        let response = content(call, &text, size, opened)?;
        api.tell_blob_pulled(call, name, digest, size);
        response
    };
    set(&mut response, header::ETAG, format!("\"{text}\""));
    set(&mut response, header::CACHE_CONTROL, FOR_EVER);
    set(&mut response, CONTENT_DIGEST, text);
    Ok(response)
}

/// To where the store gives the bytes, ranges included. The URL is good for a while: nobody is to keep the answer.
fn elsewhere(url: String, digest: String) -> Response<Body> {
    let mut response = empty(StatusCode::TEMPORARY_REDIRECT);
    set(&mut response, header::LOCATION, url);
    set(&mut response, header::CACHE_CONTROL, "no-store");
    set(&mut response, CONTENT_DIGEST, digest);
    response
}

fn content(
    call: &Call,
    digest: &str,
    size: u64,
    opened: Option<Opened>,
) -> Result<Response<Body>, Failure> {
    let (status, range) = match wanted(call, digest, size) {
        ByteRange::Whole => (StatusCode::OK, 0..size),
        ByteRange::Part(range) => (StatusCode::PARTIAL_CONTENT, range),
        ByteRange::Unsatisfiable => {
            return Err(Failure::new(
                ErrorCode::RangeInvalid,
                format!("the blob has {size} bytes"),
            )
            .with_header(header::CONTENT_RANGE, format!("bytes */{size}")));
        }
    };
    let length = range.end - range.start;
    let mut response = match opened {
        Some(opened) if !range.is_empty() => streamed(opened, range.clone()),
        _ => Response::new(Body::empty()),
    };
    *response.status_mut() = status;
    if status == StatusCode::PARTIAL_CONTENT {
        let last = range.end.saturating_sub(1);
        set(
            &mut response,
            header::CONTENT_RANGE,
            format!("bytes {}-{last}/{size}", range.start),
        );
    }
    set(
        &mut response,
        header::CONTENT_TYPE,
        "application/octet-stream",
    );
    set(&mut response, header::CONTENT_LENGTH, length.to_string());
    set(&mut response, header::ACCEPT_RANGES, "bytes");
    Ok(response)
}

/// Below this, it costs less to send the head and the bytes in one call than the bytes without a copy.
const SENT_FROM_FILE: u64 = 64 * 1024;

fn streamed(opened: Opened, range: std::ops::Range<u64>) -> Response<Body> {
    let file = opened.object.file();
    let file = file.filter(|_| range.end - range.start > SENT_FROM_FILE);
    let mut response = Response::new(Body::from_stream(opened.object.read(range.clone())));
    if let Some(file) = file {
        response.extensions_mut().insert(InFile::new(file, range));
    }
    response
}

/// A range counts only on GET, and with `If-Range` only if the client holds a part of just this content.
fn wanted(call: &Call, digest: &str, size: u64) -> ByteRange {
    let Some(range) = call.header(header::RANGE) else {
        return ByteRange::Whole;
    };
    let same = call
        .header(header::IF_RANGE)
        .is_none_or(|etag| etag.trim() == format!("\"{digest}\""));
    if call.is_head() || !same {
        ByteRange::Whole
    } else {
        ByteRange::parse(range, size)
    }
}
