//! What a member of the metadata service counts and measures.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use super::exposition;
use super::labels::{Escaped, MemberLabels, RoleLabels, VersionLabels};
use super::process::Process;

/// Seconds that a sync may take: from a good disk to one that costs an election.
const SYNCS: [f64; 11] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0,
];

/// Every role that there is, so that a graph shows the one that ended go to 0.
const ROLES: [Role; 5] = [
    Role::Leader,
    Role::Follower,
    Role::Candidate,
    Role::Learner,
    Role::Stopped,
];

/// What a member is to its group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    Leader,
    Follower,
    Candidate,
    /// It is sent the log and has no vote, as a blank one.
    #[default]
    Learner,
    /// Its disk has failed, or it ends.
    Stopped,
}

impl Role {
    pub fn name(self) -> &'static str {
        match self {
            Self::Leader => "leader",
            Self::Follower => "follower",
            Self::Candidate => "candidate",
            Self::Learner => "learner",
            Self::Stopped => "stopped",
        }
    }
}

/// How a member stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    pub role: Role,
    pub term: u64,
    /// Who leads as far as it knows.
    pub leader: Option<u64>,
    /// Indices of log entries: the last one that is there, was applied, is in the snapshot.
    pub last_log: u64,
    pub applied: u64,
    pub snapshot: u64,
    /// Entries that each other member is behind; known to the leader alone.
    pub behind: BTreeMap<u64, u64>,
    /// Uploads that are open and nodes that hold leases, as far as it has applied the log.
    pub open_sessions: u64,
    pub nodes: u64,
}

/// The figures of a member. A handle, cheap to clone.
#[derive(Clone, Debug)]
pub struct MemberMetrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    registry: Registry,
    role: Family<RoleLabels, Gauge>,
    behind: Family<MemberLabels, Gauge>,
    /// In the order of [`GAUGES`].
    gauges: [Gauge; GAUGES.len()],
    proposals: Counter,
    batches: Histogram,
    syncs: Histogram,
    snapshots: Counter,
}

/// Name and meaning of each single figure of [`Standing`].
const GAUGES: [(&str, &str); 7] = [
    ("roadstead_raft_term", "The term of the group"),
    (
        "roadstead_raft_leader",
        "The id of the member that leads, 0 while none is known",
    ),
    (
        "roadstead_raft_last_log_index",
        "The last log entry that this member has",
    ),
    (
        "roadstead_raft_applied_index",
        "The last log entry that this member has applied",
    ),
    (
        "roadstead_raft_snapshot_index",
        "The last log entry that is in its snapshot",
    ),
    (
        "roadstead_upload_sessions",
        "Uploads that were begun, and neither completed nor given up",
    ),
    (
        "roadstead_cluster_nodes",
        "Registry nodes that hold a lease",
    ),
];

impl MemberMetrics {
    /// Metrics of a process of this version that was started at this time.
    pub fn new(version: &str, started: SystemTime) -> Self {
        let mut registry = Registry::default();
        let process = Process::new(started, Arc::<OnceLock<_>>::default());
        registry.register_collector(Box::new(process));
        let build = Family::<VersionLabels, Gauge>::default();
        let version = Escaped::new(version);
        build.get_or_create(&VersionLabels { version }).set(1);
        registry.register(
            "roadstead_build_info",
            "1, with the version as a label",
            build,
        );
        let mut inner = Inner {
            registry,
            role: Family::default(),
            behind: Family::default(),
            gauges: Default::default(),
            proposals: Counter::default(),
            batches: Histogram::new(exponential_buckets(1.0, 2.0, 9)),
            syncs: Histogram::new(SYNCS),
            snapshots: Counter::default(),
        };
        inner.register();
        Self(Arc::new(inner))
    }

    /// A log entry with so many proposals was made.
    pub fn batch(&self, proposals: usize) {
        self.0.proposals.inc_by(proposals as u64);
        let proposals = u32::try_from(proposals).unwrap_or(u32::MAX);
        self.0.batches.observe(f64::from(proposals));
    }

    /// What waited was written to the log and synced.
    pub fn synced(&self, took: Duration) {
        self.0.syncs.observe(took.as_secs_f64());
    }

    /// A member was begun to be sent the whole state.
    pub fn snapshot_sent(&self) {
        self.0.snapshots.inc();
    }

    /// All of it as [`CONTENT_TYPE`](super::CONTENT_TYPE) says, with how the member stands now.
    pub fn render(&self, standing: &Standing) -> String {
        for role in ROLES {
            let labels = RoleLabels { role: role.name() };
            let is_so = i64::from(role == standing.role);
            self.0.role.get_or_create(&labels).set(is_so);
        }
        let figures = [
            standing.term,
            standing.leader.unwrap_or(0),
            standing.last_log,
            standing.applied,
            standing.snapshot,
            standing.open_sessions,
            standing.nodes,
        ];
        for (gauge, figure) in self.0.gauges.iter().zip(figures) {
            gauge.set(whole(figure));
        }
        // Who leads no more knows nothing, and members go.
        self.0.behind.clear();
        for (member, behind) in &standing.behind {
            let labels = MemberLabels { member: *member };
            self.0.behind.get_or_create(&labels).set(whole(*behind));
        }
        exposition::render(&self.0.registry)
    }
}

impl Inner {
    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register(
            "roadstead_raft_role",
            "1 for what this member is to its group, 0 for the others",
            self.role.clone(),
        );
        for ((name, help), gauge) in GAUGES.iter().zip(&self.gauges) {
            registry.register(*name, *help, gauge.clone());
        }
        registry.register(
            "roadstead_raft_member_behind_entries",
            "Log entries that another member does not have yet; told by the leader alone",
            self.behind.clone(),
        );
        registry.register(
            "roadstead_raft_proposals",
            "Proposals that this member put into the log as the leader",
            self.proposals.clone(),
        );
        registry.register(
            "roadstead_raft_batch_proposals",
            "Proposals that shared one log entry",
            self.batches.clone(),
        );
        registry.register(
            "roadstead_raft_sync_seconds",
            "Seconds of a write to the log and its sync",
            self.syncs.clone(),
        );
        registry.register(
            "roadstead_raft_snapshots_sent",
            "How often another member was begun to be sent the whole state",
            self.snapshots.clone(),
        );
    }
}

fn whole(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn a_member_tells_how_it_stands() {
        let metrics = MemberMetrics::new("1.2.3", UNIX_EPOCH);
        metrics.batch(3);
        metrics.synced(Duration::from_millis(2));
        metrics.snapshot_sent();
        let leads = Standing {
            role: Role::Leader,
            term: 4,
            leader: Some(1),
            behind: [(2, 0), (3, 17)].into(),
            open_sessions: 5,
            ..Standing::default()
        };
        let told = metrics.render(&leads);
        for line in [
            "roadstead_raft_role{role=\"leader\"} 1",
            "roadstead_raft_role{role=\"follower\"} 0",
            "roadstead_raft_term 4",
            "roadstead_raft_leader 1",
            "roadstead_raft_member_behind_entries{member=\"3\"} 17",
            "roadstead_upload_sessions 5",
            "roadstead_raft_proposals_total 3",
            "roadstead_raft_batch_proposals_sum 3.0",
            "roadstead_raft_sync_seconds_bucket{le=\"0.0025\"} 1",
            "roadstead_raft_snapshots_sent_total 1",
            "roadstead_build_info{version=\"1.2.3\"} 1",
        ] {
            assert!(told.lines().any(|told| told == line), "{line}\n{told}");
        }
        let follows = metrics.render(&Standing::default());
        assert!(!follows.contains("behind_entries{"), "{follows}");
        assert!(follows.contains("roadstead_raft_role{role=\"leader\"} 0"));
    }
}
