//! Paths, queries and headers that hold anything: nothing of a request is ever taken for a path of the storage, and what is
//! not understood is passed over.

use roadstead_tests::image::noise;

use super::steps::{blob, has, put, refused, roadstead};
use crate::raw::{Heard, ask};

/// Whatever climbs out of the storage finds nothing, however it is spelled.
#[test]
fn no_path_leads_out_of_the_storage() {
    let registry = roadstead();
    put(&registry.repository("a"), "tag");
    std::fs::write(registry.root().join("secret"), "a secret").expect("written");
    let climbs = [
        "..",
        "%2e%2e",
        "%2E%2E",
        ".%2e",
        "..%2f..",
        "%2e%2e%2f",
        "..%5c..",
        "%252e%252e",
        "..;",
        "....//",
    ];
    for up in climbs {
        for target in [
            format!("/{up}/{up}/secret"),
            format!("/v2/{up}/{up}/{up}/{up}/secret"),
            format!("/v2/a/{up}/{up}/secret"),
            format!("/v2/a/manifests/{up}/{up}/{up}/{up}/{up}/secret"),
            format!("/v2/a/manifests/{up}"),
            format!("/v2/a/blobs/{up}/{up}/secret"),
            format!("/v2/a/blobs/{up}"),
            format!("/v2/a/blobs/uploads/{up}/{up}/secret"),
            format!("/v2/{up}/secret/tags/list"),
            format!("/v2/a/tags/list/{up}/{up}/secret"),
            format!("/v2/a/referrers/{up}"),
            format!("/v2/_catalog?last={up}/{up}/secret"),
            format!("/v2/a/tags/list?last={up}/{up}/secret"),
        ] {
            let heard = ask(&registry, "GET", &target, "");
            let is_listing = heard.status == 200 && target.contains("?last=");
            let is_refused = matches!(heard.status, 301 | 400 | 404);
            assert!(is_listing || is_refused, "{target}: {}", heard.head);
            assert!(!contains(&heard, "a secret"), "{target}");
        }
    }
}

fn contains(heard: &Heard, text: &str) -> bool {
    let body = String::from_utf8_lossy(&heard.body);
    body.contains(text) || heard.head.contains(text)
}

/// Queries: parameters that are not known, that stand there twice, that are cut off, and very many of them.
#[test]
fn a_query_may_hold_anything() {
    let registry = roadstead();
    let repository = registry.repository("q");
    put(&repository, "tag");
    let digest = blob(&repository, b"blob");
    let many = "x=y&".repeat(5000);
    for query in [
        "",
        "?",
        "&",
        "&&&=&=",
        "a",
        "=b",
        "%",
        "%zz",
        "%ff=%fe",
        "a=b=c=d",
        "x%00=y",
        "_state",
        many.as_str(),
    ] {
        for path in [
            "manifests/tag".to_owned(),
            format!("blobs/{digest}"),
            "tags/list".to_owned(),
        ] {
            let target = format!("{}?{query}", repository.path(&path));
            let heard = ask(&registry, "GET", &target, "");
            assert_eq!(heard.status, 200, "{path} {}", query.len());
        }
    }
    // Of a parameter that stands there twice, the first counts.
    let listed = registry.client().get("/v2/q/tags/list?n=0&n=x");
    listed.expect_status(200);
    let listed = registry.client().get("/v2/q/tags/list?n=x&n=0");
    refused(listed, 400, "PAGINATION_NUMBER_INVALID");
}

/// Headers of nonsense are none.
#[test]
fn a_header_may_hold_anything() {
    let registry = roadstead();
    let repository = registry.repository("h");
    put(&repository, "tag");
    let digest = blob(&repository, &noise(1, 1000));
    let paths = [
        repository.path("manifests/tag"),
        repository.path(&format!("blobs/{digest}")),
        repository.path("tags/list"),
    ];
    let long = "x".repeat(50_000);
    for name in [
        "Accept",
        "If-None-Match",
        "If-Range",
        "Range",
        "Content-Type",
        "Content-Range",
        "Authorization",
        "Cookie",
        "X-Forwarded-Host",
        "User-Agent",
        "Expect",
    ] {
        for value in [
            "",
            ",",
            "\"",
            ";;;",
            "\u{1}\u{7f}",
            "bytes",
            "\u{e4}\u{1F600}",
            "a\tb",
            long.as_str(),
        ] {
            for path in &paths {
                let heard = ask(&registry, "GET", path, &format!("{name}: {value}\r\n"));
                let is_answered = matches!(heard.status, 200 | 400 | 417 | 431);
                assert!(is_answered, "{name}: {value:.20}: {}", heard.head);
            }
        }
    }
    has(&registry.client().get("/v2/"), "content-length", "2");
}
