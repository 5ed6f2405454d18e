//! Tags: set one by one or many at once, and listed a page at a time.

use roadstead_tests::{Answer, Document, Registry, Repository};
use serde_json::json;

use super::steps::{
    MANIFEST, blob, configured, has, has_no, image, next_page, pages, put, put_with, refused,
    roadstead, values,
};

/// Pushes with these tags besides the reference.
fn put_tags(
    repository: &Repository,
    reference: &str,
    manifest: &Document,
    tags: &[String],
) -> Answer {
    let query: Vec<String> = tags.iter().map(|tag| format!("tag={tag}")).collect();
    let reference = format!("{reference}?{}", query.join("&"));
    repository.push_manifest(&reference, manifest)
}

fn numbered(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("t{n:02}")).collect()
}

/// O25
#[test]
fn a_manifest_is_pushed_with_many_tags_at_once() {
    let mut registry = roadstead();
    let repository = registry.repository("many");
    let manifest = image(&repository, &json!({}));
    let digest = manifest.digest.to_string();
    for count in [1, 10, 64] {
        let tags = numbered(count);
        let pushed = put_tags(&repository, &digest, &manifest, &tags);
        let pushed = pushed.expect_status(201);
        has(&pushed, "docker-content-digest", &digest);
        let confirmed = values(&pushed, "oci-tag");
        assert_eq!(confirmed, tags);
        assert_eq!(repository.tags(), tags);
    }
    registry.restart();
    let repository = registry.repository("many");
    for tag in numbered(64) {
        let pulled = repository.manifest(&tag).expect_status(200);
        assert_eq!(pulled.body, manifest.bytes);
    }
}

/// O25: the tag in the path, those in the query, and one that stands there twice.
#[test]
fn tags_are_set_beside_the_one_in_the_path() {
    let registry = roadstead();
    let repository = registry.repository("beside");
    let manifest = image(&repository, &json!({}));
    let tags = ["b", "c", "b"].map(str::to_owned);
    let pushed = put_tags(&repository, "a", &manifest, &tags);
    let pushed = pushed.expect_status(201);
    let confirmed = values(&pushed, "oci-tag");
    assert!(confirmed.contains(&"b") && confirmed.contains(&"c"));
    assert_eq!(repository.tags(), ["a", "b", "c"]);
}

/// O25
#[test]
fn more_tags_than_64_are_414_and_none_is_set() {
    let registry = roadstead();
    let repository = registry.repository("more");
    let manifest = image(&repository, &json!({}));
    let digest = manifest.digest.to_string();
    let pushed = put_tags(&repository, &digest, &manifest, &numbered(65));
    super::steps::is_error(pushed.expect_status(414));
    refused(repository.manifest(&digest), 404, "MANIFEST_UNKNOWN");
    refused(repository.manifest("t00"), 404, "MANIFEST_UNKNOWN");
}

/// O25: all or nothing.
#[test]
fn one_tag_that_is_none_refuses_the_push() {
    let registry = roadstead();
    let repository = registry.repository("none");
    let manifest = image(&repository, &json!({}));
    let digest = manifest.digest.to_string();
    for nonsense in [
        "",
        "-x",
        ".x",
        "a/b",
        "a%20b",
        "a:b",
        &"x".repeat(129),
        "%00",
        "%ff",
    ] {
        let tags = ["good".to_owned(), nonsense.to_owned()];
        let pushed = put_tags(&repository, &digest, &manifest, &tags);
        let pushed = refused(pushed, 400, "TAG_INVALID");
        has_no(&pushed, "oci-tag");
        refused(repository.manifest("good"), 404, "MANIFEST_UNKNOWN");
    }
}

/// O2, O27: letters, digits, underscores, periods and dashes, up to 128; upper and lower case are two things.
#[test]
fn tags_are_listed_in_the_order_of_their_bytes() {
    let mut registry = roadstead();
    let longest = "x".repeat(128);
    let tags = [
        "-", ".", "0", "1.0-rc.1", "A", "LATEST", "Z", "_", "_._-", "a", "a-b", "a.b", "a_b", "b",
        "latest", &longest,
    ];
    let repository = registry.repository("order");
    let mut pushed: Vec<&str> = tags
        .iter()
        .copied()
        .filter(|tag| !["-", "."].contains(tag))
        .collect();
    for tag in pushed.iter().rev() {
        put_with(&repository, tag, &json!({"annotations": {"tag": tag}}));
    }
    pushed.sort_unstable();
    assert_eq!(repository.tags(), pushed);
    registry.restart();
    let answer = registry.client().get("/v2/order/tags/list");
    let answer = answer.expect_status(200);
    has(&answer, "content-type", "application/json");
    has_no(&answer, "link");
    assert_eq!(answer.json(), json!({"name": "order", "tags": pushed}));
    let head = registry.client().head("/v2/order/tags/list");
    assert!(head.expect_status(200).body.is_empty());
}

/// O27: a repository that has manifests but no tags, one that has blobs alone, and one that was never heard of.
#[test]
fn a_repository_without_tags_has_an_empty_list_and_an_unknown_one_none() {
    let registry = roadstead();
    let repository = registry.repository("untagged");
    let manifest = put(&repository, "tag");
    repository.delete_manifest("tag").expect_status(202);
    let list = |name: &str| registry.client().get(&format!("/v2/{name}/tags/list"));
    let expected = json!({"name": "untagged", "tags": []});
    assert_eq!(list("untagged").expect_status(200).json(), expected);
    let digest = manifest.digest.to_string();
    repository.delete_manifest(&digest).expect_status(202);
    assert_eq!(list("untagged").expect_status(200).json(), expected);
    blob(&registry.repository("blobs/only"), b"blob");
    for name in ["blobs/only", "blobs", "unheard/of"] {
        let answer = refused(list(name), 404, "NAME_UNKNOWN");
        assert_eq!(answer.json()["errors"][0]["detail"]["name"], name);
    }
}

/// Five tags: `a` to `e`.
fn five(registry: &Registry) {
    let repository = registry.repository("five");
    for tag in ["a", "b", "c", "d", "e"] {
        put(&repository, tag);
    }
}

/// O28, O29
#[test]
fn a_page_of_tags_links_to_the_next() {
    let registry = roadstead();
    five(&registry);
    let list = |query: &str| registry.client().get(&format!("/v2/five/tags/list{query}"));
    for (query, tags, link) in [
        ("", json!(["a", "b", "c", "d", "e"]), None),
        ("?n=2", json!(["a", "b"]), Some("last=b&n=2")),
        ("?n=2&last=b", json!(["c", "d"]), Some("last=d&n=2")),
        ("?last=d&n=2", json!(["e"]), None),
        ("?n=5", json!(["a", "b", "c", "d", "e"]), None),
        ("?n=6", json!(["a", "b", "c", "d", "e"]), None),
        ("?last=c", json!(["d", "e"]), None),
        ("?last=e", json!([]), None),
        ("?last=bb&n=1", json!(["c"]), Some("last=c&n=1")),
        ("?last=zz", json!([]), None),
        ("?last=", json!(["a", "b", "c", "d", "e"]), None),
        ("?n=", json!(["a", "b", "c", "d", "e"]), None),
        ("?n=0", json!([]), None),
        ("?n=0&last=a", json!([]), None),
    ] {
        let answer = list(query).expect_status(200);
        assert_eq!(answer.json()["tags"], tags, "{query}");
        let expected = link.map(|link| format!("/v2/five/tags/list?{link}"));
        assert_eq!(next_page(&answer), expected, "{query}");
    }
    for n in 1..=5 {
        let pages = pages(&registry, &format!("/v2/five/tags/list?n={n}"), "tags");
        assert_eq!(pages.concat(), ["a", "b", "c", "d", "e"]);
        assert!(pages.iter().all(|page| (1..=n).contains(&page.len())));
    }
}

/// O28: `last` is where the list goes on, also when it was deleted meanwhile.
#[test]
fn a_list_goes_on_behind_a_tag_that_is_gone() {
    let registry = roadstead();
    five(&registry);
    let repository = registry.repository("five");
    repository.delete_manifest("b").expect_status(202);
    let answer = registry.client().get("/v2/five/tags/list?n=2&last=b");
    assert_eq!(answer.json()["tags"], json!(["c", "d"]));
}

/// O28: what is no number is refused; one that is larger than a page may be is taken for that.
#[test]
fn a_number_of_tags_is_a_number() {
    let registry = configured("tags: {maxtags: 3}");
    five(&registry);
    let list = |n: &str| registry.client().get(&format!("/v2/five/tags/list?n={n}"));
    for nonsense in [
        "-1",
        "x",
        "1.5",
        "+1",
        "0x1",
        "1e3",
        "%20",
        "99999999999999999999999",
    ] {
        refused(list(nonsense), 400, "PAGINATION_NUMBER_INVALID");
    }
    for n in ["3", "4", "1000000"] {
        let answer = list(n).expect_status(200);
        assert_eq!(answer.json()["tags"], json!(["a", "b", "c"]));
        let next = "/v2/five/tags/list?last=c&n=3".to_owned();
        assert_eq!(next_page(&answer), Some(next));
    }
}

/// O2: a tag that is none is not there to be pulled, and cannot be pushed.
#[test]
fn what_is_no_tag_is_refused_when_it_is_pushed() {
    let registry = roadstead();
    let repository = registry.repository("invalid");
    let manifest = image(&repository, &json!({}));
    for nonsense in [
        "-x",
        ".x",
        "..",
        "a+b",
        "a%20b",
        "%C3%A4",
        "a%00",
        &"x".repeat(129),
        "a@b",
    ] {
        let pushed = repository.push_manifest(nonsense, &manifest);
        refused(pushed, 400, "TAG_INVALID");
        refused(repository.manifest(nonsense), 404, "MANIFEST_UNKNOWN");
        refused(
            repository.delete_manifest(nonsense),
            404,
            "MANIFEST_UNKNOWN",
        );
    }
    assert_eq!(manifest.media_type, MANIFEST);
}
