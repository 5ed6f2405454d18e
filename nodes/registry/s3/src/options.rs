//! What the driver is told: the reference's parameters, parsed.

use std::fmt;

/// A bucket, how to reach it, and how to write to it.
#[derive(Clone, Debug)]
pub struct Options {
    /// Must exist.
    pub bucket: String,
    /// `us-east-1` where none is named: other stores than Amazon's want any.
    pub region: Option<String>,
    /// A URL. `None`: Amazon's of the region.
    pub endpoint: Option<String>,
    /// The bucket stands in the path, not in the host's name.
    pub force_path_style: bool,
    /// What everything lies under, without slashes at its ends; may be empty.
    pub root: String,
    /// `None`: the environment, a profile, a web identity, or what the machine or container is given.
    pub credentials: Option<Credentials>,
    /// Certificates are not verified.
    pub skip_verify: bool,
    pub encryption: Encryption,
    /// `None`: none is named, for stores that know no classes.
    pub storage_class: Option<String>,
    /// A canned ACL. `private`, the default of every store, is not sent: buckets without ACLs refuse any.
    pub object_acl: String,
    pub parts: Parts,
    pub variants: Variants,
    /// Scheme and host of presigned URLs. `None`: the endpoint's.
    pub redirect_endpoint: Option<String>,
    pub user_agent: String,
}

impl Options {
    /// The reference's defaults.
    pub fn new(bucket: impl Into<String>) -> Self {
        Self {
            bucket: bucket.into(),
            region: None,
            endpoint: None,
            force_path_style: false,
            root: String::new(),
            credentials: None,
            skip_verify: false,
            encryption: Encryption::None,
            storage_class: Some("STANDARD".to_owned()),
            object_acl: "private".to_owned(),
            parts: Parts::default(),
            variants: Variants::default(),
            redirect_endpoint: None,
            user_agent: concat!("roadstead/", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }
}

/// A key, and what proves that it is ours.
#[derive(Clone)]
pub struct Credentials {
    pub access_key: String,
    pub secret_key: String,
    pub session_token: Option<String>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials")
    }
}

/// How the store encrypts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Encryption {
    /// As the bucket says.
    #[default]
    None,
    /// With keys of the store.
    Aes256,
    /// With this key of Amazon's key management.
    Kms(String),
}

/// How bytes are moved; sizes in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts {
    /// Of a part that is uploaded: 5 MiB to 5 GiB. What is no larger goes up as one object.
    pub chunk: u64,
    /// Of a part that the store copies: 5 MiB to 5 GiB.
    pub copy_chunk: u64,
    /// Such copies at a time, of one publication.
    pub copy_concurrency: usize,
    /// Up to which one copy does: at most 5 GiB.
    pub copy_threshold: u64,
}

impl Default for Parts {
    /// The reference's.
    fn default() -> Self {
        Self {
            chunk: 10 << 20,
            copy_chunk: 32 << 20,
            copy_concurrency: 100,
            copy_threshold: 32 << 20,
        }
    }
}

/// Which of Amazon's endpoints are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Variants {
    /// Over IPv6, too.
    pub dual_stack: bool,
    /// Through the nearest of Amazon's places.
    pub accelerate: bool,
    /// With validated cryptography.
    pub fips: bool,
}
