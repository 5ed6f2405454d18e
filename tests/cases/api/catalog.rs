//! The list of repositories.

use roadstead_tests::Registry;
use serde_json::json;

use super::steps::{blob, configured, has, has_no, next_page, pages, put, refused, roadstead};

/// In the order of their bytes, which is not the order of their directories.
const NAMES: [&str; 7] = ["a", "a-b", "a-b/c", "a.b", "a/b", "a0", "b"];

fn filled(yaml: &str) -> Registry {
    let registry = configured(yaml);
    for name in NAMES.iter().rev() {
        put(&registry.repository(name), "tag");
    }
    registry
}

/// O1
#[test]
fn an_empty_registry_has_an_empty_catalog() {
    let registry = roadstead();
    let answer = registry.client().get("/v2/_catalog").expect_status(200);
    assert_eq!(answer.json(), json!({"repositories": []}));
    has(&answer, "content-type", "application/json");
    has_no(&answer, "link");
}

/// O1: repositories have manifests, or had some; those with blobs alone are none yet.
#[test]
fn repositories_are_listed_in_the_order_of_their_bytes() {
    let mut registry = filled("");
    blob(&registry.repository("blobs/only"), b"blob");
    registry.client().post("/v2/opened/blobs/uploads/");
    assert_eq!(registry.client().catalog(), NAMES);
    registry.restart();
    assert_eq!(registry.client().catalog(), NAMES);
    let head = registry.client().head("/v2/_catalog").expect_status(200);
    assert!(head.body.is_empty());
}

/// O29
#[test]
fn a_page_of_the_catalog_links_to_the_next() {
    let registry = filled("");
    for n in 1..=8 {
        let first = format!("/v2/_catalog?n={n}");
        let pages = pages(&registry, &first, "repositories");
        assert_eq!(pages.concat(), NAMES, "{n}");
        assert!(pages.iter().all(|page| (1..=n).contains(&page.len())));
    }
    let answer = registry.client().get("/v2/_catalog?n=2&last=a-b");
    assert_eq!(answer.json()["repositories"], json!(["a-b/c", "a.b"]));
    let next = "/v2/_catalog?last=a.b&n=2".to_owned();
    assert_eq!(next_page(&answer), Some(next));
    let answer = registry.client().get("/v2/_catalog?n=2&last=a/b");
    assert_eq!(answer.json()["repositories"], json!(["a0", "b"]));
    has_no(&answer, "link");
    let slash = registry.client().get("/v2/_catalog?n=3&last=a-b");
    let next = "/v2/_catalog?last=a%2Fb&n=3".to_owned();
    assert_eq!(next_page(&slash), Some(next));
}

/// O28: none is none.
#[test]
fn a_catalog_of_nothing_is_empty() {
    let registry = filled("");
    for query in ["?n=0", "?n=0&last=a", "?last=zz", "?last=b&n=1"] {
        let answer = registry.client().get(&format!("/v2/_catalog{query}"));
        let answer = answer.expect_status(200);
        assert_eq!(answer.json(), json!({"repositories": []}), "{query}");
        has_no(&answer, "link");
    }
}

#[test]
fn a_page_of_the_catalog_has_a_bound() {
    let registry = filled("catalog: {maxentries: 3}");
    for nonsense in ["-1", "x", "1.5", "4", "1000", "99999999999999999999999"] {
        let answer = registry.client().get(&format!("/v2/_catalog?n={nonsense}"));
        refused(answer, 400, "PAGINATION_NUMBER_INVALID");
    }
    for first in ["/v2/_catalog", "/v2/_catalog?n=3"] {
        let pages = pages(&registry, first, "repositories");
        assert_eq!(pages[0], NAMES[..3]);
        assert_eq!(pages.concat(), NAMES);
    }
}

/// A place in the list may be anything: what it says is compared, not looked up.
#[test]
fn the_catalog_goes_on_behind_any_text() {
    let registry = filled("");
    for (last, first) in [
        ("../..", "a"),
        ("A", "a"),
        ("a-b/", "a-b/c"),
        ("a/", "a/b"),
        ("%00", "a"),
        ("%ff", ""),
        ("a%20b", "a-b"),
    ] {
        let answer = registry.client().get(&format!("/v2/_catalog?last={last}"));
        let listed = answer.expect_status(200).json();
        let listed = listed["repositories"][0].as_str().unwrap_or_default();
        assert_eq!(listed, first, "{last}");
    }
}
