//! Tags and repositories, in order and in pages.

use roadstead_tests::{Answer, Client, Image, Options, Registry};

use super::{is_refused, push, registry};

fn names(answer: &Answer, key: &str) -> Vec<String> {
    let json = answer.json();
    let list = json[key].as_array().expect("a list").iter();
    list.map(|name| name.as_str().expect("a name").to_owned())
        .collect()
}

/// The target of a `Link` to the next page.
fn next(answer: &Answer) -> Option<String> {
    let link = answer.header("link")?;
    let (target, rest) = link
        .strip_prefix('<')
        .and_then(|link| link.split_once('>'))
        .expect("a target in brackets");
    assert_eq!(rest, "; rel=\"next\"");
    assert!(
        target.starts_with("/v2/"),
        "relative to the registry: {target}"
    );
    Some(target.to_owned())
}

/// All pages from this one, and how many there were.
fn follow(client: &Client, first: &str, key: &str) -> (Vec<String>, usize) {
    let (mut all, mut pages, mut target) = (Vec::new(), 0, Some(first.to_owned()));
    while let Some(page) = target {
        let answer = client.get(&page).expect_status(200);
        all.extend(names(&answer, key));
        target = next(&answer);
        pages += 1;
    }
    (all, pages)
}

/// O27, O28, O29: tags in byte order, whole or in pages.
#[test]
fn tags_come_in_order_and_in_pages_that_add_up() {
    let registry = registry();
    let image = Image::new(1).build();
    let mut tags = vec![
        "v1", "v1-rc", "v1.0", "V1", "_x", "10", "9", "latest", "v1_0", "a",
    ];
    for tag in &tags {
        registry.repository("list").push(tag, &image);
    }
    tags.sort_unstable();
    let client = registry.client();
    let all = client.get("/v2/list/tags/list").expect_status(200);
    assert_eq!(all.header("content-type"), Some("application/json"));
    assert_eq!(
        (all.json()["name"].as_str(), names(&all, "tags")),
        (Some("list"), tags.iter().map(ToString::to_string).collect())
    );
    assert_eq!(next(&all), None);
    for n in 1..=tags.len() + 1 {
        let (paged, pages) = follow(&client, &format!("/v2/list/tags/list?n={n}"), "tags");
        assert_eq!(paged, tags, "pages of {n}");
        assert_eq!(pages, tags.len().div_ceil(n));
    }
    for (at, last) in tags.iter().enumerate() {
        let rest = client
            .get(&format!("/v2/list/tags/list?last={last}"))
            .expect_status(200);
        assert_eq!(names(&rest, "tags"), tags[at + 1..], "after {last}");
    }
    let between = client
        .get("/v2/list/tags/list?n=2&last=b")
        .expect_status(200);
    assert_eq!(
        names(&between, "tags"),
        ["latest", "v1"],
        "the last one need not be there"
    );
    let none = client.get("/v2/list/tags/list?n=0").expect_status(200);
    assert_eq!((names(&none, "tags"), next(&none)), (Vec::new(), None));
}

/// O28: numbers that are none.
#[test]
fn page_sizes_must_be_numbers() {
    let registry = registry();
    registry
        .repository("list")
        .push("tag", &Image::new(1).build());
    for n in ["-1", "x", "1.5", "%31%00", "99999999999999999999999", "+1"] {
        for path in ["/v2/list/tags/list", "/v2/_catalog"] {
            is_refused(
                registry.client().get(&format!("{path}?n={n}")),
                400,
                "PAGINATION_NUMBER_INVALID",
            );
        }
    }
    is_refused(
        registry.client().get("/v2/_catalog?n=1001"),
        400,
        "PAGINATION_NUMBER_INVALID",
    );
    let clamped = Registry::roadstead(
        Options::default().yaml("tags: {maxtags: 2}\ncatalog: {maxentries: 3}"),
    );
    for tag in ["a", "b", "c"] {
        clamped.repository("list").push(tag, &Image::new(1).build());
    }
    let page = clamped
        .client()
        .get("/v2/list/tags/list?n=100")
        .expect_status(200);
    assert_eq!(names(&page, "tags"), ["a", "b"]);
    assert!(next(&page).is_some());
    is_refused(
        clamped.client().get("/v2/_catalog?n=4"),
        400,
        "PAGINATION_NUMBER_INVALID",
    );
}

/// O27: a repository that is not known, and one that has blobs alone.
#[test]
fn only_repositories_that_had_a_manifest_have_tags() {
    let registry = registry();
    push(&registry.repository("blobs/alone"), b"x");
    for name in ["no/where", "blobs/alone"] {
        is_refused(
            registry.client().get(&format!("/v2/{name}/tags/list")),
            404,
            "NAME_UNKNOWN",
        );
    }
}

#[test]
fn repositories_come_in_order_and_in_pages_that_add_up() {
    let registry = registry();
    let mut names = vec![
        "a",
        "a-b",
        "a/b",
        "a/b/c",
        "a.b",
        "a0",
        "b/tags/list",
        "z_z",
        "sha256/x",
    ];
    let image = Image::new(1).build();
    for name in &names {
        registry.repository(name).push("tag", &image);
    }
    push(&registry.repository("blobs/alone"), b"x");
    names.sort_unstable();
    let client = registry.client();
    for n in 1..=names.len() + 1 {
        let (paged, _) = follow(&client, &format!("/v2/_catalog?n={n}"), "repositories");
        assert_eq!(paged, names, "pages of {n}");
    }
    assert_eq!(client.catalog(), names);
    assert_eq!(
        client.get("/v2/_catalog?n=0").expect_status(200).json()["repositories"],
        serde_json::json!([])
    );
}
