//! Writing a large file past the kernel's memory (`O_DIRECT`).
//!
//! What is written the usual way is copied into pages that the kernel has to find first; half of the processor time of a
//! large push went there, and what others read often was pushed out of memory by it. Here the disk takes it from where it
//! lies, or from one buffer that it is copied into again and again. The price is that who pulls it first reads it from the disk.

use std::fs::File;
use std::io::{ErrorKind, Write as _};

use bytes::Bytes;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;

use super::tree::write_error;
use crate::error::Error;

/// Smaller files, as most layers are, stay in memory: they are pulled soon.
pub(super) const DIRECT_FROM: u64 = 16 << 20;

/// What places in memory, places in the file and lengths have to be multiples of: no disk asks for more. One that does
/// refuses, and is written to the usual way.
const ALIGNED: usize = 4096;

/// Bytes of one write, and of memory that an upload takes for it.
const BLOCK: usize = 1 << 20;

const WRITING: &str = "writing an upload";

/// How the rest of a file is written.
#[derive(Debug)]
pub(super) struct Direct {
    buffer: Vec<u8>,
    /// Where in the buffer the bytes begin, so that they are aligned.
    start: usize,
    filled: usize,
    /// Bytes that are written the usual way first, until the file is aligned.
    lead: usize,
    way: Way,
}

/// How a file takes bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// The usual one, as yet.
    NotYet,
    Direct,
    /// The usual one: the file system knows no other, the disk wants it otherwise, or it is the end.
    Usual,
}

impl Direct {
    /// For a file of so many bytes.
    pub(super) fn after(length: u64) -> Self {
        let buffer = vec![0; BLOCK + ALIGNED];
        let start = buffer.as_ptr().align_offset(ALIGNED).min(ALIGNED);
        let over = usize::try_from(length % ALIGNED as u64).unwrap_or_default();
        Self {
            buffer,
            start,
            filled: 0,
            lead: (ALIGNED - over) % ALIGNED,
            way: Way::NotYet,
        }
    }

    /// Appends. Blocks.
    pub(super) fn write(&mut self, file: &File, pieces: &[Bytes]) -> Result<(), Error> {
        for piece in pieces {
            let (lead, mut rest) = piece.split_at(self.lead.min(piece.len()));
            put(file, lead, &mut self.way)?;
            self.lead -= lead.len();
            while !rest.is_empty() {
                let whole = self.as_it_lies(rest);
                if whole > 0 {
                    let (now, later) = rest.split_at(whole);
                    self.turn_on(file);
                    put(file, now, &mut self.way)?;
                    rest = later;
                    continue;
                }
                let free = self.start + self.filled..self.start + BLOCK;
                let free = self.buffer.get_mut(free).ok_or(Error::Damaged)?;
                let (now, later) = rest.split_at(rest.len().min(free.len()));
                let (free, _) = free.split_at_mut(now.len());
                free.copy_from_slice(now);
                self.filled += now.len();
                rest = later;
                if self.filled == BLOCK {
                    self.write_block(file)?;
                }
            }
        }
        Ok(())
    }

    /// How much of it can be written from where it lies.
    fn as_it_lies(&self, bytes: &[u8]) -> usize {
        let is_aligned = bytes.as_ptr().align_offset(ALIGNED) == 0;
        if self.filled > 0 || !is_aligned {
            return 0;
        }
        bytes.len() - bytes.len() % ALIGNED
    }

    fn turn_on(&mut self, file: &File) {
        if self.way == Way::NotYet {
            let turned = turn(file, true);
            self.way = turned.map_or(Way::Usual, |()| Way::Direct);
        }
    }

    fn write_block(&mut self, file: &File) -> Result<(), Error> {
        self.turn_on(file);
        let block = self.buffer.get(self.start..self.start + BLOCK);
        put(file, block.ok_or(Error::Damaged)?, &mut self.way)?;
        self.filled = 0;
        Ok(())
    }

    /// Writes what is left. Blocks.
    pub(super) fn finish(mut self, file: &File) -> Result<(), Error> {
        let left = self.buffer.get(self.start..self.start + self.filled);
        let left = left.ok_or(Error::Damaged)?;
        let (aligned, tail) = left.split_at(left.len() - left.len() % ALIGNED);
        put(file, aligned, &mut self.way)?;
        turn_back(file, &mut self.way)?;
        put(file, tail, &mut self.way)
    }
}

fn put(mut file: &File, mut bytes: &[u8], way: &mut Way) -> Result<(), Error> {
    while !bytes.is_empty() {
        match file.write(bytes) {
            Ok(0) => return Err(write_error(WRITING, ErrorKind::WriteZero.into())),
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // Or it took a part, and what is left is not aligned.
            Err(error) if *way == Way::Direct && is_invalid(&error) => turn_back(file, way)?,
            Err(error) => return Err(write_error(WRITING, error)),
        }
    }
    Ok(())
}

fn is_invalid(error: &std::io::Error) -> bool {
    Errno::from_io_error(error) == Some(Errno::INVAL)
}

fn turn_back(file: &File, way: &mut Way) -> Result<(), Error> {
    if *way == Way::Direct {
        turn(file, false).map_err(|errno| write_error(WRITING, errno.into()))?;
        *way = Way::Usual;
    }
    Ok(())
}

fn turn(file: &File, on: bool) -> Result<(), Errno> {
    let mut flags = fcntl_getfl(file)?;
    flags.set(OFlags::DIRECT, on);
    fcntl_setfl(file, flags)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    /// So far behind the beginning of a page.
    fn laid(piece: &[u8], at: usize) -> Bytes {
        let mut memory = vec![0; piece.len() + 2 * ALIGNED];
        let start = memory.as_ptr().align_offset(ALIGNED) + at;
        memory[start..start + piece.len()].copy_from_slice(piece);
        Bytes::from(memory).slice(start..start + piece.len())
    }

    /// Where it begins and ends, and how it comes in pieces, makes no difference.
    #[test]
    fn the_file_is_what_was_written() {
        let bodies = [
            (0, 0, 1),
            (5, 3, 2),
            (0, ALIGNED, 7),
            (0, 3 * BLOCK, BLOCK),
            (0, 3 * BLOCK + 5, BLOCK / 2),
            (1, 3 * BLOCK, 64 * 1024),
            (ALIGNED - 1, 2 * BLOCK + ALIGNED + 1, 100_000),
            (ALIGNED + 17, BLOCK - 1, 4096),
            (3, 2 * BLOCK + 2 * ALIGNED - 3, 3 * BLOCK),
        ];
        // Where in a page the pieces lie.
        let places = [0, 1, ALIGNED - 3];
        for ((before, length, piece), at) in bodies
            .into_iter()
            .flat_map(|body| places.map(|at| (body, at)))
        {
            let all: Vec<u8> = (0..=250).cycle().take(before + length).collect();
            let mut file = tempfile::tempfile_in(".").unwrap();
            file.write_all(&all[..before]).unwrap();
            let mut direct = Direct::after(before as u64);
            for pieces in all[before..].chunks(piece).collect::<Vec<_>>().chunks(3) {
                let pieces: Vec<Bytes> = pieces.iter().map(|piece| laid(piece, at)).collect();
                direct.write(&file, &pieces).unwrap();
            }
            direct.finish(&file).unwrap();
            let flags = fcntl_getfl(&file).unwrap();
            assert!(
                !flags.contains(OFlags::DIRECT),
                "it is read and synced as ever"
            );
            let mut read = Vec::new();
            std::io::Seek::rewind(&mut file).unwrap();
            file.read_to_end(&mut read).unwrap();
            assert!(
                read == all,
                "{length} bytes after {before} in pieces of {piece} at {at}"
            );
        }
    }

    /// As on a disk with larger sectors than were thought of.
    #[test]
    fn a_disk_that_refuses_is_written_to_the_usual_way() {
        let mut file = tempfile::tempfile_in(".").unwrap();
        turn(&file, true).expect("this file system can");
        let mut way = Way::Direct;
        put(&file, b"not aligned", &mut way).unwrap();
        assert_eq!(way, Way::Usual);
        let mut read = String::new();
        std::io::Seek::rewind(&mut file).unwrap();
        file.read_to_string(&mut read).unwrap();
        assert_eq!(read, "not aligned");
    }
}
