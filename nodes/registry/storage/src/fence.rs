//! What keeps the act of somebody who was paused from taking effect late.
//!
//! A lease can end between any check and the write that follows it. So a store refuses the write itself: one that keeps
//! directories because the epoch's is gone, one that takes signed requests because the request expired.

use std::fmt;

use futures::future::BoxFuture;

/// By what right links and tags are written.
#[derive(Clone, Copy)]
pub struct Under<'a> {
    /// Never given twice.
    pub epoch: u64,
    /// Whether the lease of that epoch is held, by a clock that nobody sets. Where a store fences by expiry, it is asked
    /// after the request was signed.
    pub is_held: &'a (dyn Fn() -> bool + Send + Sync),
}

impl fmt::Debug for Under<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Under").field(&self.epoch).finish()
    }
}

/// Asks whether whoever removes is still to. Who does not know answers no.
pub type Still<'a> = &'a (dyn Fn() -> BoxFuture<'static, bool> + Send + Sync);

/// What became of a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gone {
    /// Nothing was in it in the end, or it was not there.
    Entirely,
    /// Somebody has put something there meanwhile.
    Not,
}
