//! curl: every step by hand, in the forms of HTTP that clients and proxies in front use.

use std::path::{Path, PathBuf};

use roadstead_tests::image::noise;
use roadstead_tests::tools::{Curled, curl};
use roadstead_tests::{Client, Document, Image, Kind, Options, Registry, Run, scratch};
use tempfile::TempDir;

use super::registry;

const SOME: usize = 300_000;

/// A repository, seen through curl with the same flags in each request.
struct ByHand<'a> {
    url: String,
    flags: &'a [&'a str],
    dir: TempDir,
}

impl<'a> ByHand<'a> {
    fn new(registry: &Registry, name: &str, flags: &'a [&'a str]) -> Self {
        let url = format!("{}/v2/{name}", registry.url());
        let dir = scratch();
        Self { url, flags, dir }
    }

    fn file(&self, bytes: &[u8]) -> PathBuf {
        let path = self.dir.path().join("body");
        std::fs::write(&path, bytes).expect("a file to send");
        path
    }

    fn curl(&self, args: &[&str]) -> Curled {
        curl(&[self.flags, args].concat())
    }

    /// A request with a body of a known length.
    fn send(&self, method: &str, url: &str, content_type: &str, body: &[u8]) -> Curled {
        let data = format!("@{}", self.file(body).display());
        let header = format!("Content-Type: {content_type}");
        self.curl(&["-X", method, "-H", &header, "--data-binary", &data, url])
    }

    /// Opens a session and returns where it goes on.
    fn open(&self) -> String {
        let url = format!("{}/blobs/uploads/", self.url);
        let opened = self.curl(&["-X", "POST", "-H", "Content-Length: 0", &url]);
        location(&opened, 202)
    }

    fn close(&self, session: &str, blob: &Document) {
        let url = with_digest(session, blob);
        let closed = self.send("PUT", &url, OCTETS, b"");
        closed.answer.expect_status(201);
    }

    /// The whole of a push and a pull: POST, PATCH, PUT, then the manifest; and all of it back.
    fn push_and_pull(&self, seed: u64) {
        let image = Image::new(seed).build();
        for blob in image.blobs() {
            let session = self.open();
            let session = location(&self.send("PATCH", &session, OCTETS, &blob.bytes), 202);
            self.close(&session, blob);
            self.assert_pulled(&format!("blobs/{}", blob.digest), blob);
        }
        let root = image.root();
        let url = format!("{}/manifests/v1", self.url);
        self.send("PUT", &url, &root.media_type, &root.bytes)
            .answer
            .expect_status(201);
        self.assert_pulled("manifests/v1", root);
        self.assert_pulled(&format!("manifests/{}", root.digest), root);
    }

    /// GET and HEAD say the same of a document; GET has its bytes as well.
    fn assert_pulled(&self, path: &str, document: &Document) {
        let url = format!("{}/{path}", self.url);
        let accept = format!("Accept: {}", document.media_type);
        let got = self.curl(&["-H", &accept, &url]).answer.expect_status(200);
        let headed = self.curl(&["-H", &accept, "--head", &url]).answer;
        assert!(got.body == document.bytes, "{path}");
        for answer in [&got, &headed.expect_status(200)] {
            assert_eq!(
                answer.expect_header("docker-content-digest"),
                document.digest.to_string()
            );
            assert_eq!(
                answer.expect_header("content-length"),
                document.bytes.len().to_string()
            );
            assert_eq!(answer.header("transfer-encoding"), None);
        }
    }
}

const OCTETS: &str = "application/octet-stream";

fn blob(seed: u64) -> Document {
    Document::new(OCTETS, noise(seed, SOME))
}

#[track_caller]
fn location(curled: &Curled, status: u16) -> String {
    let answer = curled.answer.clone().expect_status(status);
    answer.location().to_owned()
}

fn with_digest(session: &str, blob: &Document) -> String {
    let joint = if session.contains('?') { '&' } else { '?' };
    format!("{session}{joint}digest={}", blob.digest)
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

#[test]
fn http_1_1() {
    let registry = registry();
    ByHand::new(&registry, "by/hand", &["--http1.1"]).push_and_pull(50);
}

#[test]
fn http_1_0_as_old_proxies_speak_it() {
    let registry = registry();
    let by_hand = ByHand::new(&registry, "by/hand", &["--http1.0"]);
    by_hand.push_and_pull(51);
    let curled = by_hand.curl(&[&format!("{}/v2/", registry.url())]);
    assert_eq!(curled.answer.body, b"{}");
}

#[test]
fn http_2_without_tls() {
    let options = Options::default().env("REGISTRY_HTTP_H2C_ENABLED", "true");
    let registry = Registry::under_test(options);
    if registry.kind() == Kind::Reference {
        return; // Version 2 of the reference does not speak it: this case is Roadstead's alone.
    }
    let by_hand = ByHand::new(&registry, "by/hand", &["--http2-prior-knowledge"]);
    by_hand.push_and_pull(52);
    let curled = by_hand.curl(&[&format!("{}/v2/", registry.url())]);
    assert!(curled.status_lines[0].starts_with("HTTP/2 200"));
}

#[test]
fn a_body_without_a_length() {
    let registry = registry();
    let by_hand = ByHand::new(&registry, "chunked", &[]);
    let blob = blob(53);
    let body = text(&by_hand.file(&blob.bytes));
    let chunked = ["-T", &body, "-H", "Transfer-Encoding: chunked"];

    let session = by_hand.open();
    let patched = by_hand.curl(&[&chunked[..], &["-X", "PATCH", &session]].concat());
    assert_eq!(
        patched.answer.header("range"),
        Some(format!("0-{}", SOME - 1).as_str())
    );
    by_hand.close(&location(&patched, 202), &blob);
    by_hand.assert_pulled(&format!("blobs/{}", blob.digest), &blob);

    let whole = Document::new(OCTETS, noise(54, SOME));
    let body = text(&by_hand.file(&whole.bytes));
    let url = with_digest(&by_hand.open(), &whole);
    let put = [
        "-T",
        &body,
        "-H",
        "Transfer-Encoding: chunked",
        "-X",
        "PUT",
        &url,
    ];
    by_hand.curl(&put).answer.expect_status(201);
    by_hand.assert_pulled(&format!("blobs/{}", whole.digest), &whole);
}

#[test]
fn a_body_in_pieces_with_their_ranges() {
    let registry = registry();
    let by_hand = ByHand::new(&registry, "pieces", &[]);
    let blob = blob(55);
    let mut session = by_hand.open();
    let mut from = 0;
    for piece in blob.bytes.chunks(SOME / 3 + 1) {
        let last = from + piece.len() - 1;
        let data = format!("@{}", text(&by_hand.file(piece)));
        let patched = by_hand.curl(&[
            "-X",
            "PATCH",
            "-H",
            "Content-Type: application/octet-stream",
            "-H",
            &format!("Content-Range: {from}-{last}"),
            "--data-binary",
            &data,
            &session,
        ]);
        session = location(&patched, 202);
        let range = format!("0-{last}");
        assert_eq!(patched.answer.header("range"), Some(range.as_str()));
        let status = by_hand.curl(&[&session]);
        assert_eq!(status.answer.header("range"), Some(range.as_str()));
        status.answer.expect_status(204);
        from = last + 1;
    }
    by_hand.close(&session, &blob);
    by_hand.assert_pulled(&format!("blobs/{}", blob.digest), &blob);
}

#[test]
fn a_client_that_asks_first_is_told_to_go_on() {
    let registry = registry();
    let flags = [
        "--http1.1",
        "--expect100-timeout",
        "30",
        "-H",
        "Expect: 100-continue",
    ];
    let by_hand = ByHand::new(&registry, "asks", &flags);
    let blob = blob(56);
    let session = by_hand.open();
    let patched = by_hand.send("PATCH", &session, OCTETS, &blob.bytes);
    assert_eq!(
        patched.status_lines,
        ["HTTP/1.1 100 Continue", "HTTP/1.1 202 Accepted"]
    );
    by_hand.close(&location(&patched, 202), &blob);
    by_hand.assert_pulled(&format!("blobs/{}", blob.digest), &blob);
}

#[test]
fn parts_of_a_blob() {
    let registry = registry();
    let blob = blob(57);
    let repository = registry.repository("parts");
    repository
        .push_blob(&blob.bytes, &blob.digest)
        .expect_status(201);
    let url = format!("{}/v2/parts/blobs/{}", registry.url(), blob.digest);

    for (asked, from, to) in [
        ("0-0", 0, 1),
        ("100-199", 100, 200),
        ("299990-", 299_990, SOME),
        ("-10", SOME - 10, SOME),
        ("299990-400000", 299_990, SOME),
    ] {
        let part = curl(&["--range", asked, &url]).answer.expect_status(206);
        assert!(part.body == blob.bytes[from..to], "{asked}");
        let range = format!("bytes {from}-{}/{SOME}", to - 1);
        assert_eq!(part.header("content-range"), Some(range.as_str()));
    }
    if registry.kind() == Kind::Reference {
        return; // Version 2 announces the whole blob with its 416 and sends none of it.
    }
    let beyond = curl(&["--range", "300000-", &url])
        .answer
        .expect_status(416);
    assert_eq!(beyond.header("content-range"), Some("bytes */300000"));
}

#[test]
fn a_broken_download_is_resumed() {
    let registry = registry();
    let blob = blob(58);
    registry
        .repository("resumed")
        .push_blob(&blob.bytes, &blob.digest)
        .expect_status(201);
    let url = format!("{}/v2/resumed/blobs/{}", registry.url(), blob.digest);
    let dir = scratch();
    let partial = dir.path().join("partial");
    std::fs::write(&partial, &blob.bytes[..123_456]).unwrap();
    Run::new("curl")
        .args(["--silent", "--fail", "--continue-at", "-", "--output"])
        .args([&text(&partial), &url])
        .ok();
    assert!(std::fs::read(&partial).unwrap() == blob.bytes);
}

#[test]
fn what_is_not_there_is_said_in_json() {
    let registry = registry();
    let client = Client::new(&registry.url());
    let image = Image::new(59).build();
    client.repository("there").push("v1", &image);
    for (path, code) in [
        ("there/manifests/v2", "MANIFEST_UNKNOWN"),
        (&format!("there/blobs/{}", blob(59).digest), "BLOB_UNKNOWN"),
        ("not/there/tags/list", "NAME_UNKNOWN"),
    ] {
        let url = format!("{}/v2/{path}", registry.url());
        let answer = curl(&[&url]).answer.expect_status(404);
        assert_eq!(answer.codes(), [code], "{path}");
        assert_eq!(
            answer.header("docker-distribution-api-version"),
            Some("registry/2.0")
        );
    }
}
