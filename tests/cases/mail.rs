//! `log.hooks`: mails about lines of the log.

use std::time::Duration;

use roadstead_tests::{MailServer, Manner, Options, Registry, scratch, wait_until};

const SOON: Duration = Duration::from_secs(30);

/// A registry that mails warnings and errors there.
fn mailing(server: &MailServer, more: &str) -> Options {
    // `log` stands in the file already; a variable may hold YAML.
    let hook = format!(
        "[{{type: mail, levels: [error, warning, fatal], options: {{from: registry@example.com, \
         to: [one@example.com, two@example.com], smtp: {{addr: '{}'{more}}}}}}}]",
        server.addr()
    );
    // A start without users or without a secret warns of that.
    Options::default()
        .env("REGISTRY_LOG_HOOKS", &hook)
        .env("REGISTRY_HTTP_SECRET", "a-secret-of-the-tests")
        .yaml("auth: {silly: {realm: r, service: s}}")
}

/// Makes a line of level error: there is nothing by this name.
fn fail(registry: &Registry, name: &str) {
    let path = format!("/v2/{name}/manifests/absent?_state=hidden");
    let call = registry.client().call("GET", &path);
    call.header("authorization", "seems legit")
        .send()
        .expect_status(404);
}

fn times(registry: &Registry, words: &str) -> usize {
    registry.log().matches(words).count()
}

#[test]
fn an_error_is_mailed_in_the_references_words() {
    let server = MailServer::plain(Manner::Takes);
    let mut registry = Registry::roadstead(mailing(&server, ""));
    fail(&registry, "mailed");
    let mail = server.next(SOON);
    assert_eq!(mail.from, "registry@example.com");
    assert_eq!(mail.to, ["one@example.com", "two@example.com"]);
    assert_eq!(mail.header("From"), "registry@example.com");
    assert_eq!(mail.header("To"), "one@example.com, two@example.com");
    assert!(mail.header("Content-Type").starts_with("text/plain"));
    let subject = mail.header("Subject");
    assert_eq!(
        subject, "[error] 127.0.0.1: response completed with error",
        "{mail:?}"
    );
    let body = mail.body();
    assert!(
        body.starts_with("\n\tresponse completed with error\n\n\t\n\t"),
        "{body:?}"
    );
    for field in [
        "\n\thttp.request.uri: /v2/mailed/manifests/absent?_state=REDACTED\n",
        "\n\thttp.response.status: 404\n",
        "\n\tvars.name: mailed\n",
        "\n\tinstance.id: ",
    ] {
        assert!(body.contains(field), "{field} is not in {body:?}");
    }
    assert!(
        !mail.text.contains("hidden") && !body.contains("hidden"),
        "{body:?}"
    );
    assert!(!body.contains("not mailed before"), "{body:?}");
    assert!(registry.stop().success());
    assert_eq!(server.rest(), [], "lines of level info are not mailed");
}

#[test]
fn a_mail_server_that_fails_is_told_once_and_its_mails_leave_later() {
    let server = MailServer::plain(Manner::Refuses);
    let registry = Registry::roadstead(mailing(&server, ""));
    fail(&registry, "refused");
    wait_until("the log says it", SOON, || {
        times(&registry, "mails do not leave") == 1
    });
    server.now(Manner::Fails);
    fail(&registry, "delayed");
    fail(&registry, "after/it");
    server.now(Manner::Takes);
    let first = server.next(SOON).body();
    assert!(first.contains("vars.name: delayed"), "{first:?}");
    assert!(first.contains("not mailed before this: 1\n"), "{first:?}");
    let second = server.next(SOON).body();
    assert!(second.contains("vars.name: after/it"), "{second:?}");
    assert!(!second.contains("not mailed before"), "{second:?}");
    wait_until("the log says it", SOON, || {
        times(&registry, "mails leave again") == 1
    });
    // Had the warning been mailed, it would have come before these.
    fail(&registry, "at/last");
    let last = server.next(SOON).body();
    assert!(last.contains("vars.name: at/last"), "{last:?}");
    assert_eq!(times(&registry, "mails do not leave"), 1);
}

#[test]
fn a_mail_server_that_hangs_stops_nobody() {
    let server = MailServer::plain(Manner::IsSilent);
    let mut registry = Registry::roadstead(mailing(&server, ""));
    for n in 0..20 {
        fail(&registry, &format!("served/{n}"));
    }
    // The end is bounded: it waits less long than for a server to answer.
    assert!(registry.stop().success());
    assert!(
        registry.log().contains("mails did not leave in time"),
        "{}",
        registry.log()
    );
}

#[test]
fn the_last_mails_leave_before_the_process_ends() {
    let server = MailServer::plain(Manner::Takes);
    let mut registry = Registry::roadstead(mailing(&server, ""));
    for n in 0..5 {
        fail(&registry, &format!("last/{n}"));
    }
    assert!(registry.stop().success());
    assert_eq!(server.rest().len(), 5);
}

#[test]
fn why_a_registry_cannot_serve_is_mailed_as_fatal() {
    let server = MailServer::plain(Manner::Takes);
    let home = scratch();
    let config = home.path().join("config.yml");
    let yaml = format!(
        "version: 0.1\nstorage: inmemory\nhttp: {{addr: '{}'}}\nlog:\n  hooks:\n    - type: mail\n      levels: [fatal]\n      \
         options: {{from: a@example.com, to: [b@example.com], smtp: {{addr: '{}'}}}}\n",
        server.addr(),
        server.addr()
    );
    std::fs::write(&config, yaml).expect("a file");
    let run = roadstead_tests::registry::command()
        .arg("serve")
        .arg(&config)
        .ends();
    assert!(!run.status.success());
    let subject = server.next(SOON).header("Subject");
    let words = subject.strip_prefix("[fatal] 127.0.0.1: ");
    let words = words.unwrap_or_else(|| panic!("{subject}"));
    assert!(words.contains(&server.addr().to_string()), "{words}");
    assert_eq!(server.rest(), []);
}

#[test]
fn a_login_is_sent_over_tls_to_a_server_that_is_trusted() {
    const LOGIN: &str = ", username: mailuser, password: hunter2";
    let server = MailServer::with_tls();
    let home = scratch();
    let trusted = home.path().join("ca.pem");
    std::fs::write(&trusted, server.certificate()).expect("a file");
    let trusted = trusted.display().to_string();
    let registry = Registry::roadstead(mailing(&server, LOGIN).env("SSL_CERT_FILE", &trusted));
    fail(&registry, "trusted");
    let mail = server.next(SOON);
    assert!(mail.encrypted);
    assert_eq!(mail.login.as_deref(), Some("mailuser\0hunter2"));
    assert!(!registry.log().contains("hunter2"));

    let doubtful = Registry::roadstead(mailing(&server, LOGIN));
    fail(&doubtful, "doubtful");
    wait_until("its certificate is not trusted", SOON, || {
        let log = doubtful.log();
        let told = log.lines().find(|line| line.contains("mails do not leave"));
        told.is_some_and(|line| line.contains("certificate"))
    });
    assert_eq!(server.rest(), []);

    let insecure = Registry::roadstead(mailing(&server, &format!("{LOGIN}, insecure: true")));
    fail(&insecure, "insecure");
    let mail = server.next(SOON);
    assert!(mail.encrypted && mail.body().contains("vars.name: insecure"));
}
