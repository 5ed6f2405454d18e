//! Places whose bytes are being given up: no session may take them any more.
//!
//! Whoever finds staged bytes that no session holds cannot simply remove them: their writer may have been paused for any
//! length of time between its last byte and its commit. So the machine is asked first. It answers with those that are
//! nobody's, and refuses them from then on, for longer than a proposal waits for its turn in the process that logs it. Where
//! proposals come from other processes, those that are older than this memory have to be refused because of their age.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// How long a renounced place is remembered.
const REMEMBER_FOR: Duration = Duration::from_hours(1);

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Renounced {
    places: BTreeMap<String, Timestamp>,
    forget: BTreeSet<(Timestamp, String)>,
}

impl Renounced {
    pub(crate) fn add(&mut self, place: &str, now: Timestamp) {
        let until = now.plus(REMEMBER_FOR);
        if let Some(before) = self.places.insert(place.to_owned(), until) {
            self.forget.remove(&(before, place.to_owned()));
        }
        self.forget.insert((until, place.to_owned()));
    }

    pub(crate) fn contains(&self, place: &str) -> bool {
        self.places.contains_key(place)
    }

    pub(crate) fn forget(&mut self, now: Timestamp) {
        while let Some((until, _)) = self.forget.first()
            && *until <= now
            && let Some((_, place)) = self.forget.pop_first()
        {
            self.places.remove(&place);
        }
    }
}
