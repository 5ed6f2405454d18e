//! What each kind answers.

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;
use crate::access::Action;
use crate::options::{HtpasswdOptions, Rule, Rules};

const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

async fn ask(it: &Authenticator, header: Option<&str>, wanted: &Wanted) -> Result<Granted, Denied> {
    it.authorize(Asked {
        authorization: header.map(str::as_bytes),
        wanted,
        came: None,
        client: CLIENT,
        scheme: "https",
        host: Some("registry.example"),
        token_service: Some("https://registry.example/auth/token"),
    })
    .await
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

fn push(name: &str) -> Wanted {
    Wanted::push(&name.parse().unwrap())
}

fn pull(name: &str) -> Wanted {
    Wanted::pull(&name.parse().unwrap())
}

/// The users ann and bob with the password `secret`.
async fn htpasswd(rules: Option<Rules>) -> (tempfile::TempDir, Authenticator) {
    let directory = tempfile::tempdir().unwrap();
    let mut options = HtpasswdOptions::new("Registry Realm", directory.path().join("htpasswd"));
    options.guesses.delay = Duration::ZERO;
    options.rules = rules;
    let line = |user| crate::HtpasswdFile::line(user, "secret", 4).unwrap();
    fs::write(&options.path, [line("ann"), line("bob")].join("\n")).unwrap();
    let it = Authenticator::build(Options::Htpasswd(options)).await;
    (directory, it.unwrap())
}

fn reason(denied: Result<Granted, Denied>) -> Reason {
    match denied {
        Err(Denied::Challenge { reason, .. }) => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn none_lets_everybody_do_everything() {
    let it = Authenticator::build(Options::None).await.unwrap();
    let granted = ask(&it, None, &push("a")).await.unwrap();
    assert_eq!(granted.user(), None);
    assert!(granted.may(&Wanted::catalog()) && granted.lists(&"a".parse().unwrap()));
    assert!(it.is_open());
}

#[tokio::test]
async fn silly_wants_a_header_and_no_more() {
    let it = Authenticator::build(Options::Silly {
        realm: "r".to_owned(),
        service: "s".to_owned(),
    });
    let it = it.await.unwrap();
    let denied = ask(&it, None, &push("a")).await.unwrap_err();
    let expected = Denied::Challenge {
        www_authenticate:
            r#"Bearer realm="r",service="s",scope="repository:a:pull repository:a:push""#.to_owned(),
        wanted: push("a"),
        reason: Reason::Missing,
    };
    assert_eq!(denied, expected);
    assert!(ask(&it, Some("x"), &push("a")).await.is_ok());
    assert!(!it.is_open());
}

#[tokio::test]
async fn a_user_may_do_everything_where_there_are_no_rules() {
    let (_directory, it) = htpasswd(None).await;
    let ann = basic("ann", "secret");
    for wanted in [Wanted::nothing(), push("a"), Wanted::catalog()] {
        let granted = ask(&it, Some(&ann), &wanted).await.unwrap();
        assert_eq!(granted.user(), Some("ann"));
        let denied = ask(&it, None, &wanted).await.unwrap_err();
        let expected = Denied::Challenge {
            www_authenticate: r#"Basic realm="Registry Realm""#.to_owned(),
            wanted: wanted.clone(),
            reason: Reason::Missing,
        };
        assert_eq!(denied, expected);
    }
    let wrong = [
        (basic("ann", "Secret"), Reason::WrongCredentials),
        (basic("eve", "secret"), Reason::WrongCredentials),
        (basic("", ""), Reason::Missing),
        ("Bearer x".to_owned(), Reason::Missing),
        ("Basic !".to_owned(), Reason::Malformed),
        (format!("Basic {}", "A".repeat(20_000)), Reason::Missing),
    ];
    for (header, expected) in wrong {
        let denied = ask(&it, Some(&header), &Wanted::nothing()).await;
        assert_eq!(reason(denied), expected, "{expected}");
    }
}

fn open_to_pull() -> Rules {
    let anyone = Rule {
        repositories: vec!["public/**".to_owned()],
        anonymous: true,
        actions: vec![Action::Pull],
        ..Rule::default()
    };
    let ann = Rule {
        users: vec!["ann".to_owned()],
        actions: vec![Action::Pull, Action::Push],
        ..Rule::default()
    };
    Rules {
        rules: vec![anyone, ann],
        ..Rules::default()
    }
}

#[tokio::test]
async fn anybody_may_pull_and_users_push_where_rules_say_so() {
    let (_directory, it) = htpasswd(Some(open_to_pull())).await;
    let (ann, bob) = (basic("ann", "secret"), basic("bob", "secret"));
    let granted = ask(&it, None, &pull("public/a")).await.unwrap();
    assert_eq!(granted.user(), None);
    assert!(!granted.may(&pull("private/a")));
    assert!(granted.lists(&"public/a".parse().unwrap()));
    assert!(!granted.lists(&"private/a".parse().unwrap()));
    // skopeo shows empty credentials where nobody logged in.
    assert!(
        ask(&it, Some(&basic("", "")), &pull("public/a"))
            .await
            .is_ok()
    );
    for wanted in [push("public/a"), pull("private/a"), Wanted::nothing()] {
        assert_eq!(reason(ask(&it, None, &wanted).await), Reason::Missing);
    }
    assert!(ask(&it, Some(&ann), &push("private/a")).await.is_ok());
    assert!(ask(&it, Some(&bob), &Wanted::nothing()).await.is_ok());
    assert!(ask(&it, Some(&bob), &pull("public/a")).await.is_ok());
    let forbidden = Denied::Forbidden {
        user: "bob".to_owned(),
        wanted: push("public/a"),
    };
    assert_eq!(
        ask(&it, Some(&bob), &push("public/a")).await.unwrap_err(),
        forbidden
    );
    // Wrong credentials are wrong, also where none are needed.
    let wrong = basic("ann", "Secret");
    assert_eq!(
        reason(ask(&it, Some(&wrong), &pull("public/a")).await),
        Reason::WrongCredentials
    );
    let mount = push("public/a").and(pull("private/a"));
    assert!(matches!(
        ask(&it, Some(&bob), &mount).await,
        Err(Denied::Forbidden { .. })
    ));
}

#[test]
fn credentials_do_not_show_in_debug_output() {
    let asked = Asked {
        authorization: Some(b"Basic HIDDEN"),
        wanted: &Wanted::nothing(),
        came: None,
        client: CLIENT,
        scheme: "https",
        host: None,
        token_service: None,
    };
    let plain = format!("{asked:?}");
    // As bytes it would be numbers.
    assert!(
        !plain.contains("HIDDEN") && !plain.contains("66, 97"),
        "{plain}"
    );
    assert!(plain.contains("127.0.0.1"));
}

#[tokio::test]
async fn too_many_wrong_passwords_are_told() {
    let (_directory, it) = htpasswd(None).await;
    let mut throttled = None;
    for guess in 0..200 {
        let header = basic("ann", &guess.to_string());
        if let Err(Denied::Throttled { retry_after }) =
            ask(&it, Some(&header), &Wanted::nothing()).await
        {
            throttled = Some(retry_after);
            break;
        }
    }
    assert!(throttled.is_some_and(|time| time <= Duration::from_secs(30)));
}

#[tokio::test]
async fn options_that_cannot_be_meant_are_told() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("htpasswd");
    fs::write(&path, "ann:{SHA}HIDDEN\n").unwrap();
    let told = |options| async {
        let built = Authenticator::build(options).await;
        built.unwrap_err().to_string()
    };
    let sha = told(Options::Htpasswd(HtpasswdOptions::new("r", &path))).await;
    assert!(
        sha.contains("line 1: the password of ann is hashed with SHA-1"),
        "{sha}"
    );
    assert!(!sha.contains("HIDDEN"));
    let realm = told(Options::Htpasswd(HtpasswdOptions::new("a\nb", &path))).await;
    assert!(realm.contains("control characters"), "{realm}");
    let mut options = HtpasswdOptions::new("r", &path);
    options.rules = Some(Rules {
        rules: vec![Rule::default()],
        ..Rules::default()
    });
    let rules = told(Options::Htpasswd(options)).await;
    assert!(rules.starts_with("rule 1 is for nobody"), "{rules}");
}

#[tokio::test]
async fn a_missing_file_is_made() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("auth/htpasswd");
    let options = Options::Htpasswd(HtpasswdOptions::new("r", &path));
    let it = Authenticator::build(options).await.unwrap();
    assert!(
        fs::read_to_string(&path)
            .unwrap()
            .starts_with("docker:$2y$10$")
    );
    assert!(ask(&it, None, &Wanted::nothing()).await.is_err());
}
