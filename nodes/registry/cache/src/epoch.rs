//! The epoch: a number that entries in Redis carry, and without which they do not prove that anything exists.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::watch::{Seen, Watch};

/// Who says what the epoch is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EpochSource {
    /// This process, which alone deletes: it draws one at random when it starts, and another whenever in doubt.
    #[default]
    Own,
    /// The caller, by `Cache::set_epoch`. There is none until then, and none after a doubt until it is set again.
    Given,
}

#[derive(Debug)]
pub(crate) struct Epoch {
    source: EpochSource,
    current: Mutex<Option<u64>>,
    watch: Watch,
}

impl Epoch {
    pub(crate) fn new(source: EpochSource, watch: Watch) -> Self {
        let current = Mutex::new(source.another());
        Self {
            source,
            current,
            watch,
        }
    }

    pub(crate) fn current(&self) -> Option<u64> {
        *self.lock()
    }

    pub(crate) fn set(&self, epoch: u64) {
        *self.lock() = Some(epoch);
    }

    /// What is in Redis under the epoch until now may not be so.
    pub(crate) fn doubt(&self) {
        *self.lock() = self.source.another();
        self.watch.tell(Seen::Doubt);
    }

    fn lock(&self) -> MutexGuard<'_, Option<u64>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EpochSource {
    /// 64 bits that nobody had before; `None` when the system has no randomness, and nothing is proven then.
    fn another(self) -> Option<u64> {
        match self {
            Self::Own => getrandom::u64().ok(),
            Self::Given => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_doubt_ends_an_epoch() {
        let own = Epoch::new(EpochSource::Own, Watch::default());
        let before = own.current();
        own.doubt();
        assert!(before.is_some() && own.current().is_some());
        assert_ne!(own.current(), before);

        let given = Epoch::new(EpochSource::Given, Watch::default());
        assert_eq!(given.current(), None);
        given.set(7);
        assert_eq!(given.current(), Some(7));
        given.doubt();
        assert_eq!(given.current(), None, "until the caller gives another");
    }
}
