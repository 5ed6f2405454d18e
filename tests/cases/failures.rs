//! What failure costs: a whole cluster under a steady load, and everything in it killed, paused, cut off and lost, one
//! after the other. What was acknowledged stays, clients see what they are told to expect, and it goes on.
//!
//! `ROADSTEAD_SOAK=N` makes the long ones N times as long. `ROADSTEAD_SEED=N` repeats a choice of uploads that failed.

mod asking;
mod clients;
mod cost;
mod dice;
mod drill;
mod fleet;
mod gateways;
mod history;
mod members;
mod nodes;
pub(crate) mod session;
mod sessions;
mod store;
mod upload;

use roadstead_oci::{Algorithm, Digest};

fn digest(bytes: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha256, bytes)
}

/// A figure for whoever looks.
pub(crate) fn say(words: &str) {
    #[expect(clippy::print_stderr, reason = "a figure for whoever looks")]
    {
        eprintln!("{words}");
    }
}

/// A number in the environment.
fn number(name: &str) -> Option<u64> {
    std::env::var_os(name)?.to_str()?.parse().ok()
}

/// How many times as long as in the test command.
pub(crate) fn soak() -> u64 {
    number("ROADSTEAD_SOAK").unwrap_or(1).max(1)
}
