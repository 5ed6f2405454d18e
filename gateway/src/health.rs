//! Whether a node is well: it is asked what a stranger is told.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::{HeaderMap, Request, Response, StatusCode, header};
use hyper::client::conn::TrySendError;

use crate::answer::API_VERSION;
use crate::dial::Dial;
use crate::node::{Node, Standing};
use crate::options::{Expect, HealthOptions, Options};
use crate::pool::Pool;

/// A node that is not well is asked this often at first, and twice as seldom each time, down to the usual.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// What an answer means.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdict {
    Well,
    /// It lets strangers in where none should be.
    Unprotected,
    Unwell(String),
}

/// Checks a node until it is none any more, and has nothing left to do: those who wait for its answers are to know.
pub(crate) fn keep_checking(pool: Arc<Pool>, node: Arc<Node>, options: &Options) {
    let check = Check {
        path: format!("{}v2/", options.prefix),
        options: options.health.clone(),
        good: 0,
        bad: 0,
        last: None,
        pool,
        node,
    };
    tokio::spawn(check.again_and_again());
}

struct Check {
    pool: Arc<Pool>,
    node: Arc<Node>,
    path: String,
    options: HealthOptions,
    good: u32,
    bad: u32,
    /// What was last said of it.
    last: Option<Verdict>,
}

impl Check {
    async fn again_and_again(mut self) {
        let mut wait = ASK_AGAIN_AFTER;
        loop {
            let verdict = self.ask().await;
            self.judge(verdict);
            if self.node.gone.is_cancelled() && self.node.in_flight() == 0 {
                self.pool.metrics.forget_node(self.node.name());
                return;
            }
            wait = if self.node.standing() == Standing::Up {
                ASK_AGAIN_AFTER
            } else {
                (wait * 2).min(self.options.interval)
            };
            let wait = if self.node.standing() == Standing::Up {
                self.options.interval
            } else {
                wait
            };
            // Several gateways must not ask in step.
            let wait = wait.mul_f64(0.8 + 0.4 * fastrand::f64());
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.node.check_now.notified() => {}
            }
        }
    }

    /// What the operator says, else what the cluster says. Where nobody does, a registry that lost its `auth` must not be
    /// exposed.
    fn expected(&self) -> Expect {
        let said = self.options.expect.or_else(|| self.node.expected());
        said.unwrap_or(Expect::Unauthorized)
    }

    async fn ask(&self) -> Verdict {
        let asking = ask(&self.pool.dial, &self.node, &self.path, self.expected());
        match tokio::time::timeout(self.options.timeout, asking).await {
            Ok(verdict) => verdict,
            Err(_elapsed) => {
                Verdict::Unwell(format!("no answer within {:?}", self.options.timeout))
            }
        }
    }

    fn judge(&mut self, verdict: Verdict) {
        let name = self.node.name();
        let is_news = self.last.as_ref() != Some(&verdict);
        let standing = self.node.standing();
        if verdict == Verdict::Well {
            self.bad = 0;
            self.good += 1;
            let needed = if standing == Standing::Down {
                self.options.rise
            } else {
                1
            };
            if self.good >= needed {
                if self.node.rise() {
                    tracing::info!(node = name, "a node is well");
                }
                self.pool.metrics.node_up(name, true);
                if standing != Standing::Up && self.node.standing() == Standing::Up {
                    self.pool.rose();
                }
            }
        } else {
            self.good = 0;
            self.bad += 1;
            let at_once = verdict == Verdict::Unprotected || standing == Standing::Suspect;
            if at_once || self.bad >= self.options.fall {
                self.node.fall();
                self.pool.metrics.node_up(name, false);
            }
        }
        match &verdict {
            Verdict::Unprotected if is_news => tracing::error!(
                node = name,
                "UNPROTECTED: a node lets strangers in, and is taken out. Configure its auth; or, if this registry is to \
                 be open to everybody, set gateway.health.expect to 200"
            ),
            Verdict::Unwell(why) if is_news => {
                tracing::warn!(node = name, why, "a node is not well");
            }
            _known => {}
        }
        self.last = Some(verdict);
    }
}

async fn ask(dial: &Dial, node: &Node, path: &str, expect: Expect) -> Verdict {
    let mut sender = match dial.connect(&node.info, None).await {
        Ok(sender) => sender,
        Err(error) => return Verdict::Unwell(format!("no connection: {error}")),
    };
    let request = Request::get(path)
        .header(header::HOST, node.name())
        .header(header::USER_AGENT, "roadstead-gateway")
        .header(header::CONNECTION, "close")
        .body(Body::empty());
    let answered = match request {
        Ok(request) => sender.send(request).await.map_err(TrySendError::into_error),
        Err(error) => return Verdict::Unwell(error.to_string()),
    };
    match answered {
        Ok(response) => meaning(&response, expect),
        Err(error) => Verdict::Unwell(format!("no answer: {error}")),
    }
}

fn meaning<B>(response: &Response<B>, expect: Expect) -> Verdict {
    let has = |headers: &HeaderMap, name: &http::HeaderName| headers.contains_key(name);
    let headers = response.headers();
    match (response.status(), expect) {
        (StatusCode::OK, Expect::Unauthorized) => Verdict::Unprotected,
        (StatusCode::OK, Expect::Ok) => Verdict::Well,
        (StatusCode::UNAUTHORIZED, Expect::Unauthorized) => {
            if !has(headers, &header::WWW_AUTHENTICATE) {
                Verdict::Unwell("its 401 does not say how to log in".to_owned())
            } else if !has(headers, &API_VERSION) {
                Verdict::Unwell("its 401 is not a registry's".to_owned())
            } else {
                Verdict::Well
            }
        }
        (status, _) => Verdict::Unwell(format!("it answers {status}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, headers: &[(&str, &str)]) -> Response<()> {
        let mut response = Response::builder().status(status);
        for (name, value) in headers {
            response = response.header(*name, *value);
        }
        response.body(()).unwrap()
    }

    #[test]
    fn only_the_expected_answer_is_well() {
        let version = ("docker-distribution-api-version", "registry/2.0");
        let basic = ("www-authenticate", "Basic realm=x");
        let protected = answer(401, &[version, basic]);
        assert_eq!(meaning(&protected, Expect::Unauthorized), Verdict::Well);
        assert_eq!(meaning(&answer(200, &[version]), Expect::Ok), Verdict::Well);
        assert_eq!(
            meaning(&answer(200, &[version, basic]), Expect::Unauthorized),
            Verdict::Unprotected
        );
        let unwell = |response: &Response<()>, expect| {
            assert!(
                matches!(meaning(response, expect), Verdict::Unwell(_)),
                "{response:?}"
            );
        };
        unwell(&protected, Expect::Ok);
        unwell(&answer(401, &[version]), Expect::Unauthorized);
        unwell(&answer(401, &[basic]), Expect::Unauthorized);
        for status in [204, 301, 403, 404, 500, 503] {
            unwell(&answer(status, &[version, basic]), Expect::Unauthorized);
            unwell(&answer(status, &[version, basic]), Expect::Ok);
        }
    }
}
