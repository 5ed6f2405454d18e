//! Answers that their clients ask for and do not take.

use std::time::Duration;

use roadstead_oci::{Algorithm, Digest};
use roadstead_tests::{Options, Registry, wait_until};

use super::{peak, resident};

/// What a process may take in memory for them. A hundred answers of 4 MiB, held whole, are twice as much.
const HELD: u64 = 192 << 20;

/// Asks for the path again and again over HTTP/2, on connections whose windows stay closed, and waits until all is
/// answered. What the answers say, while their bodies are under way.
fn asked_slowly<T>(
    registry: &Registry,
    path: &str,
    connections: usize,
    look: impl Fn(&[http::StatusCode]) -> T,
) -> T {
    const STREAMS: usize = 100;
    let uri = format!("http://{}{path}", registry.addr());
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let mut answers = Vec::new();
        for _ in 0..connections {
            let stream = tokio::net::TcpStream::connect(registry.addr()).await;
            let mut builder = h2::client::Builder::new();
            builder.initial_window_size(0);
            let (mut client, connection) = builder
                .handshake::<_, bytes::Bytes>(stream.expect("connected"))
                .await
                .expect("HTTP/2");
            tokio::spawn(connection);
            for _ in 0..STREAMS {
                client = client.ready().await.expect("room for a stream");
                let get = http::Request::get(&uri).body(()).expect("a request");
                answers.push(client.send_request(get, true).expect("sent").0);
            }
        }
        let mut held = Vec::new();
        for answer in answers {
            held.push(answer.await.expect("an answer"));
        }
        let statuses: Vec<_> = held.iter().map(http::Response::status).collect();
        look(&statuses)
    })
}

/// A manifest of nearly 4 MiB with an annotation, of the subject if there is one.
fn large_manifest(name: &str, subject: Option<(&Digest, usize)>) -> String {
    let empty = Digest::of(Algorithm::Sha256, b"{}");
    let subject = subject.map_or(String::new(), |(digest, size)| {
        let media_type = "application/vnd.oci.image.manifest.v1+json";
        format!(r#""subject":{{"mediaType":"{media_type}","size":{size},"digest":"{digest}"}},"#)
    });
    format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",{subject}"config":{{"mediaType":"a/b","size":2,"digest":"{empty}"}},"layers":[],"annotations":{{"name":"{name}","large":"{}"}}}}"#,
        "x".repeat(4_190_000)
    )
}

fn push_large(registry: &Registry, repository: &str, tag: &str, manifest: &str) {
    let empty = Digest::of(Algorithm::Sha256, b"{}");
    let pushed = registry.repository(repository);
    pushed.push_blob(b"{}", &empty).expect_status(201);
    let put = registry
        .client()
        .call("PUT", &format!("/v2/{repository}/manifests/{tag}"))
        .header("content-type", "application/vnd.oci.image.manifest.v1+json")
        .body(manifest.as_bytes());
    put.send().expect_status(201);
}

#[test]
fn large_manifests_that_nobody_takes_take_little_memory() {
    let registry = Registry::roadstead(Options::default());
    let manifest = large_manifest("x", None);
    push_large(&registry, "large", "x", &manifest);
    let before = resident(registry.pid());
    asked_slowly(&registry, "/v2/large/manifests/x", 3, |statuses| {
        assert!(statuses.iter().all(|status| *status == 200));
    });
    let took = peak(registry.pid()) - before;
    assert!(took < HELD, "they took {} MiB", took >> 20);
    let pulled = registry
        .client()
        .call("GET", "/v2/large/manifests/x")
        .send();
    assert!(pulled.expect_status(200).body == manifest.as_bytes());
}

#[test]
fn long_lists_that_nobody_takes_take_little_memory_and_then_others_are_asked_to_come_again() {
    let registry = Registry::roadstead(Options::default());
    let subject = Digest::of(Algorithm::Sha256, b"{}");
    let manifest = large_manifest("x", Some((&subject, 2)));
    push_large(&registry, "listed", "x", &manifest);
    let path = format!("/v2/listed/referrers/{subject}");
    let before = resident(registry.pid());
    asked_slowly(&registry, &path, 1, |statuses| {
        let of = |wanted: u16| statuses.iter().filter(|status| **status == wanted).count();
        assert_eq!(of(200) + of(503), 100, "{statuses:?}");
        assert!(of(200) > 0 && of(503) > 0, "{statuses:?}");
        // Who asks for little is answered.
        let small = registry.client().call("GET", "/v2/listed/tags/list");
        small.send().expect_status(200);
    });
    let took = peak(registry.pid()) - before;
    assert!(took < HELD, "they took {} MiB", took >> 20);
    wait_until("there is room again", Duration::from_secs(30), || {
        registry.client().call("GET", &path).send().status == 200
    });
}
