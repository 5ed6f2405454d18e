//! Where an endpoint is and what each request to it carries.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::header::{
    AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HOST, TRAILER, TRANSFER_ENCODING, USER_AGENT,
};
use http::uri::{Authority, Scheme};
use http::{HeaderName, HeaderValue, Uri};
use percent_encoding::percent_decode_str;

/// Tells endpoints who sends.
const AGENT: &str = concat!("roadstead/", env!("CARGO_PKG_VERSION"));

/// Said by the connection, or by the body, and by nobody else. The reference leaves them out too.
const FRAMING: [HeaderName; 4] = [HOST, CONTENT_LENGTH, TRANSFER_ENCODING, TRAILER];

/// In the order in which they are sent. Values are marked as secret: they print as `Sensitive`.
pub(crate) type Headers = Vec<(HeaderName, HeaderValue)>;

/// An absolute URL, with the credentials taken out.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) uri: Uri,
    credentials: Option<HeaderValue>,
}

impl Place {
    pub(crate) fn parse(url: &str) -> Result<Self, &'static str> {
        let before_fragment = url.split('#').next().unwrap_or_default();
        let uri: Uri = before_fragment
            .parse()
            .map_err(|_detail_may_be_secret| "not a URL")?;
        let mut parts = uri.into_parts();
        if !matches!(&parts.scheme, Some(scheme) if [Scheme::HTTP, Scheme::HTTPS].contains(scheme))
        {
            return Err("must begin with http:// or https://");
        }
        let authority = parts.authority.as_ref().map_or("", Authority::as_str);
        let (user, host) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, authority),
        };
        if host.is_empty() || host.starts_with(':') {
            return Err("has no host");
        }
        let credentials = user.map(basic);
        let host: Authority = host.parse().map_err(|_detail| "not a URL")?;
        parts.authority = Some(host);
        let uri = Uri::from_parts(parts).map_err(|_detail| "not a URL")?;
        Ok(Self { uri, credentials })
    }

    /// Without credentials and query, for people to read.
    pub(crate) fn safe(&self) -> String {
        let scheme = self.uri.scheme_str().unwrap_or_default();
        let host = self.uri.authority().map_or("", Authority::as_str);
        format!("{scheme}://{host}{}", self.uri.path())
    }

    pub(crate) fn is_https(&self) -> bool {
        self.uri.scheme() == Some(&Scheme::HTTPS)
    }
}

/// As Go's client does with `user:password@` in a URL.
fn basic(user: &str) -> HeaderValue {
    let (name, password) = user.split_once(':').unwrap_or((user, ""));
    let mut plain: Vec<u8> = percent_decode_str(name).collect();
    plain.push(b':');
    plain.extend(percent_decode_str(password));
    let value = format!("Basic {}", BASE64_STANDARD.encode(plain));
    let mut value = HeaderValue::try_from(value).unwrap_or(HeaderValue::from_static("Basic Og=="));
    value.set_sensitive(true);
    value
}

/// The static headers of an endpoint, and what they do not say themselves. A mistake is told with the header's name.
pub(crate) fn compile<'a>(
    configured: &'a BTreeMap<String, Vec<String>>,
    place: &Place,
) -> Result<Headers, (&'a str, &'static str)> {
    let mut headers = vec![(CONTENT_TYPE, HeaderValue::from_static(crate::CONTENT_TYPE))];
    for (name, values) in configured {
        let parsed: HeaderName = name
            .parse()
            .map_err(|_detail| (name.as_str(), "not the name of a header"))?;
        if FRAMING.contains(&parsed) {
            tracing::warn!(header = %parsed, "notifications: a header that the connection sets is left out");
            continue;
        }
        for value in values {
            let mut value = HeaderValue::try_from(value)
                .map_err(|_detail| (name.as_str(), "has characters that a header cannot have"))?;
            value.set_sensitive(true);
            headers.push((parsed.clone(), value));
        }
    }
    let says = |headers: &Headers, name: HeaderName| headers.iter().any(|(said, _)| *said == name);
    if let Some(credentials) = &place.credentials
        && !says(&headers, AUTHORIZATION)
    {
        headers.push((AUTHORIZATION, credentials.clone()));
    }
    if !says(&headers, USER_AGENT) {
        headers.push((USER_AGENT, HeaderValue::from_static(AGENT)));
    }
    Ok(headers)
}

#[cfg(test)]
mod tests;
