//! What the log says of a request, by the names and in the words of the reference.
//!
//! [`Request::span`] is entered for the time of the request: each line logged within carries its fields. What is learned
//! on the way ([`Vars`], the user) is recorded on the span as it becomes known.

use std::time::Duration;

use tracing::Span;
use tracing::field::Empty;

use crate::clock::GoDuration;
use crate::redact;

/// What a request says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Request<'a> {
    /// `Host`, or what came in its place.
    pub host: &'a str,
    /// Made for this request, and returned to the client.
    pub id: &'a str,
    /// The method as it came.
    pub method: &'a str,
    /// The client's address with its port, or what a trusted proxy says of it.
    pub remote_addr: &'a str,
    /// The request target as it came. Secrets in it are masked.
    pub uri: &'a str,
    /// `User-Agent`.
    pub user_agent: Option<&'a str>,
    /// `Referer`.
    pub referer: Option<&'a str>,
    /// `Content-Type` of the request.
    pub content_type: Option<&'a str>,
}

impl Request<'_> {
    /// The span of the request. It is there at every level: errors need its fields most.
    pub fn span(&self) -> Span {
        let host = self.host.rsplit('@').next();
        let referer = self.referer.filter(|text| !text.is_empty());
        tracing::error_span!(
            "request",
            otel.kind = "server",
            otel.name = span_name(self.method),
            http.request.host = host,
            http.request.id = self.id,
            http.request.method = self.method,
            http.request.remoteaddr = self.remote_addr,
            http.request.uri = &*redact::uri(self.uri),
            http.request.useragent = self.user_agent.unwrap_or_default(),
            http.request.referer = referer.map(redact::uri).as_deref(),
            http.request.contenttype = self.content_type.filter(|text| !text.is_empty()),
            auth.user.name = Empty,
            vars.name = Empty,
            vars.reference = Empty,
            vars.digest = Empty,
            vars.uuid = Empty,
        )
    }
}

/// The name of a request's span in traces. There must be few of them, whatever strangers send.
fn span_name(method: &str) -> &'static str {
    match method {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "PUT" => "PUT",
        "POST" => "POST",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        _ => "HTTP",
    }
}

/// What the router found in the path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vars<'a> {
    /// The repository.
    pub name: Option<&'a str>,
    /// The tag, or the digest of a manifest.
    pub reference: Option<&'a str>,
    /// The digest of a blob.
    pub digest: Option<&'a str>,
    /// The upload.
    pub uuid: Option<&'a str>,
}

impl Vars<'_> {
    /// Adds them to a span of [`Request::span`].
    pub fn record(&self, span: &Span) {
        let vars = [
            ("vars.name", self.name),
            ("vars.reference", self.reference),
            ("vars.digest", self.digest),
            ("vars.uuid", self.uuid),
        ];
        for (name, value) in vars {
            if let Some(value) = value {
                span.record(name, value);
            }
        }
    }
}

/// Before it is asked who may do this.
pub fn authorizing() {
    tracing::debug!("authorizing request");
}

/// An access controller let the request pass. Each line of the request names the user from here on.
pub fn authorized(span: &Span, user: &str) {
    span.record("auth.user.name", user);
    tracing::info!(parent: span, "authorized request");
}

/// An access controller did not let the request pass. `why` holds no secret.
pub fn unauthorized(why: &str) {
    tracing::warn!("error authorizing context: {why}");
}

/// How a request was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Response<'a> {
    /// The status.
    pub status: u16,
    /// Bytes of the body that were written.
    pub written: u64,
    /// `Content-Type` of the answer.
    pub content_type: Option<&'a str>,
    /// From the request's head to the last byte of the answer.
    pub duration: Duration,
}

/// Why a request was refused or failed, as the client was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure<'a> {
    /// The code's words: `manifest unknown`.
    pub code: &'a str,
    /// The message to the client.
    pub message: &'a str,
    /// The detail to the client, if there was one.
    pub detail: Option<&'a str>,
}

impl Response<'_> {
    /// The request was answered as it should be.
    pub fn completed(&self) {
        let duration = GoDuration(self.duration);
        tracing::info!(
            http.response.contenttype = self.content_type,
            http.response.duration = %duration,
            http.response.status = self.status,
            http.response.written = self.written,
            "response completed"
        );
    }

    /// The request was refused, or failed.
    pub fn completed_with_error(&self, failure: &Failure<'_>) {
        let duration = GoDuration(self.duration);
        tracing::error!(
            err.code = failure.code,
            err.message = failure.message,
            err.detail = failure.detail,
            http.response.contenttype = self.content_type,
            http.response.duration = %duration,
            http.response.status = self.status,
            http.response.written = self.written,
            "response completed with error"
        );
    }
}
