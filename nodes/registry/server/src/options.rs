//! What a registry can be told.

use std::fmt;
use std::time::Duration;

use ipnet::IpNet;
use regex::Regex;

/// How long a client may begin to read where it was sent: the reference's.
pub const REDIRECT_FOR: Duration = Duration::from_mins(20);

/// How a registry behaves. The defaults are those of the reference's configuration file, without one.
#[derive(Clone)]
pub struct Options {
    /// Whether manifests, tags and blobs may be deleted.
    pub delete_enabled: bool,
    /// Refuses everything that writes.
    pub read_only: bool,
    /// Clients are sent to the store for the bytes of blobs, where it gives URLs for them, which are good for this long.
    pub redirects: Option<Duration>,
    /// Scheme and host that clients are sent to, as in `https://registry.example.com`; else what they asked for.
    pub host: Option<String>,
    /// What all routes lie under: `/`, or `/path/`.
    pub prefix: String,
    /// Answers with `Location`s without scheme and host.
    pub relative_urls: bool,
    /// Who may say, in headers, for whom a request is and how it was sent.
    pub trusted_proxies: Vec<IpNet>,
    /// Signs upload sessions. All nodes of a cluster share it.
    pub secret: Option<Vec<u8>>,
    /// Repositories in one page of the catalog at most.
    pub catalog_max_entries: usize,
    /// Tags in one page at most.
    pub tags_max: usize,
    pub manifests: ManifestRules,
    pub limits: Limits,
}

/// What a manifest may name.
#[derive(Debug, Clone, Default)]
pub struct ManifestRules {
    /// Lets every well-formed manifest pass, whatever it names.
    pub disabled: bool,
    /// URLs of layers that lie elsewhere: with no rule at all, none is allowed.
    pub allow_urls: Vec<Regex>,
    pub deny_urls: Vec<Regex>,
    pub platforms: Platforms,
}

/// Which children of an index must be present.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Platforms {
    #[default]
    All,
    None,
    /// Those of these (architecture, operating system).
    List(Vec<(String, String)>),
}

/// Bounds on what a request may cost.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of a manifest. The specification asks for 4 MiB at least.
    pub manifest_size: usize,
    /// A body that does not move for this long ends its request, in either direction.
    pub body_idle: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            manifest_size: 4 << 20,
            body_idle: Duration::from_mins(2),
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            delete_enabled: false,
            read_only: false,
            redirects: Some(REDIRECT_FOR),
            host: None,
            prefix: "/".to_owned(),
            relative_urls: false,
            trusted_proxies: Vec::new(),
            secret: None,
            catalog_max_entries: 1000,
            tags_max: 1000,
            manifests: ManifestRules::default(),
            limits: Limits::default(),
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("delete_enabled", &self.delete_enabled)
            .field("read_only", &self.read_only)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
