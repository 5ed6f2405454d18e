//! `limits`: how much a request may ask for, and how many answers a page may hold. The map is Roadstead's own; the two
//! page sizes stand where the reference has them.

use std::time::Duration;

use crate::reader::Reader;
use crate::scalar::{self, Unfit};

/// The reference's limit, which every client keeps to.
const MANIFEST_SIZE: u64 = 4 * 1024 * 1024;
/// Longer than a client's own timeouts, short enough that dead connections do not pile up.
const BODY_IDLE: Duration = Duration::from_mins(2);
/// The reference's size of the largest page, of the catalogue and of tags.
pub(crate) const PAGE: u32 = 1000;

/// Settings under `limits`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes that a manifest may have: `manifestsize`. Default: 4194304.
    pub manifest_size: u64,
    /// How long an upload's body or a download may stand still before it is ended: `bodyidle`. Default: 2 min.
    pub body_idle: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            manifest_size: MANIFEST_SIZE,
            body_idle: BODY_IDLE,
        }
    }
}

impl Limits {
    pub(crate) fn read(reader: &mut Reader<'_>) -> Self {
        let default = Self::default();
        Self {
            manifest_size: reader
                .read("limits.manifestsize", positive)
                .unwrap_or(default.manifest_size),
            body_idle: reader
                .read("limits.bodyidle", scalar::positive_duration)
                .unwrap_or(default.body_idle),
        }
    }
}

fn positive(text: &str) -> Result<u64, Unfit> {
    match scalar::count(text)? {
        0 => Err(Unfit::new("must be more than zero")),
        count => Ok(count),
    }
}

/// `catalog.maxentries`: the reference takes zero and less for its default.
pub(crate) fn catalog_max_entries(reader: &mut Reader<'_>) -> u32 {
    let entries = |text: &str| match scalar::integer(text)? {
        ..=0 => Ok(PAGE),
        _ => scalar::count(text),
    };
    reader.read("catalog.maxentries", entries).unwrap_or(PAGE)
}

/// `tags.maxtags`: the reference takes zero for its default, and refuses less.
pub(crate) fn tags_max(reader: &mut Reader<'_>) -> u32 {
    match reader.read("tags.maxtags", scalar::count) {
        Some(0) | None => PAGE,
        Some(max) => max,
    }
}
