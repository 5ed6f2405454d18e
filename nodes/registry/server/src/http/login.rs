//! `/auth/token`: this registry's own giver of tokens, where `access` rules let anonymous requests do something.
//!
//! `GET ?service=&scope=&account=` with `Authorization: Basic`, or without, as the token specification has it; `POST` with
//! the form of OAuth 2 (RFC 6749, section 4.3), which containerd tries first. Neither `service` nor `scope` is looked at: a
//! token says who somebody is, and rules are asked with each request.

use std::time::SystemTime;

use axum::body::Body;
use http::{Method, Response, StatusCode, header};
use roadstead_auth::{IssuedToken, Login, TokenService};
use roadstead_oci::ErrorCode;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Api;
use super::answer::{self, json as json_answer, set};
use super::authorize;
use super::error::Failure;
use super::query::Query;
use super::request::Call;
use crate::body::Body as Incoming;
use crate::error::Error;

const PATH: &str = "/auth/token";

const METHODS: &[Method] = &[Method::GET, Method::POST];

/// Bytes of a form: a user, a password, and scopes that nobody reads.
const FORM_BYTES: usize = 16 << 10;

/// Where a client gets tokens; nowhere if none are given, or if the client does not say under which name it knows us.
pub(super) fn url(api: &Api, call: &Call) -> Option<String> {
    api.surface.authenticator.token_service()?;
    let base = match (call.base.as_str(), &call.via.host) {
        // `relativeurls`: a challenge has no place for those.
        ("", Some(host)) => format!("{}://{host}", call.via.scheme),
        ("", None) => return None,
        (base, _) => base.to_owned(),
    };
    let prefix = call.prefix.trim_end_matches('/');
    Some(format!("{base}{prefix}{PATH}"))
}

/// Whether a request is for here: what is not may still be the path of something else.
pub(super) fn is_asked(api: &Api, call: &Call) -> bool {
    call.path == PATH && api.surface.authenticator.token_service().is_some()
}

pub(super) async fn answer(api: &Api, call: Call, body: Incoming) -> Response<Body> {
    let Some(service) = api.surface.authenticator.token_service() else {
        return answer::page_not_found();
    };
    if call.method == Method::OPTIONS {
        return answer::options(METHODS);
    }
    if !METHODS.contains(&call.method) {
        return answer::method_not_allowed(METHODS);
    }
    let issued = if call.method == Method::POST {
        by_form(service, &call, body).await
    } else {
        let header = authorize::header(&call);
        let issued = service.issue(Login::Header(header.as_deref()), authorize::client(&call));
        issued.await.map_err(Failure::from)
    };
    let mut response = match issued {
        Ok(issued) => json_answer(&document(&issued)),
        Err(failure) => failure.into_response(),
    };
    set(&mut response, header::CACHE_CONTROL, "no-store");
    response
}

async fn by_form(
    service: TokenService<'_>,
    call: &Call,
    body: Incoming,
) -> Result<IssuedToken, Failure> {
    let form = form(body).await?;
    if form.get("grant_type") != Some("password") {
        let detail = "the only grant_type here is password";
        return Err(
            Failure::new(ErrorCode::Unsupported, detail).with_status(StatusCode::BAD_REQUEST)
        );
    }
    let field = |name| form.get(name).unwrap_or_default();
    let login = Login::Form {
        user: field("username"),
        password: field("password"),
    };
    Ok(service.issue(login, authorize::client(call)).await?)
}

async fn form(mut body: Incoming) -> Result<Query, Failure> {
    let mut whole = Vec::new();
    while let Some(piece) = body.next().await.map_err(Error::from)? {
        if whole.len().saturating_add(piece.len()) > FORM_BYTES {
            let detail = format!("a form here has {FORM_BYTES} bytes at most");
            return Err(Failure::new(ErrorCode::SizeInvalid, detail)
                .with_status(StatusCode::PAYLOAD_TOO_LARGE));
        }
        whole.extend_from_slice(&piece);
    }
    // In a form, unlike in a path's query, a plus sign is a space.
    let text = String::from_utf8_lossy(&whole).replace('+', "%20");
    Ok(Query::parse(&text))
}

/// Both names for the token: the token specification has one, OAuth 2 the other, and clients read either.
fn document(issued: &IssuedToken) -> Value {
    json!({
        "token": issued.token,
        "access_token": issued.token,
        "token_type": "Bearer",
        "expires_in": issued.expires_in.as_secs(),
        "issued_at": rfc3339(issued.issued_at),
    })
}

fn rfc3339(time: SystemTime) -> String {
    OffsetDateTime::from(time)
        .format(&Rfc3339)
        .unwrap_or_default()
}
