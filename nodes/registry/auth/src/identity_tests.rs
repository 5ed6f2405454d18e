//! What a token of this registry's is good for, and what it is not.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;

use super::*;

const NOW: u64 = 1_893_456_000;

/// Of one key and realm, at a time that the test moves.
fn identities(key: u8, realm: &str) -> (Identities, Arc<AtomicU64>) {
    let now = Arc::new(AtomicU64::new(NOW));
    let clock = Arc::clone(&now);
    let clock: Clock =
        Arc::new(move || UNIX_EPOCH + Duration::from_secs(clock.load(Ordering::Relaxed)));
    let key = TokenKey::from([key; 32]);
    (Identities::new(key.into(), realm, clock), now)
}

fn hash(cost: u32) -> StoredHash {
    StoredHash::dummy(cost)
}

fn is_good(it: &Identities, token: &str, stored: Option<&StoredHash>) -> bool {
    read(token.as_bytes()).is_some_and(|claimed| it.is_good(&claimed, stored, it.now()))
}

#[test]
fn a_token_tells_whose_it_is() {
    let (it, _) = identities(1, "realm");
    let ann = it.issue(Some(("ann", &hash(4))));
    let claimed = read(ann.token.as_bytes()).unwrap();
    assert_eq!(claimed.user.as_deref(), Some("ann"));
    assert!(it.is_good(&claimed, Some(&hash(4)), it.now()));
    let nobody = it.issue(None);
    let claimed = read(nobody.token.as_bytes()).unwrap();
    assert_eq!(claimed.user, None);
    assert!(it.is_good(&claimed, None, it.now()));
    assert_eq!(ann.issued_at, UNIX_EPOCH + Duration::from_secs(NOW));
    assert_eq!(ann.expires_in, Duration::from_mins(5));
    assert!(!format!("{ann:?} {it:?}").contains(&ann.token));
}

#[test]
fn it_ends_with_its_time_its_user_and_their_password() {
    let (it, now) = identities(1, "realm");
    let ann = it.issue(Some(("ann", &hash(4)))).token;
    assert!(!is_good(&it, &ann, None), "no such user any more");
    assert!(!is_good(&it, &ann, Some(&hash(5))), "another password");
    for (at, good) in [
        (NOW - 60, true),
        (NOW - 61, false),
        (NOW + 299, true),
        (NOW + 300, false),
    ] {
        now.store(at, Ordering::Relaxed);
        assert_eq!(is_good(&it, &ann, Some(&hash(4))), good, "{at}");
    }
}

#[test]
fn nodes_with_one_key_accept_each_other_s_and_no_others() {
    let (one, _) = identities(1, "realm");
    let token = one.issue(None).token;
    assert!(is_good(&identities(1, "realm").0, &token, None));
    assert!(!is_good(&identities(2, "realm").0, &token, None));
    assert!(!is_good(&identities(1, "other").0, &token, None));
}

/// A key may be one that everybody knows: `http.secret` of a sample configuration.
#[test]
fn the_key_alone_makes_no_token_for_a_user() {
    let (it, _) = identities(1, "realm");
    let forged = |stored: &StoredHash| it.issue(Some(("ann", stored))).token;
    let stored: StoredHash = hash(6);
    assert!(!is_good(&it, &forged(&hash(4)), Some(&stored)));
    // Nor does one for nobody become one for a user.
    let mut bytes = URL_SAFE_NO_PAD.decode(it.issue(None).token).unwrap();
    bytes[0] = USER;
    let token = URL_SAFE_NO_PAD.encode(&bytes);
    assert!(!is_good(&it, &token, Some(&stored)) && !is_good(&it, &token, None));
}

#[test]
fn every_bit_counts() {
    let (it, _) = identities(1, "realm");
    let stored = hash(4);
    let bytes = URL_SAFE_NO_PAD
        .decode(it.issue(Some(("ann", &stored))).token)
        .unwrap();
    for bit in 0..bytes.len() * 8 {
        let mut forged = bytes.clone();
        forged[bit / 8] ^= 1 << (bit % 8);
        let token = URL_SAFE_NO_PAD.encode(&forged);
        assert!(!is_good(&it, &token, Some(&stored)), "bit {bit}");
        assert!(!is_good(&it, &token, None), "bit {bit}");
    }
}

proptest! {
    #[test]
    fn no_token_panics(text in any::<Vec<u8>>(), bytes in prop::collection::vec(any::<u8>(), 0..120)) {
        let (it, _) = identities(1, "realm");
        let encoded = URL_SAFE_NO_PAD.encode(bytes);
        for token in [text.as_slice(), encoded.as_bytes()] {
            let good = read(token).is_some_and(|claimed| it.is_good(&claimed, Some(&hash(4)), it.now()));
            prop_assert!(!good);
        }
    }
}
