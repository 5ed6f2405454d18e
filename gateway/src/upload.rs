//! Bytes on their way to a node. They are passed on as they come, and held until a node has acknowledged them, so that
//! another can be sent them when it is lost: the client sees one request.
//!
//! A long body goes as one `PATCH` after the other, each begun where the one before it was acknowledged. A node takes a
//! chunk only at the offset that its state names, by compare-and-set: whatever a lost node may still do, no byte comes twice.
//! Sent again, a chunk may be refused because the lost node had stored it, or its beginning; the refusal says where the
//! upload stands, and the rest is sent from there.

mod feed;
mod held;
mod place;
mod source;

use std::sync::Arc;

use axum::body::Body;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, EXPECT, LOCATION, RANGE};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use roadstead_oci::ContentRange;
use roadstead_serve::body::Body as Incoming;
use tokio::sync::oneshot;

use crate::Gateway;
use crate::answer;
use crate::call::Call;
use crate::download::Passed;
use crate::exchange::NodeBody;
use crate::forward::not_received;
use crate::node::Node;
use crate::replay::{self, Carried};
use crate::route::Kind;
use crate::tries::{Tries, is_worth_another_try};
use feed::{Ended, Manner};
use held::Held;
use place::Place;
use source::Source;

const UPLOAD_UUID: HeaderName = HeaderName::from_static("docker-upload-uuid");

/// Carries a request with bytes of an upload.
pub(crate) async fn carry(
    gateway: &Arc<Gateway>,
    call: &Arc<Call>,
    body: Incoming,
) -> Response<Body> {
    let upload = Upload {
        gateway: Arc::clone(gateway),
        call: Arc::clone(call),
        source: Source::of(body),
        held: Held::none(&gateway.memory),
        place: Place::of(&call.target),
        // No node says so over HTTP/2, as the library has it.
        waits_to_send: call.waits_to_send && !gateway.pool.dial.http2,
    };
    match upload.carry().await {
        Ok(response) => response.map(|body| Body::new(Passed::as_it_is(gateway, body))),
        Err(own) => own,
    }
}

struct Upload {
    gateway: Arc<Gateway>,
    call: Arc<Call>,
    source: Source,
    held: Held,
    /// Where the bytes that are held begin.
    place: Place,
    waits_to_send: bool,
}

/// What a node said to a chunk.
enum Said {
    /// It has all that was sent.
    Acknowledged(Response<NodeBody>),
    /// Only the client can do something about it; or the gateway's own word.
    Refused(Carried),
    /// It has so much of it, and says where to go on.
    StandsAt(u64, Place, Response<NodeBody>),
    /// Another node is to be asked; what this one said, if it did.
    Nothing(Option<Response<NodeBody>>),
}

impl Upload {
    async fn carry(mut self) -> Carried {
        let is_short = self
            .call
            .length
            .is_some_and(|length| length <= self.gateway.options.limits.chunk as u64);
        let ranged = self.call.headers.get(CONTENT_RANGE).cloned();
        match (&self.call.route.kind, ranged) {
            (Kind::Chunk, None) => self.in_chunks().await,
            (Kind::Chunk, Some(range)) if !is_short => {
                if self.begins_here(&range) {
                    self.in_chunks().await
                } else {
                    // It will be refused, and the node says best why.
                    self.pass_on().await
                }
            }
            _ if is_short => self.in_one().await,
            (Kind::Whole(digest), _) => {
                let digest = digest.clone();
                self.opened(&digest).await?;
                self.closed_by(&digest.to_string()).await
            }
            _close => {
                let digest = self
                    .place
                    .parameter("digest")
                    .unwrap_or_default()
                    .to_owned();
                self.place = self.place.without("digest");
                self.closed_by(&digest).await
            }
        }
    }

    /// Whether a range, the length and the state say the same.
    fn begins_here(&self, range: &HeaderValue) -> bool {
        let range = range
            .to_str()
            .ok()
            .and_then(|range| range.parse::<ContentRange>().ok());
        range.is_some_and(|range| {
            self.call.length == Some(range.length()) && self.place.offset() == Some(range.first)
        })
    }

    async fn pass_on(self) -> Carried {
        replay::pass_on(&self.gateway, &self.call, self.source.into_body()).await
    }

    /// One request, held as a whole.
    async fn in_one(mut self) -> Carried {
        let manner = self.manner(false);
        let (method, target) = (self.call.method.clone(), self.call.target.clone());
        let mut headers = vec![(CONTENT_LENGTH, self.call.length.unwrap_or_default().into())];
        headers.extend(
            self.call
                .headers
                .get(CONTENT_RANGE)
                .map(|range| (CONTENT_RANGE, range.clone())),
        );
        let call = Arc::clone(&self.call);
        let mut tries = Tries::of(&self.gateway, &call);
        let mut refused = None;
        loop {
            let request = self.request(&method, &target, &headers);
            match self.attempt(&mut tries, request, manner).await {
                Said::Acknowledged(response) => return Ok(response),
                Said::StandsAt(stored, _, response) => {
                    let is_whole = stored == self.held.length() as u64;
                    let was_stored = is_whole && method == Method::PATCH;
                    return Ok(if was_stored {
                        as_accepted(response)
                    } else {
                        response
                    });
                }
                Said::Refused(carried) => return carried,
                Said::Nothing(said) => refused = said.or(refused),
            }
            if !self.held.is_whole() {
                return refused.ok_or_else(answer::given_up);
            }
            self.call.learnt.resumed(self.held.length() as u64);
        }
    }

    /// `PATCH` after `PATCH`, to the body's end.
    async fn in_chunks(&mut self) -> Carried {
        loop {
            let acknowledged = self.chunk().await?;
            self.held.clear();
            let status = acknowledged.status();
            let place = Place::told(acknowledged.headers());
            match place {
                Some(place) if status == StatusCode::ACCEPTED => self.place = place,
                _other => return Ok(acknowledged),
            }
            // Only now: a body may end where a chunk does.
            match self.source.look().await {
                Ok(true) => acknowledged.into_body().discard().await,
                Ok(false) => return Ok(acknowledged),
                Err(broke_off) => return Err(not_received(&broke_off)),
            }
        }
    }

    /// One chunk, at one node after the other until one has it.
    async fn chunk(&mut self) -> Carried {
        let manner = self.manner(true);
        let call = Arc::clone(&self.call);
        let mut tries = Tries::of(&self.gateway, &call);
        let mut refused = None;
        loop {
            let request = self.request(&Method::PATCH, &self.place.target(), &[]);
            match self.attempt(&mut tries, request, manner).await {
                Said::Acknowledged(response) => return Ok(response),
                Said::Refused(carried) => return carried,
                Said::Nothing(said) => refused = said.or(refused),
                Said::StandsAt(stored, place, response) => {
                    let stored = usize::try_from(stored).unwrap_or(usize::MAX);
                    tracing::info!(stored, held = self.held.length(), "an upload goes on");
                    self.held.drop_first(stored);
                    self.place = place;
                    tries.made_progress();
                    if self.held.length() == 0 {
                        return Ok(as_accepted(response));
                    }
                    response.into_body().discard().await;
                }
            }
            if !self.held.is_whole() {
                return refused.ok_or_else(answer::given_up);
            }
            self.call.learnt.resumed(self.held.length() as u64);
        }
    }

    /// Opens a session for a blob that is too long to be sent twice.
    async fn opened(&mut self, digest: &roadstead_oci::Digest) -> Result<(), Response<Body>> {
        let mut target = self.place.without("digest");
        if digest.algorithm() != roadstead_oci::Algorithm::CANONICAL {
            target = target.with("digest-algorithm", &digest.algorithm().to_string());
        }
        let call = Arc::clone(&self.call);
        let response = bodiless(&self.gateway, &call, &Method::POST, &target).await?;
        match Place::told(response.headers()) {
            Some(place) if response.status() == StatusCode::ACCEPTED => {
                self.place = place;
                response.into_body().discard().await;
                Ok(())
            }
            _other => {
                let gateway = &self.gateway;
                Err(response.map(|body| Body::new(Passed::as_it_is(gateway, body))))
            }
        }
    }

    /// All bytes in chunks, and then a request that closes the upload.
    async fn closed_by(&mut self, digest: &str) -> Carried {
        let answered = self.in_chunks().await?;
        if answered.status() != StatusCode::ACCEPTED {
            return Ok(answered);
        }
        answered.into_body().discard().await;
        let place = self.place.with("digest", digest);
        let call = Arc::clone(&self.call);
        bodiless(&self.gateway, &call, &Method::PUT, &place).await
    }

    fn manner(&self, in_chunks: bool) -> Manner {
        Manner {
            in_chunks,
            chunk: self.gateway.options.limits.chunk,
            idle: self.gateway.options.timeouts.idle,
        }
    }

    fn request(
        &self,
        method: &Method,
        target: &str,
        more: &[(HeaderName, HeaderValue)],
    ) -> Request<()> {
        let mut request = Request::new(());
        *request.method_mut() = method.clone();
        *request.uri_mut() = target.parse().unwrap_or_default();
        let headers = request.headers_mut();
        *headers = self.call.headers.clone();
        headers.remove(CONTENT_RANGE);
        for (name, value) in more {
            headers.insert(name, value.clone());
        }
        request
    }

    /// Sends what is held and what comes to one node, and hears what it says.
    async fn attempt(
        &mut self,
        tries: &mut Tries<'_>,
        request: Request<()>,
        manner: Manner,
    ) -> Said {
        let picked = match tries.next().await {
            Ok(picked) => picked,
            Err(own) => return Said::Refused(Err(own)),
        };
        let node = Arc::clone(picked.node());
        let begins_at = self.place.offset();
        let (feeder, body) = feed::body();
        let mut request = request.map(|()| body);
        let go_ahead = std::mem::take(&mut self.waits_to_send).then(|| ask_first(&mut request));
        let mut answering = std::pin::pin!(tries.exchange_fed(picked, request));
        let ended = {
            let feeding = feeder.feed(&mut self.source, &mut self.held, manner, go_ahead);
            tokio::select! {
                biased;
                ended = feeding => ended,
                answered = &mut answering => {
                    return match answered {
                        Ok(response) => self.heard_early(tries, response),
                        Err(_failed) => Said::Nothing(None),
                    };
                }
            }
        };
        if matches!(ended, Ended::Stuck) || (!manner.in_chunks && matches!(ended, Ended::Client(_)))
        {
            return Self::not_sent(&node, &ended);
        }
        let commit = self.gateway.options.timeouts.commit;
        let said = match tokio::time::timeout(commit, answering).await {
            Ok(Ok(response)) => self.heard(tries, response, begins_at),
            Ok(Err(_failed)) => Said::Nothing(None),
            Err(_elapsed) => {
                node.is_slow();
                Said::Nothing(None)
            }
        };
        match (ended, said) {
            (Ended::Client(broke_off), Said::Acknowledged(_)) => {
                Said::Refused(Err(not_received(&broke_off)))
            }
            (Ended::NoRoom, Said::Acknowledged(_)) => Said::Refused(Err(answer::no_memory())),
            (_, said) => said,
        }
    }

    fn not_sent(node: &Node, ended: &Ended) -> Said {
        match ended {
            Ended::Client(broke_off) => Said::Refused(Err(not_received(broke_off))),
            _stuck => {
                tracing::info!(node = node.name(), "a node takes no more of an upload");
                node.is_slow();
                Said::Nothing(None)
            }
        }
    }

    /// An answer before the body's end was said. Before all of it was sent, it can only be a refusal.
    fn heard_early(&self, tries: &Tries<'_>, response: Response<NodeBody>) -> Said {
        let has_all = self.source.has_all(self.call.length);
        if response.status().is_success() && !has_all {
            tracing::warn!("a node accepted an upload before it had all of it");
            return Said::Refused(Err(answer::given_up()));
        }
        self.heard(tries, response, self.place.offset())
    }

    fn heard(
        &self,
        tries: &Tries<'_>,
        response: Response<NodeBody>,
        begins_at: Option<u64>,
    ) -> Said {
        let status = response.status();
        if status.is_success() {
            return Said::Acknowledged(response);
        }
        if is_worth_another_try(status) {
            return Said::Nothing(Some(response));
        }
        if status == StatusCode::RANGE_NOT_SATISFIABLE
            && tries.is_retry()
            && let Some(place) = Place::told(response.headers())
            && let (Some(begins_at), Some(stands_at)) = (begins_at, place.offset())
            && let Some(stored) = stands_at.checked_sub(begins_at)
            && (1..=self.held.length() as u64).contains(&stored)
        {
            return Said::StandsAt(stored, place, response);
        }
        Said::Refused(Ok(response))
    }
}

/// Makes the node say whether it wants the body.
fn ask_first(request: &mut Request<Body>) -> oneshot::Receiver<()> {
    let (told, go_ahead) = oneshot::channel();
    let told = std::sync::Mutex::new(Some(told));
    request
        .headers_mut()
        .insert(EXPECT, HeaderValue::from_static("100-continue"));
    hyper::ext::on_informational(request, move |said| {
        let told = match told.lock() {
            Ok(mut told) if said.status() == StatusCode::CONTINUE => told.take(),
            _other => None,
        };
        if let Some(told) = told {
            let _nobody_waits = told.send(());
        }
    });
    go_ahead
}

/// A request of the gateway's own, on behalf of the client's.
async fn bodiless(gateway: &Arc<Gateway>, call: &Call, method: &Method, place: &Place) -> Carried {
    let mut tries = Tries::of(gateway, call);
    let mut refused = None;
    loop {
        let picked = match tries.next().await {
            Ok(picked) => picked,
            Err(given_up) => return refused.ok_or(given_up),
        };
        let mut request = Request::new(Body::empty());
        *request.method_mut() = method.clone();
        *request.uri_mut() = place.target().parse().unwrap_or_default();
        let headers = request.headers_mut();
        *headers = call.headers.clone();
        headers.remove(CONTENT_RANGE);
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        match tries.exchange(picked, request).await {
            Ok(response) if is_worth_another_try(response.status()) => refused = Some(response),
            Ok(response) => return Ok(response),
            Err(_failed) => {}
        }
    }
}

/// A refusal that says that all is there, as the acknowledgement that was lost.
fn as_accepted(response: Response<NodeBody>) -> Response<NodeBody> {
    let (mut parts, body) = response.into_parts();
    parts.status = StatusCode::ACCEPTED;
    let keeps = [LOCATION, RANGE, UPLOAD_UUID];
    let kept = keeps.map(|name| parts.headers.remove(&name).map(|value| (name, value)));
    parts.headers = kept.into_iter().flatten().collect();
    Response::from_parts(parts, body.into_empty())
}
