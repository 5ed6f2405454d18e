//! What the store said, and what it means to who asked.

use std::error::Error as StdError;
use std::io;

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use roadstead_storage::{Error, StorePath};

/// A request that failed for good: what can be tried again was.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The operation and its key.
    what: String,
    /// `None` when no answer came.
    status: Option<u16>,
    code: String,
    message: String,
    kind: io::ErrorKind,
}

impl Failure {
    pub(crate) fn of<E>(operation: &str, key: &str, error: &SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + StdError + 'static,
    {
        let metadata = error.meta();
        let message = match error {
            SdkError::ServiceError(_) => metadata.message().unwrap_or_default().to_owned(),
            _ => chain(error),
        };
        let status = error
            .raw_response()
            .map(|response| response.status().as_u16());
        Self {
            what: format!("S3 {operation} {key}"),
            status,
            code: metadata.code().unwrap_or_default().to_owned(),
            message,
            kind: kind(error, status),
        }
    }

    /// One of several things that were asked for was refused.
    pub(crate) fn coded(operation: &str, key: &str, code: &str, message: &str) -> Self {
        Self {
            code: code.to_owned(),
            kind: io::ErrorKind::Other,
            ..Self::odd(operation, key, message)
        }
    }

    /// What was answered makes no sense, or broke off.
    pub(crate) fn odd(operation: &str, key: &str, message: impl Into<String>) -> Self {
        Self {
            what: format!("S3 {operation} {key}"),
            status: None,
            code: String::new(),
            message: message.into(),
            kind: io::ErrorKind::UnexpectedEof,
        }
    }

    /// No answer came to what was signed here.
    pub(crate) fn lost(operation: &str, key: &str, error: &dyn StdError) -> Self {
        Self {
            kind: io::ErrorKind::NotConnected,
            ..Self::odd(operation, key, chain(error))
        }
    }

    /// What was signed here is refused.
    pub(crate) fn answered(operation: &str, key: &str, status: u16, body: &[u8]) -> Self {
        let body = String::from_utf8_lossy(body);
        let within = |name: &str| {
            let (_, rest) = body.split_once(&format!("<{name}>"))?;
            Some(rest.split_once("</")?.0.to_owned())
        };
        Self {
            status: Some(status),
            code: within("Code").unwrap_or_default(),
            kind: match status {
                401 | 403 => io::ErrorKind::PermissionDenied,
                503 | 504 => io::ErrorKind::TimedOut,
                _ => io::ErrorKind::Other,
            },
            ..Self::odd(operation, key, within("Message").unwrap_or_default())
        }
    }

    /// Another try may do, signed anew: no answer came, the store is busy, or what was signed has expired.
    pub(crate) fn may_pass(&self) -> bool {
        let has_expired = self.message.to_ascii_lowercase().contains("expired");
        matches!(self.status, None | Some(429 | 500..600)) && self.code != "NotImplemented"
            || (matches!(self.status, Some(400 | 403)) && has_expired)
    }

    /// There is no such object. Not said of a bucket, where the store tells the difference.
    pub(crate) fn is_absent(&self) -> bool {
        self.status == Some(404) && matches!(self.code.as_str(), "" | "NoSuchKey" | "NotFound")
    }

    /// It is not what it was when it was looked at.
    pub(crate) fn is_changed(&self) -> bool {
        self.status == Some(412)
    }

    /// Ended before: by this request's own earlier try, or by somebody else.
    pub(crate) fn is_ended_upload(&self) -> bool {
        self.status == Some(404) && matches!(self.code.as_str(), "" | "NoSuchUpload")
    }

    /// Another request went on with the same upload: it ended it, or sent a part again.
    pub(crate) fn is_overtaken(&self) -> bool {
        self.is_ended_upload() || self.code == "InvalidPart"
    }

    /// An answer began and broke off.
    pub(crate) fn is_break(&self) -> bool {
        self.kind == io::ErrorKind::UnexpectedEof
    }

    /// As the store has it; empty when it said none.
    pub(crate) fn code(&self) -> &str {
        &self.code
    }

    /// `None` when no answer came.
    pub(crate) fn status(&self) -> Option<u16> {
        self.status
    }

    /// Nothing was sent, since nobody says as whom.
    pub(crate) fn lacks_credentials(&self) -> bool {
        self.status.is_none() && self.message.to_ascii_lowercase().contains("credentials")
    }

    /// To who reads at that path.
    pub(crate) fn reading(self, path: &StorePath) -> Error {
        if self.is_absent() {
            return Error::NotFound(path.clone());
        }
        self.other()
    }

    /// To who writes.
    pub(crate) fn writing(self) -> Error {
        match self.code.as_str() {
            "AccessDenied" | "AllAccessDisabled" | "MethodNotAllowed" => {
                Error::ReadOnly(self.source())
            }
            "QuotaExceeded" | "XMinioStorageFull" | "XMinioAdminBucketQuotaExceeded" => {
                Error::Full(self.source())
            }
            _ if self.status == Some(507) => Error::Full(self.source()),
            _ => self.other(),
        }
    }

    /// To who makes a blob of places: what is missing among them, or changed, is damage.
    pub(crate) fn joining(self) -> Error {
        if self.is_absent() || self.is_changed() {
            return Error::Damaged;
        }
        self.writing()
    }

    pub(crate) fn other(self) -> Error {
        Error::Io {
            source: self.said(),
            what: self.what,
        }
    }

    fn source(&self) -> io::Error {
        io::Error::new(self.kind, format!("{}: {}", self.what, self.said()))
    }

    fn said(&self) -> io::Error {
        let status = self.status.map(|status| status.to_string());
        let parts = [
            status.as_deref().unwrap_or_default(),
            &self.code,
            &self.message,
        ];
        let said: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        io::Error::new(self.kind, said.join(" "))
    }
}

fn kind<E>(error: &SdkError<E, HttpResponse>, status: Option<u16>) -> io::ErrorKind {
    match (error, status) {
        (SdkError::TimeoutError(_), _) | (_, Some(503 | 504)) => io::ErrorKind::TimedOut,
        (SdkError::DispatchFailure(_), _) => io::ErrorKind::NotConnected,
        (_, Some(401 | 403)) => io::ErrorKind::PermissionDenied,
        _ => io::ErrorKind::Other,
    }
}

/// An error with all that led to it.
pub(crate) fn chain(error: &dyn StdError) -> String {
    let mut all = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        if !all.ends_with(&text) {
            all.push_str(": ");
            all.push_str(&text);
        }
        next = cause.source();
    }
    all
}
