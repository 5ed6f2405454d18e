//! Traces for `OpenTelemetry`: off unless an endpoint is handed in.
//!
//! Spans go in batches, by OTLP over HTTP, from a thread of the exporter's own. What waits is bounded (2048 spans); what
//! finds no room, and what the collector does not take, is lost: traces are samples. Nothing waits for them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, Request, Response, Uri};
use opentelemetry::KeyValue;
use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_http::{HeaderExtractor, HttpClient, HttpError};
use opentelemetry_otlp::{
    ExporterBuildError, SpanExporter, WithExportConfig as _, WithHttpConfig as _,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{SdkTracerProvider, Tracer};
use tracing::{Span, Subscriber};
use tracing_opentelemetry::{OpenTelemetryLayer, OpenTelemetrySpanExt as _};
use tracing_subscriber::registry::LookupSpan;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

use crate::log::Identity;

/// A collector that does not answer in this time has lost the batch.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes of a collector's answer that are read: it says little.
const LONGEST_ANSWER: u64 = 64 * 1024;

/// Where traces go: `OTEL_EXPORTER_OTLP_ENDPOINT`.
#[derive(Clone, Debug)]
pub struct Options {
    /// `http://host:4318` or `https://host:4318`; the path of traces is added.
    pub endpoint: String,
    /// A PEM file: who may have signed the collector's certificate. Default: whom the system trusts.
    pub certificate: Option<PathBuf>,
    /// `service.name`.
    pub service: String,
    /// `service.version` and `service.instance.id`.
    pub identity: Identity,
}

/// Why there can be no traces.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The endpoint is not one that traces can be sent to.
    #[error(
        "OTEL_EXPORTER_OTLP_ENDPOINT: traces go to an address such as http://127.0.0.1:4318, not to {0:?}"
    )]
    Endpoint(String),
    /// The file of certificates is not there, or has none.
    #[error("OTEL_EXPORTER_OTLP_CERTIFICATE: {path}: {reason}")]
    Certificate {
        /// Which file.
        path: PathBuf,
        /// Why it cannot be used.
        reason: String,
    },
    /// The exporter refuses what it was given, here or in the environment.
    #[error("the exporter of traces: {0}")]
    Exporter(#[from] ExporterBuildError),
}

/// Sends spans to a collector. Handed to [`crate::log::start`], since logs and traces come from the same events.
#[derive(Clone, Debug)]
pub struct Traces(SdkTracerProvider);

impl Traces {
    /// Starts the exporter.
    pub fn start(options: &Options) -> Result<Self, Error> {
        let endpoint = options.endpoint.trim_end_matches('/');
        let uri = endpoint.parse::<Uri>().ok();
        let spoken = |uri: &Uri| matches!(uri.scheme_str(), Some("http" | "https"));
        let known = |uri: &Uri| spoken(uri) && uri.host().is_some();
        if !uri.as_ref().is_some_and(known) || endpoint.contains('@') {
            let shown = crate::redact::uri(&options.endpoint).into_owned();
            return Err(Error::Endpoint(shown));
        }
        let roots = match &options.certificate {
            Some(path) => trusted(path)?,
            None => RootCerts::PlatformVerifier,
        };
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Client::new(roots))
            .with_endpoint(format!("{endpoint}/v1/traces"))
            .with_timeout(TIMEOUT)
            .build()?;
        let identity = &options.identity;
        let resource = Resource::builder()
            .with_service_name(options.service.clone())
            .with_attributes([
                KeyValue::new("service.version", identity.version.clone()),
                KeyValue::new("service.instance.id", identity.instance.clone()),
            ])
            .build();
        Ok(Self(
            SdkTracerProvider::builder()
                .with_batch_exporter(exporter)
                .with_resource(resource)
                .build(),
        ))
    }

    /// The layer that turns spans of `tracing` into spans of traces.
    pub(crate) fn layer<S>(&self) -> OpenTelemetryLayer<S, Tracer>
    where
        S: Subscriber + for<'span> LookupSpan<'span>,
    {
        tracing_opentelemetry::layer()
            .with_tracer(self.0.tracer("roadstead"))
            .with_location(false)
            .with_threads(false)
    }

    /// Sends what waits, but not for longer than `patience`. Blocks.
    pub fn finish(&self, patience: Duration) {
        if let Err(error) = self.0.shutdown_with_timeout(patience) {
            tracing::warn!(%error, "the last traces were not sent");
        }
    }
}

/// Makes `span` a part of the trace that the client began, if its `traceparent` says so. To be called before the span is
/// entered; without [`Traces`] it does nothing.
pub fn continue_from(span: &Span, headers: &HeaderMap) {
    let context = TraceContextPropagator::new().extract(&HeaderExtractor(headers));
    let _nothing_is_traced = span.set_parent(context);
}

/// The certificates of a file, and nobody else's.
fn trusted(path: &Path) -> Result<RootCerts, Error> {
    let unusable = |reason: String| Error::Certificate {
        path: path.to_owned(),
        reason,
    };
    let content = std::fs::read(path).map_err(|error| unusable(error.to_string()))?;
    let mut found: Vec<Certificate<'static>> = Vec::new();
    for item in parse_pem(&content) {
        match item {
            Ok(PemItem::Certificate(certificate)) => found.push(certificate),
            Ok(_) => {}
            Err(_broken) => return Err(unusable("it is not PEM".to_owned())),
        }
    }
    if found.is_empty() {
        return Err(unusable("it has no certificate".to_owned()));
    }
    Ok(RootCerts::new_with_certs(&found))
}

/// Sends batches. It blocks, on the exporter's own thread.
#[derive(Debug)]
struct Client {
    agent: ureq::Agent,
    /// Whether the last batch was lost, so that a collector's absence is told once.
    failing: AtomicBool,
}

impl Client {
    fn new(roots: RootCerts) -> Self {
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let tls = TlsConfig::builder()
            .unversioned_rustls_crypto_provider(Arc::new(provider))
            .root_certs(roots)
            .build();
        let config = ureq::Agent::config_builder()
            .tls_config(tls)
            .timeout_global(Some(TIMEOUT))
            .max_redirects(0)
            .http_status_as_error(false)
            .proxy(None)
            .build();
        Self {
            agent: config.into(),
            failing: AtomicBool::new(false),
        }
    }

    fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let request = request.map(Vec::from);
        let answer = self.agent.run(request)?;
        let (head, body) = answer.into_parts();
        let body = body
            .into_with_config()
            .limit(LONGEST_ANSWER)
            .read_to_vec()?;
        Ok(Response::from_parts(head, body.into()))
    }
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let answer = self.send(request);
        let problem = match &answer {
            Ok(answer) if answer.status().is_success() => None,
            Ok(answer) => Some(answer.status().to_string()),
            Err(error) => Some(error.to_string()),
        };
        let failed = problem.is_some();
        if self.failing.swap(failed, Ordering::Relaxed) != failed {
            if let Some(problem) = problem {
                tracing::warn!(problem, "traces are lost: the collector does not take them");
            } else {
                tracing::info!("the collector takes traces again");
            }
        }
        answer
    }
}

#[cfg(test)]
mod tests;
