//! Settings that are wrong are told by their key; what may be secret is told nobody.

use super::*;

fn configured(pairs: &[(&str, &[&str])]) -> BTreeMap<String, Vec<String>> {
    pairs
        .iter()
        .map(|(name, values)| {
            let values = values.iter().map(|&value| value.to_owned());
            ((*name).to_owned(), values.collect())
        })
        .collect()
}

fn compiled(url: &str, pairs: &[(&str, &[&str])]) -> Vec<(String, String)> {
    let place = Place::parse(url).unwrap();
    let headers = compile(&configured(pairs), &place).unwrap();
    let read = |(name, value): (HeaderName, HeaderValue)| {
        (name.to_string(), value.to_str().unwrap().to_owned())
    };
    headers.into_iter().map(read).collect()
}

fn value<'a>(headers: &'a [(String, String)], name: &str) -> Vec<&'a str> {
    let named = headers.iter().filter(|(said, _)| said == name);
    named.map(|(_, value)| value.as_str()).collect()
}

#[test]
fn urls_that_are_none_are_refused() {
    for (url, reason) in [
        ("", "not a URL"),
        ("/hook", "must begin with http:// or https://"),
        ("example.com:80", "must begin with http:// or https://"),
        ("ftp://example.com/", "must begin with http:// or https://"),
        ("http://", "not a URL"),
        ("http:///path", "not a URL"),
        ("http://user@/path", "not a URL"),
        ("http://:80/", "has no host"),
        ("http://exa mple.com/", "not a URL"),
    ] {
        assert_eq!(
            Place::parse(url).map(|place| place.safe()).unwrap_err(),
            reason,
            "{url}"
        );
    }
}

#[test]
fn credentials_leave_the_url_and_become_a_header() {
    let url = "https://al%69ce:s%3aecret@example.com:8443/hook?token=s3cret#part";
    let place = Place::parse(url).unwrap();
    assert_eq!(place.uri, "https://example.com:8443/hook?token=s3cret");
    assert_eq!(place.safe(), "https://example.com:8443/hook");
    let basic = format!("Basic {}", BASE64_STANDARD.encode("alice:s:ecret"));
    assert_eq!(value(&compiled(url, &[]), "authorization"), [basic]);
    let own = compiled(url, &[("authorization", &["Bearer x"])]);
    assert_eq!(value(&own, "authorization"), ["Bearer x"]);
}

#[test]
fn configured_headers_are_sent_beside_ours() {
    let headers = compiled(
        "http://example.com",
        &[
            ("X-One", &["1", "2"]),
            ("Host", &["elsewhere"]),
            ("Content-Length", &["7"]),
            ("Transfer-Encoding", &["chunked"]),
        ],
    );
    assert_eq!(value(&headers, "x-one"), ["1", "2"]);
    assert_eq!(value(&headers, "content-type"), [crate::CONTENT_TYPE]);
    assert_eq!(value(&headers, "user-agent"), [AGENT]);
    assert_eq!(headers.len(), 4, "{headers:?}");
    let own = compiled("http://example.com", &[("User-Agent", &["mine"])]);
    assert_eq!(value(&own, "user-agent"), ["mine"]);
}

#[test]
fn a_header_that_is_wrong_is_told_by_its_name() {
    let place = Place::parse("http://example.com").unwrap();
    let wrong = |name: &str, value: &str| {
        let configured = configured(&[(name, &[value])]);
        compile(&configured, &place)
            .map_err(|(name, reason)| (name.to_owned(), reason))
            .unwrap_err()
    };
    assert_eq!(
        wrong("A B", "x"),
        ("A B".to_owned(), "not the name of a header")
    );
    let (name, reason) = wrong("Authorization", "Bearer s3cret\n");
    assert_eq!(name, "Authorization");
    assert!(!reason.contains("s3cret"));
}

#[test]
fn compiled_headers_print_no_values() {
    let place = Place::parse("http://a:s3cret@example.com").unwrap();
    let configured = configured(&[("X-Token", &["s3cret"])]);
    let headers = compile(&configured, &place).unwrap();
    let basic = BASE64_STANDARD.encode("a:s3cret");
    let printed = format!("{headers:?}");
    assert!(
        !printed.contains("s3cret") && !printed.contains(&basic),
        "{printed}"
    );
}
