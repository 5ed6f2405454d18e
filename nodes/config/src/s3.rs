//! `storage.s3`: a bucket, how to reach it, and how to write to it.

use crate::reader::Reader;
use crate::scalar::{self, Unfit};
use crate::secret::Secret;

const MIB: u64 = 1 << 20;
/// What S3 takes for a part of a multipart upload, the last apart.
const LEAST_PART: u64 = 5 * MIB;
const MOST_PART: u64 = 5 << 30;
/// The reference's: a push holds this much of each layer in memory.
const CHUNK: u64 = 10 * MIB;
/// The reference's, of a part that S3 copies by itself, and of what is copied in one go.
const COPY_CHUNK: u64 = 32 * MIB;
/// The reference's.
const COPY_CONCURRENCY: u64 = 100;

/// Settings under `storage.s3`, which is also called `s3aws`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3 {
    /// It must exist: `bucket`.
    pub bucket: String,
    /// `region`. It or an endpoint is there.
    pub region: Option<String>,
    /// What to talk to, a URL: `regionendpoint`, with a scheme as `secure` says where it names none. Default: Amazon's
    /// of the region.
    pub endpoint: Option<String>,
    /// The bucket stands in the path instead of the host's name: `forcepathstyle`. Default: as Amazon wants it, false;
    /// with another store's endpoint true, as in release 2.
    pub force_path_style: bool,
    /// What everything lies under, without slashes at its ends: `rootdirectory`. Default: nothing.
    pub root: String,
    /// `accesskey`, `secretkey`, `sessiontoken`. Default: what Amazon's chain finds.
    pub credentials: Option<S3Credentials>,
    /// Certificates are not verified: `skipverify`. Default: false.
    pub skip_verify: bool,
    /// What is encrypted by the store: `encrypt`, `keyid`. Default: nothing.
    pub encryption: S3Encryption,
    /// `None` where none is to be named: `storageclass`. Default: `STANDARD`.
    pub storage_class: Option<String>,
    /// Who owns and reads what is written, a canned ACL: `objectacl`. Default: `private`.
    pub object_acl: String,
    /// How bytes are moved.
    pub parts: S3Parts,
    /// Which of Amazon's endpoints: `usedualstack`, `accelerate`, `usefipsendpoint`. Default: false.
    pub variants: S3Variants,
    /// Scheme and host of the URLs that clients are redirected to: `redirectendpoint`. Default: the endpoint's.
    pub redirect_endpoint: Option<String>,
    /// `useragent`. Default: our own.
    pub user_agent: Option<String>,
    /// What is logged of the talk: `loglevel`; has no effect yet. Default: nothing.
    pub log_level: S3LogLevel,
}

/// A key, and what proves that it is ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3Credentials {
    /// `accesskey`.
    pub access_key: Secret,
    /// `secretkey`.
    pub secret_key: Secret,
    /// `sessiontoken`, which the reference documents and never reads.
    pub session_token: Option<Secret>,
}

/// How the store encrypts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum S3Encryption {
    /// As the bucket says.
    #[default]
    None,
    /// With keys of the store: `encrypt`.
    Aes256,
    /// With this key of Amazon's key management: `encrypt` and `keyid`.
    Kms(String),
}

/// How bytes are moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3Parts {
    /// Bytes of a part: `chunksize`, 5 MiB to 5 GiB. Default: 10 MiB.
    pub chunk: u64,
    /// Bytes of a part that the store copies by itself: `multipartcopychunksize`, 5 MiB to 5 GiB. Default: 32 MiB.
    pub copy_chunk: u64,
    /// Such copies at a time: `multipartcopymaxconcurrency`. Default: 100.
    pub copy_concurrency: u64,
    /// Bytes up to which one copy does: `multipartcopythresholdsize`, up to 5 GiB. Default: 32 MiB.
    pub copy_threshold: u64,
}

/// Which of Amazon's endpoints are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct S3Variants {
    /// Over IPv6, too: `usedualstack`.
    pub dual_stack: bool,
    /// Through the nearest of Amazon's places: `accelerate`.
    pub accelerate: bool,
    /// With validated cryptography: `usefipsendpoint`.
    pub fips: bool,
}

/// What is logged of the talk with the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum S3LogLevel {
    /// Nothing.
    #[default]
    Off,
    /// Requests and answers.
    Debug,
    /// And how they are signed.
    DebugWithSigning,
    /// And what they carry.
    DebugWithHttpBody,
    /// And that they are tried again.
    DebugWithRequestRetries,
    /// And how they fail.
    DebugWithRequestErrors,
    /// And the events of streams.
    DebugWithEventStreamBody,
}

const LOG_LEVELS: &[(&str, S3LogLevel)] = &[
    ("off", S3LogLevel::Off),
    ("debug", S3LogLevel::Debug),
    ("debugwithsigning", S3LogLevel::DebugWithSigning),
    ("debugwithhttpbody", S3LogLevel::DebugWithHttpBody),
    (
        "debugwithrequestretries",
        S3LogLevel::DebugWithRequestRetries,
    ),
    ("debugwithrequesterrors", S3LogLevel::DebugWithRequestErrors),
    (
        "debugwitheventstreambody",
        S3LogLevel::DebugWithEventStreamBody,
    ),
];

const STORAGE_CLASSES: &[(&str, Option<&str>)] = &[
    ("STANDARD", Some("STANDARD")),
    ("NONE", None),
    ("STANDARD_IA", Some("STANDARD_IA")),
    ("ONEZONE_IA", Some("ONEZONE_IA")),
    ("INTELLIGENT_TIERING", Some("INTELLIGENT_TIERING")),
    ("OUTPOSTS", Some("OUTPOSTS")),
    ("GLACIER_IR", Some("GLACIER_IR")),
    ("EXPRESS_ONEZONE", Some("EXPRESS_ONEZONE")),
    ("REDUCED_REDUNDANCY", Some("REDUCED_REDUNDANCY")),
];

const ACLS: &[(&str, &str)] = &[
    ("private", "private"),
    ("public-read", "public-read"),
    ("public-read-write", "public-read-write"),
    ("authenticated-read", "authenticated-read"),
    ("aws-exec-read", "aws-exec-read"),
    ("bucket-owner-read", "bucket-owner-read"),
    ("bucket-owner-full-control", "bucket-owner-full-control"),
];

impl S3 {
    /// `None` when something is missing that it cannot do without.
    pub(crate) fn read(s3: &mut Reader<'_>) -> Option<Self> {
        let text = |text: &str| Ok(text.to_owned());
        let bucket = s3.required("bucket", "write the name of a bucket that exists", text);
        let (region, endpoint) = (s3.text("region"), endpoint(s3));
        if region.is_none() && endpoint.is_none() {
            s3.missing(
                "region",
                "write it, or regionendpoint for a store that is not Amazon's",
            );
        }
        if !flag(s3, "v4auth", true) {
            let reason = "only version 4 of signatures is supported; leave it out, or write true";
            s3.mistake("v4auth", reason);
        }
        let elsewhere = endpoint.as_deref().is_some_and(wants_path_style);
        let read = Self {
            force_path_style: flag(s3, "forcepathstyle", elsewhere),
            root: root(s3),
            credentials: credentials(s3),
            skip_verify: flag(s3, "skipverify", false),
            encryption: encryption(s3),
            storage_class: s3
                .read("storageclass", |text| scalar::one_of(text, STORAGE_CLASSES))
                .unwrap_or(Some("STANDARD"))
                .map(str::to_owned),
            object_acl: s3
                .read("objectacl", |text| scalar::one_of(text, ACLS))
                .unwrap_or("private")
                .to_owned(),
            parts: S3Parts::read(s3),
            variants: S3Variants {
                dual_stack: flag(s3, "usedualstack", false),
                accelerate: flag(s3, "accelerate", false),
                fips: flag(s3, "usefipsendpoint", false),
            },
            redirect_endpoint: s3.read("redirectendpoint", redirect_endpoint),
            user_agent: s3.text("useragent"),
            log_level: s3
                .read("loglevel", |text| scalar::one_of(text, LOG_LEVELS))
                .unwrap_or_default(),
            region,
            endpoint,
            bucket: bucket?,
        };
        Some(read)
    }
}

impl S3Parts {
    fn read(s3: &mut Reader<'_>) -> Self {
        let part = |text: &str| scalar::within(text, LEAST_PART, MOST_PART);
        let some = |text: &str| scalar::within(text, 1, u64::from(u32::MAX));
        let threshold = |text: &str| scalar::within(text, 0, MOST_PART);
        Self {
            chunk: s3.read("chunksize", part).unwrap_or(CHUNK),
            copy_chunk: s3
                .read("multipartcopychunksize", part)
                .unwrap_or(COPY_CHUNK),
            copy_concurrency: s3
                .read("multipartcopymaxconcurrency", some)
                .unwrap_or(COPY_CONCURRENCY),
            copy_threshold: s3
                .read("multipartcopythresholdsize", threshold)
                .unwrap_or(COPY_CHUNK),
        }
    }
}

fn flag(s3: &mut Reader<'_>, key: &str, default: bool) -> bool {
    s3.read(key, scalar::loose_boolean).unwrap_or(default)
}

/// The endpoint as a URL.
fn endpoint(s3: &mut Reader<'_>) -> Option<String> {
    let scheme = s3
        .read("secure", scalar::loose_boolean)
        .map(|secure| if secure { "https" } else { "http" });
    let with_scheme = |text: &str| {
        let text = text.trim_end_matches('/');
        let has_scheme = text.contains("://");
        let url = if has_scheme {
            text.to_owned()
        } else {
            format!("{}://{text}", scheme.unwrap_or("https"))
        };
        crate::url::split(&url).map(|_parts| url)
    };
    let endpoint = s3.read("regionendpoint", with_scheme);
    if endpoint.is_none() && scheme == Some("http") {
        let text =
            "has no effect without regionendpoint: Amazon's endpoints are spoken to over HTTPS";
        s3.remark("secure", text);
    }
    endpoint
}

/// Whether a bucket stands in the path there, where nothing says how it is. Release 2 put it there for every endpoint
/// that was named; release 3 wants to be told. These two alone have it in the host's name and nowhere else.
fn wants_path_style(endpoint: &str) -> bool {
    let (_, host) = endpoint.split_once("://").unwrap_or(("", endpoint));
    let host = host.split(['/', ':']).next().unwrap_or_default();
    !["amazonaws.com", "amazonaws.com.cn", "aliyuncs.com"]
        .iter()
        .any(|domain| host.ends_with(&format!(".{domain}")))
}

fn root(s3: &mut Reader<'_>) -> String {
    let trimmed = |text: &str| Ok(text.trim_matches('/').to_owned());
    s3.read("rootdirectory", trimmed).unwrap_or_default()
}

/// With one key alone the reference goes on without either.
fn credentials(s3: &mut Reader<'_>) -> Option<S3Credentials> {
    let session_token = s3.secret("sessiontoken");
    match (s3.secret("accesskey"), s3.secret("secretkey")) {
        (Some(access_key), Some(secret_key)) => Some(S3Credentials {
            access_key,
            secret_key,
            session_token,
        }),
        (Some(_), None) => {
            s3.missing("secretkey", "it belongs to the accesskey");
            None
        }
        (None, Some(_)) => {
            s3.missing("accesskey", "it belongs to the secretkey");
            None
        }
        (None, None) if session_token.is_some() => {
            s3.missing(
                "accesskey",
                "a sessiontoken belongs to accesskey and secretkey",
            );
            None
        }
        (None, None) => None,
    }
}

fn encryption(s3: &mut Reader<'_>) -> S3Encryption {
    let encrypt = flag(s3, "encrypt", false);
    match s3.text("keyid") {
        Some(key) if encrypt => S3Encryption::Kms(key),
        None if encrypt => S3Encryption::Aes256,
        None => S3Encryption::None,
        Some(_) => {
            s3.mistake(
                "keyid",
                "nothing would be encrypted with it; write encrypt: true, too",
            );
            S3Encryption::None
        }
    }
}

fn redirect_endpoint(text: &str) -> Result<String, Unfit> {
    match crate::url::split(text)? {
        (origin, path) if path.is_empty() => Ok(origin),
        _ => Err(Unfit::new("has a path; only scheme and host are used")),
    }
}

#[cfg(test)]
mod tests;
