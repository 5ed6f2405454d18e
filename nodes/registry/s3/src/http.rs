//! How requests reach the store: hyper over rustls, with connections kept.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aws_sdk_s3::config::{HttpClient, RuntimeComponents, SharedHttpClient};
use aws_smithy_runtime_api::client::http::{
    HttpConnector as SdkConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::retry::ErrorKind;
use http::HeaderValue;
use http::header::USER_AGENT;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client as Pool, Error as PoolError};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::ClientConfig;

/// A store in the same place answers within milliseconds, one on another continent within less than this.
const CONNECT: Duration = Duration::from_secs(5);
/// Shorter than Amazon keeps its connections, so that one is rarely closed under a request.
const IDLE: Duration = Duration::from_secs(15);
/// Idle connections; as many as parts are copied at a time by default.
const IDLE_CONNECTIONS: usize = 100;

/// Connections, and a count of what was sent over them.
#[derive(Clone)]
pub(crate) struct Http {
    pool: Pool<HttpsConnector<HttpConnector>, SdkBody>,
    user_agent: HeaderValue,
    requests: Arc<AtomicU64>,
    /// Until the answer begins, where whoever asks has a limit of its own.
    answer: Option<Duration>,
}

impl Http {
    pub(crate) fn new(tls: ClientConfig, user_agent: HeaderValue) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT));
        tcp.set_keepalive(Some(Duration::from_secs(30)));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let pool = Pool::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            .build(connector);
        Self {
            pool,
            user_agent,
            requests: Arc::default(),
            answer: None,
        }
    }

    pub(crate) fn shared(&self) -> SharedHttpClient {
        SharedHttpClient::new(self.clone())
    }

    /// Sent so far, each try counted.
    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    async fn send(self, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let mut request = request
            .try_into_http1x()
            .map_err(|error| ConnectorError::user(error.into()))?;
        // Not signed, so it can be ours.
        request.headers_mut().insert(USER_AGENT, self.user_agent);
        self.requests.fetch_add(1, Ordering::Relaxed);
        let sent = self.pool.request(request);
        let response = match self.answer {
            None => sent.await,
            Some(answer) => tokio::time::timeout(answer, sent)
                .await
                .map_err(|elapsed| ConnectorError::timeout(elapsed.into()))?,
        };
        let response = response.map_err(broken)?.map(SdkBody::from_body_1_x);
        HttpResponse::try_from(response)
            .map_err(|error| ConnectorError::other(error.into(), Some(ErrorKind::ServerError)))
    }
}

/// No answer came: whatever it was, another try may do.
fn broken(error: PoolError) -> ConnectorError {
    ConnectorError::other(error.into(), Some(ErrorKind::TransientError))
}

impl HttpClient for Http {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        let connect = settings.connect_timeout().unwrap_or(CONNECT);
        SharedHttpConnector::new(Self {
            answer: settings.read_timeout().map(|read| connect + read),
            ..self.clone()
        })
    }
}

impl SdkConnector for Http {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        HttpConnectorFuture::new(self.clone().send(request))
    }
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Http")
    }
}
