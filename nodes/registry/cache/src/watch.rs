//! What the cache tells of itself, to whoever counts.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Told of each thing that happened; must return at once.
#[derive(Clone)]
pub struct Watch(Arc<dyn Fn(Seen) + Send + Sync>);

/// A part of the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    Memory,
    Redis,
}

/// What a question to the cache came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Hit,
    Miss,
    /// Redis failed, and nobody else knew.
    Error,
}

/// Something that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It was asked for a descriptor.
    Asked(Answer),
    /// A part took its time for `Stat`, `SetDescriptor` or `Clear`, as the reference calls them.
    Took(Tier, &'static str, Duration),
    /// Redis is used from now on, or is not.
    Redis { up: bool },
    /// Redis may hold what is not so under the epoch until now. Who gives epochs gives another.
    Doubt,
}

impl Watch {
    pub fn new(told: impl Fn(Seen) + Send + Sync + 'static) -> Self {
        Self(Arc::new(told))
    }

    pub(crate) fn tell(&self, seen: Seen) {
        (self.0)(seen);
    }
}

/// Tells nobody.
impl Default for Watch {
    fn default() -> Self {
        Self::new(|_| {})
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watch")
    }
}
