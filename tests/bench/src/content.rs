//! What is pushed: blobs that are never the same twice, and small images.

use sha2::{Digest as _, Sha256};

/// Of a blob, this much is made at once.
const BLOCK: usize = 1 << 20;

/// A blob of any size that needs no memory: one block of noise, each time with its number in front.
#[derive(Debug, Clone)]
pub(crate) struct Blob {
    block: Vec<u8>,
    seed: u64,
    pub(crate) size: u64,
}

impl Blob {
    pub(crate) fn new(seed: u64, size: u64) -> Self {
        let mut state = seed | 1;
        let length = usize::try_from(size).unwrap_or(BLOCK).min(BLOCK);
        let block = std::iter::repeat_with(|| {
            // xorshift64: noise enough that nothing shrinks it.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        });
        let block = block.flatten().take(length).collect();
        Self { block, seed, size }
    }

    /// Gives all of it to `take`, piece by piece.
    pub(crate) fn write<E>(
        &mut self,
        mut take: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut left = self.size;
        let mut number = self.seed;
        while left > 0 {
            let here = usize::try_from(left).unwrap_or(BLOCK).min(self.block.len());
            for (to, from) in self.block.iter_mut().zip(number.to_le_bytes()) {
                *to = from;
            }
            take(self.block.get(..here).unwrap_or_default())?;
            left -= here as u64;
            number = number.wrapping_add(1);
        }
        Ok(())
    }

    pub(crate) fn digest(&mut self) -> String {
        let mut hasher = Sha256::new();
        let hashed: Result<(), std::convert::Infallible> = self.write(|piece| {
            hasher.update(piece);
            Ok(())
        });
        match hashed {
            Ok(()) => named(hasher),
        }
    }

    pub(crate) fn bytes(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        let written: Result<(), std::convert::Infallible> = self.write(|piece| {
            all.extend_from_slice(piece);
            Ok(())
        });
        match written {
            Ok(()) => all,
        }
    }
}

/// `sha256:...` of these bytes.
pub(crate) fn digest(bytes: &[u8]) -> String {
    named(Sha256::new().chain_update(bytes))
}

fn named(hasher: Sha256) -> String {
    let hex: Vec<String> = hasher
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("sha256:{}", hex.concat())
}

pub(crate) const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";

/// What clients say: without it the reference finds no manifest of that type.
pub(crate) const ACCEPT: &str = "Accept: application/vnd.oci.image.manifest.v1+json, */*\r\n";

/// An image: its configuration, its layers, and the manifest that names them.
#[derive(Debug)]
pub(crate) struct Image {
    /// Bytes with their digests, the configuration last.
    pub(crate) blobs: Vec<(String, Vec<u8>)>,
    pub(crate) manifest: Vec<u8>,
}

impl Image {
    pub(crate) fn new(seed: u64, layers: usize, size: u64) -> Self {
        let seeds = (1_u64..).map(|layer| seed.wrapping_mul(1021).wrapping_add(layer));
        let layers: Vec<(String, Vec<u8>)> = seeds
            .take(layers)
            .map(|seed| Blob::new(seed, size).bytes())
            .map(|bytes| (digest(&bytes), bytes))
            .collect();
        let described: Vec<String> = layers
            .iter()
            .map(|(digest, bytes)| {
                described(
                    "application/vnd.oci.image.layer.v1.tar+gzip",
                    digest,
                    bytes.len(),
                )
            })
            .collect();
        let config =
            format!("{{\"architecture\":\"amd64\",\"os\":\"linux\",\"seed\":{seed}}}").into_bytes();
        let config = (digest(&config), config);
        let manifest = format!(
            "{{\"schemaVersion\":2,\"mediaType\":\"{MANIFEST_TYPE}\",\"config\":{},\"layers\":[{}]}}",
            self::described(
                "application/vnd.oci.image.config.v1+json",
                &config.0,
                config.1.len()
            ),
            described.join(",")
        );
        Self {
            blobs: layers.into_iter().chain([config]).collect(),
            manifest: manifest.into_bytes(),
        }
    }
}

fn described(media_type: &str, digest: &str, size: usize) -> String {
    format!("{{\"mediaType\":\"{media_type}\",\"digest\":\"{digest}\",\"size\":{size}}}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_is_the_same_each_time_and_unlike_another() {
        let size = 2 * BLOCK as u64 + 5;
        let bytes = Blob::new(7, size).bytes();
        assert_eq!(bytes.len() as u64, size);
        assert_eq!(digest(&bytes), Blob::new(7, size).digest());
        assert_ne!(digest(&bytes), Blob::new(8, size).digest());
        assert_ne!(bytes.get(..BLOCK), bytes.get(BLOCK..2 * BLOCK));
        assert_eq!(
            digest(b""),
            "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
    }

    #[test]
    fn images_differ_in_every_blob() {
        let (one, other) = (Image::new(1, 3, 100), Image::new(2, 3, 100));
        assert_eq!(one.blobs.len(), 4);
        for (digest, _) in &one.blobs {
            assert!(other.blobs.iter().all(|(theirs, _)| theirs != digest));
        }
    }
}
