//! What strangers send: never a 5xx, never a panic, and the registry serves on.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use roadstead_tests::image::noise;
use roadstead_tests::{Document, Image, Registry};

use super::{push, registry, sha256};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// Sends bytes as they are, and returns the status lines of all answers.
fn raw(registry: &Registry, bytes: &[u8]) -> Vec<String> {
    let mut stream = TcpStream::connect(registry.addr()).expect("connected");
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .expect("set");
    // It may be refused half way.
    let _refused = stream
        .write_all(bytes)
        .and_then(|()| stream.shutdown(Shutdown::Write));
    let mut answer = Vec::new();
    let _reset = stream.read_to_end(&mut answer);
    // Bodies end without a newline: the next status line follows at once.
    let text = String::from_utf8_lossy(&answer);
    let answers = text.split("HTTP/1.").skip(1);
    answers
        .map(|answer| answer.lines().next().unwrap_or_default().to_owned())
        .collect()
}

fn is_sound(registry: &Registry) {
    registry.client().get("/v2/").expect_status(200);
    let log = registry.log();
    assert!(!log.contains("panicked"), "{log}");
}

fn nothing_failed(statuses: &[String], of: &str) {
    for status in statuses {
        let (_, code) = status.split_once(' ').expect("a status");
        assert!(
            !code.starts_with('5') || code.starts_with("505"),
            "{of}: {status}"
        );
    }
}

/// Whole bodies.
const NO_MANIFESTS: &[&str] = &[
    "",
    "null",
    "[]",
    "\"text\"",
    "{",
    "{}",
    "\u{feff}{}",
    r#"{"schemaVersion":2}"#,
    r#"{"schemaVersion":1,"config":null,"layers":[]}"#,
    r#"{"schemaVersion":"2","config":{},"layers":[]}"#,
    r#"{"schemaVersion":2,"config":{},"layers":[]}"#,
    r#"{"schemaVersion":2,"config":[],"layers":{}}"#,
];

/// Fields that spoil an image manifest.
const SPOILERS: &[&str] = &[
    r#","layers":[]"#,
    r#","manifests":[]"#,
    r#","annotations":{"a":1}"#,
    r#","annotations":[]"#,
    r#","subject":"x""#,
    r#","subject":{"digest":"sha256:x","size":1}"#,
    r#","mediaType":"application/vnd.oci.image.index.v1+json""#,
    r#","mediaType":7"#,
];

/// What its size or its digest is replaced by.
const NO_DESCRIPTORS: &[(&str, &str)] = &[
    (r#""size":2"#, r#""size":-2"#),
    (r#""size":2"#, r#""size":1e400"#),
    (r#""size":2"#, r#""size":99999999999999999999999"#),
    ("sha256:", "sha384:"),
    ("sha256:", "../../"),
];

#[test]
fn bodies_that_are_no_manifest_are_400() {
    let registry = registry();
    let repository = registry.repository("json");
    let config = push(&repository, b"{}");
    let image = |fields: &str| {
        let config = format!(r#"{{"mediaType":"x","digest":"{config}","size":2}}"#);
        format!(r#"{{"schemaVersion":2,"config":{config},"layers":[]{fields}}}"#)
    };
    repository
        .push_manifest("right", &Document::new(MANIFEST, image("")))
        .expect_status(201);
    let whole = NO_MANIFESTS.iter().map(ToString::to_string);
    let spoilt = SPOILERS.iter().map(|fields| image(fields));
    let replaced = NO_DESCRIPTORS
        .iter()
        .map(|(right, wrong)| image("").replace(right, wrong));
    for body in whole.chain(spoilt).chain(replaced) {
        let answer = repository.push_manifest("wrong", &Document::new(MANIFEST, body.clone()));
        assert_eq!(answer.status, 400, "{body}: {}", answer.text());
        assert_eq!(answer.codes().len(), 1);
    }
    for media_type in [
        "text/plain",
        "application/vnd.docker.distribution.manifest.v1+json",
        "x",
        "\u{e4}",
    ] {
        let answer = repository.push_manifest("wrong", &Document::new(media_type, image("")));
        assert!(
            matches!(answer.status, 201 | 400),
            "{media_type}: {}",
            answer.text()
        );
    }
    repository
        .push_manifest("bytes", &Document::new(MANIFEST, noise(1, 10_000)))
        .expect_status(400);
    let deep = format!("{}{}", "[".repeat(50_000), "]".repeat(50_000));
    let odd = Document::new(MANIFEST, image(&format!(r#","x":{deep}"#)));
    repository.push_manifest("deep", &odd).expect_status(201);
    assert!(
        repository.manifest("deep").expect_status(200).body == odd.bytes,
        "what is not understood is kept"
    );
    is_sound(&registry);
}

const NO_REQUESTS: &[&str] = &[
    "\r\n\r\n\r\n",
    "GET\r\n\r\n",
    "GET /v2/ HTTP/9.9\r\n\r\n",
    "GET /v2/ HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
    "GET /v2/ HTTP/1.0\r\n\r\n",
    "POST /v2/a/blobs/uploads/ HTTP/1.0\r\n\r\n",
    "GET http://elsewhere/v2/ HTTP/1.1\r\nHost: x\r\n\r\n",
    "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
    "CONNECT a:1 HTTP/1.1\r\nHost: x\r\n\r\n",
    "PUT /v2/a/manifests/b HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    "PUT /v2/a/manifests/b HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999999\r\n\r\n",
    "PUT /v2/a/manifests/b HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    "PUT /v2/a/manifests/b HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "PUT /v2/a/manifests/b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n",
    "PUT /v2/a/manifests/b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\nhello",
    "PUT /v2/a/manifests/b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\nhello",
    "PUT /v2/a/manifests/b HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhello",
    "GET /v2/a/blobs/uploads/../../../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n",
    "GET /v2/%2e%2e%2f%2e%2e%2fetc%2fpasswd/manifests/x HTTP/1.1\r\nHost: x\r\n\r\n",
    "POST /v2/a/blobs/uploads/ HTTP/1.1\r\nHost: evil\"><script>\r\n\r\n",
    "GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\nGET /v2/_catalog HTTP/1.1\r\nHost: x\r\n\r\nGET /v2/a/tags/list HTTP/1.1\r\nHost: x\r\n\r\n",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nnot frames at all",
];

#[test]
fn requests_that_are_none_are_refused() {
    let registry = registry();
    let long = format!(
        "GET /v2/{} HTTP/1.1\r\nHost: x\r\n\r\n",
        "a/".repeat(60_000)
    );
    let headers = format!(
        "GET /v2/ HTTP/1.1\r\nHost: x\r\n{}\r\n",
        "X-Y: z\r\n".repeat(5000)
    );
    let texts = NO_REQUESTS
        .iter()
        .copied()
        .chain([long.as_str(), headers.as_str()]);
    let requests = texts
        .map(|text| text.as_bytes().to_vec())
        .chain((0..40).map(|seed| noise(seed, 3000)));
    for request in requests {
        let shown = String::from_utf8_lossy(&request)
            .chars()
            .take(120)
            .collect::<String>();
        nothing_failed(&raw(&registry, &request), &shown);
    }
    let pipelined =
        b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\nGET /v2/no/tags/list HTTP/1.1\r\nHost: x\r\n\r\n";
    assert_eq!(raw(&registry, pipelined), ["1 200 OK", "1 404 Not Found"]);
    is_sound(&registry);
}

/// A small generator of numbers, so that a failure can be repeated from its seed.
struct Dice(u64);

impl Dice {
    fn pick<'a, T: ?Sized>(&mut self, choices: &[&'a T]) -> &'a T {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let at = usize::try_from(self.0 >> 33).expect("31 bits") % choices.len();
        choices[at]
    }
}

const METHODS: &[&str] = &[
    "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "X",
];
const PATHS: &[&str] = &[
    "_catalog",
    "a/b/tags/list",
    "a/b/manifests/tag",
    "a/b/manifests/",
    "a/b/manifests/%00",
    "a/b/manifests/sha256:",
    "a/b/blobs/",
    "a/b/blobs/uploads/",
    "a/b/blobs/uploads/x",
    "a/b/referrers/x",
    "A/b/tags/list",
    "../x/blobs/y",
    "a/b/blobs/sha512:00",
];
const QUERIES: &[&str] = &[
    "",
    "?",
    "?n=1",
    "?n=-1",
    "?n=",
    "?last=%ff",
    "?last=a/../b&n=2",
    "?digest=sha256:x",
    "?mount=x&from=y",
    "?tag=",
    "?tag=%0a",
    "?digest-algorithm=sha512",
    "?_state=%3D%3D",
    "?artifactType=%ff",
    "?digest",
    "?&&&=&",
];
const HEADERS: &[&str] = &[
    "Content-Range",
    "Range",
    "If-Range",
    "If-None-Match",
    "Content-Type",
    "Accept",
    "Expect",
    "Forwarded",
    "X-Forwarded-Host",
];
const VALUES: &[&str] = &[
    "0-0",
    "bytes=0-",
    "9-1",
    "-",
    "18446744073709551615-18446744073709551615",
    "\u{7f}x",
    "",
    "*",
    "chunked",
    "\"x\"",
    "0-4",
];

/// Requests put together from parts that mean something, at random.
#[test]
fn any_mixture_of_parts_gets_an_answer_that_is_no_failure() {
    const SEED: u64 = 20_261_121;
    let registry = registry();
    registry
        .repository("a/b")
        .push("tag", &Image::new(1).build());
    let session = registry.repository("a/b").open_upload();
    let (_, upload) = session.split_once("/v2/").expect("a path");
    let closing = format!("{upload}&digest={}", sha256(b"x"));
    let mut dice = Dice(SEED);
    for round in 0..1500 {
        let target = match round % 4 {
            0 => closing.clone(),
            _ => format!("{}{}", dice.pick(PATHS), dice.pick(QUERIES)),
        };
        let mut header = || format!("{}: {}\r\n", dice.pick(HEADERS), dice.pick(VALUES));
        let headers = [header(), header()].concat();
        let (method, body) = (dice.pick(METHODS), dice.pick(&["", "hello", "{}"]));
        let head =
            format!("{method} /v2/{target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}");
        let request = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
        let answers = raw(&registry, request.as_bytes());
        assert!(
            !answers.is_empty(),
            "round {round} of seed {SEED}: no answer to {request:?}"
        );
        nothing_failed(
            &answers,
            &format!("round {round} of seed {SEED}: {request:?}"),
        );
    }
    is_sound(&registry);
}
