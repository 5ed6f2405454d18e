//! An order, from the intent to the certificate. Each step stands in the document before it is taken.
//!
//! ```text
//!  intent ──▶ account ──▶ order ──▶ challenges ──▶ every process answers ──▶ "ready" ──▶ finalized ──▶ certificate
//!    │           │          │           │                                                                 │
//!    ▼           ▼          ▼           ▼                                                                 ▼
//!  no other    used by    gone on    answered by                                                     served by all
//!  order soon  all        with       all
//! ```
//! The authority cannot be fenced: a process that was paused may do one more thing there when it goes on. But an order is
//! begun only after an intent that was written under the right, and that holds everybody back for a while: so each intent
//! makes one order at most, and there are never more intents than pauses allow.

use std::sync::Arc;
use std::time::Duration;

use instant_acme::{
    Account, AccountCredentials, AuthorizationStatus, ChallengeStatus, ChallengeType,
    Error as ApiError, Identifier, NewAccount, NewOrder, Order, OrderStatus, Problem, RetryPolicy,
};
use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use tokio::time::{Instant, sleep, timeout};

use crate::document::{Answer, Certificate, Document, Order as Kept, Unusable};
use crate::keep::KeepError;
use crate::service::{Inner, Right, in_full};
use crate::{AcmeError, Challenge, ExternalAccount, Told, renewal};

/// One try. Authorities validate within seconds, and sign within minutes.
const TRIED_WITHIN: Duration = Duration::from_mins(10);

/// How long others are waited for. A process that was not heard for as long is not asked by the authority either, or it
/// answers nothing.
const HEARD_WITHIN: Duration = Duration::from_secs(40);
const LOOK_WHETHER_HEARD: Duration = Duration::from_millis(500);

/// How the authority is asked how far it is.
const POLLING: RetryPolicy = RetryPolicy::new()
    .initial_delay(Duration::from_millis(500))
    .backoff(1.5)
    .timeout(Duration::from_mins(3));

/// Tries of one order at most, where nobody says that it has failed.
const SAME_ORDER: u32 = 5;

/// Bytes of a failure that are kept: what an authority says may be long.
const FAILURE_BYTES: usize = 500;

/// Why a try failed.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("the authority")]
    Api(#[from] ApiError),
    #[error("the authority did not prove the names: {0}")]
    Invalid(String),
    #[error("the authority offers no {0} for {1}")]
    NotOffered(&'static str, String),
    #[error("it took longer than {TRIED_WITHIN:?}")]
    Slow,
    #[error("what the authority issued cannot be used")]
    Unusable(#[from] Unusable),
    #[error("a key or a request cannot be made")]
    Made(#[from] rcgen::Error),
    #[error("a key cannot be written")]
    Json(#[from] serde_json::Error),
    #[error(transparent)]
    Options(#[from] AcmeError),
    #[error(transparent)]
    Keep(#[from] KeepError),
}

/// What becomes of what is kept after a failure.
#[derive(Debug, PartialEq, Eq)]
enum Remedy {
    /// The same order may still come to something.
    GoOn,
    /// This order will not.
    BeginAgain,
    /// The authority does not know the account.
    Register,
    /// The authority was asked too often.
    Wait,
    /// It is somebody else's now, or nothing can be written.
    Leave,
}

impl Failure {
    fn remedy(&self) -> Remedy {
        match self {
            Self::Api(ApiError::Api(problem)) => remedy(problem),
            Self::Api(_) | Self::Slow => Remedy::GoOn,
            Self::Invalid(_)
            | Self::NotOffered(..)
            | Self::Unusable(_)
            | Self::Options(_)
            | Self::Made(_)
            | Self::Json(_) => Remedy::BeginAgain,
            Self::Keep(_) => Remedy::Leave,
        }
    }
}

fn remedy(problem: &Problem) -> Remedy {
    let kind = problem.r#type.as_deref().unwrap_or_default();
    match kind.strip_prefix("urn:ietf:params:acme:error:") {
        Some("rateLimited") => Remedy::Wait,
        Some("accountDoesNotExist") => Remedy::Register,
        Some("serverInternal" | "badNonce") => Remedy::GoOn,
        _ => Remedy::BeginAgain,
    }
}

/// One try, and what is to be remembered of it.
pub(crate) async fn run(inner: Arc<Inner>, term: u64) {
    let mut document = inner.document();
    document.fit(&inner.options.directory_url, &inner.options.hosts);
    let mut attempt = Attempt {
        inner: &inner,
        term,
        document,
    };
    let tried = timeout(TRIED_WITHIN, attempt.certify()).await;
    let tried = tried.unwrap_or(Err(Failure::Slow));
    let setting = inner.options.setting;
    match tried {
        Ok(()) => {
            tracing::info!(
                hosts = inner.options.hosts.join(" "),
                "{setting}: a certificate was issued"
            );
            (inner.options.tell)(Told::Issued);
        }
        Err(failure) if failure.remedy() == Remedy::Leave => {
            tracing::warn!(
                error = in_full(&failure),
                "{setting}: the order is left to others"
            );
        }
        Err(failure) => attempt.failed(&failure).await,
    }
}

struct Attempt<'a> {
    inner: &'a Inner,
    term: u64,
    document: Document,
}

impl Attempt<'_> {
    /// The way of an order.
    async fn certify(&mut self) -> Result<(), Failure> {
        self.intend().await?;
        let account = self.account().await?;
        let mut order = self.order(&account).await?;
        if order.state().status == OrderStatus::Pending {
            self.answer(&mut order).await?;
            self.heard_by_all().await?;
            self.be_validated(&mut order).await?;
        }
        if order.state().status == OrderStatus::Ready {
            let request = self.request()?;
            order.finalize_csr(&request).await?;
        }
        if order.state().status == OrderStatus::Invalid {
            return Err(Failure::Invalid(reasons(&mut order).await));
        }
        let chain = order.poll_certificate(&POLLING).await?;
        self.issued(chain).await
    }

    async fn write(&self) -> Result<(), KeepError> {
        self.inner.write(self.term, &self.document).await
    }

    /// From here on nobody begins another order for a while, whatever becomes of this process.
    async fn intend(&mut self) -> Result<(), Failure> {
        let document = &mut self.document;
        if document.order.is_none() || !document.under_way {
            document.tries = document.tries.saturating_add(1);
            document.not_before = self.inner.now() + renewal::pause(document.tries, random());
            document.under_way = true;
            self.write().await?;
        }
        Ok(())
    }

    async fn account(&mut self) -> Result<Account, Failure> {
        let http = Box::new(self.inner.client.clone());
        let builder = Account::builder_with_http(http);
        if let Some(kept) = self.document.account.clone() {
            let credentials: AccountCredentials = serde_json::from_value(kept)?;
            return Ok(builder.from_credentials(credentials).await?);
        }
        let options = &self.inner.options;
        let contact = options
            .email
            .as_ref()
            .map(|email| format!("mailto:{email}"));
        let contact: Vec<&str> = contact.iter().map(String::as_str).collect();
        let new = NewAccount {
            contact: &contact,
            terms_of_service_agreed: true,
            only_return_existing: false,
        };
        let external = options.external_account.as_ref();
        let external = external.map(ExternalAccount::key).transpose()?;
        let directory = options.directory_url.clone();
        let (account, credentials) = builder.create(&new, directory, external.as_ref()).await?;
        tracing::info!(
            directory = options.directory_url,
            "{}: registered with the authority",
            options.setting
        );
        self.document.account = Some(serde_json::to_value(credentials)?);
        self.write().await?;
        Ok(account)
    }

    /// The one that is kept, else a new one.
    async fn order(&mut self, account: &Account) -> Result<Order, Failure> {
        let options = &self.inner.options;
        if let Some(kept) = &self.document.order {
            tracing::info!("{}: going on with an order", options.setting);
            return Ok(account.order(kept.url.clone()).await?);
        }
        let key = KeyPair::generate()?.serialize_pem();
        let names = options.hosts.iter().cloned().map(Identifier::Dns);
        let names: Vec<Identifier> = names.collect();
        let order = account.new_order(&NewOrder::new(&names)).await?;
        self.document.order = Some(Kept {
            url: order.url().to_owned(),
            hosts: options.hosts.clone(),
            key,
        });
        self.write().await?;
        tracing::info!(
            hosts = options.hosts.join(" "),
            "{}: ordering a certificate",
            options.setting
        );
        Ok(order)
    }

    /// Lets all processes know what they will be asked.
    async fn answer(&mut self, order: &mut Order) -> Result<(), Failure> {
        let mut answers = Vec::new();
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization?;
            if authorization.status != AuthorizationStatus::Pending {
                continue;
            }
            let host = authorization.identifier().to_string();
            let (kind, name) = self.kind();
            let Some(challenge) = authorization.challenge(kind) else {
                return Err(Failure::NotOffered(name, host));
            };
            answers.push(Answer {
                token: challenge.token.clone(),
                authorization: challenge.key_authorization().as_str().to_owned(),
                host,
            });
        }
        if self.document.challenges != answers {
            self.document.challenges = answers;
            self.write().await?;
        }
        Ok(())
    }

    fn kind(&self) -> (ChallengeType, &'static str) {
        match self.inner.options.challenge {
            Challenge::TlsAlpn01 => (ChallengeType::TlsAlpn01, "tls-alpn-01"),
            Challenge::Http01 => (ChallengeType::Http01, "http-01"),
        }
    }

    /// The authority may ask any of them.
    async fn heard_by_all(&self) -> Result<(), Failure> {
        let deadline = Instant::now() + HEARD_WITHIN;
        loop {
            // One that was paused here for long finds out now that others have gone on.
            let look = self.inner.look().await;
            if look.right == Right::Others {
                return Err(KeepError::Fenced.into());
            }
            let is_told = look.right == Right::Held(self.term);
            if is_told && look.unaware == 0 {
                return Ok(());
            }
            if is_told && Instant::now() >= deadline {
                tracing::warn!(
                    processes = look.unaware,
                    "{}: some processes may not answer the authority",
                    self.inner.options.setting
                );
                return Ok(());
            }
            sleep(LOOK_WHETHER_HEARD).await;
        }
    }

    async fn be_validated(&self, order: &mut Order) -> Result<(), Failure> {
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization?;
            let is_pending = authorization.status == AuthorizationStatus::Pending;
            if let Some(mut challenge) = authorization.challenge(self.kind().0)
                && is_pending
                && challenge.status == ChallengeStatus::Pending
            {
                challenge.set_ready().await?;
            }
        }
        match order.poll_ready(&POLLING).await {
            Ok(_ready_or_invalid) => Ok(()),
            // An order says that it is invalid, its authorizations why.
            Err(ApiError::Api(problem)) => {
                let why = reasons(order).await;
                let why = if why.is_empty() {
                    problem.to_string()
                } else {
                    why
                };
                Err(Failure::Invalid(why))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// A signing request with the key that is kept, so that whoever goes on makes the same.
    fn request(&self) -> Result<Vec<u8>, Failure> {
        let key = self.document.order.as_ref();
        let key = KeyPair::from_pem(key.map_or("", |order| &order.key))?;
        let mut params = CertificateParams::new(self.inner.options.hosts.clone())?;
        params.distinguished_name = DistinguishedName::new();
        Ok(params.serialize_request(&key)?.der().to_vec())
    }

    async fn issued(&mut self, chain: String) -> Result<(), Failure> {
        let order = self.document.order.take();
        let mut certificate =
            Certificate::of(chain, order.map(|order| order.key).unwrap_or_default())?;
        if !certificate.is_for(&self.inner.options.hosts) {
            return Err(Unusable::Malformed.into());
        }
        certificate.renew_at = renewal::renew_at(&certificate, random());
        self.document = Document {
            certificate: Some(certificate),
            account: self.document.account.take(),
            directory: std::mem::take(&mut self.document.directory),
            ..Document::default()
        };
        self.write().await?;
        Ok(())
    }

    /// Told, and remembered: nobody tries again before the pause is over.
    async fn failed(&mut self, failure: &Failure) {
        let (document, now) = (&mut self.document, self.inner.now());
        let mut pause = renewal::pause(document.tries, random());
        match failure.remedy() {
            Remedy::GoOn if !document.tries.is_multiple_of(SAME_ORDER) => {}
            Remedy::GoOn | Remedy::BeginAgain => document.order = None,
            Remedy::Register => (document.account, document.order) = (None, None),
            Remedy::Wait => pause = pause.max(renewal::LIMITED_PAUSE),
            Remedy::Leave => {}
        }
        if document.order.is_none() {
            document.challenges.clear();
        }
        document.under_way = false;
        document.not_before = now + pause;
        let mut words = in_full(failure);
        words.truncate(words.floor_char_boundary(FAILURE_BYTES));
        tracing::error!(
            error = words,
            tries = document.tries,
            again_in = ?Duration::from_secs(pause),
            "{}: no certificate was issued; what is served stays",
            self.inner.options.setting
        );
        document.failure = Some(words);
        (self.inner.options.tell)(Told::Failed);
        if let Err(error) = self.write().await {
            tracing::warn!(
                error = in_full(&error),
                "{}: that is not remembered",
                self.inner.options.setting
            );
        }
    }
}

/// What the authority says of the names that it could not validate.
async fn reasons(order: &mut Order) -> String {
    let mut reasons = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        if authorization.refresh().await.is_err() {
            continue;
        }
        let host = authorization.identifier().to_string();
        let said = authorization
            .challenges
            .iter()
            .filter_map(|one| one.error.as_ref());
        reasons.extend(said.map(|problem| format!("{host}: {problem}")));
    }
    reasons.join("; ")
}

pub(crate) fn random() -> u32 {
    getrandom::u32().unwrap_or(u32::MAX / 2)
}
