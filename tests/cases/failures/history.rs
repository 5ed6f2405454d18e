//! What clients asked and were told, and whether a registry can have been so.
//!
//! A register is a tag: it has one writer, and many readers. A write that was never answered, or with a failure, may take
//! effect at any time after it began, even after later ones were acknowledged: whoever held it up may still let it go.

use std::collections::BTreeMap;

use tokio::time::Instant;

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Acknowledged,
    /// No answer, or one that leaves it open.
    Unknown,
}

#[derive(Debug, Clone)]
pub(super) struct Write {
    pub(super) register: String,
    /// `None`: deleted.
    pub(super) value: Option<String>,
    pub(super) began: Instant,
    pub(super) ended: Instant,
    pub(super) outcome: Outcome,
}

/// A read that was answered; others say nothing.
#[derive(Debug, Clone)]
pub(super) struct Read {
    pub(super) register: String,
    /// `None`: it is not there.
    pub(super) value: Option<String>,
    pub(super) began: Instant,
    pub(super) ended: Instant,
}

#[derive(Debug, Default)]
pub(super) struct History {
    writes: BTreeMap<String, Vec<Write>>,
    reads: Vec<Read>,
}

impl History {
    /// Of one register, in the order in which its writer began them.
    pub(super) fn wrote(&mut self, write: Write) {
        let writes = self.writes.entry(write.register.clone()).or_default();
        writes.push(write);
    }

    pub(super) fn read(&mut self, read: Read) {
        self.reads.push(read);
    }

    pub(super) fn registers(&self) -> Vec<String> {
        self.writes.keys().cloned().collect()
    }

    pub(super) fn reads(&self) -> usize {
        self.reads.len()
    }

    /// Each read that cannot have been, in words.
    pub(super) fn check(&self) -> Vec<String> {
        let none = Vec::new();
        let refuted = self.reads.iter().filter_map(|read| {
            let writes = self.writes.get(&read.register).unwrap_or(&none);
            refute(read, writes)
        });
        refuted.collect()
    }
}

/// A value was there to be read if its write had begun, and none that was acknowledged in between took its place.
fn refute(read: &Read, writes: &[Write]) -> Option<String> {
    let acknowledged = |write: &Write| write.outcome == Outcome::Acknowledged;
    let replaced_since = |from: usize| {
        let mut later = writes[from..].iter();
        later.any(|write| acknowledged(write) && write.ended < read.began)
    };
    // Before the first write, nothing is there.
    if read.value.is_none() && !replaced_since(0) {
        return None;
    }
    let possible = writes.iter().enumerate().any(|(n, write)| {
        write.value == read.value
            && write.began <= read.ended
            && (!acknowledged(write) || !replaced_since(n + 1))
    });
    if possible {
        return None;
    }
    let value = read.value.as_deref().unwrap_or("nothing");
    let is_written = writes.iter().any(|write| write.value == read.value);
    let why = if is_written || read.value.is_none() {
        "which had been replaced before the question was asked, or not begun when it was answered"
    } else {
        "which nobody wrote"
    };
    Some(format!(
        "{} was read as {value}, {why}; written: {}",
        read.register,
        told(writes, read)
    ))
}

/// The last writes before the end of a read, with their times relative to its beginning.
fn told(writes: &[Write], read: &Read) -> String {
    let since = |at: Instant| {
        let before = read.began.saturating_duration_since(at).as_secs_f64();
        at.saturating_duration_since(read.began).as_secs_f64() - before
    };
    let begun = writes.iter().filter(|write| write.began <= read.ended);
    let mut last: Vec<String> = begun
        .rev()
        .take(6)
        .map(|write| {
            let value = write.value.as_deref().unwrap_or("nothing");
            let (began, ended) = (since(write.began), since(write.ended));
            format!("{value} {:?} {began:.3}..{ended:.3}", write.outcome)
        })
        .collect();
    last.reverse();
    last.join(", ")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Writes and reads of one tag, in made-up seconds.
    struct Made {
        zero: Instant,
        history: History,
    }

    impl Made {
        fn new() -> Self {
            Self {
                zero: Instant::now(),
                history: History::default(),
            }
        }

        fn at(&self, second: u64) -> Instant {
            self.zero + Duration::from_secs(second)
        }

        fn write(mut self, value: &str, (began, ended): (u64, u64), outcome: Outcome) -> Self {
            self.history.wrote(Write {
                register: "a:v".to_owned(),
                value: Some(value.to_owned()).filter(|value| value != "-"),
                began: self.at(began),
                ended: self.at(ended),
                outcome,
            });
            self
        }

        fn acknowledged(self, value: &str, when: (u64, u64)) -> Self {
            self.write(value, when, Outcome::Acknowledged)
        }

        fn unknown(self, value: &str, when: (u64, u64)) -> Self {
            self.write(value, when, Outcome::Unknown)
        }

        /// Whether such a read can have been.
        fn allows(&mut self, value: &str, (began, ended): (u64, u64)) -> bool {
            self.history.reads.clear();
            let (began, ended) = (self.at(began), self.at(ended));
            self.history.read(Read {
                register: "a:v".to_owned(),
                value: Some(value.to_owned()).filter(|value| value != "-"),
                began,
                ended,
            });
            self.history.check().is_empty()
        }
    }

    #[test]
    fn the_newest_that_was_acknowledged_is_read() {
        let mut made = Made::new()
            .acknowledged("one", (1, 2))
            .acknowledged("two", (3, 4));
        assert!(made.allows("two", (5, 6)));
        assert!(!made.allows("one", (5, 6)), "it went back");
        assert!(!made.allows("-", (5, 6)), "it is lost");
        assert!(!made.allows("three", (5, 6)), "nobody wrote it");
    }

    #[test]
    fn while_it_is_written_both_are_read() {
        let mut made = Made::new()
            .acknowledged("one", (1, 2))
            .acknowledged("two", (4, 7));
        assert!(made.allows("one", (5, 6)) && made.allows("two", (5, 6)));
        assert!(!made.allows("two", (2, 3)), "before it was asked for");
        assert!(!made.allows("-", (5, 6)));
        assert!(
            made.allows("one", (6, 9)),
            "asked before the second was acknowledged"
        );
    }

    #[test]
    fn before_the_first_there_is_nothing() {
        let mut made = Made::new().acknowledged("one", (3, 5));
        assert!(made.allows("-", (1, 2)) && made.allows("-", (4, 6)));
        assert!(!made.allows("-", (6, 7)));
        assert!(!made.allows("one", (1, 2)));
        assert!(Made::new().allows("-", (1, 2)));
        assert!(!Made::new().allows("one", (1, 2)));
    }

    #[test]
    fn what_was_not_answered_may_come_late_but_not_early() {
        let mut made = Made::new()
            .acknowledged("one", (1, 2))
            .unknown("late", (3, 4))
            .acknowledged("two", (5, 6));
        assert!(made.allows("late", (7, 8)), "held up until now");
        assert!(made.allows("two", (7, 8)));
        assert!(!made.allows("one", (7, 8)));
        assert!(!made.allows("late", (1, 2)));
    }

    #[test]
    fn what_was_deleted_is_gone() {
        let mut made = Made::new()
            .acknowledged("one", (1, 2))
            .acknowledged("-", (3, 4));
        assert!(made.allows("-", (5, 6)));
        assert!(!made.allows("one", (5, 6)), "it is back");
        let mut again = made.acknowledged("two", (7, 8));
        assert!(again.allows("two", (9, 9)));
        assert!(!again.allows("-", (9, 9)));
    }

    #[test]
    fn the_same_value_again_is_a_write_of_its_own() {
        let mut made = Made::new()
            .acknowledged("one", (1, 2))
            .acknowledged("two", (3, 4))
            .acknowledged("one", (5, 6));
        assert!(made.allows("one", (7, 8)));
        assert!(!made.allows("two", (7, 8)));
    }
}
