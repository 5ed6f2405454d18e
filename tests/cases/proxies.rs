//! Behind proxies that speak TLS to clients and plain HTTP to the registry: clients are sent to where they came from.

use std::net::SocketAddr;

use roadstead_oci::{Algorithm, Digest};
use roadstead_tests::image::{layout, noise};
use roadstead_tests::proxy::Proxy;
use roadstead_tests::tools::{Curled, curl, skopeo};
use roadstead_tests::{Image, Options, Registry, scratch};

/// What a tutorial puts before a registry. HTTP/1.0 towards it, since nothing else is said.
const TUTORIAL: &str = "
    proxy_pass http://UPSTREAM;
    proxy_set_header Host $http_host;
    proxy_set_header X-Real-IP $remote_addr;
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    proxy_set_header X-Forwarded-Proto $scheme;
    proxy_read_timeout 900;";

/// Streaming, with HTTP/1.1 and the standard header.
const STREAMING: &str = "
    proxy_pass http://UPSTREAM;
    proxy_http_version 1.1;
    proxy_request_buffering off;
    proxy_buffering off;
    proxy_set_header Host upstream.internal;
    proxy_set_header Forwarded \"for=$remote_addr;proto=$scheme;host=\\\"$http_host\\\"\";";

pub(crate) fn through(proxy: &Proxy, args: &[&str]) -> Curled {
    let trusted = proxy.certificate();
    let trusted = trusted.to_str().expect("text");
    curl(&[&["--cacert", trusted], args].concat())
}

/// An upload step by step, each at the `Location` that the step before gave, and what came of it.
pub(crate) fn assert_pushes_and_pulls(proxy: &Proxy, more: &[&str]) {
    let bytes = noise(1, 300_000);
    let digest = Digest::of(Algorithm::Sha256, &bytes);
    let dir = scratch();
    let file = dir.path().join("body");
    std::fs::write(&file, &bytes).expect("a file to send");
    let data = format!("@{}", file.display());
    let url = format!("{}/v2/behind/blobs/uploads/", proxy.url());
    let send = |method: &str, url: &str, body: &[&str]| {
        let octets = ["-H", "Content-Type: application/octet-stream"];
        let request = [&["-X", method, url], &octets[..], body, more].concat();
        let answer = through(proxy, &request).answer;
        let location = answer.header("location").map(str::to_owned);
        let here = format!("{}/v2/behind/blobs/", proxy.url());
        let location = location.expect("a location");
        assert!(
            location.starts_with(&here),
            "{location} is not below {here}"
        );
        location
    };
    let session = send("POST", &url, &["-d", ""]);
    let session = send(
        "PATCH",
        &session,
        &[
            "-T",
            &file.display().to_string(),
            "-H",
            "Transfer-Encoding: chunked",
        ],
    );
    let blob = send("PUT", &format!("{session}&digest={digest}"), &["-d", ""]);
    let got = through(proxy, &[&[blob.as_str()], more].concat())
        .answer
        .expect_status(200);
    assert!(got.body == bytes);
    let whole = send(
        "POST",
        &format!("{url}?digest={digest}"),
        &["--data-binary", &data],
    );
    assert_eq!(whole, blob);
}

pub(crate) fn assert_skopeo_pushes_and_pulls(addr: SocketAddr) {
    let image = Image::new(77).layers(3).build();
    let (from, to) = (scratch(), scratch());
    layout::write(from.path(), "v1", &image);
    let [source, target] = [&from, &to].map(|dir| format!("oci:{}:v1", dir.path().display()));
    let registry = format!("docker://{addr}/skopeo/image:v1");
    let copy = ["copy", "--all", "--preserve-digests"];
    skopeo(&[&copy[..], &["--dest-tls-verify=false", &source, &registry]].concat());
    skopeo(&[&copy[..], &["--src-tls-verify=false", &registry, &target]].concat());
    layout::assert_holds(to.path(), &image);
}

#[test]
fn nginx_as_in_a_tutorial() {
    let registry = Registry::roadstead(Options::default());
    let proxy = Proxy::nginx(registry.addr(), TUTORIAL);
    assert_pushes_and_pulls(&proxy, &[]);
    assert_skopeo_pushes_and_pulls(proxy.addr());
    let base = through(&proxy, &[&format!("{}/v2/", proxy.url())]).answer;
    assert_eq!(base.expect_status(200).body, b"{}");
}

#[test]
fn nginx_that_streams_and_says_forwarded() {
    let registry = Registry::roadstead(Options::default());
    let proxy = Proxy::nginx(registry.addr(), STREAMING);
    assert_pushes_and_pulls(&proxy, &[]);
    assert_skopeo_pushes_and_pulls(proxy.addr());
}

#[test]
fn haproxy_with_both_versions_of_http() {
    let registry = Registry::roadstead(Options::default());
    let backend =
        "option forwardfor\n  http-request set-header X-Forwarded-Proto https if { ssl_fc }";
    let proxy = Proxy::haproxy(registry.addr(), backend);
    for version in ["--http1.1", "--http2"] {
        assert_pushes_and_pulls(&proxy, &[version]);
    }
    assert_skopeo_pushes_and_pulls(proxy.addr());
}

#[test]
fn a_proxy_that_says_nothing_needs_the_host_or_relative_urls() {
    let silent = "proxy_pass http://UPSTREAM; proxy_set_header Host $http_host;";
    let registry = Registry::roadstead(Options::default());
    let proxy = Proxy::nginx(registry.addr(), silent);
    let url = format!("{}/v2/a/blobs/uploads/", proxy.url());
    let location = |proxy: &Proxy, url: &str| {
        let opened = through(proxy, &["-X", "POST", "-d", "", url]).answer;
        opened.header("location").expect("a location").to_owned()
    };
    assert!(
        location(&proxy, &url).starts_with("http://"),
        "nobody said https"
    );
    drop(registry);
    let relative = Options::default().env("REGISTRY_HTTP_RELATIVEURLS", "true");
    let registry = Registry::roadstead(relative);
    let proxy = Proxy::nginx(registry.addr(), silent);
    let url = format!("{}/v2/a/blobs/uploads/", proxy.url());
    assert!(location(&proxy, &url).starts_with("/v2/a/blobs/uploads/"));
    drop(registry);
    let host = Options::default().env("REGISTRY_HTTP_HOST", "https://public.example:8443");
    let registry = Registry::roadstead(host);
    let opened = registry.repository("a").open_upload();
    assert!(
        opened.starts_with("https://public.example:8443/v2/a/"),
        "{opened}"
    );
}
