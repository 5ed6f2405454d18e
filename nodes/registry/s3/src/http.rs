//! How requests reach the store: hyper over rustls, with connections kept.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use aws_sdk_s3::config::{HttpClient, RuntimeComponents, SharedHttpClient};
use aws_smithy_runtime_api::client::http::{
    HttpConnector as SdkConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::DateTime;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::date_time::Format;
use aws_smithy_types::retry::ErrorKind;
use bytes::Bytes;
use http::HeaderValue;
use http::header::{DATE, USER_AGENT};
use http_body_util::{BodyExt as _, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client as Pool, Error as PoolError};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::ClientConfig;
use tokio::time::Instant;

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
    /// What the store's last answer said of its time, and when it came.
    told: Arc<Mutex<Option<(SystemTime, Instant)>>>,
}

/// Of an answer to a request that was signed here: it holds an error, or nothing.
const ANSWER: usize = 64 << 10;
/// For how long the store's time goes on from an answer by this machine's clock, which may run faster.
const TOLD: Duration = Duration::from_mins(10);
/// Until such an answer is there, whole.
const SIGNED: Duration = Duration::from_secs(10);

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
            told: Arc::default(),
        }
    }

    /// The store's time, or a moment earlier: what its last answer said, and what has passed since; `None` after a while. A machine that slept
    /// finds it earlier still.
    pub(crate) fn time(&self) -> Option<SystemTime> {
        let told = *self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let recent = told.filter(|(_, at)| at.elapsed() < TOLD);
        recent.map(|(time, at)| time + at.elapsed())
    }

    /// Sends what was signed before, once. Answers with the status and the body.
    pub(crate) async fn send_signed(
        &self,
        mut request: http::Request<SdkBody>,
    ) -> Result<(u16, Bytes), Box<dyn std::error::Error + Send + Sync>> {
        request
            .headers_mut()
            .insert(USER_AGENT, self.user_agent.clone());
        let answered = tokio::time::timeout(SIGNED, async {
            let response = self.exchange(request).await?;
            let status = response.status().as_u16();
            let body = Limited::new(response.into_body(), ANSWER).collect().await?;
            Ok((status, body.to_bytes()))
        });
        answered.await?
    }

    async fn exchange(
        &self,
        request: http::Request<SdkBody>,
    ) -> Result<http::Response<SdkBody>, PoolError> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let response = self.pool.request(request).await?;
        let date = response
            .headers()
            .get(DATE)
            .and_then(|date| date.to_str().ok());
        let date = date.and_then(|date| DateTime::from_str(date, Format::HttpDate).ok());
        if let Some(time) = date.and_then(|date| SystemTime::try_from(date).ok()) {
            let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            *told = Some((time, Instant::now()));
        }
        Ok(response.map(SdkBody::from_body_1_x))
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
        let agent = self.user_agent.clone();
        request.headers_mut().insert(USER_AGENT, agent);
        let sent = self.exchange(request);
        let response = match self.answer {
            None => sent.await,
            Some(answer) => tokio::time::timeout(answer, sent)
                .await
                .map_err(|elapsed| ConnectorError::timeout(elapsed.into()))?,
        };
        HttpResponse::try_from(response.map_err(broken)?)
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
