//! The epoch: a number that entries in Redis carry, and without which they do not prove that anything exists.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::watch::{Seen, Watch};

/// Who says what the epoch is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EpochSource {
    /// This process, which alone deletes: it draws one at random when it starts, and another whenever in doubt.
    #[default]
    Own,
    /// The caller, by `Cache::begin_epoch`. There is none until then, and none after a doubt until it is set again.
    Given,
}

#[derive(Debug)]
pub(crate) struct Epoch {
    source: EpochSource,
    state: Mutex<State>,
    watch: Watch,
}

#[derive(Debug)]
struct State {
    current: Option<u64>,
    doubts: u64,
}

impl Epoch {
    pub(crate) fn new(source: EpochSource, watch: Watch) -> Self {
        let current = source.another();
        let state = Mutex::new(State { current, doubts: 0 });
        Self {
            source,
            state,
            watch,
        }
    }

    pub(crate) fn current(&self) -> Option<u64> {
        self.lock().current
    }

    pub(crate) fn doubts(&self) -> u64 {
        self.lock().doubts
    }

    /// From now on another, unless there is none for a doubt: that is ended by its own.
    pub(crate) fn replace(&self, epoch: u64) {
        let current = &mut self.lock().current;
        *current = current.and(Some(epoch));
    }

    /// Another, which nobody had before so many doubts had come; not if there was one more since.
    pub(crate) fn begin(&self, epoch: u64, doubts: u64) {
        let mut state = self.lock();
        if state.doubts == doubts {
            state.current = Some(epoch);
        }
    }

    /// What is in Redis under the epoch until now may not be so.
    pub(crate) fn doubt(&self) {
        let mut state = self.lock();
        state.current = self.source.another();
        state.doubts += 1;
        drop(state);
        self.watch.tell(Seen::Doubt);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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
        given.replace(6);
        assert_eq!(given.current(), None, "nothing to replace");
        given.begin(7, 0);
        assert_eq!(given.current(), Some(7));
        given.replace(8);
        assert_eq!(given.current(), Some(8));
        given.doubt();
        assert_eq!(given.current(), None, "until the caller gives another");
        given.replace(9);
        given.begin(9, 0);
        assert_eq!(given.current(), None, "it may be from before the doubt");
        given.begin(10, given.doubts());
        assert_eq!(given.current(), Some(10));
    }
}
