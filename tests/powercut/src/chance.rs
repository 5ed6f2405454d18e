//! The dice of a cut: what survives is drawn from a seed, so that a failure can be played again.

/// A row of draws that depends on the seed and the inode alone, and so not on the order in which inodes are asked.
#[derive(Debug)]
pub(crate) struct Chance {
    state: u64,
    /// Of a hundred unsynced changes, how many survive.
    odds: u64,
}

impl Chance {
    pub(crate) fn new(seed: u64, ino: u64) -> Self {
        // One disk writes back eagerly, another hardly at all: a fixed half would never show "all but one".
        let odds = match mix(seed) % 4 {
            0 => 10,
            1 => 50,
            2 => 90,
            _ => 99,
        };
        let state = mix(seed ^ mix(ino));
        Self { state, odds }
    }

    /// Whether the next unsynced change made it to the disk.
    pub(crate) fn survives(&mut self) -> bool {
        self.draw() % 100 < self.odds
    }

    /// One of two, evenly.
    pub(crate) fn even(&mut self) -> bool {
        self.draw() & 1 == 0
    }

    #[cfg(test)]
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.draw() % limit
    }

    fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(1);
        mix(self.state)
    }
}

/// The finaliser of `SplitMix64`: neighbouring numbers come out unrelated.
fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
