//! One layer: an archive with a directory and a file of noise, compressed, the same for the same seed.

use std::io::Write;

use flate2::{Compression, GzBuilder};
use roadstead_oci::{Algorithm, Digest};
use tar::{Builder, EntryType, Header};

use crate::image::Document;

pub(super) struct Layer {
    pub(super) document: Document,
    /// The digest of the archive before compression.
    pub(super) diff_id: Digest,
}

/// Layers of different numbers hold different paths, so that an unpacked image shows all of them.
pub(super) fn make(media_type: &str, seed: u64, number: u64, size: usize) -> Layer {
    let archive = archive(number, &noise(seed, size));
    let diff_id = Digest::of(Algorithm::Sha256, &archive);
    let mut gzip = GzBuilder::new().write(Vec::new(), Compression::fast());
    gzip.write_all(&archive).expect("memory takes writes");
    let bytes = gzip.finish().expect("memory takes writes");
    Layer {
        document: Document::new(media_type, bytes),
        diff_id,
    }
}

fn archive(number: u64, content: &[u8]) -> Vec<u8> {
    let mut archive = Builder::new(Vec::new());
    let directory = format!("layer-{number}/");
    let mut header = header(EntryType::Directory, 0o755, 0);
    archive
        .append_data(&mut header, &directory, std::io::empty())
        .expect("memory takes writes");
    let mut header = self::header(EntryType::Regular, 0o644, content.len());
    archive
        .append_data(&mut header, format!("{directory}noise"), content)
        .expect("memory takes writes");
    archive.into_inner().expect("memory takes writes")
}

fn header(kind: EntryType, mode: u32, size: usize) -> Header {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size as u64);
    header.set_mtime(1_577_836_800);
    header
}

/// `size` bytes that nothing compresses and that are the same for the same seed (splitmix64).
pub fn noise(seed: u64, size: usize) -> Vec<u8> {
    let mut state = seed;
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bytes.extend_from_slice(&(word ^ (word >> 31)).to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}
