//! Encryption of what is kept in the metadata service, whose disks and backups more people read than hold keys.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};

/// Tells the keys of this room from all others that are made of the same secret.
const SALT: &[u8] = b"roadstead certificates";
const SEALING: &[u8] = b"sealing, 1";
const TELLING: &[u8] = b"telling keys apart, 1";

/// How sealed bytes begin: this form, then the nonce.
const FORM: u8 = 1;

const KEY_BYTES: usize = 32;
const ID_BYTES: usize = 8;

/// What was sealed with another key, or is not what was sealed.
#[derive(Debug, thiserror::Error)]
#[error("the key does not fit")]
pub struct Unreadable;

/// Documents are written a few times in weeks: nonces may be random (a hundred million of them repeat one with a chance of
/// one in ten million million).
pub(crate) struct Seal {
    key: RandomizedNonceKey,
    id: u64,
}

impl Seal {
    pub(crate) fn new(secret: &[u8]) -> Result<Self, Unspecified> {
        let prk = Salt::new(HKDF_SHA256, SALT).extract(secret);
        let mut key = [0; KEY_BYTES];
        prk.expand(&[SEALING], Bytes(KEY_BYTES))?.fill(&mut key)?;
        let mut id = [0; ID_BYTES];
        prk.expand(&[TELLING], Bytes(ID_BYTES))?.fill(&mut id)?;
        Ok(Self {
            key: RandomizedNonceKey::new(&AES_256_GCM, &key)?,
            id: u64::from_be_bytes(id),
        })
    }

    /// The same for processes with the same secret, and no secret itself.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// `about` is not in it, and must be the same when it is opened.
    pub(crate) fn close(&self, about: &[u8], mut content: Vec<u8>) -> Result<Vec<u8>, Unspecified> {
        let aad = Aad::from(about);
        let nonce = self.key.seal_in_place_append_tag(aad, &mut content)?;
        let mut sealed = vec![FORM];
        sealed.extend_from_slice(nonce.as_ref());
        sealed.append(&mut content);
        Ok(sealed)
    }

    pub(crate) fn open(&self, about: &[u8], sealed: &[u8]) -> Result<Vec<u8>, Unreadable> {
        let [FORM, rest @ ..] = sealed else {
            return Err(Unreadable);
        };
        let (nonce, content) = rest.split_at_checked(NONCE_LEN).ok_or(Unreadable)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_length| Unreadable)?;
        let mut content = content.to_vec();
        let opened = self
            .key
            .open_in_place(nonce, Aad::from(about), &mut content);
        let length = opened.map_err(|_other_key| Unreadable)?.len();
        content.truncate(length);
        Ok(content)
    }
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seal").finish_non_exhaustive()
    }
}

struct Bytes(usize);

impl KeyType for Bytes {
    fn len(&self) -> usize {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_secret_opens_it_and_only_as_it_was() {
        let seal = Seal::new(b"a secret of the cluster").unwrap();
        let sealed = seal.close(b"a", b"private".to_vec()).unwrap();
        assert!(!sealed.windows(7).any(|bytes| bytes == b"private"));
        let again = Seal::new(b"a secret of the cluster").unwrap();
        assert_eq!(again.open(b"a", &sealed).unwrap(), b"private");
        assert_eq!(again.id(), seal.id());
        assert_ne!(seal.close(b"a", b"private".to_vec()).unwrap(), sealed);

        let other = Seal::new(b"another secret").unwrap();
        assert_ne!(other.id(), seal.id());
        other.open(b"a", &sealed).unwrap_err();
        seal.open(b"b", &sealed).unwrap_err();
        for at in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[at] ^= 1;
            seal.open(b"a", &damaged).unwrap_err();
            seal.open(b"a", &sealed[..at]).unwrap_err();
        }
    }
}
