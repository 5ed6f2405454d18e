//! What a gateway can be told.

use std::time::Duration;

use ipnet::IpNet;
use roadstead_serve::Receipts;

/// How a gateway behaves.
#[derive(Debug, Clone)]
pub struct Options {
    /// What the API lies under: `/`, or `/path/`.
    pub prefix: String,
    /// Whose `Forwarded` and `X-Forwarded-*` are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Bytes of a manifest that are held to be sent again.
    pub manifest_size: usize,
    /// How long a client's body may stand still.
    pub body_idle: Duration,
    /// 404 for Docker before 1.6 and bare Go programs.
    pub refuse_ancient: bool,
    pub health: HealthOptions,
    pub timeouts: Timeouts,
    pub retries: Retries,
    pub limits: Limits,
    /// What tells nodes when a request came that they are sent later. None where they share no secret.
    pub receipts: Option<Receipts>,
}

/// What a node without credentials must answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// 401: a node that lets strangers in is taken out.
    Unauthorized,
    Ok,
}

/// When a node is well.
#[derive(Debug, Clone)]
pub struct HealthOptions {
    /// Absent where each node's is what the cluster says, or else the safe one.
    pub expect: Option<Expect>,
    pub interval: Duration,
    pub timeout: Duration,
    /// Good answers in a row that bring it back.
    pub rise: u32,
    /// Bad ones that take it out.
    pub fall: u32,
    /// How long its share grows afterwards.
    pub slow_start: Duration,
}

/// How long things may take. None bounds how long a transfer may take that moves.
#[derive(Debug, Clone)]
pub struct Timeouts {
    /// To the head of an answer to a request that reads.
    pub answer: Duration,
    /// The same for one that writes.
    pub commit: Duration,
    /// How long a body may stand still.
    pub idle: Duration,
    /// How long a request waits for a node when all have just gone down.
    pub patience: Duration,
}

/// How often a request is tried.
#[derive(Debug, Clone)]
pub struct Retries {
    /// Tries in a row without progress.
    pub tries: u32,
    /// Of all requests, in percent of them.
    pub percent: u32,
    /// A second that are allowed beside that.
    pub reserve: u32,
}

/// How much there may be at a time.
#[derive(Debug, Clone)]
pub struct Limits {
    pub requests: usize,
    pub per_node: usize,
    /// Bytes of an upload that are held until a node has them.
    pub chunk: usize,
    /// Bytes of all uploads that are held.
    pub memory: usize,
}
