//! The HTTP API, one call a step: any method, any header, any body, and the answer whole.
//!
//! Nothing is followed, retried or taken for an error here: a case says which status it expects.

mod repository;

use std::time::Duration;

use http::{HeaderMap, Request};
use serde_json::Value;
use ureq::config::ConfigBuilder;
use ureq::typestate::AgentScope;

pub use repository::Repository;

/// Longer than any answer takes on a loopback interface.
const DEADLINE: Duration = Duration::from_mins(1);

/// Someone who talks HTTP to one registry.
#[derive(Debug, Clone)]
pub struct Client {
    agent: ureq::Agent,
    base: String,
}

/// A request that is being put together.
#[derive(Debug)]
#[must_use = "a call is made by send()"]
pub struct Call {
    agent: ureq::Agent,
    request: http::request::Builder,
    body: Vec<u8>,
    shown: String,
}

/// An answer, read to its end.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The request, for messages: `GET /v2/`.
    pub request: String,
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Client {
    /// `base` is a scheme and an authority: `http://127.0.0.1:5000`.
    pub fn new(base: &str) -> Self {
        Self::with_patience(base, DEADLINE)
    }

    /// One that takes a connection for broken when no whole answer has come for so long.
    pub fn with_patience(base: &str, patience: Duration) -> Self {
        Self::of(base, patience, |config| config)
    }

    fn of(
        base: &str,
        patience: Duration,
        how: impl FnOnce(ConfigBuilder<AgentScope>) -> ConfigBuilder<AgentScope>,
    ) -> Self {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .accept(ureq::config::AutoHeaderValue::None)
            .timeout_global(Some(patience))
            .allow_non_standard_methods(true)
            .proxy(None);
        Self {
            agent: how(config).build().into(),
            base: base.to_owned(),
        }
    }

    /// One that opens a connection for each request.
    pub fn without_keeping(base: &str) -> Self {
        Self::of(base, DEADLINE, |config| config.max_idle_connections(0))
    }

    /// A request for `target`: a path, or a whole URL as a `Location` may hold it.
    pub fn call(&self, method: &str, target: &str) -> Call {
        let url = if target.starts_with('/') {
            format!("{}{target}", self.base)
        } else {
            target.to_owned()
        };
        Call {
            agent: self.agent.clone(),
            request: Request::builder().method(method).uri(&url),
            body: Vec::new(),
            shown: format!("{method} {target}"),
        }
    }

    #[track_caller]
    pub fn get(&self, target: &str) -> Answer {
        self.call("GET", target).send()
    }

    #[track_caller]
    pub fn head(&self, target: &str) -> Answer {
        self.call("HEAD", target).send()
    }

    #[track_caller]
    pub fn delete(&self, target: &str) -> Answer {
        self.call("DELETE", target).send()
    }

    #[track_caller]
    pub fn post(&self, target: &str) -> Answer {
        self.call("POST", target).send()
    }

    pub fn repository(&self, name: &str) -> Repository {
        Repository::new(self.clone(), name)
    }

    /// The names of the catalog, all on one page.
    #[track_caller]
    pub fn catalog(&self) -> Vec<String> {
        let answer = self.get("/v2/_catalog?n=1000").expect_status(200);
        strings(&answer.json()["repositories"])
    }
}

impl Call {
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.request = self.request.header(name, value);
        self
    }

    /// A body with its length in `Content-Length`.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// # Panics
    /// When no whole answer comes.
    #[track_caller]
    pub fn send(self) -> Answer {
        let shown = self.shown.clone();
        self.exchange()
            .unwrap_or_else(|error| panic!("{shown}: {error}"))
    }

    /// The answer, or nothing where the connection broke before it was whole.
    pub fn try_send(self) -> Option<Answer> {
        self.exchange().ok()
    }

    /// The same, with how it broke.
    pub fn answer(self) -> Result<Answer, String> {
        self.exchange().map_err(|error| error.to_string())
    }

    fn exchange(self) -> Result<Answer, ureq::Error> {
        let request = self.request.body(self.body).expect("a well-formed request");
        let sent = if request.body().is_empty() && is_bodiless(request.method().as_str()) {
            self.agent.run(request.map(|_| ()))
        } else {
            self.agent
                .run(self.agent.configure_request(request).build())
        };
        let (head, body) = sent?.into_parts();
        let body = body.into_with_config().limit(u64::MAX).read_to_vec()?;
        Ok(Answer {
            request: self.shown,
            status: head.status.as_u16(),
            headers: head.headers,
            body,
        })
    }
}

/// Methods whose requests carry no `Content-Length: 0` when there is no body.
fn is_bodiless(method: &str) -> bool {
    !matches!(method, "POST" | "PUT" | "PATCH")
}

impl Answer {
    /// # Panics
    /// When the status is another one: with what the registry said.
    #[track_caller]
    #[expect(
        clippy::return_self_not_must_use,
        reason = "it is an assertion by itself"
    )]
    pub fn expect_status(self, status: u16) -> Self {
        assert_eq!(
            self.status,
            status,
            "{}: {:?}\n{}",
            self.request,
            self.headers,
            self.text()
        );
        self
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// # Panics
    /// When it is not there.
    #[track_caller]
    pub fn expect_header(&self, name: &str) -> &str {
        self.header(name)
            .unwrap_or_else(|| panic!("{}: no {name} in {:?}", self.request, self.headers))
    }

    /// Where an upload goes on, or what was made lies.
    #[track_caller]
    pub fn location(&self) -> &str {
        self.expect_header("location")
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{}: {error}: {}", self.request, self.text()))
    }

    /// The codes of an error document: `["MANIFEST_UNKNOWN"]`.
    #[track_caller]
    pub fn codes(&self) -> Vec<String> {
        let document = self.json();
        let errors = document["errors"].as_array().cloned().unwrap_or_default();
        errors
            .iter()
            .filter_map(|error| error["code"].as_str().map(str::to_owned))
            .collect()
    }
}

/// A JSON list of strings; none where there is no list, as the reference writes an empty one.
fn strings(list: &Value) -> Vec<String> {
    let items = list.as_array().cloned().unwrap_or_default();
    items
        .iter()
        .filter_map(|item| item.as_str().map(str::to_owned))
        .collect()
}
