//! Requests by chance, from fixed seeds: any path of any parts, any method, header, query and body, and bytes that are no
//! request at all. Each is answered without an error of the registry's, which is as good as new behind them.

use roadstead_tests::image::noise;
use serde_json::json;

use super::steps::{MANIFEST, put_with, roadstead, sha256, sha512};
use super::wire::is_well;
use crate::raw::Raw;

/// Numbers from a seed.
struct Chance {
    bytes: std::vec::IntoIter<u8>,
}

impl Chance {
    /// A case takes a few hundred numbers; those that take more go on with zeros.
    fn of(seed: u64) -> Self {
        let bytes = noise(seed, 8000).into_iter();
        Self { bytes }
    }

    /// Less than `bound`.
    fn below(&mut self, bound: usize) -> usize {
        let mut next = || usize::from(self.bytes.next().unwrap_or(0));
        (next() << 16 | next() << 8 | next()) % bound
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }

    fn some(&mut self, of: &[&str], most: usize, between: &str) -> String {
        let count = self.below(most + 1);
        let parts: Vec<&str> = (0..count).map(|_| self.one(of)).collect();
        parts.join(between)
    }
}

const METHODS: [&str; 12] = [
    "GET", "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "get", "BREW",
    "PROPFIND",
];

const HEADERS: [&str; 24] = [
    "Range: bytes=0-5",
    "Range: bytes=-",
    "Range: bytes=18446744073709551615-18446744073709551615",
    "Range: bytes=0-0,-1",
    "Content-Range: 0-9",
    "Content-Range: 0-18446744073709551615",
    "Content-Range: 18446744073709551615-18446744073709551615",
    "Content-Range: 1-0",
    "If-None-Match: *",
    "If-None-Match: \"",
    "If-Range: W/\"\"",
    "Accept: */*;q=x",
    "Accept: \u{fe}\u{ff}",
    "Content-Type: application/vnd.oci.image.manifest.v1+json",
    "Content-Type: application/vnd.oci.image.index.v1+json; a=b",
    "Content-Type: \u{fe}",
    "Expect: 100-continue",
    "Authorization: Basic Og==",
    "Authorization: Bearer ...",
    "X-Forwarded-Proto: javascript",
    "X-Forwarded-Host: a, b",
    "Forwarded: for=;proto=;host=\"",
    "Upgrade: h2c",
    "TE: trailers",
];

const QUERIES: [&str; 22] = [
    "n=0",
    "n=1",
    "n=-1",
    "n=18446744073709551615",
    "n=9999",
    "n",
    "last=a",
    "last=%00",
    "last=%ff",
    "last=../..",
    "mount=x",
    "from=a",
    "from=..",
    "digest=x",
    "digest=",
    "digest-algorithm=sha512",
    "tag=a",
    "tag=/",
    "artifactType=x",
    "_state=x",
    "_state=AAAA",
    "%=%",
];

const BODIES: [&str; 10] = [
    "",
    "x",
    "{}",
    "[]",
    "null",
    "{\"schemaVersion\":2}",
    "\u{0}",
    "\u{feff}{}",
    "{\"schemaVersion\":2,\"manifests\":[]}",
    "{\"schemaVersion\":2,\"config\":{}}",
];

/// Parts of paths, right and wrong.
fn parts() -> Vec<String> {
    let mut parts: Vec<String> = [
        "v2",
        "v2",
        "v2",
        "a",
        "a",
        "b",
        "A",
        "",
        "",
        ".",
        "..",
        "%2e%2e",
        "%2f",
        "%00",
        "%ff",
        "%",
        "%zz",
        "_catalog",
        "tags",
        "list",
        "manifests",
        "blobs",
        "uploads",
        "referrers",
        "latest",
        "tag",
        "-",
        "\u{e4}",
        "a%20b",
        ":",
        "sha256:",
        "sha256:x",
        "md5:d41d8cd98f00b204e9800998ecf8427e",
    ]
    .map(str::to_owned)
    .to_vec();
    parts.push(sha256(b"{}").to_string());
    parts.push(sha512(b"{}").to_string());
    parts.push("x".repeat(300));
    parts
}

/// A target: now and then one that leads somewhere.
fn target(chance: &mut Chance, parts: &[&str]) -> String {
    let path = if chance.below(3) == 0 {
        chance.some(parts, 8, "/")
    } else {
        let name = chance.one(&["a", "some", "some", "new/er", "NO", "..", ""]);
        let kind = chance.one(&["tags", "manifests", "blobs", "blobs/uploads", "referrers"]);
        let last = if chance.below(2) == 0 {
            "tag"
        } else {
            chance.one(parts)
        };
        format!("v2/{name}/{kind}/{last}")
    };
    let query = chance.some(&QUERIES, 3, "&");
    format!("/{path}?{query}")
}

/// A request that is well framed, and nothing else.
fn request(chance: &mut Chance, parts: &[&str]) -> String {
    let (method, target) = (chance.one(&METHODS), target(chance, parts));
    let headers = chance.some(&HEADERS, 3, "\r\n");
    let headers = if headers.is_empty() {
        headers
    } else {
        headers + "\r\n"
    };
    let body = chance.one(&BODIES);
    let (framing, body) = if chance.below(2) == 0 {
        (format!("Content-Length: {}", body.len()), body.to_owned())
    } else {
        let chunk = format!("{:x}\r\n{body}\r\n", body.len());
        let chunk = if body.is_empty() {
            String::new()
        } else {
            chunk
        };
        (
            "Transfer-Encoding: chunked".to_owned(),
            format!("{chunk}0\r\n\r\n"),
        )
    };
    let head =
        format!("{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}{framing}");
    format!("{head}\r\n\r\n{body}")
}

/// The status of the last answer: one that says to go on may come before it.
fn status(heard: &[u8]) -> Option<u16> {
    let text = String::from_utf8_lossy(heard);
    let mut statuses = text
        .lines()
        .filter_map(|line| line.strip_prefix("HTTP/1.1 "));
    let last = statuses.rfind(|rest| !rest.starts_with("100"))?;
    last.get(..3)?.parse().ok()
}

/// O37
#[test]
fn a_request_by_chance_is_answered_and_never_with_an_error_of_the_registry() {
    let registry = roadstead();
    let kept = put_with(&registry.repository("kept"), "kept", &json!({}));
    put_with(&registry.repository("some"), "tag", &json!({}));
    let parts = parts();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let mut seen = std::collections::BTreeMap::new();
    for seed in 0..3000 {
        let request = request(&mut Chance::of(seed), &parts);
        let heard = Raw::to(&registry).say(request.as_bytes()).hear();
        let status =
            status(&heard).unwrap_or_else(|| panic!("seed {seed}: no answer to {request}"));
        assert!(status < 500, "seed {seed}: {status} to {request}");
        *seen.entry(status).or_insert(0) += 1;
    }
    for status in [200, 202, 400, 404, 405] {
        assert!(seen.contains_key(&status), "{seen:?}");
    }
    let pulled = registry.repository("kept").manifest("kept");
    assert_eq!(pulled.expect_status(200).body, kept.bytes);
    is_well(&registry);
}

/// O37: a request of which some bytes were changed, removed or doubled.
#[test]
fn a_request_that_was_damaged_does_no_harm() {
    let registry = roadstead();
    let parts = parts();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    for seed in 0..1500 {
        let mut chance = Chance::of(seed + 1_000_000);
        let mut bytes = request(&mut chance, &parts).into_bytes();
        for _ in 0..=chance.below(4) {
            let at = chance.below(bytes.len());
            match chance.below(3) {
                0 => bytes[at] = u8::try_from(chance.below(256)).expect("a byte"),
                1 => drop(bytes.remove(at)),
                _ => bytes.insert(at, bytes[at]),
            }
        }
        let heard = Raw::to(&registry).say(&bytes).close_half().hear();
        let status = status(&heard).unwrap_or(0);
        let shown = String::from_utf8_lossy(&bytes);
        assert!(status < 500, "seed {seed}: {status} to {shown}");
    }
    is_well(&registry);
}

/// O37: noise, and noise behind the beginning of a request.
#[test]
fn noise_does_no_harm() {
    let registry = roadstead();
    for seed in 0..500 {
        let noise = noise(seed, 1 + usize::try_from(seed).expect("small") * 7 % 3000);
        let begun = [
            "",
            "GET ",
            "GET /v2/ HTTP/1.1\r\n",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        ];
        let begun = begun[usize::try_from(seed % 4).expect("small")];
        let heard = Raw::to(&registry).say(begun.as_bytes()).say(&noise);
        let heard = heard.close_half().hear();
        let status = status(&heard).unwrap_or(0);
        assert!(status < 500 && status != 200, "seed {seed}: {status}");
    }
    is_well(&registry);
}

/// O37: manifests of which some bytes were changed: accepted whole, or refused.
#[test]
fn a_manifest_that_was_damaged_is_refused_or_served_as_it_came() {
    let registry = roadstead();
    let repository = registry.repository("damaged");
    let fields = json!({"annotations": {"a": "b"}, "artifactType": "x/y", "subject": null});
    let right = put_with(&repository, "right", &fields);
    let mut accepted = 0;
    for seed in 0..1500 {
        let mut chance = Chance::of(seed + 2_000_000);
        let mut bytes = right.bytes.clone();
        for _ in 0..=chance.below(3) {
            let at = chance.below(bytes.len());
            match chance.below(3) {
                0 => bytes[at] = u8::try_from(chance.below(256)).expect("a byte"),
                1 => drop(bytes.remove(at)),
                _ => bytes.insert(at, b"{}[],:\"019-\\ \0"[chance.below(14)]),
            }
        }
        let damaged = roadstead_tests::Document::new(MANIFEST, bytes);
        let pushed = repository.push_manifest("damaged", &damaged);
        match pushed.status {
            201 => {
                accepted += 1;
                let pulled = repository.manifest("damaged").expect_status(200);
                assert_eq!(pulled.body, damaged.bytes, "seed {seed}");
            }
            400 => drop(super::steps::is_error(pushed)),
            status => panic!("seed {seed}: {status}: {}", pushed.text()),
        }
    }
    assert!(accepted > 0, "chance never left one whole");
    is_well(&registry);
}
