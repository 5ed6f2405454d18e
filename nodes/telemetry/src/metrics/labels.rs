//! Labels and the closed sets of their values.
//!
//! The members of a label set are in alphabetical order, as the reference prints them.

use std::fmt::{self, Write as _};

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};

/// What of the API a request was for, by the reference's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Handler {
    /// `/v2/`.
    Base,
    /// A manifest.
    Manifest,
    /// `_catalog`.
    Catalog,
    /// The list of tags.
    Tags,
    /// A blob.
    Blob,
    /// The beginning of an upload.
    BlobUpload,
    /// An upload that was begun.
    BlobUploadChunk,
    /// Referrers, which the reference does not have.
    Referrers,
}

impl Handler {
    pub(crate) const ALL: [Self; 8] = [
        Self::Base,
        Self::Manifest,
        Self::Catalog,
        Self::Tags,
        Self::Blob,
        Self::BlobUpload,
        Self::BlobUploadChunk,
        Self::Referrers,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::Manifest => "manifest",
            Self::Catalog => "catalog",
            Self::Tags => "tags",
            Self::Blob => "blob",
            Self::BlobUpload => "blob_upload",
            Self::BlobUploadChunk => "blob_upload_chunk",
            Self::Referrers => "referrers",
        }
    }
}

/// A method, as Prometheus' own instrumentation of Go servers names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Method(&'static str);

impl Method {
    /// Methods differ by case (RFC 9110, 9.1); what is not one of these is `unknown`.
    pub(crate) fn of(method: &str) -> Self {
        Self(match method {
            "GET" => "get",
            "HEAD" => "head",
            "PUT" => "put",
            "POST" => "post",
            "PATCH" => "patch",
            "DELETE" => "delete",
            "OPTIONS" => "options",
            "CONNECT" => "connect",
            "TRACE" => "trace",
            _ => "unknown",
        })
    }
}

/// A cache of descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cache {
    /// In Redis.
    Redis,
    /// In the memory of this process.
    Memory,
}

/// What a cache of descriptors answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CacheEvent {
    /// It knew.
    Hit,
    /// It did not.
    Miss,
    /// It failed.
    Error,
}

/// What a mirror passes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Proxied {
    /// A blob.
    Blob,
    /// A manifest.
    Manifest,
}

impl Proxied {
    fn name(self) -> &'static str {
        match self {
            Self::Blob => "blob",
            Self::Manifest => "manifest",
        }
    }
}

impl EncodeLabelValue for Handler {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        encoder.write_str(self.name())
    }
}

impl EncodeLabelValue for Method {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        encoder.write_str(self.0)
    }
}

impl EncodeLabelValue for Proxied {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        encoder.write_str(self.name())
    }
}

/// A name from outside the program. The library writes values as they are; here they are escaped, once.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Escaped(String);

impl Escaped {
    pub(crate) fn new(text: &str) -> Self {
        let mut escaped = String::with_capacity(text.len());
        for character in text.chars() {
            match character {
                '\\' => escaped.push_str("\\\\"),
                '"' => escaped.push_str("\\\""),
                '\n' => escaped.push_str("\\n"),
                _ => escaped.push(character),
            }
        }
        Self(escaped)
    }
}

impl EncodeLabelValue for Escaped {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        encoder.write_str(&self.0)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct RequestLabels {
    pub(crate) code: u16,
    pub(crate) handler: Handler,
    pub(crate) method: Method,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct DurationLabels {
    pub(crate) handler: Handler,
    pub(crate) method: Method,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct HandlerLabels {
    pub(crate) handler: Handler,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ActionLabels {
    pub(crate) action: &'static str,
    pub(crate) driver: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct OperationLabels {
    pub(crate) operation: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct KindLabels {
    pub(crate) r#type: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ProxiedLabels {
    pub(crate) r#type: Proxied,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct EventLabels {
    pub(crate) endpoint: Escaped,
    pub(crate) r#type: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct StatusLabels {
    pub(crate) code: String,
    pub(crate) endpoint: Escaped,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct EndpointLabels {
    pub(crate) endpoint: Escaped,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ProposalLabels {
    pub(crate) command: &'static str,
    pub(crate) outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct CommandLabels {
    pub(crate) command: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct RoleLabels {
    pub(crate) role: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct MemberLabels {
    pub(crate) member: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct VersionLabels {
    pub(crate) version: Escaped,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct CertificateLabels {
    pub(crate) certificate: Escaped,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct NodeLabels {
    pub(crate) node: Escaped,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct MethodLabels {
    pub(crate) method: Method,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct StatusOfMethodLabels {
    pub(crate) code: u16,
    pub(crate) method: Method,
}
