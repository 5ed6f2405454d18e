//! This registry's own tokens: they say who somebody is, and nothing of what they may do.
//!
//! ```text
//! kind (1: nobody, 2: a user) | issued | expires | the user's name | HMAC-SHA256 over all of it and the user's stored hash
//!            1 byte              8 bytes   8 bytes      0..           32 bytes
//! ```
//! in base64url. The stored hash is part of what is signed: a token ends with the password it was given for, and nobody who
//! does not have the file can make one for a user, even if they know the key.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::clock::Clock;
use crate::htpasswd::StoredHash;
use crate::options::{TokenKey, TokenKeys};

/// Clients ask again by themselves when it is over. docker takes less than a minute for a minute.
const LIFETIME: Duration = Duration::from_mins(5);

/// How far the clocks of two nodes may be apart.
const LEEWAY: Duration = Duration::from_mins(1);

const NOBODY: u8 = 1;
const USER: u8 = 2;

const TIMES_AT: usize = 1;
const NAME_AT: usize = 17;
const MAC_LEN: usize = 32;

/// A token, as a client gets it.
#[derive(Clone, PartialEq, Eq)]
pub struct IssuedToken {
    /// For `Authorization: Bearer`.
    pub token: String,
    /// How long it is good for.
    pub expires_in: Duration,
    /// When it was made, in whole seconds.
    pub issued_at: SystemTime,
}

impl fmt::Debug for IssuedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssuedToken").finish_non_exhaustive()
    }
}

/// Makes and reads these tokens.
pub(crate) struct Identities {
    keys: TokenKeys,
    realm: String,
    clock: Clock,
}

/// A token that was read, and is not believed yet.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Claimed {
    bytes: Vec<u8>,
    pub(crate) user: Option<String>,
}

impl Identities {
    /// `realm` keeps registries apart that share a key.
    pub(crate) fn new(keys: TokenKeys, realm: &str, clock: Clock) -> Self {
        Self {
            keys,
            realm: realm.to_owned(),
            clock,
        }
    }

    pub(crate) fn now(&self) -> SystemTime {
        (self.clock)()
    }

    /// For a user, with the hash that their password was checked against, or for nobody.
    pub(crate) fn issue(&self, user: Option<(&str, &StoredHash)>) -> IssuedToken {
        let issued = seconds((self.clock)());
        let expires = issued.saturating_add(LIFETIME.as_secs());
        let (kind, name) = user.map_or((NOBODY, ""), |(name, _)| (USER, name));
        let mut bytes = vec![kind];
        bytes.extend_from_slice(&issued.to_be_bytes());
        bytes.extend_from_slice(&expires.to_be_bytes());
        bytes.extend_from_slice(name.as_bytes());
        if let Some(key) = self.keys.now().first() {
            let mac = self.over(key, &bytes, user.map(|(_, hash)| hash));
            bytes.extend_from_slice(&mac.finalize().into_bytes());
        }
        IssuedToken {
            token: URL_SAFE_NO_PAD.encode(&bytes),
            expires_in: LIFETIME,
            issued_at: UNIX_EPOCH
                .checked_add(Duration::from_secs(issued))
                .unwrap_or(UNIX_EPOCH),
        }
    }

    /// Whether this registry, or another node with its key, made it, for who has this hash, and its time was not over then.
    pub(crate) fn is_good(
        &self,
        claimed: &Claimed,
        stored: Option<&StoredHash>,
        as_of: SystemTime,
    ) -> bool {
        let at = claimed.bytes.len().saturating_sub(MAC_LEN);
        let Some((signed, mac)) = claimed.bytes.split_at_checked(at) else {
            return false;
        };
        // The same work for a user who is not there.
        let keys = self.keys.now();
        let fits = |key| self.over(key, signed, stored).verify_slice(mac).is_ok();
        let signature_fits = keys.iter().any(fits);
        let is_there = claimed.user.is_none() || stored.is_some();
        let now = seconds(as_of);
        let [issued, expires] = times(signed).unwrap_or_default();
        let is_in_time = now < expires && issued <= now.saturating_add(LEEWAY.as_secs());
        signature_fits && is_there && is_in_time
    }

    fn over(&self, key: &TokenKey, signed: &[u8], stored: Option<&StoredHash>) -> Hmac<Sha256> {
        let keyed = |key: &[u8]| {
            Hmac::<Sha256>::new_from_slice(key).expect("an HMAC takes a key of any length")
        };
        let own = keyed(key.bytes()).chain_update(self.realm.as_bytes());
        let length = u64::try_from(signed.len()).unwrap_or(u64::MAX);
        let stored = stored.map_or("", StoredHash::as_str);
        // Its length first: no byte of the name passes for one of the hash.
        keyed(&own.finalize().into_bytes())
            .chain_update(length.to_be_bytes())
            .chain_update(signed)
            .chain_update(stored.as_bytes())
    }
}

/// Reads what a token says, and believes nothing of it.
pub(crate) fn read(token: &[u8]) -> Option<Claimed> {
    let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
    let signed = bytes.get(..bytes.len().checked_sub(MAC_LEN)?)?;
    times(signed)?;
    let name = str::from_utf8(signed.get(NAME_AT..)?).ok()?;
    let user = match (signed.first()?, name) {
        (&NOBODY, "") => None,
        (&USER, name) => Some(name.to_owned()),
        _ => return None,
    };
    Some(Claimed { bytes, user })
}

/// When it was issued, and when it expires.
fn times(signed: &[u8]) -> Option<[u64; 2]> {
    let (issued, expires) = signed.get(TIMES_AT..NAME_AT)?.split_first_chunk()?;
    Some([
        u64::from_be_bytes(*issued),
        u64::from_be_bytes(*expires.first_chunk()?),
    ])
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

impl fmt::Debug for Identities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identities")
    }
}

#[cfg(test)]
#[path = "identity_tests.rs"]
mod tests;
