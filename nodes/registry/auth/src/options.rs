//! What the room can be told. Plain values: who reads configuration files makes them.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::access::Action;

/// How requests are told apart. One of four, as in the reference.
#[derive(Debug, Clone)]
pub enum Options {
    /// Everybody may do everything.
    None,
    /// Any `Authorization` header passes: for tests of clients.
    Silly {
        /// Named in the challenge.
        realm: String,
        /// Named in the challenge.
        service: String,
    },
    /// Users with passwords.
    Htpasswd(HtpasswdOptions),
    /// Bearer tokens of a token server.
    Token(TokenOptions),
}

/// Users and bcrypt hashes in a file.
#[derive(Debug, Clone)]
pub struct HtpasswdOptions {
    /// Named in the challenge; clients show it to people.
    pub realm: String,
    /// The file. Made, with one user, where there is none.
    pub path: PathBuf,
    /// Who may do what. Without rules every user may do everything, and nobody else anything.
    pub rules: Option<Rules>,
    /// Bounds on the work that passwords cost.
    pub verify: VerifyLimits,
    /// Bounds on guessing.
    pub guesses: GuessLimits,
    /// Signs the tokens that this registry gives itself, where rules let anonymous requests do something. Nodes that share
    /// it accept each other's. Without one, each process makes its own.
    pub token_keys: Option<TokenKeys>,
}

impl HtpasswdOptions {
    /// Without rules and with the usual limits.
    pub fn new(realm: impl Into<String>, path: impl Into<PathBuf>) -> Self {
        Self {
            realm: realm.into(),
            path: path.into(),
            rules: None,
            verify: VerifyLimits::default(),
            guesses: GuessLimits::default(),
            token_keys: None,
        }
    }
}

/// The keys that are good now: the first signs, all are accepted. Asked for each token.
#[derive(Clone)]
pub struct TokenKeys(Arc<dyn Fn() -> Vec<TokenKey> + Send + Sync>);

impl TokenKeys {
    pub fn new(now: impl Fn() -> Vec<TokenKey> + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    pub(crate) fn now(&self) -> Vec<TokenKey> {
        (self.0)()
    }
}

impl From<TokenKey> for TokenKeys {
    fn from(key: TokenKey) -> Self {
        Self::new(move || vec![key.clone()])
    }
}

impl fmt::Debug for TokenKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenKeys")
    }
}

/// A key that tokens of this registry's own are signed with.
#[derive(Clone)]
pub struct TokenKey(Zeroizing<[u8; 32]>);

impl TokenKey {
    pub(crate) fn random() -> Result<Self, getrandom::Error> {
        let mut key = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *key)?;
        Ok(Self(key))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &*self.0
    }
}

impl From<[u8; 32]> for TokenKey {
    fn from(key: [u8; 32]) -> Self {
        Self(Zeroizing::new(key))
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenKey")
    }
}

/// Bounds on the work that passwords cost.
#[derive(Debug, Clone, Copy)]
pub struct VerifyLimits {
    /// Passwords hashed at the same time.
    pub at_once: usize,
    /// Passwords hashed or waiting for it; what comes beyond is told to come back.
    pub waiting: usize,
    /// Credentials that are remembered.
    pub remembered: usize,
    /// For how long they are, counted from their verification.
    pub remembered_for: Duration,
}

impl Default for VerifyLimits {
    fn default() -> Self {
        // Half the processors: the other half keeps serving those whose credentials are known.
        let processors = std::thread::available_parallelism().map_or(2, usize::from);
        Self {
            at_once: (processors / 2).max(1),
            // With Apache's cost, a few milliseconds each, the last one waits for less than a second.
            waiting: 256,
            remembered: 10_000,
            remembered_for: Duration::from_mins(10),
        }
    }
}

/// Bounds on guessing. Only wrong credentials count.
#[derive(Debug, Clone, Copy)]
pub struct GuessLimits {
    /// How long the answer to a wrong password is held back.
    pub delay: Duration,
    /// Wrong passwords for one user from one client before that client waits.
    pub per_user: u32,
    /// How long it takes until one more is allowed.
    pub per_user_every: Duration,
    /// Wrong passwords from one client for all users together.
    pub per_client: u32,
    /// How long it takes until one more is allowed.
    pub per_client_every: Duration,
    /// Clients, and pairs of client and user, that are kept count of.
    pub table: usize,
}

impl Default for GuessLimits {
    fn default() -> Self {
        Self {
            delay: Duration::from_secs(1),
            per_user: 10,
            // 2880 guesses a day.
            per_user_every: Duration::from_secs(30),
            // An office behind one address: many people, each with a wrong password at times.
            per_client: 100,
            per_client_every: Duration::from_secs(3),
            table: 65_536,
        }
    }
}

/// Who may do what. What no rule allows is denied.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// Names for lists of users.
    pub groups: BTreeMap<String, Vec<String>>,
    /// Each allows something; their order does not matter.
    pub rules: Vec<Rule>,
}

/// Allows actions on repositories to users.
#[derive(Debug, Clone, Default)]
pub struct Rule {
    /// Globs: `*` stands for any text without `/`, `**` for any text. None at all means every repository.
    pub repositories: Vec<String>,
    /// Users; `*` stands for everyone with a valid password.
    pub users: Vec<String>,
    /// Groups of users.
    pub groups: Vec<String>,
    /// Everyone, with or without a password.
    pub anonymous: bool,
    /// What is allowed. [`Action::Catalog`] lets names be listed that may not be pulled.
    pub actions: Vec<Action>,
}

/// Tokens that a server elsewhere signs.
#[derive(Debug, Clone)]
pub struct TokenOptions {
    /// Where clients get tokens.
    pub realm: Realm,
    /// This registry, as the token server calls it: must be in a token's `aud`.
    pub service: String,
    /// The token server: must be a token's `iss`.
    pub issuer: String,
    /// PEM certificates whose keys, and whose descendants' keys, are trusted.
    pub rootcertbundle: Option<PathBuf>,
    /// Trusted keys.
    pub jwks: Option<Jwks>,
    /// Signature algorithms that are accepted, by their JOSE names. None at all means every one that is supported.
    pub signingalgorithms: Vec<String>,
}

/// Where clients get tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Realm {
    /// At this URL.
    Fixed(String),
    /// On the host that they asked (`autoredirect`).
    SameHost {
        /// Path on that host; the reference's default is `/auth/token`.
        path: String,
        /// The URL for requests that do not name a usable host.
        otherwise: String,
    },
}

/// Where a set of keys is.
#[derive(Clone, PartialEq, Eq)]
pub enum Jwks {
    /// In a file, read again when it changes.
    File(PathBuf),
    /// At an `https` or `http` URL, fetched again every few minutes and when a key is not known.
    Url(String),
}

/// A text as it stands in a configuration: a URL, or else a path.
impl From<&str> for Jwks {
    fn from(text: &str) -> Self {
        let scheme = text.split_once("://").map(|(scheme, _)| scheme);
        match scheme.map(str::to_ascii_lowercase).as_deref() {
            Some("http" | "https") => Self::Url(text.to_owned()),
            _ => Self::File(text.into()),
        }
    }
}

/// The URL may hold credentials.
impl fmt::Debug for Jwks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Url(_) => f.debug_tuple("Url").finish_non_exhaustive(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_at_a_url_or_a_path() {
        let url = |text: &str| Jwks::Url(text.to_owned());
        assert_eq!(Jwks::from("https://a/b"), url("https://a/b"));
        assert_eq!(Jwks::from("HTTP://a"), url("HTTP://a"));
        for path in ["/etc/jwks.json", "jwks.json", "http", "a://b", ""] {
            assert_eq!(Jwks::from(path), Jwks::File(path.into()));
        }
        let shown = format!("{:?}", Jwks::from("https://user:HIDDEN@a"));
        assert_eq!(shown, "Url(..)");
    }
}
