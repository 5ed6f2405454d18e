//! Where clients are sent: to the host that they asked, or the one that is configured.

use roadstead_tests::{Options, Registry};

use super::steps::{roadstead, session_of};
use crate::raw::{Heard, Raw, ask};

fn location(heard: &Heard) -> &str {
    let line = heard.head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("location").then_some(value)
    });
    line.expect("a Location")
}

/// Opens an upload with this `Host`.
fn opened(registry: &Registry, host: &str) -> String {
    let request = format!(
        "POST /v2/a/blobs/uploads/ HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    );
    let heard = Raw::to(registry).say(request.as_bytes()).answer();
    assert_eq!(heard.status, 202, "{}", heard.head);
    location(&heard).to_owned()
}

/// O11
#[test]
fn a_location_is_on_the_host_that_was_asked() {
    let registry = roadstead();
    for host in [
        "registry.example.com",
        "localhost:5000",
        "[::1]:5000",
        "10.0.0.1",
    ] {
        let location = opened(&registry, host);
        let prefix = format!("http://{host}/v2/a/blobs/uploads/");
        assert!(location.starts_with(&prefix), "{location}");
    }
}

/// O11: what is no host is not sent back to anybody.
#[test]
fn a_host_that_is_none_makes_a_location_without_one() {
    let registry = roadstead();
    for host in [
        "",
        "a/b",
        "user@example.com",
        "a\"><script>",
        "a%00b",
        "a?b",
    ] {
        let request = format!(
            "POST /v2/a/blobs/uploads/ HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        );
        let heard = Raw::to(&registry).say(request.as_bytes()).answer();
        if heard.status == 202 {
            let location = location(&heard);
            assert!(location.starts_with("/v2/a/blobs/uploads/"), "{location}");
        } else {
            assert_eq!(heard.status, 400, "{host}");
        }
    }
}

/// O11
#[test]
fn a_location_is_where_the_configuration_says() {
    let with = |name: &str, value: &str| Registry::roadstead(Options::default().env(name, value));
    let relative = with("REGISTRY_HTTP_RELATIVEURLS", "true");
    let location = opened(&relative, "example.com");
    assert!(location.starts_with("/v2/a/blobs/uploads/"), "{location}");
    let named = with("REGISTRY_HTTP_HOST", "https://registry.example.com");
    let location = opened(&named, "inside:5000");
    let expected = "https://registry.example.com/v2/a/blobs/uploads/";
    assert!(location.starts_with(expected), "{location}");
}

/// O1: all below the prefix, and nothing beside it but the root.
#[test]
fn everything_lies_under_the_prefix() {
    let options = Options::default().env("REGISTRY_HTTP_PREFIX", "/some/where/");
    let registry = Registry::roadstead(options);
    let client = registry.client();
    client.get("/some/where/v2/").expect_status(200);
    client.get("/").expect_status(200);
    client.get("/v2/").expect_status(404);
    let moved = client.get("/some/where/v2").expect_status(301);
    assert_eq!(moved.location(), "/some/where/v2/");
    let path = "/some/where/v2/a/blobs/uploads/";
    let opened = client.post(path).expect_status(202);
    assert!(session_of(opened.location()).contains(path));
    client.delete(opened.location()).expect_status(204);
    for name in ["a", "b"] {
        let digest = super::steps::sha256(b"{}");
        let path = format!("/some/where/v2/{name}/blobs/uploads/?digest={digest}");
        let pushed = client.call("POST", &path).body("{}").send();
        let pulled = client.get(pushed.expect_status(201).location());
        assert_eq!(pulled.expect_status(200).body, b"{}");
    }
}

/// A proxy's form of a request names the host in its target.
#[test]
fn a_target_may_be_a_whole_url() {
    let registry = roadstead();
    let target = "http://proxied.example.com/v2/a/blobs/uploads/";
    let heard = ask(&registry, "POST", target, "Content-Length: 0\r\n");
    assert_eq!(heard.status, 202);
    assert!(location(&heard).starts_with(target), "{}", heard.head);
}
