//! The network: every call is a task that is held up, lost, or carried out twice on its way there or back.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use roadstead_metadata::transport::{Carry, Dial, Link, NotAnAddress};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::body::Body;
use tonic::service::Routes;
use tower::{BoxError, ServiceExt as _};

use super::{Mutant, chance, is};

/// How long it takes until a connection is given up on which nothing is heard.
const GIVEN_UP: Range<u64> = 1_000..4_000;

type Answer = Result<Response<Body>, BoxError>;

/// A process: its name, and whether it has crashed.
#[derive(Debug, Clone)]
pub(super) struct Process {
    pub(super) name: String,
    pub(super) crashed: CancellationToken,
}

impl Process {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            crashed: CancellationToken::new(),
        }
    }
}

/// What it is like out there.
#[derive(Debug, Clone)]
pub(super) struct Weather {
    pub(super) delay: Range<u64>,
    /// In percent: of messages that are lost, held up for seconds, and delivered twice.
    pub(super) lost: u64,
    pub(super) held: u64,
    pub(super) twice: u64,
}

impl Weather {
    pub(super) fn calm() -> Self {
        Self {
            delay: 1..4,
            lost: 0,
            held: 0,
            twice: 0,
        }
    }
}

struct State {
    /// Bytes that a connection carries in a millisecond; as many as there are, if nothing is said.
    rate: Option<u64>,
    listening: BTreeMap<String, (Process, Routes)>,
    /// From whom nothing reaches whom.
    cut: BTreeSet<(String, String)>,
    weather: Weather,
}

#[derive(Clone)]
pub(super) struct Net(Arc<Mutex<State>>);

impl Net {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(State {
            rate: None,
            listening: BTreeMap::new(),
            cut: BTreeSet::new(),
            weather: Weather::calm(),
        })))
    }

    pub(super) fn listen(&self, process: &Process, routes: Routes) {
        let at = process.name.clone();
        self.state().listening.insert(at, (process.clone(), routes));
    }

    pub(super) fn set_weather(&self, weather: Weather) {
        self.state().weather = weather;
    }

    /// From now on what is sent on a connection waits for what was sent before it.
    pub(super) fn narrow(&self, rate: u64) {
        self.state().rate = Some(rate);
    }

    /// Nothing goes from one of these to one of those.
    pub(super) fn cut(&self, from: &[String], to: &[String]) {
        let mut state = self.state();
        for one in from {
            state
                .cut
                .extend(to.iter().map(|other| (one.clone(), other.clone())));
        }
    }

    pub(super) fn mend(&self) {
        self.state().cut.clear();
    }

    pub(super) fn from(&self, process: &Process) -> Arc<dyn Dial> {
        Arc::new(Dialer {
            net: self.clone(),
            process: process.clone(),
        })
    }

    /// Nobody listens any more: who did holds the network, which held them.
    pub(super) fn close(&self) {
        let listened = std::mem::take(&mut self.state().listening);
        drop(listened);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A message on its way; whether it arrives.
    async fn travels(&self, from: &str, to: &str) -> bool {
        let Weather {
            delay, lost, held, ..
        } = self.state().weather.clone();
        // Who wants to see what comes too late has much come late.
        let least = if is(Mutant::NeverTooLate) { 5 } else { 0 };
        let held = chance::percent(held.max(least)).then(|| chance::millis(0..8_000));
        sleep(held.unwrap_or_else(|| chance::millis(delay))).await;
        let is_cut = self.state().cut.contains(&(from.to_owned(), to.to_owned()));
        !is_cut && !chance::percent(lost)
    }

    async fn deliver(self, from: Process, to: String, request: Request<Full<Bytes>>) -> Answer {
        let lost = || BoxError::from(Status::unavailable("the connection broke"));
        if from.crashed.is_cancelled() {
            return Err(lost());
        }
        if !self.travels(&from.name, &to).await {
            sleep(chance::millis(GIVEN_UP)).await;
            return Err(lost());
        }
        let listening = self.state().listening.get(&to).cloned();
        let Some((process, routes)) = listening.filter(|(one, _)| !one.crashed.is_cancelled())
        else {
            return Err(BoxError::from(Status::unavailable("nobody listens")));
        };
        let answered = async {
            let response = routes.oneshot(request.map(Body::new)).await?;
            let (parts, body) = response.into_parts();
            let body = body.collect().await?;
            Ok(Response::from_parts(parts, Body::new(body)))
        };
        let Some(answer) = process.crashed.run_until_cancelled(answered).await else {
            return Err(lost());
        };
        if !self.travels(&to, &from.name).await || from.crashed.is_cancelled() {
            sleep(chance::millis(GIVEN_UP)).await;
            return Err(lost());
        }
        answer
    }
}

#[derive(Clone)]
struct Dialer {
    net: Net,
    process: Process,
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Dialer").field(&self.process.name).finish()
    }
}

impl Dial for Dialer {
    fn dial(&self, addr: &str) -> Result<Link, NotAnAddress> {
        Ok(Link::carried(Arc::new(Wire {
            from: self.clone(),
            to: addr.to_owned(),
            free: Free::default(),
        })))
    }
}

struct Wire {
    from: Dialer,
    to: String,
    free: Free,
}

/// From when on a connection has nothing to carry.
#[derive(Debug, Clone, Default)]
struct Free(Arc<Mutex<Option<Instant>>>);

impl Free {
    async fn carry(&self, bytes: usize, rate: Option<u64>) {
        let Some(rate) = rate else {
            return;
        };
        let carried = {
            let mut free = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let begins = free.map_or_else(Instant::now, |free| free.max(Instant::now()));
            *free.insert(begins + Duration::from_millis(bytes as u64 / rate))
        };
        sleep_until(carried).await;
    }
}

impl Carry for Wire {
    fn carry(&self, request: Request<Body>) -> BoxFuture<'static, Answer> {
        let (Dialer { net, process }, to) = (self.from.clone(), self.to.clone());
        let free = self.free.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await?.to_bytes();
            let rate = net.state().rate;
            free.carry(body.len(), rate).await;
            let request = || Request::from_parts(parts.clone(), Full::new(body.clone()));
            let twice = net.state().weather.twice;
            if chance::percent(twice) {
                let again = net.clone().deliver(process.clone(), to.clone(), request());
                tokio::spawn(again);
            }
            let (answer, heard) = oneshot::channel();
            let delivered = net.deliver(process, to, request());
            // Whoever gives up may be too late to stop what it asked for.
            let until = CancellationToken::new();
            let _gives_up = chance::one_in(2).then(|| until.clone().drop_guard());
            tokio::spawn(async move {
                if let Some(delivered) = until.run_until_cancelled(delivered).await {
                    let _gave_up = answer.send(delivered);
                }
            });
            let lost = |_crashed| BoxError::from(Status::unavailable("the connection broke"));
            heard.await.map_err(lost)?
        })
    }
}
