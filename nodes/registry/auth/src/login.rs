//! Users of a file: with their password, or with a token that this registry gave them for it.
//!
//! Tokens are given where rules let anonymous requests do something. A client that is asked for a password has to have
//! one (docker's classic image store gives up); one that is asked for a token gets it as nobody.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use zeroize::Zeroizing;

use crate::access::Wanted;
use crate::authenticator::{Asked, BuildError, Denied, Reason, Unavailable};
use crate::basic::{self, Credentials, Shown, after_scheme};
use crate::challenge;
use crate::clock::Clock;
use crate::granted::{Granted, Held};
use crate::htpasswd::{Refused, Users};
use crate::identity::{self, Identities, IssuedToken};
use crate::options::{HtpasswdOptions, TokenKey};
use crate::rules::RuleBook;

#[derive(Debug)]
pub(crate) struct Htpasswd {
    realm: String,
    users: Users,
    rules: Option<Arc<RuleBook>>,
    /// Where anonymous requests may do something.
    identities: Option<Identities>,
}

/// Who asks, and how that is known.
enum Shows {
    Nothing,
    Password { user: String },
    Token { user: Option<String> },
}

/// Gives tokens to clients of this registry.
#[derive(Debug, Clone, Copy)]
pub struct TokenService<'a> {
    htpasswd: &'a Htpasswd,
    identities: &'a Identities,
}

/// What a client that wants a token shows.
#[derive(Clone, Copy)]
pub enum Login<'a> {
    /// The value of its `Authorization` header, if it sent one.
    Header(Option<&'a [u8]>),
    /// A form with both.
    Form {
        /// Who it says it is.
        user: &'a str,
        /// Not shown anywhere.
        password: &'a str,
    },
}

/// Without what it shows.
impl fmt::Debug for Login<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Login")
    }
}

impl Htpasswd {
    pub(crate) fn build(options: HtpasswdOptions, clock: Clock) -> Result<Self, BuildError> {
        let rules = options.rules.as_ref().map(RuleBook::build).transpose();
        let rules = rules.map_err(BuildError::Rules)?.map(Arc::new);
        let users = Users::open(&options)?;
        let identities = if rules.as_ref().is_some_and(|rules| rules.is_for_anybody()) {
            let keys = match options.token_keys {
                Some(keys) => keys,
                None => TokenKey::random()
                    .map_err(|_none| BuildError::NoRandomness)?
                    .into(),
            };
            Some(Identities::new(keys, &options.realm, clock))
        } else {
            None
        };
        Ok(Self {
            rules,
            users,
            identities,
            realm: options.realm,
        })
    }

    pub(crate) async fn authorize(&self, asked: Asked<'_>) -> Result<Granted, Denied> {
        let shows = self.shows(asked).await?;
        let (user, has_token) = match shows {
            Shows::Nothing => (None, false),
            Shows::Password { user } => (Some(user), false),
            Shows::Token { user } => (user, true),
        };
        let held = match &self.rules {
            Some(rules) => Held::Rules(Arc::clone(rules)),
            None if user.is_some() => Held::Everything,
            None => return Err(self.challenge(asked, Reason::Missing)),
        };
        let granted = Granted::new(user, held);
        let may = granted.may(asked.wanted);
        match granted.user() {
            Some(_) if may => Ok(granted),
            Some(user) => Err(Denied::Forbidden {
                user: user.to_owned(),
                wanted: asked.wanted.clone(),
            }),
            None if has_token && may => Ok(granted),
            None if has_token => Err(self.challenge(asked, Reason::InsufficientScope)),
            // A client that asks for nothing wants to know whether it must log in.
            None if may && !asked.wanted.is_nothing() => Ok(granted),
            None => Err(self.challenge(asked, Reason::Missing)),
        }
    }

    pub(crate) fn token_service(&self) -> Option<TokenService<'_>> {
        let identities = self.identities.as_ref()?;
        Some(TokenService {
            htpasswd: self,
            identities,
        })
    }

    async fn shows(&self, asked: Asked<'_>) -> Result<Shows, Denied> {
        if let Some(identities) = &self.identities
            && let Some(token) = after_scheme(asked.authorization, "bearer")
        {
            let as_of = asked.as_of(identities.now());
            let user = self.user_of(identities, token, as_of).await;
            let invalid = || self.challenge(asked, Reason::InvalidToken);
            return user.map(|user| Shows::Token { user }).ok_or_else(invalid);
        }
        match basic::parse(asked.authorization) {
            Shown::Nothing => Ok(Shows::Nothing),
            Shown::Malformed => Err(self.challenge(asked, Reason::Malformed)),
            Shown::Credentials(credentials) => {
                let checked = self.users.check(credentials, asked.client).await;
                let user = checked.map_err(|refused| {
                    denied(refused, || self.challenge(asked, Reason::WrongCredentials))
                })?;
                Ok(Shows::Password { user: user.name })
            }
        }
    }

    /// Whose token it is, nobody's included; none where it is not good.
    async fn user_of(
        &self,
        identities: &Identities,
        token: &[u8],
        as_of: SystemTime,
    ) -> Option<Option<String>> {
        let claimed = identity::read(token)?;
        let stored = match &claimed.user {
            Some(user) => self.users.stored(user).await,
            None => None,
        };
        let is_good = identities.is_good(&claimed, stored.as_ref(), as_of);
        is_good.then_some(claimed.user)
    }

    /// Asks for a token where there is a place to get one, else for a password. Not for both: docker answers each challenge
    /// that it is given, and has no password to answer the second with.
    fn challenge(&self, asked: Asked<'_>, reason: Reason) -> Denied {
        let header = match (&self.identities, asked.token_service) {
            (Some(_), Some(url)) => {
                let error = match reason {
                    Reason::InvalidToken => Some("invalid_token"),
                    Reason::InsufficientScope => Some("insufficient_scope"),
                    Reason::Missing | Reason::Malformed | Reason::WrongCredentials => None,
                };
                challenge::bearer(url, &self.realm, &asked.wanted.scope(), error)
            }
            _ => challenge::basic(&self.realm),
        };
        asked.challenge(header, reason)
    }
}

impl TokenService<'_> {
    /// Gives a token to the user whose credentials these are, or, where there are none, to nobody. What a token is good for
    /// is not decided here: rules are asked with each request.
    pub async fn issue(&self, login: Login<'_>, client: IpAddr) -> Result<IssuedToken, Denied> {
        let shown = match login {
            // Something that is not a password, and that nobody here can judge.
            Login::Header(Some(header)) if after_scheme(Some(header), "basic").is_none() => {
                Shown::Malformed
            }
            Login::Header(header) => basic::parse(header),
            Login::Form {
                user: "",
                password: "",
            } => Shown::Nothing,
            Login::Form { user, password } => Shown::Credentials(Credentials {
                user: user.to_owned(),
                password: Zeroizing::new(password.to_owned()),
            }),
        };
        match shown {
            Shown::Nothing => Ok(self.identities.issue(None)),
            Shown::Malformed => Err(self.challenge(Reason::Malformed)),
            Shown::Credentials(credentials) => {
                let checked = self.htpasswd.users.check(credentials, client).await;
                let user = checked.map_err(|refused| {
                    denied(refused, || self.challenge(Reason::WrongCredentials))
                })?;
                Ok(self.identities.issue(Some((&user.name, &user.hash))))
            }
        }
    }

    /// Here, a password it is.
    fn challenge(&self, reason: Reason) -> Denied {
        Denied::Challenge {
            www_authenticate: challenge::basic(&self.htpasswd.realm),
            wanted: Wanted::nothing(),
            reason,
        }
    }
}

fn denied(refused: Refused, wrong: impl FnOnce() -> Denied) -> Denied {
    match refused {
        Refused::Wrong => wrong(),
        Refused::TooOften { retry_after } => Denied::Throttled { retry_after },
        Refused::Busy => Denied::Unavailable(Unavailable::Busy),
    }
}

#[cfg(test)]
#[path = "login_tests.rs"]
mod tests;
