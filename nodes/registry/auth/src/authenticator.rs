//! The way of a request: what it shows, who that is, whether they may.

use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use crate::access::Wanted;
use crate::challenge;
use crate::clock::{Clock, system_clock};
use crate::granted::{Granted, Held};
use crate::login::{Htpasswd, TokenService};
use crate::options::Options;
use crate::rules::RuleMistake;
use crate::token::{Token, TokenMistake};
use crate::watched::FileError;

/// Tells who may do what.
#[derive(Debug)]
pub struct Authenticator(Kind);

#[derive(Debug)]
enum Kind {
    None,
    Silly { realm: String, service: String },
    Htpasswd(Box<Htpasswd>),
    Token(Box<Token>),
}

/// A request, as far as it matters here.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// The value of its `Authorization` header, as it came.
    pub authorization: Option<&'a [u8]>,
    /// What it wants.
    pub wanted: &'a Wanted,
    /// When it came, if a while ago: what it shows is judged as of then.
    pub came: Option<SystemTime>,
    /// Whom wrong passwords are counted for: the last hop that is not a trusted proxy.
    pub client: IpAddr,
    /// How the client reached the registry: `http` or `https`.
    pub scheme: &'a str,
    /// Under which name, with the port if it named one.
    pub host: Option<&'a str>,
    /// The URL at which the client gets tokens of [`TokenService`], where that is known.
    pub token_service: Option<&'a str>,
}

/// Why a request is not granted what it wants.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// 401 `UNAUTHORIZED`.
    #[error("{reason}")]
    Challenge {
        /// The header of that name.
        www_authenticate: String,
        /// For the error's detail.
        wanted: Wanted,
        /// For the error's message.
        reason: Reason,
    },
    /// 403 `DENIED`: the user is known, and no rule lets them.
    #[error("the user {user} may not do this")]
    Forbidden {
        /// Who asked.
        user: String,
        /// For the error's detail.
        wanted: Wanted,
    },
    /// 429 `TOOMANYREQUESTS`: the client was wrong too often.
    #[error("too many wrong passwords; try again later")]
    Throttled {
        /// Until it may try again.
        retry_after: Duration,
    },
    /// 503 `UNAVAILABLE`: nobody can tell at present.
    #[error("{0}")]
    Unavailable(Unavailable),
}

/// What a challenge answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// No credentials of this kind came.
    #[error("authentication required")]
    Missing,
    /// The header cannot be read.
    #[error("the Authorization header is malformed")]
    Malformed,
    /// There is no such user, or the password is another.
    #[error("wrong user or password")]
    WrongCredentials,
    /// The token is not one of this registry's, or its time is over.
    #[error("invalid token")]
    InvalidToken,
    /// The token is good for something else.
    #[error("insufficient scope")]
    InsufficientScope,
}

/// Why nobody can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// More passwords wait than may.
    #[error("too many logins at once; try again later")]
    Busy,
    /// The token server's keys could not be fetched yet.
    #[error("the keys of the token server are not known yet")]
    NoKeys,
}

impl Unavailable {
    /// When trying again makes sense.
    pub fn retry_after(self) -> Duration {
        match self {
            Self::Busy => Duration::from_secs(1),
            Self::NoKeys => Duration::from_secs(10),
        }
    }
}

/// Why there is no authenticator.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// No header could hold it.
    #[error("realm and service must not contain control characters")]
    NotPrintable,
    /// The system gives no random bytes.
    #[error("the system gives no random bytes")]
    NoRandomness,
    /// The runtime ends.
    #[error("the process is stopping")]
    Stopping,
    /// A file cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// Rules cannot be meant.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Rules(Vec<RuleMistake>),
    /// Tokens could not be verified.
    #[error(transparent)]
    Token(#[from] TokenMistake),
}

impl Authenticator {
    /// Reads what the options name. Needs a tokio runtime.
    pub async fn build(options: Options) -> Result<Self, BuildError> {
        Self::build_at(options, system_clock()).await
    }

    /// The same, with another clock for the validity of tokens and certificates.
    pub async fn build_at(options: Options, clock: Clock) -> Result<Self, BuildError> {
        let built = tokio::task::spawn_blocking(|| Kind::build(options, clock));
        match built.await {
            Ok(kind) => kind.map(Self),
            Err(_cancelled) => Err(BuildError::Stopping),
        }
    }

    /// Finds whether a request may do all that it wants.
    pub async fn authorize(&self, asked: Asked<'_>) -> Result<Granted, Denied> {
        match &self.0 {
            Kind::None => Ok(Granted::new(None, Held::Everything)),
            Kind::Silly { realm, service } => silly(realm, service, asked),
            Kind::Htpasswd(htpasswd) => htpasswd.authorize(asked).await,
            Kind::Token(token) => token.authorize(asked).await,
        }
    }

    /// This registry's own giver of tokens, where there is one.
    pub fn token_service(&self) -> Option<TokenService<'_>> {
        match &self.0 {
            Kind::Htpasswd(htpasswd) => htpasswd.token_service(),
            Kind::None | Kind::Silly { .. } | Kind::Token(_) => None,
        }
    }

    /// Whether everybody may do everything: worth a line when the registry starts.
    pub fn is_open(&self) -> bool {
        matches!(self.0, Kind::None)
    }
}

impl Kind {
    fn build(options: Options, clock: Clock) -> Result<Self, BuildError> {
        let printable = |text: &str| {
            let printable = challenge::is_printable(text);
            printable.then_some(()).ok_or(BuildError::NotPrintable)
        };
        match options {
            Options::None => Ok(Self::None),
            Options::Silly { realm, service } => {
                printable(&realm)?;
                printable(&service)?;
                Ok(Self::Silly { realm, service })
            }
            Options::Htpasswd(options) => {
                printable(&options.realm)?;
                let built = Htpasswd::build(options, clock);
                built.map(|built| Self::Htpasswd(Box::new(built)))
            }
            Options::Token(options) => {
                Token::build(options, clock).map(|built| Self::Token(Box::new(built)))
            }
        }
    }
}

/// The reference's stand-in for a token server: that there is a header is all that is looked at.
fn silly(realm: &str, service: &str, asked: Asked<'_>) -> Result<Granted, Denied> {
    if asked.authorization.is_some_and(|header| !header.is_empty()) {
        return Ok(Granted::new(Some("silly".to_owned()), Held::Everything));
    }
    let scope = challenge::silly_scope(asked.wanted);
    let www_authenticate = challenge::bearer(realm, service, &scope, None);
    Err(asked.challenge(www_authenticate, Reason::Missing))
}

/// Without its credentials.
impl fmt::Debug for Asked<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asked")
            .field("wanted", self.wanted)
            .field("came", &self.came)
            .field("client", &self.client)
            .field("scheme", &self.scheme)
            .field("host", &self.host)
            .field("token_service", &self.token_service)
            .finish_non_exhaustive()
    }
}

impl Asked<'_> {
    /// The time by which a token is judged: never later than now.
    pub(crate) fn as_of(&self, now: SystemTime) -> SystemTime {
        self.came.map_or(now, |came| came.min(now))
    }

    pub(crate) fn challenge(&self, www_authenticate: String, reason: Reason) -> Denied {
        Denied::Challenge {
            www_authenticate,
            wanted: self.wanted.clone(),
            reason,
        }
    }
}

#[cfg(test)]
#[path = "authenticator_tests.rs"]
mod tests;
