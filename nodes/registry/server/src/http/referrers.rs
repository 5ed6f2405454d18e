//! `/v2/<name>/referrers/<digest>`.

use axum::body::Body;
use http::{HeaderName, Response};
use roadstead_oci::{Descriptor, MediaType};
use serde::Serialize;

use super::answer::set;
use super::error::Failure;
use super::listings::{link, number};
use super::request::Call;
use super::route::RawName;
use super::{Api, known_digest, known_name};
use crate::referrers::Query;

/// Referrers in one page, unless the client asks for fewer.
const PAGE: usize = 1000;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Index<'a> {
    schema_version: u8,
    media_type: &'static str,
    manifests: &'a [Descriptor],
}

pub(super) async fn list(
    api: &Api,
    call: &Call,
    name: &RawName,
    digest: &str,
) -> Result<Response<Body>, Failure> {
    let (name, subject) = (known_name(name)?, known_digest(digest)?);
    let artifact_type = call
        .query
        .get("artifactType")
        .filter(|wanted| !wanted.is_empty());
    let asked = number(call)?;
    let limit = asked.unwrap_or(PAGE).min(PAGE);
    let last = call.query.get("last");
    let query = Query {
        subject: &subject,
        artifact_type,
        last,
        limit,
    };
    let page = api.registry.referrers_of(name, query).await?;
    let end = page
        .items
        .last()
        .filter(|_| page.more)
        .map(|descriptor| descriptor.digest.to_string());
    let index = Index {
        schema_version: 2,
        media_type: MediaType::OciIndex.as_str(),
        manifests: &page.items,
    };
    let mut response = api.lists.json(&index, MediaType::OciIndex.as_str())?;
    if artifact_type.is_some() {
        set(
            &mut response,
            HeaderName::from_static("oci-filters-applied"),
            "artifactType",
        );
    }
    if let Some(end) = end {
        let n = limit.to_string();
        let mut pairs = vec![("last", end.as_str())];
        pairs.extend(asked.map(|_| ("n", n.as_str())));
        pairs.extend(artifact_type.map(|wanted| ("artifactType", wanted)));
        link(&mut response, call, &pairs);
    }
    Ok(response)
}
