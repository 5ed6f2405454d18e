//! One attempt over HTTP: a `POST`, the redirects that it leads to, and a status.

mod bounded;
mod resolver;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::LOCATION;
use http::uri::{PathAndQuery, Scheme};
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming as Answer;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client as Pool, Error as PoolError};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tower::ServiceExt as _;
use tower::util::MapResponse;

use self::bounded::Bounded;
use self::resolver::Resolver;
use crate::delivery::{Attempt, AttemptError};
use crate::header::{Headers, Place};

/// As many as Go's client follows.
const REDIRECTS: usize = 10;

/// An idle connection is kept for so long: shorter than servers keep theirs, so that it is rarely closed under a request.
const IDLE: Duration = Duration::from_secs(2);

/// Bytes of an answer that are read so that its connection can be used again. Nobody looks at them.
const ANSWER: usize = 16 << 10;

/// The rest of an answer comes this soon after its status, or is not waited for.
const ANSWERED: Duration = Duration::from_millis(100);

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The machine has no list of certification authorities.
    #[error(
        "notifications: an endpoint is https, and no certificates of authorities are found on this machine \
         (install ca-certificates, or set SSL_CERT_FILE)"
    )]
    NoRoots,
    /// The TLS library takes none of its own settings.
    #[error("notifications: TLS: {0}")]
    Tls(#[from] rustls::Error),
}

/// Whom `https` endpoints are to be trusted by.
#[derive(Clone)]
pub(crate) struct Trust(ClientConfig);

impl Trust {
    /// Whom the machine trusts.
    pub(crate) fn native(https: bool) -> Result<Self, ClientError> {
        let mut roots = RootCertStore::empty();
        let found = rustls_native_certs::load_native_certs();
        let (added, _unusable) = roots.add_parsable_certificates(found.certs);
        if https && added == 0 {
            return Err(ClientError::NoRoots);
        }
        Self::of(roots)
    }

    pub(crate) fn of(roots: RootCertStore) -> Result<Self, ClientError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self(tls))
    }
}

/// Connections to one endpoint, and to where it leads.
pub(crate) struct Client(Pool<Connector, Full<Bytes>>);

type Https = HttpsConnector<HttpConnector<Resolver>>;
type Stream = MaybeHttpsStream<TokioIo<TcpStream>>;
type Guarded = TokioIo<Bounded<TokioIo<Stream>>>;
type Connector = MapResponse<Https, fn(Stream) -> Guarded>;

fn guarded(stream: Stream) -> Guarded {
    TokioIo::new(Bounded::new(TokioIo::new(stream)))
}

impl Client {
    pub(crate) fn new(trust: &Trust) -> Self {
        let mut tcp = HttpConnector::new_with_resolver(Resolver::system());
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(trust.0.clone())
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let pool = Pool::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(1)
            .build(connector.map_response(guarded as fn(Stream) -> Guarded));
        Self(pool)
    }
}

/// An endpoint, as one reaches it.
pub(crate) struct Poster {
    pub(crate) client: Client,
    pub(crate) place: Place,
    pub(crate) headers: Headers,
    pub(crate) timeout: Duration,
}

#[async_trait]
impl Attempt for Poster {
    async fn attempt(&self, envelope: Bytes) -> Result<StatusCode, AttemptError> {
        let within = tokio::time::timeout(self.timeout, self.post(envelope));
        let response = within.await.map_err(|_elapsed| AttemptError::Timeout)??;
        let status = response.status();
        finish(response).await;
        Ok(status)
    }
}

impl Poster {
    async fn post(&self, envelope: Bytes) -> Result<Response<Answer>, AttemptError> {
        let (mut method, mut uri) = (Method::POST, self.place.uri.clone());
        for _ in 0..=REDIRECTS {
            let request = self.request(&method, &uri, &envelope)?;
            let response = self.client.0.request(request).await?;
            let followed = redirect(&response, &method, &uri)?;
            let Some(next) = followed else {
                return Ok(response);
            };
            finish(response).await;
            (method, uri) = next;
        }
        Err(AttemptError::Redirects)
    }

    /// What is configured for one host is not for another, and what was to be encrypted does not go in the clear.
    fn request(
        &self,
        method: &Method,
        uri: &Uri,
        envelope: &Bytes,
    ) -> Result<Request<Full<Bytes>>, AttemptError> {
        let first = &self.place.uri;
        let downgraded = first.scheme() == Some(&Scheme::HTTPS) && uri.scheme() != first.scheme();
        let trusted = first.host() == uri.host() && !downgraded;
        let posts = method == Method::POST;
        let body = if posts {
            envelope.clone()
        } else {
            Bytes::new()
        };
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in &self.headers {
            let of_the_body = name == http::header::CONTENT_TYPE;
            if (trusted || !value.is_sensitive()) && (posts || !of_the_body) {
                request = request.header(name, value);
            }
        }
        request
            .body(Full::new(body))
            .map_err(|_detail| AttemptError::Request)
    }
}

/// Where a redirect leads, by the rules of Go's client: 307 and 308 repeat the request, the others become a `GET`; one
/// without a `Location` is an answer.
fn redirect(
    response: &Response<impl Sized>,
    method: &Method,
    base: &Uri,
) -> Result<Option<(Method, Uri)>, AttemptError> {
    let method = match response.status().as_u16() {
        301..=303 => Method::GET,
        307 | 308 => method.clone(),
        _ => return Ok(None),
    };
    let Some(location) = response
        .headers()
        .get(LOCATION)
        .filter(|value| !value.is_empty())
    else {
        return Ok(None);
    };
    let location = location.to_str().ok();
    let target = location.and_then(|location| resolve(base, location));
    let target = target.ok_or(AttemptError::Location)?;
    Ok(Some((method, target)))
}

/// RFC 3986, section 5.2, without removing dots: servers do that.
fn resolve(base: &Uri, location: &str) -> Option<Uri> {
    let scheme = base.scheme_str()?;
    let reference = location.split('#').next()?;
    if let Some((said, _)) = reference.split_once("://")
        && said.bytes().all(|byte| byte.is_ascii_alphanumeric())
    {
        return Some(Place::parse(reference).ok()?.uri);
    }
    if reference.starts_with("//") {
        return Some(Place::parse(&format!("{scheme}:{reference}")).ok()?.uri);
    }
    let path = if reference.starts_with('/') {
        reference.to_owned()
    } else if reference.is_empty() || reference.starts_with('?') {
        format!("{}{reference}", base.path())
    } else {
        let directory = base
            .path()
            .rsplit_once('/')
            .map_or("", |(before, _)| before);
        format!("{directory}/{reference}")
    };
    let mut parts = base.clone().into_parts();
    parts.path_and_query = Some(path.parse::<PathAndQuery>().ok()?);
    Uri::from_parts(parts).ok()
}

/// Reads a short answer to its end. A long one, a slow one, or one that breaks off costs its connection and nothing else.
async fn finish(response: Response<Answer>) {
    let mut body = response.into_body();
    let mut read = 0;
    let to_the_end = async {
        while let Some(Ok(frame)) = body.frame().await {
            read += frame.data_ref().map_or(0, Bytes::len);
            if read > ANSWER {
                break;
            }
        }
    };
    let _slow = tokio::time::timeout(ANSWERED, to_the_end).await;
}

impl From<PoolError> for AttemptError {
    fn from(error: PoolError) -> Self {
        if error.is_connect() {
            Self::Connect(error.into())
        } else {
            Self::Exchange(error.into())
        }
    }
}

#[cfg(test)]
mod tests;
