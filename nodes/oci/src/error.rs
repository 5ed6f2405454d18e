//! Error codes and the error document (OCI distribution specification, "Error codes"; the reference adds a few).

use serde::Serialize;
use serde_json::Value;

/// What went wrong, as a client can tell it from other failures.
///
/// `RANGE_INVALID`, `TAG_INVALID`, `PAGINATION_NUMBER_INVALID`, `MANIFEST_UNVERIFIED`, `UNAVAILABLE` and `UNKNOWN` are
/// the reference registry's; all others are the specification's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    BlobUnknown,
    BlobUploadInvalid,
    BlobUploadUnknown,
    Denied,
    DigestInvalid,
    ManifestBlobUnknown,
    ManifestInvalid,
    ManifestUnknown,
    ManifestUnverified,
    NameInvalid,
    NameUnknown,
    PaginationNumberInvalid,
    RangeInvalid,
    SizeInvalid,
    TagInvalid,
    TooManyRequests,
    Unauthorized,
    Unavailable,
    Unknown,
    Unsupported,
}

impl ErrorCode {
    /// The code as written in the document, its HTTP status and the message that goes with it.
    const fn row(self) -> (&'static str, u16, &'static str) {
        match self {
            Self::BlobUnknown => ("BLOB_UNKNOWN", 404, "blob unknown to registry"),
            Self::BlobUploadInvalid => ("BLOB_UPLOAD_INVALID", 404, "blob upload invalid"),
            Self::BlobUploadUnknown => (
                "BLOB_UPLOAD_UNKNOWN",
                404,
                "blob upload unknown to registry",
            ),
            Self::Denied => ("DENIED", 403, "requested access to the resource is denied"),
            Self::DigestInvalid => (
                "DIGEST_INVALID",
                400,
                "provided digest did not match uploaded content",
            ),
            Self::ManifestBlobUnknown => (
                "MANIFEST_BLOB_UNKNOWN",
                400,
                "manifest references a blob unknown to registry",
            ),
            Self::ManifestInvalid => ("MANIFEST_INVALID", 400, "manifest invalid"),
            Self::ManifestUnknown => ("MANIFEST_UNKNOWN", 404, "manifest unknown"),
            Self::ManifestUnverified => (
                "MANIFEST_UNVERIFIED",
                400,
                "manifest failed signature verification",
            ),
            Self::NameInvalid => ("NAME_INVALID", 400, "invalid repository name"),
            Self::NameUnknown => ("NAME_UNKNOWN", 404, "repository name not known to registry"),
            Self::PaginationNumberInvalid => (
                "PAGINATION_NUMBER_INVALID",
                400,
                "invalid number of results requested",
            ),
            Self::RangeInvalid => ("RANGE_INVALID", 416, "invalid content range"),
            Self::SizeInvalid => (
                "SIZE_INVALID",
                400,
                "provided length did not match content length",
            ),
            Self::TagInvalid => ("TAG_INVALID", 400, "manifest tag did not match URI"),
            Self::TooManyRequests => ("TOOMANYREQUESTS", 429, "too many requests"),
            Self::Unauthorized => ("UNAUTHORIZED", 401, "authentication required"),
            Self::Unavailable => ("UNAVAILABLE", 503, "service unavailable"),
            Self::Unknown => ("UNKNOWN", 500, "unknown error"),
            Self::Unsupported => ("UNSUPPORTED", 405, "The operation is unsupported."),
        }
    }

    pub const fn as_str(self) -> &'static str {
        self.row().0
    }

    /// The HTTP status that goes with the code where nothing more particular is known.
    pub const fn status(self) -> u16 {
        self.row().1
    }

    pub const fn message(self) -> &'static str {
        self.row().2
    }
}

/// One error of a document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ErrorEntry {
    code: &'static str,
    message: &'static str,
    #[serde(skip_serializing_if = "Value::is_null")]
    detail: Value,
}

impl ErrorEntry {
    pub fn code(&self) -> &'static str {
        self.code
    }

    pub fn message(&self) -> &'static str {
        self.message
    }

    pub fn detail(&self) -> &Value {
        &self.detail
    }

    pub fn new(code: ErrorCode, detail: impl Into<Value>) -> Self {
        Self {
            code: code.as_str(),
            message: code.message(),
            detail: detail.into(),
        }
    }
}

/// The body of an answer that reports errors: `{"errors":[{"code","message","detail"}]}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ErrorDocument {
    pub errors: Vec<ErrorEntry>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_has_the_form_of_the_specification() {
        let document = ErrorDocument {
            errors: vec![
                ErrorEntry::new(ErrorCode::NameUnknown, serde_json::json!({"name": "a/b"})),
                ErrorEntry::new(ErrorCode::Unsupported, Value::Null),
            ],
        };
        assert_eq!(
            serde_json::to_string(&document).unwrap(),
            r#"{"errors":[{"code":"NAME_UNKNOWN","message":"repository name not known to registry","detail":{"name":"a/b"}},{"code":"UNSUPPORTED","message":"The operation is unsupported."}]}"#
        );
    }
}
