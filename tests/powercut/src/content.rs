//! The bytes of a file: sparse, in shared chunks, so that a copy costs a count and not the bytes.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

/// Bytes that are shared and copied together. Small enough for the pages of a database, large enough for layers.
const CHUNK: u64 = 16 * 1024;

/// The unit in which space is given out.
pub(crate) const BLOCK: u64 = 4096;

/// The unit that a disk writes whole or not at all.
const SECTOR: u64 = 512;

static ZEROS: LazyLock<Arc<[u8]>> = LazyLock::new(|| Arc::from(vec![0; index(CHUNK)]));

/// A part of a write that lies within one chunk; a whole chunk is shared with the file it was written to.
#[derive(Clone, Debug)]
pub(crate) struct Piece {
    at: u64,
    bytes: Arc<[u8]>,
}

impl Piece {
    /// A write, cut where the chunks are.
    pub(crate) fn split(offset: u64, data: &[u8]) -> Vec<Self> {
        let mut pieces = Vec::new();
        let (mut at, mut rest) = (offset, data);
        while !rest.is_empty() {
            let room = index(CHUNK - at % CHUNK).min(rest.len());
            let (head, tail) = rest.split_at(room);
            let bytes = Arc::from(head);
            pieces.push(Self { at, bytes });
            at += room as u64;
            rest = tail;
        }
        pieces
    }

    pub(crate) fn end(&self) -> u64 {
        self.at + self.bytes.len() as u64
    }

    /// The piece as the disk sees it, with the offset of each part.
    pub(crate) fn sectors(&self) -> impl Iterator<Item = (u64, &[u8])> {
        let numbers = (self.at / SECTOR)..self.end().div_ceil(SECTOR);
        numbers.map(|sector| {
            let from = (sector * SECTOR).max(self.at);
            let to = ((sector + 1) * SECTOR).min(self.end());
            (
                from,
                &self.bytes[index(from - self.at)..index(to - self.at)],
            )
        })
    }

    pub(crate) fn whole(&self) -> (u64, &[u8]) {
        (self.at, &self.bytes)
    }
}

/// What a file holds. Bytes of a chunk that lie beyond the size are always zero.
#[derive(Clone, Debug, Default)]
pub(crate) struct Content {
    chunks: BTreeMap<u64, Arc<[u8]>>,
    size: u64,
}

impl Content {
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    pub(crate) fn read(&self, offset: u64, length: u64) -> Vec<u8> {
        let end = self.size.min(offset.saturating_add(length));
        let mut bytes = vec![0; index(end.saturating_sub(offset))];
        if bytes.is_empty() {
            return bytes;
        }
        for (number, chunk) in self.chunks.range(offset / CHUNK..end.div_ceil(CHUNK)) {
            let base = number * CHUNK;
            let from = base.max(offset);
            let to = (base + CHUNK).min(end);
            bytes[index(from - offset)..index(to - offset)]
                .copy_from_slice(&chunk[index(from - base)..index(to - base)]);
        }
        bytes
    }

    /// All that is not a hole, with the offset of each part.
    pub(crate) fn parts(&self) -> impl Iterator<Item = (u64, &[u8])> {
        let within = self.chunks.range(..self.size.div_ceil(CHUNK));
        within.map(|(number, chunk)| {
            let base = number * CHUNK;
            (base, &chunk[..index(CHUNK.min(self.size - base))])
        })
    }

    /// Writes a piece; the file grows to hold it.
    pub(crate) fn put(&mut self, piece: &Piece) {
        self.size = self.size.max(piece.end());
        if piece.bytes.len() as u64 == CHUNK {
            self.chunks
                .insert(piece.at / CHUNK, Arc::clone(&piece.bytes));
        } else {
            self.patch(piece.at, &piece.bytes);
        }
    }

    /// Writes what lies within the size: bytes that reached the disk while the size did not are not part of the file.
    pub(crate) fn put_within(&mut self, (at, bytes): (u64, &[u8])) {
        let room = self.size.saturating_sub(at).min(bytes.len() as u64);
        if room > 0 {
            self.patch(at, &bytes[..index(room)]);
        }
    }

    fn patch(&mut self, at: u64, bytes: &[u8]) {
        let chunk = self.chunks.entry(at / CHUNK).or_insert_with(zeros);
        let start = index(at % CHUNK);
        Arc::make_mut(chunk)[start..start + bytes.len()].copy_from_slice(bytes);
    }

    pub(crate) fn resize(&mut self, size: u64) {
        if size < self.size {
            drop(self.chunks.split_off(&size.div_ceil(CHUNK)));
            let kept = index(size % CHUNK);
            if kept > 0
                && let Some(last) = self.chunks.get_mut(&(size / CHUNK))
            {
                Arc::make_mut(last)[kept..].fill(0);
            }
        }
        self.size = size;
    }

    /// Gives the holes of a range space of their own.
    pub(crate) fn reserve(&mut self, offset: u64, length: u64) {
        for number in offset / CHUNK..(offset + length).div_ceil(CHUNK) {
            self.chunks.entry(number).or_insert_with(zeros);
        }
    }

    /// Becomes like `other` in the chunks of these pieces, by sharing them.
    pub(crate) fn adopt(&mut self, other: &Self, pieces: &[Piece]) {
        for piece in pieces {
            let number = piece.at / CHUNK;
            match other.chunks.get(&number) {
                Some(chunk) => self.chunks.insert(number, Arc::clone(chunk)),
                None => self.chunks.remove(&number),
            };
        }
    }

    /// The space taken, in bytes.
    pub(crate) fn allocated(&self) -> u64 {
        let ends_in_data = self.chunks.contains_key(&(self.size / CHUNK));
        space(self.chunks.len() as u64, self.size, ends_in_data)
    }

    /// The space that would be taken if the range were written.
    pub(crate) fn allocated_with(&self, offset: u64, length: u64) -> u64 {
        let end = offset + length;
        let range = offset / CHUNK..end.div_ceil(CHUNK);
        let present = self.chunks.range(range.clone()).count() as u64;
        let chunks = self.chunks.len() as u64 + (range.end - range.start) - present;
        let size = self.size.max(end);
        let last = size / CHUNK;
        let ends_in_data = range.contains(&last) || self.chunks.contains_key(&last);
        space(chunks, size, ends_in_data)
    }
}

/// Chunks are whole in memory, but the last one takes only the blocks that the size reaches into.
fn space(chunks: u64, size: u64, ends_in_data: bool) -> u64 {
    let tail = size % CHUNK;
    let unused = if ends_in_data && tail > 0 {
        CHUNK - tail.next_multiple_of(BLOCK)
    } else {
        0
    };
    chunks * CHUNK - unused
}

fn zeros() -> Arc<[u8]> {
    Arc::clone(&ZEROS)
}

fn index(offset: u64) -> usize {
    usize::try_from(offset).expect("offsets within memory fit the machine")
}
