//! A token server of one's own: users whose password is their name backwards, and tokens for what they may do.

mod http;
mod signer;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use http::{Listening, Request, Response};
pub use signer::Signer;

/// Whom tokens are for, and from whom.
pub const SERVICE: &str = "the registry";
pub const ISSUER: &str = "the token server";

/// Answers `/token`, under any path that ends so, and `/jwks.json`. Ann may do everything, bob pulls everything, and
/// whoever shows no password pulls `public/`.
#[derive(Debug)]
pub struct TokenServer {
    listening: Listening,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    signer: Signer,
    /// What it shows at `/jwks.json`.
    jwks: Value,
    /// Tells clients that each token's time is over as they get it.
    already_over: bool,
    given: Vec<Given>,
}

/// A token that was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// Nobody without a password.
    pub user: Option<String>,
    /// What was asked for: `repository:a:pull,push`.
    pub scopes: Vec<String>,
}

impl TokenServer {
    /// Signs with this key, and shows it at `/jwks.json`.
    #[track_caller]
    pub fn start(signer: Signer) -> Self {
        let state = Arc::new(Mutex::new(State {
            jwks: signer.jwks(),
            signer,
            already_over: false,
            given: Vec::new(),
        }));
        let shared = Arc::clone(&state);
        let listening = Listening::start(move |request| lock(&shared).answer(request));
        Self { listening, state }
    }

    pub fn addr(&self) -> SocketAddr {
        self.listening.addr()
    }

    /// Where tokens are got.
    pub fn realm(&self) -> String {
        format!("http://{}/token", self.addr())
    }

    /// Where the keys are.
    pub fn jwks_url(&self) -> String {
        format!("http://{}/jwks.json", self.addr())
    }

    /// Signs with another key from now on, and shows that one alone.
    pub fn rotate(&self, signer: Signer) {
        let mut state = lock(&self.state);
        state.jwks = signer.jwks();
        state.signer = signer;
    }

    /// Tells clients from now on that a token's time is over as soon as they get it.
    pub fn give_tokens_that_are_over(&self) {
        lock(&self.state).already_over = true;
    }

    /// What was given so far.
    pub fn given(&self) -> Vec<Given> {
        lock(&self.state).given.clone()
    }

    /// `auth.token` of a registry that trusts this server by `key`, such as `jwks: /a/file`.
    pub fn yaml(&self, key: &str) -> String {
        format!(
            "auth:\n  token:\n    realm: {}\n    service: {SERVICE}\n    issuer: {ISSUER}\n    {key}\n",
            self.realm()
        )
    }
}

impl State {
    fn answer(&mut self, request: &Request) -> Response {
        match request.path.as_str() {
            "/jwks.json" => Response::json(200, &self.jwks),
            path if path.ends_with("/token") => self.token(request),
            _ => Response::json(404, &json!({})),
        }
    }

    fn token(&mut self, request: &Request) -> Response {
        let Ok(user) = logged_in(request) else {
            return Response::json(401, &json!({"details": "wrong user or password"}));
        };
        let scopes: Vec<String> = request
            .fields("scope")
            .flat_map(|scope| scope.split(' ').map(str::to_owned).collect::<Vec<_>>())
            .filter(|scope| !scope.is_empty())
            .collect();
        let access: Vec<Value> = scopes
            .iter()
            .filter_map(|scope| allowed(user.as_deref(), scope))
            .collect();
        let mut claims = claims(now());
        claims["access"] = access.into();
        claims["sub"] = user.as_deref().unwrap_or_default().into();
        let token = self.signer.token(&claims);
        self.given.push(Given { user, scopes });
        let mut document = json!({"token": token, "access_token": token, "expires_in": 300});
        if self.already_over {
            document["issued_at"] = "2020-01-01T00:00:00Z".into();
        }
        Response::json(200, &document)
    }
}

/// The claims of a token that is good for five minutes, for nothing yet.
pub fn claims(now: u64) -> Value {
    json!({"iss": ISSUER, "aud": SERVICE, "sub": "ann", "exp": now + 300, "nbf": now, "iat": now, "jti": "1",
        "access": []})
}

/// Seconds since 1970.
#[expect(
    clippy::disallowed_methods,
    reason = "the registry under test goes by this machine's clock"
)]
pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("a clock that was set").as_secs()
}

struct WrongPassword;

/// Who asks, if anybody: by password in a header or a form.
fn logged_in(request: &Request) -> Result<Option<String>, WrongPassword> {
    let (user, password) = match (&request.authorization, request.fields("username").next()) {
        (Some(header), _) => basic(header).ok_or(WrongPassword)?,
        (None, Some(user)) => {
            let password = request.fields("password").next().unwrap_or_default();
            (user.to_owned(), password.to_owned())
        }
        (None, None) => return Ok(None),
    };
    if user.is_empty() && password.is_empty() {
        return Ok(None);
    }
    let is_known = ["ann", "bob"].contains(&user.as_str());
    let right = is_known && password.chars().rev().eq(user.chars());
    right.then_some(Some(user)).ok_or(WrongPassword)
}

fn basic(header: &str) -> Option<(String, String)> {
    let bytes = STANDARD.decode(header.strip_prefix("Basic ")?).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (user, password) = text.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

/// What of `repository:a:pull,push` somebody gets.
fn allowed(user: Option<&str>, scope: &str) -> Option<Value> {
    let (resource, actions) = scope.rsplit_once(':')?;
    let (kind, name) = resource.split_once(':')?;
    let may = |action: &&str| match user {
        Some("ann") => true,
        Some(_) => *action == "pull",
        None => *action == "pull" && name.starts_with("public/"),
    };
    let actions: Vec<&str> = actions.split(',').filter(may).collect();
    (!actions.is_empty()).then(|| json!({"type": kind, "name": name, "actions": actions}))
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The fields of a challenge: `Bearer realm="…",service="…"`.
#[track_caller]
pub fn challenge(header: &str) -> BTreeMap<String, String> {
    let fields = header
        .strip_prefix("Bearer ")
        .unwrap_or_else(|| panic!("not a challenge for tokens: {header}"));
    let fields = fields.split("\",").map(|field| {
        let (name, value) = field.split_once("=\"").expect("a quoted value");
        (name.to_owned(), value.trim_end_matches('"').to_owned())
    });
    fields.collect()
}
