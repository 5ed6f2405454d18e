//! The catalog, and tags.

use axum::body::Body;
use http::{Response, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use roadstead_oci::{ErrorCode, Name, Tag};
use serde::Serialize;
use serde_json::json;

use super::answer::set;
use super::error::Failure;
use super::request::Call;
use super::route::RawName;
use super::{Api, known_name};

/// The reference's page where the client does not say.
const CATALOG_PAGE: usize = 100;

/// Tags in an answer to a client that asked for all; beyond, it is given a link to the rest.
const ALL_TAGS: usize = 100_000;

/// What stands in a query value as it is.
const VALUE: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b':');

const JSON: &str = "application/json";

#[derive(Serialize)]
struct Repositories<'a> {
    repositories: &'a [Name],
}

#[derive(Serialize)]
struct Tags<'a> {
    name: &'a str,
    tags: Vec<&'a str>,
}

pub(super) async fn catalog(api: &Api, call: &Call) -> Result<Response<Body>, Failure> {
    let most = api.registry.options().catalog_max_entries;
    let limit = number(call)?.unwrap_or_else(|| CATALOG_PAGE.min(most));
    if limit > most {
        return Err(Failure::new(
            ErrorCode::PaginationNumberInvalid,
            json!({ "n": limit, "most": most }),
        ));
    }
    let page = api
        .registry
        .catalog(call.query.get("last").unwrap_or_default(), limit, &|name| {
            call.lists(name)
        })
        .await?;
    let last = page
        .items
        .last()
        .filter(|_| page.more)
        .map(ToString::to_string);
    let repositories = Repositories {
        repositories: &page.items,
    };
    let mut response = api.lists.json(&repositories, JSON)?;
    if let Some(last) = last {
        link(
            &mut response,
            call,
            &[("last", &last), ("n", &limit.to_string())],
        );
    }
    Ok(response)
}

pub(super) async fn tags(
    api: &Api,
    call: &Call,
    name: &RawName,
) -> Result<Response<Body>, Failure> {
    let name = known_name(name)?;
    let most = api.registry.options().tags_max;
    let asked = number(call)?;
    let limit = asked.map_or(ALL_TAGS, |asked| asked.min(most));
    let page = api
        .registry
        .tag_list(name, call.query.get("last"), limit)
        .await?;
    let last = page
        .items
        .last()
        .filter(|_| page.more)
        .map(ToString::to_string);
    let tags = Tags {
        name: name.as_str(),
        tags: page.items.iter().map(Tag::as_str).collect(),
    };
    let mut response = api.lists.json(&tags, JSON)?;
    if let Some(last) = last {
        let n = asked.map(|_| limit.to_string());
        let pairs: Vec<(&str, &str)> = std::iter::once(("last", last.as_str()))
            .chain(n.as_deref().map(|n| ("n", n)))
            .collect();
        link(&mut response, call, &pairs);
    }
    Ok(response)
}

/// The `n` parameter.
pub(super) fn number(call: &Call) -> Result<Option<usize>, Failure> {
    let Some(text) = call.query.get("n").filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    let number = digits.then(|| text.parse().ok()).flatten();
    number
        .map(Some)
        .ok_or_else(|| Failure::new(ErrorCode::PaginationNumberInvalid, json!({ "n": text })))
}

/// Tells where the next page is (RFC 8288), relative to the registry's host.
pub(super) fn link(response: &mut Response<Body>, call: &Call, query: &[(&str, &str)]) {
    let prefix = call.prefix.trim_end_matches('/');
    let pairs: Vec<String> = query
        .iter()
        .map(|(key, value)| format!("{key}={}", utf8_percent_encode(value, VALUE)))
        .collect();
    let value = format!("<{prefix}{}?{}>; rel=\"next\"", call.path, pairs.join("&"));
    set(response, header::LINK, value);
}
