//! The chunks, and how disk and memory share them, against the plainest model there is: two vectors of bytes.

use super::Bench;
use crate::chance::Chance;
use crate::image::Cut;

#[derive(Default)]
struct Plain {
    seen: Vec<u8>,
    disk: Vec<u8>,
}

impl Plain {
    fn write(&mut self, offset: usize, data: &[u8]) {
        let end = offset + data.len();
        self.seen.resize(self.seen.len().max(end), 0);
        self.seen[offset..end].copy_from_slice(data);
    }
}

/// A number below the limit, most often a small one or one near the edge of a chunk.
fn number(chance: &mut Chance, limit: u64) -> u64 {
    let number = match chance.below(3) {
        0 => chance.below(limit),
        1 => chance.below(limit / 16_384 + 1) * 16_384,
        _ => chance.below(100),
    };
    number.min(limit - 1)
}

#[test]
fn a_file_is_what_two_vectors_of_bytes_would_be() {
    for seed in 0..60 {
        let mut chance = Chance::new(seed, 0);
        let mut bench = Bench::new();
        let ino = bench.file("file", b"");
        bench.disk.settle();
        let mut plain = Plain::default();
        for step in 0..60_u8 {
            match chance.below(10) {
                0..5 => {
                    let offset = number(&mut chance, 100_000);
                    let length = number(&mut chance, 50_000);
                    let data = vec![step + 1; usize::try_from(length).expect("small")];
                    bench.write(ino, offset, &data).expect("room");
                    if !data.is_empty() {
                        plain.write(usize::try_from(offset).expect("small"), &data);
                    }
                }
                5..8 => {
                    let size = number(&mut chance, 150_000);
                    bench.resize(ino, size);
                    plain.seen.resize(usize::try_from(size).expect("small"), 0);
                }
                _ => {
                    bench.sync_file("file");
                    plain.disk.clone_from(&plain.seen);
                }
            }
            let said = format!("seed {seed}, step {step}");
            assert!(
                bench.read(Cut::All, "file") == Some(plain.seen.clone()),
                "{said}: seen"
            );
            assert!(
                bench.read(Cut::Nothing, "file") == Some(plain.disk.clone()),
                "{said}: on disk"
            );
            let allocated = bench.disk.node(ino).map(crate::disk::Node::allocated);
            assert_eq!(allocated, Ok(bench.disk.used()), "{said}");
        }
        bench.sync_file("file");
        assert!(
            bench.read(Cut::Some(seed), "file") == Some(plain.seen),
            "seed {seed}"
        );
    }
}
