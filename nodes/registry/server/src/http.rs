//! The HTTP API of the distribution specification and of the reference registry: parse, call, answer.

mod account;
mod answer;
mod authorize;
mod base;
mod blobs;
mod budget;
mod debug;
mod error;
mod events;
mod listings;
mod location;
mod login;
mod long;
mod manifests;
mod query;
mod referrers;
mod request;
mod route;
mod uploads;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use http::{HeaderValue, Method, Response};

use roadstead_auth::Authenticator;
use roadstead_oci::{Digest, ErrorCode, Name};
use roadstead_serve::Receipts;

use crate::Registry;
use crate::body::Body as Incoming;
use crate::health::Health;
use account::Account;
pub use account::Telling;
use budget::Budget;
pub use debug::{Debug, Text, Trouble, Vars, Watched, debug_router, watched_router};
use error::Failure;
pub use events::Notices;
use long::Lists;
use request::Call;
use route::{RawName, Route, Target};

const API_VERSION: &str = "docker-distribution-api-version";

/// What a registry shows of itself besides its images.
#[derive(Debug)]
pub struct Surface {
    /// Who may do what.
    pub authenticator: Authenticator,
    /// Added to every answer.
    pub headers: Vec<(http::HeaderName, HeaderValue)>,
    pub health: Health,
    /// `/` answers 503 while a health check fails.
    pub root_tells_health: bool,
    /// So does every other path.
    pub refuses_when_unwell: bool,
    /// Which gateways are believed about when a request came: those of the cluster, if there is one.
    pub receipts: Option<Receipts>,
    /// Who is told of each request.
    pub telling: Telling,
    /// Who is told of what happened.
    pub notices: Option<Notices>,
}

/// What handlers share.
#[derive(Debug)]
pub(crate) struct Api {
    registry: Arc<Registry>,
    surface: Surface,
    manifests_in_memory: Budget,
    lists: Lists,
}

/// The registry as a service.
pub fn router(registry: Arc<Registry>, surface: Surface) -> axum::Router {
    let manifests_in_memory = Budget::for_manifests(registry.options().limits.manifest_size);
    let api = Arc::new(Api {
        registry,
        surface,
        manifests_in_memory,
        lists: Lists::new(),
    });
    axum::Router::new().fallback(answer).with_state(api)
}

/// The way of a request.
async fn answer(State(api): State<Arc<Api>>, request: Request) -> Response<Body> {
    let names_its_host = roadstead_serve::names_its_host(&request);
    let (call, body) = Call::parse(&api, request);
    let route = Route::parse(&call.path);
    let account = Account::open(&api.surface.telling, &call, &route);
    let mut response = if names_its_host {
        let answering = respond(&api, call, route, body);
        tracing::Instrument::instrument(answering, account.span()).await
    } else {
        answer::no_host()
    };
    stamp(&api, &mut response);
    account.follow(response)
}

async fn respond(api: &Arc<Api>, mut call: Call, route: Route, body: Incoming) -> Response<Body> {
    if api.refuses(&route) {
        return error::unwell();
    }
    if login::is_asked(api, &call) {
        return login::answer(api, call, body).await;
    }
    if let Err(failure) = authorize::admit(api, &mut call, &route).await {
        return failure.into_response();
    }
    match route {
        Route::Elsewhere(path) => answer::moved(&call, &path),
        Route::Nowhere => answer::page_not_found(),
        Route::To(target) => dispatch(api, call, target, body).await,
    }
}

impl Api {
    /// Whether nothing is served while a health check fails, as the reference has it.
    fn refuses(&self, route: &Route) -> bool {
        let is_probe = matches!(route, Route::To(target) if target.is_probe());
        self.surface.refuses_when_unwell && !is_probe && !self.surface.health.is_well()
    }
}

async fn dispatch(api: &Arc<Api>, call: Call, target: Target, body: Incoming) -> Response<Body> {
    if target.answers_all() {
        return handle(api, call, target, body).await;
    }
    let allowed = target.methods();
    if call.method == Method::OPTIONS {
        return answer::options(allowed);
    }
    if !allowed.contains(&call.method) {
        return answer::method_not_allowed(allowed);
    }
    let writes = !matches!(call.method, Method::GET | Method::HEAD);
    if writes && api.registry.is_read_only() {
        return error::read_only();
    }
    // Where an upload stands is known to the cluster alone.
    let asks_the_cluster = writes || matches!(target, Target::Upload { .. });
    if asks_the_cluster && !api.registry.lease().is_held() {
        return error::no_lease();
    }
    if !writes {
        return handle(api, call, target, body).await;
    }
    // To its own end, also when the client goes away: what it holds is released on its own way out.
    let (api, tracker) = (Arc::clone(api), api.registry.background.clone());
    let request_span = tracing::Span::current();
    let work = tracing::Instrument::instrument(
        async move { handle(&api, call, target, body).await },
        request_span,
    );
    tracker.spawn(work).await.unwrap_or_else(|error| {
        tracing::error!(%error, "a request failed");
        error::internal()
    })
}

async fn handle(api: &Api, call: Call, target: Target, body: Incoming) -> Response<Body> {
    let answered = match target {
        Target::Root => Ok(base::root(api)),
        Target::Live => Ok(base::live()),
        Target::Ready => Ok(base::ready(api)),
        Target::Base => Ok(base::base()),
        Target::Catalog => listings::catalog(api, &call).await,
        Target::Tags { name } => listings::tags(api, &call, &name).await,
        Target::Referrers { name, digest } => referrers::list(api, &call, &name, &digest).await,
        Target::Manifest { name, reference } => {
            manifests::answer(api, &call, &name, &reference, body).await
        }
        Target::Blob { name, digest } => blobs::answer(api, &call, &name, &digest).await,
        Target::Uploads { name } => uploads::open(api, &call, &name, body).await,
        Target::Upload { name, id } => uploads::answer(api, &call, &name, &id, body).await,
    };
    answered.unwrap_or_else(Failure::into_response)
}

/// What every answer carries.
fn stamp(api: &Api, response: &mut Response<Body>) {
    let headers = response.headers_mut();
    headers.insert(API_VERSION, HeaderValue::from_static("registry/2.0"));
    for (name, value) in &api.surface.headers {
        headers.append(name, value.clone());
    }
}

const CONTENT_DIGEST: http::HeaderName = http::HeaderName::from_static("docker-content-digest");

fn known_name(name: &RawName) -> Result<&Name, Failure> {
    name.as_ref()
        .map_err(|text| Failure::new(ErrorCode::NameInvalid, serde_json::json!({ "name": text })))
}

fn known_digest(text: &str) -> Result<Digest, Failure> {
    text.parse::<Digest>()
        .map_err(|malformed| Failure::new(ErrorCode::DigestInvalid, malformed.to_string()))
}

/// Whether the client says that it holds this content already. Clients write the digest with quotes or without; `*` is
/// whatever there is (RFC 9110, section 13.1.2).
fn is_held(call: &Call, digest: &str) -> bool {
    let held = call.header(http::header::IF_NONE_MATCH).unwrap_or_default();
    held.split(',')
        .map(|etag| etag.trim().trim_start_matches("W/").trim_matches('"'))
        .any(|etag| etag == digest || etag == "*")
}
