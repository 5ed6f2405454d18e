//! What is told of each request: log lines with its fields, a line of the access log, metrics. All of it once the last
//! byte of the answer is sent, or given up.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use axum::body::Body;
use http::{HeaderMap, HeaderName, HeaderValue, Response, Version, header};
use http_body::Body as _;
use roadstead_serve::InFile;
use roadstead_serve::body::counted;
use roadstead_telemetry::access::{Access, AccessLog};
use roadstead_telemetry::metrics::{Counted, Finished, Handler, Metrics};
use roadstead_telemetry::request::{self, Failure as Told, Vars};
use roadstead_telemetry::{Clock, system_clock, traces};
use tokio::time::Instant;
use tracing::Span;

use super::error::Reported;
use super::request::Call;
use super::route::{Route, Target};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Who is told.
#[derive(Clone)]
pub struct Telling {
    pub metrics: Metrics,
    pub access_log: Option<AccessLog>,
    clock: Clock,
}

impl std::fmt::Debug for Telling {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Telling").finish_non_exhaustive()
    }
}

impl Telling {
    pub fn new(metrics: Metrics, access_log: Option<AccessLog>) -> Self {
        Self {
            metrics,
            access_log,
            clock: system_clock(),
        }
    }

    /// The time of day.
    pub(super) fn now(&self) -> SystemTime {
        (self.clock)()
    }
}

/// What is learnt of a request while it is answered.
#[derive(Debug, Default)]
pub(super) struct Learnt {
    /// Who was authenticated.
    pub(super) user: OnceLock<String>,
    /// Bytes of the body that came.
    pub(super) received: AtomicU64,
}

/// A request's account, open until its answer is over.
pub(super) struct Account {
    telling: Telling,
    span: Span,
    handler: Option<Handler>,
    learnt: Arc<Learnt>,
    came: SystemTime,
    began: Instant,
    method: String,
    uri: String,
    version: Version,
    headers: Kept,
    id: String,
    remote: String,
    _in_flight: Option<Counted>,
    /// Of the answer, when it is there.
    answer: Option<Answer>,
}

/// Headers that are needed at the end.
struct Kept {
    referer: Option<HeaderValue>,
    user_agent: Option<HeaderValue>,
}

struct Answer {
    status: u16,
    content_type: Option<HeaderValue>,
    reported: Option<Reported>,
    /// Bytes that came from the body.
    written: u64,
    /// What is sent without the body.
    in_file: Option<InFile>,
}

impl Answer {
    fn written(&self) -> u64 {
        self.written + self.in_file.as_ref().map_or(0, InFile::sent)
    }
}

impl Account {
    pub(super) fn open(telling: &Telling, call: &Call, route: &Route) -> Self {
        let handler = handler(route);
        let header = |name: HeaderName| call.headers.get(name).cloned();
        let remote = call.remote();
        let account = Self {
            span: request::Request {
                host: call.via.host.as_deref().unwrap_or_default(),
                id: &call.id,
                method: call.method.as_str(),
                remote_addr: &remote,
                uri: &call.uri,
                user_agent: call.header(header::USER_AGENT),
                referer: call.header(header::REFERER),
                content_type: call.header(header::CONTENT_TYPE),
            }
            .span(),
            telling: telling.clone(),
            _in_flight: handler.map(|handler| telling.metrics.http_started(handler)),
            handler,
            learnt: Arc::clone(&call.learnt),
            came: (telling.clock)(),
            began: Instant::now(),
            method: call.method.to_string(),
            uri: call.uri.clone(),
            version: call.version,
            headers: Kept {
                referer: header(header::REFERER),
                user_agent: header(header::USER_AGENT),
            },
            id: call.id.clone(),
            remote: call
                .via
                .client
                .map(|client| client.to_string())
                .unwrap_or_default(),
            answer: None,
        };
        traces::continue_from(&account.span, &call.headers);
        vars(route).record(&account.span);
        account
    }

    pub(super) fn span(&self) -> Span {
        self.span.clone()
    }

    /// The answer, which closes the account at its end.
    pub(super) fn follow(mut self, mut answer: Response<Body>) -> Response<Body> {
        if let Ok(id) = self.id.parse() {
            answer.headers_mut().insert(REQUEST_ID, id);
        }
        self.answer = Some(Answer {
            status: answer.status().as_u16(),
            content_type: answer.headers().get(header::CONTENT_TYPE).cloned(),
            reported: answer.extensions_mut().remove::<Reported>(),
            written: 0,
            in_file: answer.extensions().get::<InFile>().cloned(),
        });
        if answer.body().is_end_stream() {
            return answer;
        }
        answer.map(|body| {
            counted(body, self, |account, bytes| {
                if let Some(answer) = &mut account.answer {
                    answer.written += bytes;
                }
            })
        })
    }

    fn log(&self, answer: &Answer) {
        let text = |value: &Option<HeaderValue>| {
            let text = value.as_ref().and_then(|value| value.to_str().ok());
            text.map(str::to_owned)
        };
        let content_type = text(&answer.content_type);
        let response = request::Response {
            status: answer.status,
            written: answer.written(),
            content_type: content_type.as_deref(),
            duration: self.began.elapsed(),
        };
        self.span.in_scope(|| match &answer.reported {
            None => response.completed(),
            Some(reported) => response.completed_with_error(&Told {
                code: &reported.code,
                message: reported.message,
                detail: reported.detail.as_deref(),
            }),
        });
    }

    fn log_access(&self, answer: &Answer) {
        let Some(log) = &self.telling.access_log else {
            return;
        };
        let bytes = |value: &Option<HeaderValue>| value.as_ref().map(|v| v.as_bytes().to_vec());
        log.log(&Access {
            remote: &self.remote,
            user: self.learnt.user.get().map(String::as_str),
            time: self.came,
            method: &self.method,
            uri: &self.uri,
            version: self.version,
            status: answer.status,
            written: answer.written(),
            referer: &bytes(&self.headers.referer).unwrap_or_default(),
            user_agent: &bytes(&self.headers.user_agent).unwrap_or_default(),
            more: "",
        });
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        // Without an answer, the connection went away before there was one.
        let answer = self.answer.take().unwrap_or(Answer {
            status: super::error::CLIENT_CLOSED,
            content_type: None,
            reported: None,
            written: 0,
            in_file: None,
        });
        if let Some(handler) = self.handler {
            let finished = Finished {
                status: answer.status,
                took: self.began.elapsed(),
                received: self.learnt.received.load(Ordering::Relaxed),
                sent: answer.written(),
            };
            self.telling
                .metrics
                .http_finished(handler, &self.method, &finished);
        }
        self.log(&answer);
        self.log_access(&answer);
    }
}

/// The reference's name for what a path means. Probes have none: they would drown everything else.
fn handler(route: &Route) -> Option<Handler> {
    let Route::To(target) = route else {
        return None;
    };
    match target {
        Target::Root | Target::Live | Target::Ready => None,
        Target::Base => Some(Handler::Base),
        Target::Catalog => Some(Handler::Catalog),
        Target::Tags { .. } => Some(Handler::Tags),
        Target::Manifest { .. } => Some(Handler::Manifest),
        Target::Blob { .. } => Some(Handler::Blob),
        Target::Uploads { .. } => Some(Handler::BlobUpload),
        Target::Upload { .. } => Some(Handler::BlobUploadChunk),
        Target::Referrers { .. } => Some(Handler::Referrers),
    }
}

fn vars(route: &Route) -> Vars<'_> {
    let Route::To(target) = route else {
        return Vars::default();
    };
    let (name, mut vars) = match target {
        Target::Root | Target::Live | Target::Ready | Target::Base | Target::Catalog => {
            return Vars::default();
        }
        Target::Tags { name } | Target::Uploads { name } => (name, Vars::default()),
        Target::Manifest { name, reference } => {
            let reference = Some(reference.as_str());
            (
                name,
                Vars {
                    reference,
                    ..Vars::default()
                },
            )
        }
        Target::Blob { name, digest } | Target::Referrers { name, digest } => {
            let digest = Some(digest.as_str());
            (
                name,
                Vars {
                    digest,
                    ..Vars::default()
                },
            )
        }
        Target::Upload { name, id } => {
            let uuid = Some(id.as_str());
            (
                name,
                Vars {
                    uuid,
                    ..Vars::default()
                },
            )
        }
    };
    vars.name = name.as_ref().ok().map(roadstead_oci::Name::as_str);
    vars
}

/// The `User-Agent`, for whoever is told of an event.
pub(super) fn user_agent(headers: &HeaderMap) -> String {
    let agent = headers.get(header::USER_AGENT);
    agent
        .and_then(|agent| agent.to_str().ok())
        .unwrap_or_default()
        .to_owned()
}
