//! Hashing that can be put down and taken up again: an upload that moves to another process goes on where it was.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::digest::common::hazmat::SerializableState;
use sha2::{Digest as _, Sha256, Sha512};

use crate::{Algorithm, Digest};

/// A running hash of one of the supported algorithms.
#[derive(Clone)]
pub enum Hasher {
    Sha256(Sha256),
    Sha512(Sha512),
}

/// A [`Hasher`] put down: the algorithm and the hash function's own state.
///
/// The bytes are stored in the log of upload sessions, so their meaning is frozen (see the golden test).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HashState {
    algorithm: Algorithm,
    state: Vec<u8>,
}

/// A stored state that is not one of its algorithm's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the stored hash state is damaged")]
pub struct StateError;

impl Hasher {
    pub fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Sha256 => Self::Sha256(Sha256::new()),
            Algorithm::Sha512 => Self::Sha512(Sha512::new()),
        }
    }

    pub fn algorithm(&self) -> Algorithm {
        match self {
            Self::Sha256(_) => Algorithm::Sha256,
            Self::Sha512(_) => Algorithm::Sha512,
        }
    }

    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hash) => hash.update(bytes),
            Self::Sha512(hash) => hash.update(bytes),
        }
    }

    pub fn finish(self) -> Digest {
        let algorithm = self.algorithm();
        match self {
            Self::Sha256(hash) => Digest::from_hash(algorithm, &hash.finalize()),
            Self::Sha512(hash) => Digest::from_hash(algorithm, &hash.finalize()),
        }
    }

    pub fn save(&self) -> HashState {
        let state = match self {
            Self::Sha256(hash) => hash.serialize().to_vec(),
            Self::Sha512(hash) => hash.serialize().to_vec(),
        };
        HashState {
            algorithm: self.algorithm(),
            state,
        }
    }

    pub fn restore(saved: &HashState) -> Result<Self, StateError> {
        let bytes = saved.state.as_slice();
        match saved.algorithm {
            Algorithm::Sha256 => {
                let state = bytes.try_into().map_err(|_wrong_length| StateError)?;
                Sha256::deserialize(state)
                    .map(Self::Sha256)
                    .map_err(|_damaged| StateError)
            }
            Algorithm::Sha512 => {
                let state = bytes.try_into().map_err(|_wrong_length| StateError)?;
                Sha512::deserialize(state)
                    .map(Self::Sha512)
                    .map_err(|_damaged| StateError)
            }
        }
    }
}

impl HashState {
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hasher({})", self.algorithm())
    }
}

impl fmt::Debug for HashState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HashState({})", self.algorithm)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_goes_on_where_it_was_put_down() {
        let content: Vec<u8> = (0..1000_u32).flat_map(u32::to_le_bytes).collect();
        for algorithm in Algorithm::ALL {
            for cut in [0, 1, 63, 64, 65, 127, 128, 129, 1000, content.len()] {
                let mut first = Hasher::new(algorithm);
                first.update(&content[..cut]);
                let mut second = Hasher::restore(&first.save()).unwrap();
                second.update(&content[cut..]);
                assert_eq!(
                    second.finish(),
                    Digest::of(algorithm, &content),
                    "{algorithm} cut at {cut}"
                );
            }
        }
    }

    #[test]
    fn damaged_states_are_refused() {
        let state = HashState {
            algorithm: Algorithm::Sha256,
            state: vec![0xff; 7],
        };
        assert_eq!(Hasher::restore(&state).unwrap_err(), StateError);
    }
}
