//! All randomness of a simulation, from one seed: ours, openraft's, tokio's, and that of hash maps.
//!
//! Tokio and hash maps ask the operating system once in each thread. So a simulation has a thread of its own, and there
//! the operating system's answer is made from the seed as well.

use std::cell::Cell;
use std::fs::File;
use std::io::Read as _;
use std::ops::Range;
use std::time::Duration;

use rand_core::{RngCore, impls};

thread_local! {
    static STATE: Cell<Option<u64>> = const { Cell::new(None) };
}

/// From now on this thread's randomness follows from `seed`.
pub(super) fn begin(seed: u64) {
    STATE.set(Some(seed ^ 0x5EED_5EED_5EED_5EED));
    for _ in 0..4 {
        next();
    }
}

pub(crate) fn is_seeded() -> bool {
    STATE.get().is_some()
}

/// The next number (splitmix64).
pub(super) fn next() -> u64 {
    let state = STATE
        .get()
        .expect("a simulation")
        .wrapping_add(0x9E37_79B9_7F4A_7C15);
    STATE.set(Some(state));
    let mut z = state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

pub(super) fn within(range: Range<u64>) -> u64 {
    range.start + next() % (range.end - range.start)
}

pub(super) fn one_in(n: u64) -> bool {
    next().is_multiple_of(n)
}

pub(super) fn percent(n: u64) -> bool {
    next() % 100 < n
}

pub(super) fn millis(range: Range<u64>) -> Duration {
    Duration::from_millis(within(range))
}

pub(super) fn pick<T: Clone>(of: &[T]) -> Option<T> {
    (!of.is_empty()).then(|| of[usize::try_from(within(0..of.len() as u64)).unwrap_or(0)].clone())
}

pub(super) fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    Seeded.fill_bytes(&mut bytes);
    bytes
}

/// As openraft wants it. Outside of a simulation it asks the operating system.
#[derive(Debug)]
pub(crate) struct Seeded;

impl RngCore for Seeded {
    fn next_u32(&mut self) -> u32 {
        impls::next_u32_via_fill(self)
    }

    fn next_u64(&mut self) -> u64 {
        impls::next_u64_via_fill(self)
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        if is_seeded() {
            for piece in bytes.chunks_mut(8) {
                piece.copy_from_slice(&next().to_le_bytes()[..piece.len()]);
            }
        } else {
            let read = File::open("/dev/urandom").and_then(|mut file| file.read_exact(bytes));
            read.expect("randomness");
        }
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), rand_core::Error> {
        self.fill_bytes(bytes);
        Ok(())
    }
}

/// Stands in for the C library's: the program's own comes first when it is linked.
#[expect(
    unsafe_code,
    reason = "a symbol of the C library, of which the caller says how long the buffer is"
)]
#[unsafe(no_mangle)]
extern "C" fn getrandom(buffer: *mut u8, length: usize, _flags: u32) -> isize {
    if length > 0 {
        // SAFETY: whoever calls getrandom(2) hands over a buffer of this length, to be written.
        let bytes = unsafe { std::slice::from_raw_parts_mut(buffer, length) };
        Seeded.fill_bytes(bytes);
    }
    isize::try_from(length).unwrap_or(isize::MAX)
}
