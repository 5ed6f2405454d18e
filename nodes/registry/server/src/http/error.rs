//! Errors as HTTP: the one place where a failure becomes a status and a code.

use axum::body::Body;
use http::{HeaderName, Response, StatusCode, header};
use roadstead_oci::{ErrorCode, ErrorDocument, ErrorEntry};
use roadstead_storage::Error as StoreError;
use serde_json::{Value, json};

use super::answer::{json as json_answer, set};
use crate::body::BodyError;
use crate::error::Error;

/// What a client that gave up would be told; nginx's number for it.
pub(super) const CLIENT_CLOSED: u16 = 499;

/// Seconds after which a client may try again what failed for no fault of its own.
const RETRY_AFTER: &str = "5";

/// An answer that reports errors.
#[derive(Debug)]
pub(super) struct Failure {
    status: u16,
    entries: Vec<ErrorEntry>,
    headers: Vec<(HeaderName, String)>,
}

impl Failure {
    pub(super) fn new(code: ErrorCode, detail: impl Into<Value>) -> Self {
        Self {
            status: code.status(),
            entries: vec![ErrorEntry::new(code, detail)],
            headers: Vec::new(),
        }
    }

    pub(super) fn with_status(self, status: StatusCode) -> Self {
        Self {
            status: status.as_u16(),
            ..self
        }
    }

    pub(super) fn with_header(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(super) fn into_response(self) -> Response<Body> {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        self.response(status)
    }

    fn response(self, status: StatusCode) -> Response<Body> {
        let reported = self.entries.first().map(Reported::of);
        let mut response = json_answer(&ErrorDocument {
            errors: self.entries,
        });
        *response.status_mut() = status;
        for (name, value) in self.headers {
            set(&mut response, name, value);
        }
        if let Some(reported) = reported {
            response.extensions_mut().insert(reported);
        }
        response
    }
}

/// The first error of an answer, for the log.
#[derive(Debug, Clone)]
pub(super) struct Reported {
    pub(super) code: String,
    pub(super) message: &'static str,
    pub(super) detail: Option<String>,
}

impl Reported {
    fn of(entry: &ErrorEntry) -> Self {
        // As the reference's log has it: `manifest unknown`.
        let code = entry.code().to_ascii_lowercase().replace('_', " ");
        let message = entry.message();
        let detail = match entry.detail() {
            Value::Null => None,
            Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        };
        Self {
            code,
            message,
            detail,
        }
    }
}

pub(super) fn unsupported(why: &str) -> Response<Body> {
    Failure::new(ErrorCode::Unsupported, why).response(StatusCode::METHOD_NOT_ALLOWED)
}

pub(super) fn read_only() -> Response<Body> {
    unsupported("the registry is read-only at present")
}

/// A health check fails, and that is to be told.
pub(super) fn unwell() -> Response<Body> {
    let detail = "health check failed: please see /debug/health";
    unavailable(detail).response(StatusCode::SERVICE_UNAVAILABLE)
}

/// Others may have been told that this node is gone.
pub(super) fn no_lease() -> Response<Body> {
    let detail = "this node has no contact to the cluster's metadata service: try again";
    unavailable(detail).response(StatusCode::SERVICE_UNAVAILABLE)
}

pub(super) fn internal() -> Response<Body> {
    Failure::new(ErrorCode::Unknown, Value::Null).response(StatusCode::INTERNAL_SERVER_ERROR)
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let detail = error.to_string();
        match error {
            Error::NameUnknown(name) => {
                Self::new(ErrorCode::NameUnknown, json!({ "name": name.as_str() }))
            }
            Error::ManifestUnknown { .. } => Self::new(ErrorCode::ManifestUnknown, detail),
            Error::BlobUnknown { digest, .. } => {
                Self::new(ErrorCode::BlobUnknown, digest.to_string())
            }
            Error::UploadUnknown => Self::new(ErrorCode::BlobUploadUnknown, detail),
            Error::UploadInvalid(_) => Self::new(ErrorCode::BlobUploadInvalid, detail),
            Error::RangeInvalid { .. } => Self::new(ErrorCode::RangeInvalid, detail),
            Error::SizeInvalid => Self::new(ErrorCode::SizeInvalid, detail),
            Error::DigestInvalid(_) => Self::new(ErrorCode::DigestInvalid, detail),
            Error::ManifestInvalid(_) | Error::ManifestRefused(_) => {
                Self::new(ErrorCode::ManifestInvalid, detail)
            }
            Error::ManifestTooLarge { .. } => Self::new(ErrorCode::ManifestInvalid, detail)
                .with_status(StatusCode::PAYLOAD_TOO_LARGE),
            Error::ReferencesUnknown(digests) => {
                let entry = |digest: &roadstead_oci::Digest| {
                    ErrorEntry::new(
                        ErrorCode::ManifestBlobUnknown,
                        json!({ "digest": digest.to_string() }),
                    )
                };
                let status = ErrorCode::ManifestBlobUnknown.status();
                Self {
                    status,
                    entries: digests.iter().map(entry).collect(),
                    headers: Vec::new(),
                }
            }
            Error::TooManyTags { .. } => {
                Self::new(ErrorCode::ManifestInvalid, detail).with_status(StatusCode::URI_TOO_LONG)
            }
            Error::Unsupported(_) => Self::new(ErrorCode::Unsupported, detail),
            Error::Body(BodyError::Aborted) => Self {
                status: CLIENT_CLOSED,
                ..Self::new(ErrorCode::BlobUploadInvalid, detail)
            },
            Error::Body(BodyError::Idle(_)) => Self::new(ErrorCode::BlobUploadInvalid, detail)
                .with_status(StatusCode::REQUEST_TIMEOUT),
            Error::Store(error) => Self::store(&error),
            Error::Metadata(_) | Error::Busy(_) => unavailable(detail),
        }
    }
}

impl Failure {
    /// What the store says is told as far as it helps a client's user to tell an operator; the rest is logged.
    fn store(error: &StoreError) -> Self {
        tracing::error!(%error, "the storage failed");
        match error {
            StoreError::Full(_) => unavailable("the registry's storage is full"),
            StoreError::ReadOnly(_) => unavailable("the registry's storage is read-only"),
            StoreError::Vanished => unavailable("the registry's storage is gone"),
            StoreError::Fenced => unavailable("the node lost its lease meanwhile"),
            StoreError::Damaged => Self::new(
                ErrorCode::BlobUploadUnknown,
                "the upload's bytes are lost: push the blob again",
            ),
            StoreError::NotFound(_) | StoreError::TooLarge { .. } | StoreError::Io { .. } => {
                unavailable("the registry's storage failed")
            }
        }
    }
}

fn unavailable(detail: impl Into<Value>) -> Failure {
    Failure::new(ErrorCode::Unavailable, detail).with_header(header::RETRY_AFTER, RETRY_AFTER)
}
