//! The secrets that all nodes share: one to sign with, and all those of which signatures are accepted.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use roadstead_metadata::{Elapsed, Origin, Secrets, Timestamp, boot_time};
use roadstead_oci::Name;

use crate::token::{State, Tokens};

/// Signs and checks what clients hold of upload sessions, and gives keys for other purposes. Cheap to clone.
#[derive(Clone)]
pub struct Keys {
    elapsed: Elapsed,
    ring: Arc<RwLock<Ring>>,
}

#[derive(Clone)]
struct Ring {
    oldest: Key,
    /// In order.
    newer: Vec<Key>,
}

#[derive(Clone)]
struct Key {
    tokens: Tokens,
    /// On the clock: from then on every node knows it.
    signs_from: Duration,
    /// On the clock.
    good_until: Option<Duration>,
}

impl Keys {
    /// Of one secret that stays.
    pub(crate) fn new(secret: &[u8]) -> Self {
        Self::on(boot_time(), secret)
    }

    fn on(elapsed: Elapsed, secret: &[u8]) -> Self {
        let key = Key {
            tokens: Tokens::new(secret),
            signs_from: Duration::ZERO,
            good_until: None,
        };
        Self {
            elapsed,
            ring: Arc::new(RwLock::new(Ring {
                oldest: key,
                newer: Vec::new(),
            })),
        }
    }

    /// From now on these, if there are any.
    pub fn hear(&self, secrets: &Secrets) {
        let now = (self.elapsed)();
        let mut heard = secrets.all.iter().map(|secret| Key {
            tokens: Tokens::new(&secret.bytes),
            signs_from: now.saturating_add(secret.settles_in()),
            good_until: secret.good_for.map(|time| now.saturating_add(time)),
        });
        if let Some(oldest) = heard.next() {
            let newer = heard.collect();
            *self.ring.write().unwrap_or_else(PoisonError::into_inner) = Ring { oldest, newer };
        }
    }

    /// A key for the purpose that the label names, of each secret: the one to sign with first.
    pub fn keys_for(&self, label: &str) -> Vec<[u8; 32]> {
        let signing = self.signing().key_for(label);
        let all = self.accepted(|tokens| Some(tokens.key_for(label)));
        let others = all.into_iter().filter(|key| *key != signing);
        std::iter::once(signing).chain(others).collect()
    }

    pub(crate) fn mint(&self, repository: &Name, now: Timestamp) -> Origin {
        self.signing().mint(repository, now)
    }

    pub(crate) fn is_minted(&self, origin: &Origin) -> bool {
        let minted = self.accepted(|tokens| tokens.is_minted(origin).then_some(()));
        !minted.is_empty()
    }

    pub(crate) fn sign(&self, origin: &Origin, state: &State) -> String {
        self.signing().sign(origin, state)
    }

    pub(crate) fn verify(&self, origin: &Origin, state: &str) -> Option<State> {
        let verified = self.accepted(|tokens| tokens.verify(origin, state));
        verified.into_iter().next()
    }

    /// The newest that every node knows. When none has been known for so long, the oldest: the others had it before.
    fn signing(&self) -> Tokens {
        let now = (self.elapsed)();
        let ring = self.ring.read().unwrap_or_else(PoisonError::into_inner);
        let mut newest_first = ring.newer.iter().rev();
        let settled = newest_first.find(|key| key.signs_from <= now);
        settled.unwrap_or(&ring.oldest).tokens.clone()
    }

    fn accepted<T>(&self, ask: impl Fn(&Tokens) -> Option<T>) -> Vec<T> {
        let now = (self.elapsed)();
        let ring = self.ring.read().unwrap_or_else(PoisonError::into_inner);
        let all = std::iter::once(&ring.oldest).chain(&ring.newer);
        let good = all.filter(|key| key.good_until.is_none_or(|until| now < until));
        good.filter_map(|key| ask(&key.tokens)).collect()
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use roadstead_metadata::KeptSecret;

    use super::*;

    const NOW: Timestamp = Timestamp(1_790_000_000_000);

    /// Keys of one node, on a clock that the test moves.
    struct Bench {
        seconds: Arc<AtomicU64>,
        keys: Keys,
    }

    impl Bench {
        fn new(secret: &[u8]) -> Self {
            let seconds = Arc::new(AtomicU64::new(1000));
            let clock = Arc::clone(&seconds);
            let elapsed: Elapsed =
                Arc::new(move || Duration::from_secs(clock.load(Ordering::Relaxed)));
            let keys = Keys::on(elapsed, secret);
            Self { seconds, keys }
        }

        fn pass(&self, seconds: u64) {
            self.seconds.fetch_add(seconds, Ordering::Relaxed);
        }

        fn mint(&self) -> Origin {
            self.keys.mint(&"a/b".parse().unwrap(), NOW)
        }
    }

    fn rotated(age: u64) -> Secrets {
        let one = KeptSecret {
            bytes: b"one".to_vec(),
            age: Duration::from_hours(1),
            good_for: Some(Duration::from_secs(100)),
        };
        let two = KeptSecret {
            bytes: b"two".to_vec(),
            age: Duration::from_secs(age),
            good_for: None,
        };
        Secrets {
            all: vec![one, two],
            since: NOW,
        }
    }

    #[test]
    fn a_new_secret_is_accepted_at_once_signed_with_later_and_the_former_ends() {
        let (first, second) = (Bench::new(b"one"), Bench::new(b"one"));
        first.keys.hear(&rotated(0));
        let before = first.mint();
        assert!(
            second.keys.is_minted(&before),
            "who has not heard yet accepts it"
        );
        first.pass(10);
        let after = first.mint();
        assert!(!second.keys.is_minted(&after), "signed with the new one");
        second.keys.hear(&rotated(10));
        assert!(second.keys.is_minted(&after) && second.keys.is_minted(&before));
        assert!(first.keys.is_minted(&second.mint()));
        second.pass(99);
        assert!(second.keys.is_minted(&before));
        second.pass(1);
        assert!(!second.keys.is_minted(&before), "its time is over");
        assert!(second.keys.is_minted(&after));
    }

    #[test]
    fn keys_for_other_purposes_go_along() {
        let bench = Bench::new(b"one");
        let of_one = bench.keys.keys_for("label");
        assert_eq!(of_one.len(), 1);
        bench.keys.hear(&rotated(0));
        let both = bench.keys.keys_for("label");
        assert_eq!((both.len(), both[0]), (2, of_one[0]));
        bench.pass(10);
        let turned = bench.keys.keys_for("label");
        assert_eq!(turned, [both[1], both[0]]);
    }

    #[test]
    fn nothing_heard_changes_nothing() {
        let bench = Bench::new(b"one");
        let origin = bench.mint();
        bench.keys.hear(&Secrets::default());
        assert!(bench.keys.is_minted(&origin));
    }
}
