//! HTTP itself, as no library would speak it: the registry answers or closes, and goes on.

use roadstead_tests::Registry;

use super::steps::{blob, put, roadstead, session_of, sha256};
use crate::raw::Raw;
use crate::uploads::path_of;

/// Still there, unharmed, and without a word of a panic.
#[track_caller]
pub(super) fn is_well(registry: &Registry) {
    registry.client().get("/v2/").expect_status(200);
    let log = registry.log();
    assert!(!log.contains("panicked"), "{log}");
    assert!(!log.contains(" 500"), "{log}");
}

/// What is said before the peer closes, or nothing. No answer is 2xx, and none blames the registry.
#[track_caller]
fn is_turned_away(registry: &Registry, bytes: &[u8]) {
    for heard in Raw::to(registry).say(bytes).close_half().answers() {
        let shown = String::from_utf8_lossy(bytes);
        assert!(
            (400..500).contains(&heard.status),
            "{shown:.80}: {}",
            heard.head
        );
    }
}

#[test]
fn a_request_line_that_is_none_is_turned_away() {
    let registry = roadstead();
    let long = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(300_000));
    let lines: [&[u8]; 20] = [
        b"\r\n\r\n",
        b"\0\0\0\0",
        b"GET\r\n\r\n",
        b"GET /v2/\r\n\r\n",
        b"GET /v2/ HTTP/9.9\r\n\r\n",
        b"GET /v2/ HTTP/1.1 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET  /v2/ HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET v2 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /v2/ \xff\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"G\0T /v2/ HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /v2/\0 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /v2/<> HTTP/1.1\r\nHost: x\r\n\r\n",
        b"(){} /v2/ HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS client's hello",
        b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        b"SSH-2.0-OpenSSH_10.0\r\n",
        b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com\r\n\r\n",
        b"{\"schemaVersion\":2}",
        long.as_bytes(),
    ];
    for line in lines {
        is_turned_away_or_http2(&registry, line);
    }
    is_well(&registry);
}

/// A client that begins as HTTP/2 does is answered in its frames, if at all.
#[track_caller]
fn is_turned_away_or_http2(registry: &Registry, bytes: &[u8]) {
    if bytes.starts_with(b"PRI") {
        let heard = Raw::to(registry).say(bytes).close_half().hear();
        assert!(!heard.starts_with(b"HTTP/1.1 2"));
    } else {
        is_turned_away(registry, bytes);
    }
}

#[test]
fn headers_that_are_none_are_turned_away() {
    let registry = roadstead();
    let many = "X-A: b\r\n".repeat(2000);
    let large = format!("X-A: {}\r\n", "b".repeat(600_000));
    for headers in [
        "no colon\r\n",
        ": no name\r\n",
        "Na me: x\r\n",
        "X-A : x\r\n",
        "X-A: a\0b\r\n",
        "X-A: a\rb\r\n",
        "Content-Length: x\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: 1e3\r\n",
        "Content-Length: 99999999999999999999999\r\n",
        "Content-Length: 1\r\nContent-Length: 2\r\n",
        "Content-Length: 1, 2\r\n",
        "Transfer-Encoding: nonsense\r\n",
        "Transfer-Encoding: chunked, gzip\r\n",
        many.as_str(),
        large.as_str(),
    ] {
        let request = format!("POST /v2/a/blobs/uploads/ HTTP/1.1\r\nHost: x\r\n{headers}\r\n");
        is_turned_away(&registry, request.as_bytes());
    }
    is_well(&registry);
}

/// RFC 9112, section 3.2: such a request means nobody.
#[test]
fn a_request_of_http_1_1_names_one_host() {
    let registry = roadstead();
    for hosts in ["", "Host: a\r\nHost: b\r\n"] {
        let request = format!("GET /v2/ HTTP/1.1\r\nConnection: close\r\n{hosts}\r\n");
        let heard = Raw::to(&registry).say(request.as_bytes()).answer();
        assert_eq!(heard.status, 400, "{}", heard.head);
    }
}

/// As nginx speaks to those behind it, and as old scripts do.
#[test]
fn http_1_0_needs_no_host() {
    let registry = roadstead();
    let heard = Raw::to(&registry).say(b"GET /v2/ HTTP/1.0\r\n\r\n");
    let heard = heard.answer();
    assert_eq!(
        (heard.status, heard.body.as_slice()),
        (200, b"{}".as_slice())
    );
    let heard = Raw::to(&registry)
        .say(b"POST /v2/a/blobs/uploads/ HTTP/1.0\r\nContent-Length: 0\r\n\r\n")
        .answer();
    assert_eq!(heard.status, 202);
    let location = "/v2/a/blobs/uploads/";
    let line = heard
        .head
        .lines()
        .find(|line| line.starts_with("Location: "));
    let line = line.expect("a Location");
    assert!(line.starts_with(&format!("Location: {location}")), "{line}");
    let digest = sha256(b"blob");
    let whole =
        format!("POST {location}?digest={digest} HTTP/1.0\r\nContent-Length: 4\r\n\r\nblob");
    let heard = Raw::to(&registry).say(whole.as_bytes()).answer();
    assert_eq!(heard.status, 201);
    let blob = format!("GET /v2/a/blobs/{digest} HTTP/1.0\r\n\r\n");
    let heard = Raw::to(&registry).say(blob.as_bytes()).answer();
    assert_eq!(heard.body, b"blob");
}

/// Answers come in the order of the requests, and a refused one does not end the others.
#[test]
fn requests_may_be_sent_one_behind_the_other() {
    let registry = roadstead();
    let repository = registry.repository("pipe");
    put(&repository, "tag");
    let digest = blob(&repository, b"blob");
    let request = |method: &str, path: &str, more: &str| {
        format!("{method} {path} HTTP/1.1\r\nHost: x\r\n{more}\r\n")
    };
    let body = |body: &str| format!("Content-Length: {}\r\n", body.len());
    let blob_path = repository.path(&format!("blobs/{digest}"));
    let all = [
        request("GET", "/v2/", ""),
        request("GET", "/v2/absent/tags/list", ""),
        request("GET", &blob_path, ""),
        request("PUT", "/v2/pipe/manifests/t", &body("{}")) + "{}",
        request("POST", "/v2/pipe/blobs/uploads/?digest=x", &body("unread")) + "unread",
        request("GET", "/v2/pipe/tags/list", ""),
        request("DELETE", &blob_path, ""),
        request("GET", &blob_path, "Connection: close\r\n"),
    ];
    let heard = Raw::to(&registry).say(all.concat().as_bytes()).answers();
    let statuses: Vec<u16> = heard.iter().map(|one| one.status).collect();
    assert_eq!(statuses, [200, 404, 200, 400, 400, 200, 202, 404]);
    assert_eq!(heard[2].body, b"blob");
}

/// A body that is cut off, or framed wrongly, is not taken for a whole one.
#[test]
fn a_chunked_body_that_breaks_its_framing_makes_no_blob() {
    let registry = roadstead();
    let digest = sha256(b"blob");
    let path = format!("/v2/framed/blobs/uploads/?digest={digest}");
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    for body in [
        "4\r\nblob\r\n",
        "4\r\nblob\r\n0\r\n",
        "4\r\nblob",
        "5\r\nblob\r\n0\r\n\r\n",
        "3\r\nblob\r\n0\r\n\r\n",
        "-4\r\nblob\r\n0\r\n\r\n",
        "x\r\nblob\r\n0\r\n\r\n",
        "\r\nblob\r\n0\r\n\r\n",
        "ffffffffffffffffff\r\nblob\r\n0\r\n\r\n",
        "4\nblob\n0\n\n",
        "4;\r\r\nblob\r\n0\r\n\r\n",
    ] {
        let request = format!("{head}{body}");
        for heard in Raw::to(&registry)
            .say(request.as_bytes())
            .close_half()
            .answers()
        {
            assert!(
                (400..500).contains(&heard.status),
                "{body:?}: {}",
                heard.head
            );
        }
        let absent = registry.repository("framed").blob(&digest);
        absent.expect_status(404);
    }
    let right = format!("{head}2;x=y\r\nbl\r\n2\r\nob\r\n0\r\nTrailer: x\r\n\r\n");
    let heard = Raw::to(&registry).say(right.as_bytes()).answer();
    assert_eq!(heard.status, 201);
    is_well(&registry);
}

/// One request is never two: with a length and a framing, the framing counts or nothing does.
#[test]
fn nothing_is_smuggled_behind_a_body() {
    let registry = roadstead();
    let repository = registry.repository("smuggled");
    put(&repository, "tag");
    let hidden = "DELETE /v2/smuggled/manifests/tag HTTP/1.1\r\nHost: x\r\n\r\n";
    let within = format!("{:x}\r\n{hidden}\r\n0\r\n\r\n", hidden.len());
    for (headers, body) in [
        (
            "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
            within.as_str(),
        ),
        (
            "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
            within.as_str(),
        ),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
            within.as_str(),
        ),
        ("Transfer-Encoding: xchunked\r\n", hidden),
        ("Transfer-Encoding : chunked\r\n", within.as_str()),
    ] {
        let request =
            format!("PUT /v2/smuggled/manifests/x HTTP/1.1\r\nHost: x\r\n{headers}\r\n{body}");
        let heard = Raw::to(&registry).say(request.as_bytes()).close_half();
        for heard in heard.answers() {
            assert!(
                (400..500).contains(&heard.status),
                "{headers}: {}",
                heard.head
            );
        }
        repository.manifest("tag").expect_status(200);
    }
}

/// A client that has said all may close its half at once, and still hears the answer.
#[test]
fn a_client_that_closes_its_half_is_answered() {
    let registry = roadstead();
    let digest = sha256(b"blob");
    let path = format!("/v2/half/blobs/uploads/?digest={digest}");
    let request = format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nblob");
    let heard = Raw::to(&registry).say(request.as_bytes()).close_half();
    assert_eq!(heard.answer().status, 201);
    let request = b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n";
    let heard = Raw::to(&registry).say(request).close_half();
    assert_eq!(heard.answer().status, 200);
}

/// Connections that end in the middle of anything are given up, and others served meanwhile.
#[test]
fn a_connection_may_end_anywhere() {
    let registry = roadstead();
    let repository = registry.repository("ends");
    let session = repository.open_upload();
    let path = path_of(&session);
    let digest = sha256(b"0123456789");
    let whole = format!(
        "PUT {path}&digest={digest} HTTP/1.1\r\nHost: x\r\nContent-Range: 0-9\r\nContent-Length: 10\r\n\r\n0123456789"
    );
    for end in 0..whole.len() {
        drop(Raw::to(&registry).say(&whole.as_bytes()[..end]));
    }
    registry
        .client()
        .get(session_of(&session))
        .expect_status(204);
    let closed = repository.close_upload(&session, b"0123456789", &digest);
    closed.expect_status(201);
    is_well(&registry);
}

/// Who waits to be told to go on is told so only where the body is wanted.
#[test]
fn a_client_is_told_to_go_on_where_its_body_is_wanted() {
    let registry = roadstead();
    let session = registry.repository("expect").open_upload();
    let head = |path: &str| {
        format!(
            "PATCH {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n"
        )
    };
    let wanted = Raw::to(&registry)
        .say(head(path_of(&session)).as_bytes())
        .say(b"blob");
    let heard = String::from_utf8(wanted.hear()).expect("text");
    assert!(
        heard.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 202 "),
        "{heard}"
    );
    let refused = head("/v2/expect/blobs/uploads/x?_state=y");
    let heard = Raw::to(&registry).say(refused.as_bytes()).hear();
    let heard = String::from_utf8(heard).expect("text");
    assert!(heard.starts_with("HTTP/1.1 404 "), "{heard}");
}
