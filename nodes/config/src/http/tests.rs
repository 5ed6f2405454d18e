//! `http`, key by key.

use std::time::Duration;

use super::Http;
use crate::{Config, Listen, Secret};

fn http(yaml: &str) -> Http {
    let text = format!("version: 0.1\nstorage: inmemory\nhttp:\n  {yaml}\n");
    Config::load(&text, []).unwrap().config.http
}

fn mistakes(yaml: &str) -> String {
    let text = format!("version: 0.1\nstorage: inmemory\nhttp:\n  {yaml}\n");
    Config::load(&text, []).unwrap_err().to_string()
}

#[test]
fn requests_are_drained_unless_told_otherwise() {
    assert_eq!(http("addr: :1").drain_timeout, Duration::from_mins(1));
    assert_eq!(http("draintimeout: 0").drain_timeout, Duration::ZERO);
    assert_eq!(
        http("draintimeout: 10s").drain_timeout,
        Duration::from_secs(10)
    );
    assert_eq!(
        mistakes("draintimeout: -1s"),
        "http.draintimeout (line 4): \"-1s\" must not be negative"
    );
}

#[test]
fn an_address_is_validated() {
    assert_eq!(http("addr: localhost:0").addr.to_string(), "localhost:0");
    assert_eq!(http("addr: ''").addr.to_string(), ":5000");
    let expected =
        "http.addr (line 4): \"5000\" has no port; write for example :5000 or 127.0.0.1:5000";
    assert_eq!(mistakes("addr: 5000"), expected);
}

#[test]
fn a_socket_in_the_file_system_can_be_listened_on() {
    assert_eq!(http("net: tcp").addr.to_string(), ":5000");
    let socket = http("{net: unix, addr: /run/registry.sock}").addr;
    assert_eq!(socket, Listen::Unix("/run/registry.sock".into()));
    assert_eq!(
        mistakes("net: unix"),
        "http.addr (line 3): is missing; write the path of the socket"
    );
    assert!(mistakes("{net: unix, addr: ':5000'}").contains("is not the path of a socket"));
    assert!(mistakes("net: udp").ends_with("\"udp\" is not one of tcp, unix"));
}

#[test]
fn a_host_is_a_url_of_which_scheme_and_authority_count() {
    let host = |yaml: &str| http(yaml).host;
    assert_eq!(
        host("host: https://a.example/").as_deref(),
        Some("https://a.example")
    );
    assert_eq!(
        host("host: HTTP://[::1]:5000").as_deref(),
        Some("http://[::1]:5000")
    );
    assert_eq!(host("host: http://[::1]").as_deref(), Some("http://[::1]"));
    assert_eq!(host("host: ''"), None);
    for wrong in [
        "a.example",
        "ftp://a.example",
        "https://",
        "https:///v2/",
        "https://a b",
        "https://a:x",
    ] {
        assert!(
            mistakes(&format!("host: '{wrong}'")).starts_with("http.host (line 4): "),
            "{wrong}"
        );
    }
}

#[test]
fn a_path_in_the_host_is_remarked_on() {
    let text = "version: 0.1\nstorage: inmemory\nhttp:\n  host: https://a.example/images/\n";
    let loaded = Config::load(text, []).unwrap();
    assert_eq!(
        loaded.config.http.host.as_deref(),
        Some("https://a.example")
    );
    let expected =
        "http.host (line 4): only scheme and host are used; a path belongs into http.prefix";
    assert_eq!(loaded.warnings[0].to_string(), expected);
}

#[test]
fn a_password_in_the_host_is_not_repeated() {
    let told = mistakes("host: https://me:hunter2@a.example");
    assert_eq!(told, "http.host (line 4): must not name a user or password");
}

#[test]
fn a_prefix_has_slashes_at_both_ends() {
    assert_eq!(http("addr: :1").prefix, "/");
    assert_eq!(http("prefix: /a/b/").prefix, "/a/b/");
    let expected =
        "http.prefix (line 4): \"a/b\" must start and end with a slash; did you mean /a/b/?";
    assert_eq!(mistakes("prefix: a/b"), expected);
    for wrong in ["/a b/", "//", "/a?/", "/a#/"] {
        assert!(
            mistakes(&format!("prefix: '{wrong}'")).contains("is not a path"),
            "{wrong}"
        );
    }
}

#[test]
fn a_secret_keeps_its_text_and_never_prints_it() {
    let secret = http("secret: 0123").secret.unwrap();
    assert_eq!(secret.expose(), "0123");
    assert_eq!(
        format!("{:?}", Secret::from("hunter2".to_owned())),
        "Secret"
    );
    assert_eq!(http("secret: ''").secret, None);
    assert!(!mistakes("secret: [hunter2]").contains("hunter2"));
}

#[test]
fn headers_are_validated() {
    let headers = http("headers: {X-A: [a, 'b c'], X-B: []}").headers;
    let expected = [("X-A", vec!["a", "b c"]), ("X-B", vec![])];
    let expected = expected.map(|(name, values)| {
        (
            name.to_owned(),
            values.into_iter().map(str::to_owned).collect::<Vec<_>>(),
        )
    });
    assert_eq!(headers, expected);
    assert!(mistakes("headers: {'X A': [a]}").contains("\"X A\" is not the name of a header"));
    assert!(mistakes("headers: {X-A: [\"a\\r\\nB: c\"]}").contains("control character"));
    let expected = "http.headers.X-A (line 4): a single value stands here, where a list belongs";
    assert_eq!(mistakes("headers: {X-A: nosniff}"), expected);
}

#[test]
fn metrics_are_served_where_debugging_is() {
    assert_eq!(http("addr: :1").debug, None);
    let debug = http("debug: {addr: 'localhost:5001'}").debug.unwrap();
    assert_eq!(debug.addr.to_string(), "localhost:5001");
    assert_eq!(debug.metrics_path, None);
    let path = |yaml: &str| {
        let yaml = format!("debug: {{addr: ':1', prometheus: {{{yaml}}}}}");
        http(&yaml).debug.unwrap().metrics_path
    };
    assert_eq!(path("enabled: yes").as_deref(), Some("/metrics"));
    for taken in ["/debug/health", "/debug"] {
        let yaml = format!("debug: {{addr: ':1', prometheus: {{path: {taken}}}}}");
        assert!(
            mistakes(&yaml).contains("is taken by other pages"),
            "{taken}"
        );
    }
    assert_eq!(path("enabled: yes, path: /m").as_deref(), Some("/m"));
    assert_eq!(path("path: /m"), None);
    assert!(mistakes("debug: {addr: ':1', prometheus: {path: m}}").contains("is not a path"));
    let text = "version: 0.1\nstorage: inmemory\nhttp:\n  debug: {prometheus: {enabled: true}}\n";
    let told = Config::load(text, []).unwrap().warnings[0].to_string();
    assert_eq!(
        told,
        "http.debug.prometheus (line 4): there are no metrics without http.debug.addr"
    );
}
