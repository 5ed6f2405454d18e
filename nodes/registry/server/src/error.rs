//! What can go wrong with a request, named by what the client can do about it. The status is chosen in `http/error`.

use roadstead_metadata::Unavailable;
use roadstead_oci::{Digest, ManifestError, Name};

use crate::body::BodyError;

/// Why a request was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("repository {0} is not known")]
    NameUnknown(Name),
    #[error("manifest {reference} is not known in {name}")]
    ManifestUnknown { name: Name, reference: String },
    #[error("blob {digest} is not known in {name}")]
    BlobUnknown { name: Name, digest: Digest },
    #[error(
        "the upload session is not known: it ended, was never opened, or belongs to another repository"
    )]
    UploadUnknown,
    /// The client does not hold what the registry gave it.
    #[error("{0}")]
    UploadInvalid(&'static str),
    /// The session stands at `offset`; what was sent does not begin there.
    #[error("the upload stands at byte {offset}")]
    RangeInvalid { offset: u64 },
    #[error("the body has another length than announced")]
    SizeInvalid,
    #[error("{0}")]
    DigestInvalid(String),
    #[error(transparent)]
    ManifestInvalid(#[from] ManifestError),
    #[error("{0}")]
    ManifestRefused(String),
    #[error("the manifest is larger than {limit} bytes")]
    ManifestTooLarge { limit: usize },
    /// The manifest names what this repository does not have.
    #[error("the manifest names {} that the repository does not have", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))]
    ReferencesUnknown(Vec<Digest>),
    #[error("more than {limit} tags in one request")]
    TooManyTags { limit: usize },
    #[error("{0}")]
    Unsupported(&'static str),
    /// There is no memory for it at the moment.
    #[error("{0}: try again")]
    Busy(&'static str),
    #[error(transparent)]
    Body(#[from] BodyError),
    #[error(transparent)]
    Store(#[from] roadstead_storage::Error),
    #[error(transparent)]
    Metadata(#[from] Unavailable),
}
