//! The secrets that nodes sign with, as they are told, and as they are kept.
//!
//! A secret that replaces another is signed with only when every node that holds a lease has heard of it: a node hears
//! before it is given the next lease, so that is so after one lease. What the others signed before is still accepted.

use std::fmt;
use std::time::Duration;

use roadstead_machine::{Machine, Timestamp};

use crate::membership::{LEASE, LEASE_MARGIN};

/// A secret, as it was told.
#[derive(Clone, PartialEq, Eq)]
pub struct KeptSecret {
    pub bytes: Vec<u8>,
    /// For how long it has been the newest, or had been before it was replaced.
    pub age: Duration,
    /// For how long what is signed with it is good; of the newest nobody knows yet.
    pub good_for: Option<Duration>,
}

/// All that are good, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Secrets {
    pub all: Vec<KeptSecret>,
    /// When the newest became that: tells these from those that are told later.
    pub since: Timestamp,
}

impl KeptSecret {
    /// In how much time from when it was told every node knows it.
    pub fn settles_in(&self) -> Duration {
        (LEASE + LEASE_MARGIN).saturating_sub(self.age)
    }
}

impl Secrets {
    /// Of a machine at some time.
    pub fn of(machine: &Machine, clock: Timestamp) -> Self {
        let now = machine.present(clock);
        let until = |time: Timestamp| Duration::from_millis(time.0.saturating_sub(now.0));
        let secrets = machine.secrets(clock).into_iter();
        let all = secrets.map(|one| KeptSecret {
            bytes: one.bytes.to_vec(),
            age: Duration::from_millis(now.0.saturating_sub(one.since.0)),
            good_for: one.good_until.map(until),
        });
        Self {
            all: all.collect(),
            since: machine.secret_since(),
        }
    }
}

impl fmt::Debug for KeptSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeptSecret")
            .field("age", &self.age)
            .field("good_for", &self.good_for)
            .finish_non_exhaustive()
    }
}
