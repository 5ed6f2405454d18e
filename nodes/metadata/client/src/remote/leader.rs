//! Who leads: remembered, followed when told, looked for when lost.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use roadstead_machine::ClusterId;
use roadstead_proto::MESSAGE_BYTES;
use roadstead_proto::metadata::v1 as wire;
use roadstead_proto::metadata::v1::cluster_client::ClusterClient;
use roadstead_proto::metadata::v1::metadata_client::MetadataClient;
use tokio::time::{Instant, sleep, timeout};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::{Code, Request, Status};

use super::{Refused, RemoteStats};
use crate::Unavailable;
use crate::transport::{Dial, Link, NotAnAddress};

/// The trailer in which a member that does not lead names the one that does.
pub const LEADER: &str = "roadstead-leader";

/// Which cluster the asker is of, once it knows: a member of another group does not answer.
pub const CLUSTER: &str = "roadstead-cluster";

/// A leader that was stopped costs this much; one whose disk is slow is given more with every try.
const FIRST_TRY: Duration = Duration::from_secs(1);
const LONGEST_TRY: Duration = Duration::from_secs(5);

/// How long one that did not answer is not believed to lead because another says so; one that refused at once costs
/// little to ask again.
const SUSPECT_FOR: Duration = Duration::from_secs(2);
const AWAY_FOR: Duration = Duration::from_millis(500);

/// Two members that name each other must not be asked in a circle without a pause.
const FOLLOWED_AT_ONCE: u32 = 2;

const FIRST_PAUSE: Duration = Duration::from_millis(20);
/// An election takes about a second: nobody should come much too late to its end.
const LONGEST_PAUSE: Duration = Duration::from_millis(150);

/// Changing the group waits until a new member has caught up.
const ADMINISTRATION_TRY: Duration = Duration::from_mins(1);

/// What one member says of itself.
const STATUS_WITHIN: Duration = Duration::from_secs(2);

pub(super) type Service = MetadataClient<InterceptedService<Link, Named>>;

/// Says which cluster is meant.
#[derive(Clone)]
pub(super) struct Named(Option<MetadataValue<Ascii>>);

impl Interceptor for Named {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(cluster) = &self.0 {
            request.metadata_mut().insert(CLUSTER, cluster.clone());
        }
        Ok(request)
    }
}

/// The members and who of them leads.
pub(super) struct Leaders {
    configured: Vec<String>,
    dial: Arc<dyn Dial>,
    cluster: OnceLock<MetadataValue<Ascii>>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    links: HashMap<String, Link>,
    /// Where the group's members are, as its leader told last; none before it did.
    told: Vec<String>,
    leader: Option<String>,
    /// Who led last, as an answer showed.
    led: Option<String>,
    stats: RemoteStats,
    /// Those that did not answer, and until when they are not expected to.
    suspects: HashMap<String, Instant>,
    /// Where to look next when nobody is known to lead.
    next: usize,
}

/// What to do about a failed try.
enum Remedy {
    AskAnother,
    Follow(String),
    /// The member did not answer, or has trouble: not to be expected to for a while.
    Suspect(Duration),
    GiveUp,
}

impl Leaders {
    pub(super) fn new(configured: Vec<String>, dial: Arc<dyn Dial>) -> Result<Self, NotAnAddress> {
        let known = Known::default();
        let this = Self {
            configured,
            dial,
            cluster: OnceLock::new(),
            known: Mutex::new(known),
        };
        for addr in &this.configured {
            this.link(addr)?;
        }
        Ok(this)
    }

    pub(super) fn stats(&self) -> RemoteStats {
        self.known().stats
    }

    /// From now on only members of this cluster are asked.
    pub(super) fn belong_to(&self, cluster: ClusterId) {
        if let Ok(cluster) = cluster.to_string().parse() {
            let _first = self.cluster.set(cluster);
        }
    }

    fn service(&self, link: Link) -> Service {
        MetadataClient::with_interceptor(link, Named(self.cluster.get().cloned()))
            .max_decoding_message_size(MESSAGE_BYTES)
    }

    pub(super) fn members(&self) -> Vec<String> {
        self.configured.clone()
    }

    /// Calls the leader, and again until it answers or the budget is spent.
    pub(super) async fn call<T, F>(
        &self,
        budget: Duration,
        ask: impl Fn(Service) -> F,
    ) -> Result<T, Unavailable>
    where
        F: Future<Output = Result<T, Status>>,
    {
        let ask = |link| ask(self.service(link).max_encoding_message_size(MESSAGE_BYTES));
        self.try_until(budget, FIRST_TRY, ask)
            .await
            .map_err(|status| Unavailable::because(words(&status)))
    }

    /// As [`Self::call`], of what is answered only after a while.
    pub(super) async fn call_long<T, F>(
        &self,
        budget: Duration,
        waits: Duration,
        ask: impl Fn(Service) -> F,
    ) -> Result<T, Unavailable>
    where
        F: Future<Output = Result<T, Status>>,
    {
        let ask = |link| ask(self.service(link));
        self.try_until(budget + waits, FIRST_TRY + waits, ask)
            .await
            .map_err(|status| Unavailable::because(words(&status)))
    }

    /// As [`Self::call`], of the group's administration. Asking twice is harmless.
    pub(super) async fn administer<F>(
        &self,
        budget: Duration,
        ask: impl Fn(ClusterClient<Link>) -> F,
    ) -> Result<(), Refused>
    where
        F: Future<Output = Result<(), Status>>,
    {
        let ask = |link| ask(ClusterClient::new(link));
        let asked = self.try_until(budget.max(ADMINISTRATION_TRY), ADMINISTRATION_TRY, ask);
        asked.await.map_err(|status| refused(&status))
    }

    pub(super) async fn ask_status(&self, addr: &str) -> Result<wire::StatusResponse, Status> {
        let link = self
            .link(addr)
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        let mut cluster = ClusterClient::new(link);
        match timeout(STATUS_WITHIN, cluster.status(wire::StatusRequest {})).await {
            Ok(answer) => answer.map(tonic::Response::into_inner),
            Err(_elapsed) => Err(Status::deadline_exceeded("no answer")),
        }
    }

    async fn try_until<T, F>(
        &self,
        budget: Duration,
        first: Duration,
        ask: impl Fn(Link) -> F,
    ) -> Result<T, Status>
    where
        F: Future<Output = Result<T, Status>>,
    {
        let deadline = Instant::now() + budget;
        let (mut patience, mut pause, mut followed) = (first, FIRST_PAUSE, 0);
        loop {
            let addr = self.target();
            let left = deadline.saturating_duration_since(Instant::now());
            let link = self
                .link(&addr)
                .map_err(|error| Status::internal(error.to_string()))?;
            let tried = timeout(patience.min(left), ask(link)).await;
            let status = match tried {
                Ok(Ok(answer)) => {
                    self.known().answered(addr);
                    return Ok(answer);
                }
                Ok(Err(status)) => status,
                Err(_elapsed) => Status::deadline_exceeded(format!("{addr} did not answer")),
            };
            let remedy = remedy(&status);
            if matches!(remedy, Remedy::GiveUp) || Instant::now() + pause >= deadline {
                return Err(status);
            }
            if matches!(remedy, Remedy::Suspect(SUSPECT_FOR)) {
                patience = (patience * 3 / 2).min(LONGEST_TRY.max(first));
            }
            self.known().stats.retries += 1;
            if self.learn(&addr, remedy) && followed < FOLLOWED_AT_ONCE {
                followed += 1;
            } else {
                followed = 0;
                sleep(jittered(pause)).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }

    /// Whom to ask: the leader as far as it is known, else one after the other.
    fn target(&self) -> String {
        let mut known = self.known();
        if let Some(leader) = &known.leader {
            return leader.clone();
        }
        known.next = known.next.wrapping_add(1);
        // Those that are configured may have been replaced; those that were told may be of a group that was lost since.
        let known = &*known;
        let told = |addr: &&String| known.told.contains(addr);
        let configured = self.configured.iter().filter(|addr| !told(addr));
        let all: Vec<&String> = known.told.iter().chain(configured).collect();
        let (before, after) = all.split_at(known.next % all.len().max(1));
        let in_turn = || after.iter().chain(before);
        // One that did not answer a moment ago costs a whole patience, and is asked when there is nobody else.
        let lively = in_turn().find(|addr| !known.suspects.contains_key(**addr));
        let next = lively.or_else(|| in_turn().next());
        next.map(|addr| (*addr).clone()).unwrap_or_default()
    }

    /// Where the members are, says the one that leads.
    pub(super) fn hear(&self, members: Vec<String>) {
        // One of an earlier version says nothing.
        if members.is_empty() {
            return;
        }
        let mut known = self.known();
        if known.told != members {
            let kept = |addr: &String| members.contains(addr) || self.configured.contains(addr);
            known.links.retain(|addr, _| kept(addr));
            known.told = members;
        }
    }

    /// Whether it is worth trying again at once.
    fn learn(&self, asked: &str, remedy: Remedy) -> bool {
        let mut known = self.known();
        let now = Instant::now();
        known.suspects.retain(|_, until| now < *until);
        match remedy {
            Remedy::Follow(leader) if leader != asked && !known.suspects.contains_key(&leader) => {
                known.leader = Some(leader);
                true
            }
            Remedy::Suspect(period) => {
                known.suspects.insert(asked.to_owned(), now + period);
                known.leader = None;
                let mut all = known.told.iter().chain(&self.configured);
                all.any(|addr| !known.suspects.contains_key(addr))
            }
            Remedy::Follow(_) | Remedy::AskAnother | Remedy::GiveUp => {
                known.leader = None;
                false
            }
        }
    }

    fn link(&self, addr: &str) -> Result<Link, NotAnAddress> {
        let mut known = self.known();
        if let Some(link) = known.links.get(addr) {
            return Ok(link.clone());
        }
        let made = self.dial.dial(addr)?;
        known.links.insert(addr.to_owned(), made.clone());
        Ok(made)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn answered(&mut self, addr: String) {
        let before = self.led.replace(addr.clone());
        if before.is_some_and(|before| before != addr) {
            self.stats.leader_changes += 1;
        }
        self.leader = Some(addr);
    }
}

fn remedy(status: &Status) -> Remedy {
    let named = status.metadata().get(LEADER);
    if let Some(leader) = named.and_then(|value| value.to_str().ok()) {
        return Remedy::Follow(leader.to_owned());
    }
    match status.code() {
        Code::DeadlineExceeded => Remedy::Suspect(SUSPECT_FOR),
        Code::InvalidArgument
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::AlreadyExists
        | Code::NotFound => Remedy::GiveUp,
        Code::FailedPrecondition => Remedy::AskAnother,
        _ => Remedy::Suspect(AWAY_FOR),
    }
}

/// Many nodes that lost one leader must not come back at the same instant.
fn jittered(pause: Duration) -> Duration {
    let random = getrandom::u32().unwrap_or(u32::MAX / 2);
    pause / 2 + pause.mul_f64(f64::from(random) / f64::from(u32::MAX))
}

pub(super) fn refused(status: &Status) -> Refused {
    Refused(words(status))
}

fn words(status: &Status) -> String {
    match status.message() {
        "" => status.code().to_string(),
        message => message.to_owned(),
    }
}
