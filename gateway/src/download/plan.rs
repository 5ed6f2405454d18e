//! What of a blob is still to come, and how another node is asked for it.

use std::sync::Arc;

use axum::body::Body;
use http::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_RANGE, ETAG, HeaderName, IF_MATCH,
    IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE,
};
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use super::Broken;
use crate::Gateway;
use crate::call::Call;
use crate::exchange::NodeBody;
use crate::replay;
use crate::tries::{Tries, is_worth_another_try};

/// What a client asked for in other words.
const CONDITIONS: [HeaderName; 4] = [
    IF_MATCH,
    IF_NONE_MATCH,
    IF_MODIFIED_SINCE,
    IF_UNMODIFIED_SINCE,
];

/// The rest of an answer.
#[derive(Debug)]
pub(super) struct Plan {
    gateway: Arc<Gateway>,
    call: Arc<Call>,
    /// The next byte, and the one after the last.
    next: u64,
    end: u64,
    /// Of the whole blob.
    total: u64,
    etag: HeaderValue,
    /// How often it went on elsewhere since a byte came.
    in_vain: u32,
}

/// `Content-Range` of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Part {
    first: u64,
    last: u64,
    total: u64,
}

impl Part {
    fn of(headers: &HeaderMap) -> Option<Self> {
        let text = single(headers, &CONTENT_RANGE)?.to_str().ok()?;
        let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let part = Self {
            first: first.parse().ok()?,
            last: last.parse().ok()?,
            total: total.parse().ok()?,
        };
        (part.first <= part.last && part.last < part.total).then_some(part)
    }
}

/// A header that is there once.
fn single<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h HeaderValue> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    values.next().is_none().then_some(value)
}

/// A strong entity tag: weak ones do not promise the same bytes.
fn strong_etag(headers: &HeaderMap) -> Option<&HeaderValue> {
    single(headers, &ETAG).filter(|etag| etag.as_bytes().starts_with(b"\""))
}

impl Plan {
    /// None where the answer could not go on elsewhere: it is a redirect, has several parts, or does not say which bytes
    /// these are.
    pub(super) fn of(
        response: &Response<NodeBody>,
        gateway: &Arc<Gateway>,
        call: &Arc<Call>,
    ) -> Option<Self> {
        let headers = response.headers();
        let length = http_body::Body::size_hint(response.body()).exact()?;
        let part = match response.status() {
            StatusCode::OK => Part {
                first: 0,
                last: length.checked_sub(1)?,
                total: length,
            },
            StatusCode::PARTIAL_CONTENT => Part::of(headers)?,
            _ => return None,
        };
        let is_as_long_as_it_says = part.last - part.first + 1 == length;
        if !is_as_long_as_it_says || headers.contains_key(CONTENT_ENCODING) {
            return None;
        }
        Some(Self {
            gateway: Arc::clone(gateway),
            call: Arc::clone(call),
            next: part.first,
            end: part.last + 1,
            total: part.total,
            etag: strong_etag(headers)?.clone(),
            in_vain: 0,
        })
    }

    pub(super) fn came(&mut self, bytes: u64) {
        self.next += bytes;
        self.in_vain = 0;
    }

    pub(super) fn is_done(&self) -> bool {
        self.next >= self.end
    }

    /// Asks other nodes for the rest, until one has it.
    pub(super) async fn go_on(mut self) -> Result<(NodeBody, Self), Broken> {
        self.in_vain += 1;
        if self.in_vain > self.gateway.options.retries.tries {
            return Err(Broken::NobodyGoesOn);
        }
        let call = Arc::clone(&self.call);
        let mut tries = Tries::of(&self.gateway, &call);
        loop {
            let Ok(picked) = tries.next().await else {
                return Err(Broken::NobodyGoesOn);
            };
            let name = picked.node().name().to_owned();
            let Ok(response) = tries.exchange(picked, self.request()).await else {
                continue;
            };
            if is_worth_another_try(response.status()) {
                continue;
            }
            if !self.is_the_rest(&response) {
                tracing::error!(
                    node = name,
                    status = %response.status(),
                    "a node has other bytes than the one before it, or none: a download cannot go on there"
                );
                return Err(Broken::NotTheSame);
            }
            tracing::info!(node = name, from = self.next, "a download goes on");
            self.call.learnt.resumed(self.end - self.next);
            return Ok((response.into_body(), self));
        }
    }

    fn request(&self) -> http::Request<Body> {
        let mut request = replay::request(&self.call, Body::empty());
        let headers = request.headers_mut();
        for name in CONDITIONS.iter().chain(&[ACCEPT_ENCODING]) {
            headers.remove(name);
        }
        let range = format!("bytes={}-{}", self.next, self.end - 1);
        if let Ok(range) = HeaderValue::from_str(&range) {
            headers.insert(RANGE, range);
        }
        headers.insert(IF_RANGE, self.etag.clone());
        request
    }

    fn is_the_rest(&self, response: &Response<NodeBody>) -> bool {
        let wanted = Part {
            first: self.next,
            last: self.end - 1,
            total: self.total,
        };
        response.status() == StatusCode::PARTIAL_CONTENT
            && Part::of(response.headers()) == Some(wanted)
            && strong_etag(response.headers()) == Some(&self.etag)
            && http_body::Body::size_hint(response.body()).exact() == Some(self.end - self.next)
            && !response.headers().contains_key(CONTENT_ENCODING)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(text: &str) -> Option<Part> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_RANGE, text.parse().unwrap());
        Part::of(&headers)
    }

    #[test]
    fn parts_are_read_to_the_letter() {
        let expected = Part {
            first: 2,
            last: 5,
            total: 9,
        };
        assert_eq!(part("bytes 2-5/9"), Some(expected));
        for wrong in [
            "bytes 5-2/9",
            "bytes 2-9/9",
            "bytes 2-5/*",
            "bytes */9",
            "2-5/9",
            "bytes=2-5/9",
        ] {
            assert_eq!(part(wrong), None, "{wrong}");
        }
        let mut twice = HeaderMap::new();
        for value in ["bytes 2-5/9", "bytes 2-6/9"] {
            twice.append(CONTENT_RANGE, value.parse().unwrap());
        }
        assert_eq!(Part::of(&twice), None);
    }

    #[test]
    fn weak_tags_promise_nothing() {
        let mut headers = HeaderMap::new();
        headers.insert(ETAG, "W/\"a\"".parse().unwrap());
        assert_eq!(strong_etag(&headers), None);
        headers.insert(ETAG, "\"a\"".parse().unwrap());
        assert!(strong_etag(&headers).is_some());
    }
}
