//! `gc`: the garbage collection of a registry that runs. Roadstead's own.

use std::num::NonZeroU64;
use std::time::Duration;

use crate::reader::Reader;
use crate::scalar;

/// Long enough for the slowest push, and for whoever deleted the wrong tag in the evening.
const DAY: Duration = Duration::from_hours(24);

/// Settings under `gc`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gc {
    /// From one collection to the next: `interval`. Default, and what 0 means: none, since the reference never removes
    /// anything by itself.
    pub interval: Option<Duration>,
    /// What is younger stays: `grace`. Default: 24 h.
    pub grace: Duration,
    /// For how long a client may rely on having been told that something exists: `window`. Default: 24 h.
    pub window: Duration,
    /// Manifests that no tag leads to go as well: `untagged`. Default: false.
    pub untagged: bool,
    /// Listings, reads and removals of a collection in a second at most: `requests`. Default, and what 0 means: as fast as
    /// the store answers.
    pub requests: Option<NonZeroU64>,
    /// Bytes that it reads in a second at most: `bytes`. Default, and what 0 means: as for `requests`.
    pub bytes: Option<NonZeroU64>,
}

impl Default for Gc {
    fn default() -> Self {
        Self {
            interval: None,
            grace: DAY,
            window: DAY,
            untagged: false,
            requests: None,
            bytes: None,
        }
    }
}

impl Gc {
    pub(crate) fn read(reader: &mut Reader<'_>) -> Self {
        let default = Self::default();
        let gc = &mut reader.below("gc");
        Self {
            interval: gc
                .read("interval", scalar::duration)
                .filter(|interval| !interval.is_zero()),
            grace: gc.read("grace", scalar::duration).unwrap_or(default.grace),
            window: gc
                .read("window", scalar::duration)
                .unwrap_or(default.window),
            untagged: gc
                .read("untagged", scalar::boolean)
                .unwrap_or(default.untagged),
            requests: gc.read("requests", scalar::count).and_then(NonZeroU64::new),
            bytes: gc.read("bytes", scalar::count).and_then(NonZeroU64::new),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;

    fn gc(yaml: &str) -> Gc {
        let text = format!("version: 0.1\nstorage: inmemory\n{yaml}");
        let loaded = Config::load(&text, Vec::new());
        loaded
            .unwrap_or_else(|mistakes| panic!("{mistakes}"))
            .config
            .gc
    }

    #[test]
    fn nothing_is_collected_unless_somebody_says_when() {
        assert_eq!(gc(""), Gc::default());
        assert_eq!(gc("gc: {interval: 0}\n"), Gc::default());
        let seconds = Duration::from_secs;
        let told = gc(
            "gc: {interval: 60s, grace: 2s, window: 1s, untagged: true, requests: 50, bytes: 1_000_000}\n",
        );
        assert_eq!(
            told,
            Gc {
                interval: Some(seconds(60)),
                grace: seconds(2),
                window: seconds(1),
                untagged: true,
                requests: NonZeroU64::new(50),
                bytes: NonZeroU64::new(1_000_000),
            }
        );
        assert_eq!(gc("gc: {requests: 0, bytes: 0}\n"), Gc::default());
    }

    #[test]
    fn a_pace_that_is_none_is_told() {
        let text = "version: 0.1\nstorage: inmemory\ngc: {requests: fast, bytes: -1}\n";
        let mistakes = Config::load(text, Vec::new()).unwrap_err().to_string();
        assert!(
            mistakes.contains("gc.requests (line 3): \"fast\" is not a whole number"),
            "{mistakes}"
        );
        assert!(
            mistakes.contains("gc.bytes (line 3): \"-1\" must not be negative"),
            "{mistakes}"
        );
    }
}
