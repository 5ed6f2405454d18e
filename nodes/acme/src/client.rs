//! HTTPS to the authority: what the library asks through, with bounds on time and size.

use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Limited;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use rustls::ClientConfig;

/// For one answer. An authority that signs with a slow device says "processing", and is asked again.
const ANSWERS_WITHIN: Duration = Duration::from_secs(30);

/// Bytes of an answer at most: a chain of certificates takes some ten thousand.
const LARGEST: usize = 1 << 20;

/// An order is a few requests at once, and then nothing for months.
const IDLE: Duration = Duration::from_secs(10);

#[derive(Clone)]
pub(crate) struct Client(Pool<HttpsConnector<HttpConnector>, BodyWrapper<Bytes>>);

impl Client {
    pub(crate) fn new(trusting: ClientConfig) -> Self {
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(trusting)
            .https_only()
            .enable_http1()
            .build();
        let pool = Pool::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(1)
            .build(connector);
        Self(pool)
    }
}

impl HttpClient for Client {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let asked = self.0.request(request);
        Box::pin(async move {
            match tokio::time::timeout(ANSWERS_WITHIN, asked).await {
                Ok(Ok(response)) => {
                    let bounded = response.map(|body| Limited::new(body, LARGEST));
                    Ok(BytesResponse::from(bounded))
                }
                Ok(Err(error)) => Err(Error::Other(Box::new(error))),
                Err(elapsed) => Err(Error::Other(Box::new(elapsed))),
            }
        })
    }
}
