//! Digests as small numbers: a store of ten million blobs is marked in some 40 bytes for each.

use hashbrown::HashTable;
use roadstead_oci::{Algorithm, Digest};

/// A digest, in one [`Ids`]. The top bit tells the algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Id(u32);

const LONG: u32 = 1 << 31;

/// The digests that were seen.
#[derive(Default)]
pub(super) struct Ids {
    short: Pool<32>,
    long: Pool<64>,
}

impl Ids {
    pub(super) fn id(&mut self, digest: &Digest) -> Id {
        match digest.algorithm() {
            Algorithm::Sha256 => Id(self.short.id(bytes(digest.hex()))),
            Algorithm::Sha512 => Id(self.long.id(bytes(digest.hex())) | LONG),
        }
    }

    pub(super) fn find(&self, digest: &Digest) -> Option<Id> {
        match digest.algorithm() {
            Algorithm::Sha256 => self.short.find(&bytes(digest.hex())).map(Id),
            Algorithm::Sha512 => {
                let found = self.long.find(&bytes(digest.hex()));
                found.map(|at| Id(at | LONG))
            }
        }
    }

    pub(super) fn digest(&self, Id(id): Id) -> Digest {
        let at = (id & !LONG) as usize;
        let (algorithm, hash): (_, &[u8]) = if id & LONG == 0 {
            (Algorithm::Sha256, &self.short.hashes[at])
        } else {
            (Algorithm::Sha512, &self.long.hashes[at])
        };
        let hex: String = hash
            .iter()
            .flat_map(|byte| [byte >> 4, byte & 15])
            .filter_map(|digit| char::from_digit(u32::from(digit), 16))
            .collect();
        Digest::from_parts(algorithm, &hex).expect("as many digits as the algorithm has")
    }

    pub(super) fn len(&self) -> usize {
        self.short.hashes.len() + self.long.hashes.len()
    }
}

/// Hashes of one length, each once.
struct Pool<const N: usize> {
    hashes: Vec<[u8; N]>,
    index: HashTable<u32>,
}

impl<const N: usize> Default for Pool<N> {
    fn default() -> Self {
        Self {
            hashes: Vec::new(),
            index: HashTable::new(),
        }
    }
}

impl<const N: usize> Pool<N> {
    fn find(&self, hash: &[u8; N]) -> Option<u32> {
        let is_it = |at: &u32| self.hashes[*at as usize] == *hash;
        self.index.find(head(hash), is_it).copied()
    }

    fn id(&mut self, hash: [u8; N]) -> u32 {
        if let Some(at) = self.find(&hash) {
            return at;
        }
        let at = u32::try_from(self.hashes.len()).unwrap_or(LONG);
        assert!(
            at < LONG,
            "a store holds fewer than two thousand million digests"
        );
        self.hashes.push(hash);
        let hashes = &self.hashes;
        let rehash = |at: &u32| head(&hashes[*at as usize]);
        self.index.insert_unique(head(&hash), at, rehash);
        at
    }
}

/// It is a hash already.
fn head<const N: usize>(hash: &[u8; N]) -> u64 {
    hash.first_chunk()
        .map_or(0, |head| u64::from_le_bytes(*head))
}

fn bytes<const N: usize>(hex: &str) -> [u8; N] {
    let mut bytes = [0; N];
    let digit = |at: Option<&u8>| match at {
        Some(digit @ b'0'..=b'9') => digit - b'0',
        Some(letter) => letter.wrapping_sub(b'a' - 10),
        None => 0,
    };
    for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().chunks(2)) {
        *byte = digit(pair.first()) << 4 | digit(pair.get(1));
    }
    bytes
}

/// A set of digests: a byte for each that was seen.
#[derive(Default)]
pub(super) struct Marks {
    short: Vec<bool>,
    long: Vec<bool>,
    count: usize,
}

impl Marks {
    pub(super) fn add(&mut self, Id(id): Id) {
        let at = (id & !LONG) as usize;
        let of = if id & LONG == 0 {
            &mut self.short
        } else {
            &mut self.long
        };
        if of.len() <= at {
            of.resize(at + 1, false);
        }
        self.count += usize::from(!of[at]);
        of[at] = true;
    }

    pub(super) fn has(&self, Id(id): Id) -> bool {
        let of = if id & LONG == 0 {
            &self.short
        } else {
            &self.long
        };
        of.get((id & !LONG) as usize).copied().unwrap_or(false)
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_has_one_number_and_comes_back() {
        let mut ids = Ids::default();
        let mut marks = Marks::default();
        for algorithm in Algorithm::ALL {
            let digests: Vec<Digest> = (0_u32..2000)
                .map(|n| Digest::of(algorithm, &n.to_le_bytes()))
                .collect();
            let unknown = digests.iter().find(|digest| ids.find(digest).is_some());
            assert_eq!(unknown, None);
            let numbers: Vec<Id> = digests.iter().map(|digest| ids.id(digest)).collect();
            for (digest, id) in digests.iter().zip(numbers) {
                assert_eq!((ids.id(digest), ids.find(digest)), (id, Some(id)));
                assert_eq!(ids.digest(id), *digest);
                assert!(!marks.has(id));
                marks.add(id);
                marks.add(id);
                assert!(marks.has(id));
            }
        }
        assert_eq!((ids.len(), marks.count()), (4000, 4000));
    }
}
