//! Answers that can be long, and are made whole before they are sent: lists of tags, of repositories, of referrers.

use axum::body::Body;
use http::{Response, header};
use serde::Serialize;

use super::answer::{set, written};
use super::error::Failure;
use crate::error::Error;
use crate::room::{Rooms, SMALL};

/// KiB of long lists that clients may be taking at a time.
const HELD: u32 = 16 * 1024;

/// Bounds what lists that are being sent take of memory.
#[derive(Debug)]
pub(super) struct Lists(Rooms);

impl Lists {
    pub(super) fn new() -> Self {
        Self(Rooms::of_kib(HELD))
    }

    /// 200 with a JSON document. A client may take a long one as slowly as it likes, and it takes room until then.
    pub(super) fn json(
        &self,
        document: &impl Serialize,
        media_type: &'static str,
    ) -> Result<Response<Body>, Failure> {
        let mut bytes = written(document);
        let body = if bytes.len() <= SMALL {
            Body::from(bytes)
        } else {
            bytes.shrink_to_fit();
            let held = self.0.hold(bytes);
            Body::from(held.ok_or(Error::Busy("many long lists are being sent"))?)
        };
        let mut response = Response::new(body);
        set(&mut response, header::CONTENT_TYPE, media_type);
        Ok(response)
    }
}
