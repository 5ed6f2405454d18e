//! How fast the group reacts. One round trip and one sync must fit into a heartbeat, also on a busy machine.

use std::time::Duration;

use openraft::{Config, ConfigError, SnapshotPolicy};

/// Milliseconds between two signs of life of the leader, and for each answer to it: openraft gives up a call that takes
/// longer, and makes it again. Where all take longer, the group has a leader that it hears and can decide nothing, so this is
/// as long as three of them in the time after which followers stand.
const HEARTBEAT: u64 = 250;

/// A follower that hears nothing waits for the lease ([`ELECTION_MAX`]) and then for a random time between these: a lost
/// leader costs 0.9 to 1.2 seconds, and a disk may be slow for as long without an election.
const ELECTION_MIN: u64 = 300;
const ELECTION_MAX: u64 = 600;

/// So long a follower that was just heard from votes for nobody else.
pub(crate) const FOLLOWER_LEASE: Duration = Duration::from_millis(ELECTION_MAX);

/// Entries in one message; bytes are bounded as well.
const MESSAGE_ENTRIES: u64 = 64;

/// Entries kept behind a snapshot, so that a follower that is a little late needs no snapshot.
const KEEP: u64 = 128;

/// Milliseconds that the transfer of a snapshot may take.
const SNAPSHOT_WITHIN: u64 = 120_000;

#[expect(clippy::result_large_err, reason = "openraft's own error, once")]
pub(crate) fn raft_config() -> Result<Config, ConfigError> {
    Config {
        cluster_name: "roadstead".to_owned(),
        heartbeat_interval: HEARTBEAT,
        election_timeout_min: ELECTION_MIN,
        election_timeout_max: ELECTION_MAX,
        max_payload_entries: MESSAGE_ENTRIES,
        install_snapshot_timeout: SNAPSHOT_WITHIN,
        max_in_snapshot_log_to_keep: KEEP,
        // By bytes: the store says when.
        snapshot_policy: SnapshotPolicy::Never,
        ..Config::default()
    }
    .validate()
}
