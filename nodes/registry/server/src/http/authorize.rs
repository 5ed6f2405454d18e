//! Which access each request needs, and how a denial is answered.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use http::{Method, StatusCode, header};
use roadstead_auth::{Asked, Denied, Granted, Wanted};
use roadstead_oci::{ErrorCode, Name};
use roadstead_telemetry::request as telemetry;
use serde_json::{Value, json};
use tracing::Span;

use super::Api;
use super::error::Failure;
use super::login;
use super::request::Call;
use super::route::{Route, Target};

/// Lets a request pass that may do what it wants, and notes what else it may do.
pub(super) async fn admit(api: &Api, call: &mut Call, route: &Route) -> Result<(), Failure> {
    let Some(wanted) = wanted(route, call) else {
        return Ok(());
    };
    telemetry::authorizing();
    let mut answered = ask(api, call, &wanted).await;
    // Who may push here, and not pull from there, sends the blob instead.
    if let (Err(Denied::Forbidden { .. }), Some((target, _source))) =
        (&answered, mounted(route, call))
    {
        answered = ask(api, call, &Wanted::push(&target)).await;
    }
    let granted = answered.map_err(|denied| {
        telemetry::unauthorized(&denied.to_string());
        Failure::from(denied)
    })?;
    if let Some(user) = granted.user() {
        telemetry::authorized(&Span::current(), user);
        let _once = call.learnt.user.set(user.to_owned());
    }
    call.granted = Some(granted);
    Ok(())
}

async fn ask(api: &Api, call: &Call, wanted: &Wanted) -> Result<Granted, Denied> {
    let (authorization, token_service) = (header(call), login::url(api, call));
    let asked = Asked {
        authorization: authorization.as_deref(),
        wanted,
        came: call.came,
        client: client(call),
        scheme: call.via.scheme,
        host: call.via.host.as_deref(),
        token_service: token_service.as_deref(),
    };
    api.surface.authenticator.authorize(asked).await
}

/// What the request shows. Several headers are one list (RFC 9110, section 5.3), which is no credential of any scheme:
/// taking one of them, we might take another than a proxy in front of us.
pub(super) fn header(call: &Call) -> Option<Cow<'_, [u8]>> {
    let mut values = call.headers.get_all(header::AUTHORIZATION).iter();
    let first = values.next()?.as_bytes();
    let rest: Vec<&[u8]> = values.map(http::HeaderValue::as_bytes).collect();
    if rest.is_empty() {
        return Some(first.into());
    }
    Some([&[first], &rest[..]].concat().join(&b", "[..]).into())
}

/// Whom wrong passwords are counted for. Whoever comes by a unix socket is one of this machine's.
pub(super) fn client(call: &Call) -> IpAddr {
    call.via.client.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
}

/// As `Retry-After` says it: a client that comes back a fraction of a second early is refused once more.
fn whole_seconds(wait: Duration) -> String {
    wait.as_millis().div_ceil(1000).max(1).to_string()
}

/// The access that a request needs. `None` for what is open to everybody: probes, and paths that are not the registry's.
fn wanted(route: &Route, call: &Call) -> Option<Wanted> {
    let target = match route {
        Route::To(target) if target.is_probe() => return None,
        Route::To(target) => target,
        // Whether a path leads somewhere is told to those who may ask.
        Route::Nowhere | Route::Elsewhere(_) => {
            return call.path.starts_with("/v2/").then(Wanted::nothing);
        }
    };
    if let Some((target, source)) = mounted(route, call) {
        return Some(Wanted::push(&target).and(Wanted::pull(&source)));
    }
    let name = match target {
        Target::Catalog => return Some(Wanted::catalog()),
        // What is wrong with a name is told to those who may ask.
        Target::Root | Target::Live | Target::Ready | Target::Base => {
            return Some(Wanted::nothing());
        }
        Target::Tags { name }
        | Target::Referrers { name, .. }
        | Target::Manifest { name, .. }
        | Target::Blob { name, .. }
        | Target::Uploads { name }
        | Target::Upload { name, .. } => match name {
            Ok(name) => name,
            Err(_malformed) => return Some(Wanted::nothing()),
        },
    };
    Some(match call.method {
        Method::GET | Method::HEAD | Method::OPTIONS => Wanted::pull(name),
        Method::DELETE => Wanted::delete(name),
        _ => Wanted::push(name),
    })
}

/// The repositories that a blob is to be mounted to and from.
fn mounted(route: &Route, call: &Call) -> Option<(Name, Name)> {
    let Route::To(Target::Uploads { name: Ok(target) }) = route else {
        return None;
    };
    if call.method != Method::POST {
        return None;
    }
    call.query.get("mount")?;
    let source = call.query.get("from")?.parse().ok()?;
    Some((target.clone(), source))
}

impl From<Denied> for Failure {
    fn from(denied: Denied) -> Self {
        let details = |wanted: &Wanted| {
            let details = wanted.details();
            if details.is_empty() {
                Value::Null
            } else {
                json!(details)
            }
        };
        match denied {
            Denied::Challenge {
                www_authenticate,
                wanted,
                ..
            } => Self::new(ErrorCode::Unauthorized, details(&wanted))
                .with_header(header::WWW_AUTHENTICATE, www_authenticate),
            Denied::Forbidden { wanted, .. } => Self::new(ErrorCode::Denied, details(&wanted)),
            Denied::Throttled { retry_after } => {
                let seconds = whole_seconds(retry_after);
                Self::new(ErrorCode::TooManyRequests, denied.to_string())
                    .with_header(header::RETRY_AFTER, seconds)
            }
            Denied::Unavailable(reason) => {
                let seconds = whole_seconds(reason.retry_after());
                Self::new(ErrorCode::Unavailable, reason.to_string())
                    .with_status(StatusCode::SERVICE_UNAVAILABLE)
                    .with_header(header::RETRY_AFTER, seconds)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_is_rounded_up() {
        for (millis, seconds) in [(0, "1"), (1, "1"), (1000, "1"), (1001, "2"), (29_999, "30")] {
            assert_eq!(whole_seconds(Duration::from_millis(millis)), seconds);
        }
    }
}
