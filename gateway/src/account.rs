//! What is told of a request: a line in the access log, and figures.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::body::Body;
use http::{HeaderName, HeaderValue, Response, header};
use http_body::Body as _;
use roadstead_serve::body::counted;
use roadstead_telemetry::access::{Access, AccessLog};
use roadstead_telemetry::metrics::GatewayMetrics;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use crate::call::Call;
use crate::route::Kind;

/// nginx's number for a client that went away.
const CLIENT_CLOSED: u16 = 499;

/// Who is told.
#[derive(Debug, Clone)]
pub struct Telling {
    pub metrics: GatewayMetrics,
    pub access_log: Option<AccessLog>,
}

/// A request from its head to the last byte of its answer. Told when it is dropped.
#[derive(Debug)]
pub(crate) struct Account {
    telling: Telling,
    call: Arc<Call>,
    began: Instant,
    status: Option<u16>,
    written: u64,
    in_flight: Option<OwnedSemaphorePermit>,
}

impl Account {
    pub(crate) fn open(telling: &Telling, call: &Arc<Call>) -> Self {
        Self {
            telling: telling.clone(),
            call: Arc::clone(call),
            began: Instant::now(),
            status: None,
            written: 0,
            in_flight: None,
        }
    }

    /// What the request takes until its end.
    pub(crate) fn holds(&mut self, permit: OwnedSemaphorePermit) {
        self.in_flight = Some(permit);
    }

    /// The answer, followed to its end.
    pub(crate) fn follow(mut self, response: Response<Body>) -> Response<Body> {
        self.status = Some(response.status().as_u16());
        if response.body().is_end_stream() {
            return response;
        }
        response.map(|body| counted(body, self, |account, bytes| account.written += bytes))
    }

    fn is_probe(&self) -> bool {
        matches!(self.call.route.kind, Kind::Root | Kind::Live | Kind::Ready)
    }

    fn log(&self, status: u16) {
        let Some(log) = &self.telling.access_log else {
            return;
        };
        let learnt = &self.call.learnt;
        let header = |name: HeaderName| {
            let value = self.call.headers.get(name);
            value.map_or(&[][..], HeaderValue::as_bytes)
        };
        let more = format!(
            "id={} upstream={} tries={} resumed={} received={} took={:.3}",
            self.call.id(),
            learnt.upstream(),
            learnt.tries.load(Ordering::Relaxed),
            learnt.resumed.load(Ordering::Relaxed),
            learnt.received.load(Ordering::Relaxed),
            self.began.elapsed().as_secs_f64(),
        );
        log.log(&Access {
            remote: &self.call.remote(),
            user: None,
            time: self.call.came,
            method: self.call.method.as_str(),
            uri: &self.call.target,
            version: self.call.version,
            status,
            written: self.written,
            referer: header(header::REFERER),
            user_agent: header(header::USER_AGENT),
            more: &more,
        });
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        // Without an answer, the connection went away before there was one.
        let status = self.status.unwrap_or(CLIENT_CLOSED);
        self.log(status);
        if !self.is_probe() {
            let resumed = self.call.learnt.resumed.load(Ordering::Relaxed);
            self.telling.metrics.finished(
                self.call.method.as_str(),
                status,
                self.began.elapsed(),
                resumed,
            );
        }
    }
}
