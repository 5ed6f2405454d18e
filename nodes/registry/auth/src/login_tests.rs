//! Tokens instead of passwords, where rules let anonymous requests do something.

use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;
use crate::access::Action;
use crate::options::{Rule, Rules};
use crate::{Authenticator, HtpasswdFile, Options};

const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const URL: &str = "https://registry.example/auth/token";

struct Service {
    it: Authenticator,
    file: PathBuf,
    _directory: tempfile::TempDir,
}

/// Everybody may pull `public/*`, ann everything, bob nothing more; nobody may do more than that.
async fn service(anonymous: bool) -> Service {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("htpasswd");
    let mut options = HtpasswdOptions::new("Registry Realm", &file);
    options.guesses.delay = Duration::ZERO;
    let rule = |anonymous, users: &[&str], repositories: &[&str], actions: &[Action]| Rule {
        anonymous,
        users: users.iter().map(|user| (*user).to_owned()).collect(),
        repositories: repositories.iter().map(|name| (*name).to_owned()).collect(),
        actions: actions.to_vec(),
        ..Rule::default()
    };
    let mut rules = vec![rule(false, &["ann"], &[], &[Action::Pull, Action::Push])];
    if anonymous {
        rules.push(rule(true, &[], &["public/*"], &[Action::Pull]));
    }
    options.rules = Some(Rules {
        rules,
        ..Rules::default()
    });
    users(&file, &[("ann", "secret"), ("bob", "secret")]);
    Service {
        it: Authenticator::build(Options::Htpasswd(options))
            .await
            .unwrap(),
        file,
        _directory: directory,
    }
}

fn users(file: &PathBuf, users: &[(&str, &str)]) {
    let lines: Vec<String> = users
        .iter()
        .map(|(user, password)| HtpasswdFile::line(user, password, 4).unwrap())
        .collect();
    fs::write(file, lines.join("\n")).unwrap();
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

fn pull(name: &str) -> Wanted {
    Wanted::pull(&name.parse().unwrap())
}

fn push(name: &str) -> Wanted {
    Wanted::push(&name.parse().unwrap())
}

impl Service {
    async fn ask(&self, header: Option<&str>, wanted: &Wanted) -> Result<Granted, Denied> {
        self.ask_at(header, wanted, Some(URL)).await
    }

    async fn ask_at(
        &self,
        header: Option<&str>,
        wanted: &Wanted,
        url: Option<&str>,
    ) -> Result<Granted, Denied> {
        let asked = Asked {
            authorization: header.map(str::as_bytes),
            wanted,
            came: None,
            client: CLIENT,
            scheme: "https",
            host: Some("registry.example"),
            token_service: url,
        };
        self.it.authorize(asked).await
    }

    /// `Bearer …`, as the service gives it.
    async fn token(&self, header: Option<&str>) -> Result<String, Denied> {
        let header = header.map(str::as_bytes);
        let service = self.it.token_service().unwrap();
        let issued = service.issue(Login::Header(header), CLIENT).await?;
        Ok(format!("Bearer {}", issued.token))
    }

    /// The challenge that answers a request.
    async fn challenge(&self, header: Option<&str>, wanted: &Wanted) -> (String, Reason) {
        challenge(self.ask(header, wanted).await)
    }
}

fn challenge<T: fmt::Debug>(denied: Result<T, Denied>) -> (String, Reason) {
    match denied {
        Err(Denied::Challenge {
            www_authenticate,
            reason,
            ..
        }) => (www_authenticate, reason),
        other => panic!("{other:?}"),
    }
}

fn bearer(rest: &str) -> String {
    format!(r#"Bearer realm="{URL}",service="Registry Realm"{rest}"#)
}

#[tokio::test]
async fn without_a_rule_for_anybody_a_password_is_asked_for() {
    let it = service(false).await;
    assert!(it.it.token_service().is_none());
    let (header, reason) = it.challenge(None, &Wanted::nothing()).await;
    assert_eq!(header, r#"Basic realm="Registry Realm""#);
    assert_eq!(reason, Reason::Missing);
    // A token is no credential there.
    let token = service(true).await.token(None).await.unwrap();
    let (header, reason) = it.challenge(Some(&token), &Wanted::nothing()).await;
    assert_eq!(header, r#"Basic realm="Registry Realm""#);
    assert_eq!(reason, Reason::Missing);
}

#[tokio::test]
async fn with_one_a_token_is_asked_for() {
    let it = service(true).await;
    assert_eq!(
        it.challenge(None, &Wanted::nothing()).await,
        (bearer(""), Reason::Missing)
    );
    assert_eq!(
        it.challenge(None, &push("public/a")).await,
        (
            bearer(r#",scope="repository:public/a:pull,push""#),
            Reason::Missing
        )
    );
    assert_eq!(
        it.challenge(Some("Bearer x"), &pull("public/a")).await,
        (
            bearer(r#",scope="repository:public/a:pull",error="invalid_token""#),
            Reason::InvalidToken
        )
    );
    assert_eq!(
        it.challenge(Some(&basic("ann", "x")), &Wanted::nothing())
            .await,
        (bearer(""), Reason::WrongCredentials)
    );
    // Somebody who does not say whom they ask.
    let denied = it.ask_at(None, &Wanted::nothing(), None).await;
    assert_eq!(challenge(denied).0, r#"Basic realm="Registry Realm""#);
    // Passwords go on working, and so do requests that show nothing.
    assert!(
        it.ask(Some(&basic("ann", "secret")), &push("a"))
            .await
            .is_ok()
    );
    assert!(it.ask(None, &pull("public/a")).await.is_ok());
}

#[tokio::test]
async fn a_token_for_nobody_may_what_anybody_may() {
    let it = service(true).await;
    for header in [None, Some(basic("", ""))] {
        let token = it.token(header.as_deref()).await.unwrap();
        for wanted in [Wanted::nothing(), pull("public/a")] {
            let granted = it.ask(Some(&token), &wanted).await.unwrap();
            assert_eq!(granted.user(), None);
        }
        let (header, reason) = it.challenge(Some(&token), &push("public/a")).await;
        let rest = r#",scope="repository:public/a:pull,push",error="insufficient_scope""#;
        assert_eq!((header, reason), (bearer(rest), Reason::InsufficientScope));
    }
}

#[tokio::test]
async fn a_user_s_token_may_what_they_may_and_no_more() {
    let it = service(true).await;
    let ann = it.token(Some(&basic("ann", "secret"))).await.unwrap();
    let granted = it.ask(Some(&ann), &push("a")).await.unwrap();
    assert_eq!(granted.user(), Some("ann"));
    let bob = it.token(Some(&basic("bob", "secret"))).await.unwrap();
    assert!(it.ask(Some(&bob), &pull("public/a")).await.is_ok());
    let denied = it.ask(Some(&bob), &push("public/a")).await.unwrap_err();
    let forbidden = Denied::Forbidden {
        user: "bob".to_owned(),
        wanted: push("public/a"),
    };
    assert_eq!(denied, forbidden);
}

#[tokio::test]
async fn a_token_ends_with_its_user_and_their_password() {
    let it = service(true).await;
    let ann = it.token(Some(&basic("ann", "secret"))).await.unwrap();
    let bob = it.token(Some(&basic("bob", "secret"))).await.unwrap();
    users(&it.file, &[("ann", "another")]);
    for token in [&ann, &bob] {
        let (_, reason) = it.challenge(Some(token), &pull("public/a")).await;
        assert_eq!(reason, Reason::InvalidToken);
    }
    let again = it.token(Some(&basic("ann", "another"))).await.unwrap();
    assert!(it.ask(Some(&again), &push("a")).await.is_ok());
}

#[tokio::test]
async fn wrong_credentials_give_no_token_and_are_limited() {
    let it = service(true).await;
    let basic_challenge = r#"Basic realm="Registry Realm""#.to_owned();
    for (header, expected) in [
        (basic("ann", "x"), Reason::WrongCredentials),
        (basic("eve", "secret"), Reason::WrongCredentials),
        ("Basic !".to_owned(), Reason::Malformed),
        ("Bearer x".to_owned(), Reason::Malformed),
        (String::new(), Reason::Malformed),
        (format!("Basic {}", "A".repeat(20_000)), Reason::Malformed),
    ] {
        let denied = challenge(it.token(Some(&header)).await);
        assert_eq!(denied, (basic_challenge.clone(), expected));
    }
    let service = it.it.token_service().unwrap();
    let mut throttled = false;
    for guess in 0..50 {
        let login = Login::Form {
            user: "ann",
            password: &guess.to_string(),
        };
        let denied = service.issue(login, CLIENT).await.unwrap_err();
        throttled |= matches!(denied, Denied::Throttled { .. });
    }
    assert!(throttled);
    // One limit for both doors.
    let at_the_api = it.ask(Some(&basic("ann", "x2")), &Wanted::nothing()).await;
    assert!(matches!(at_the_api, Err(Denied::Throttled { .. })));
}

#[tokio::test]
async fn forms_are_read() {
    let it = service(true).await;
    let service = it.it.token_service().unwrap();
    let issue = |user, password| service.issue(Login::Form { user, password }, CLIENT);
    let token = issue("ann", "secret").await.unwrap().token;
    assert!(
        it.ask(Some(&format!("Bearer {token}")), &push("a"))
            .await
            .is_ok()
    );
    let nobody = issue("", "").await.unwrap().token;
    assert!(
        it.ask(Some(&format!("Bearer {nobody}")), &pull("a"))
            .await
            .is_err()
    );
    assert!(issue("ann", "").await.is_err() && issue("", "secret").await.is_err());
    let login = Login::Form {
        user: "ann",
        password: "HIDDEN",
    };
    assert_eq!(format!("{login:?}"), "Login");
}
