//! Whether the bucket is there and lets itself be used: what is wrong with a configuration, by the setting.

use crate::failure::Failure;
use crate::list::Listing;
use crate::store::Store;

/// Why the bucket cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("storage.s3.{setting}: {reason} ({said})")]
pub struct ProbeError {
    /// Most likely to be wrong.
    setting: &'static str,
    reason: String,
    /// By the store, or of the way there.
    said: String,
}

/// Lists, which alone has the store say what is wrong: what is asked for with HEAD is refused without a word.
pub(crate) async fn probe(store: &Store) -> Result<(), ProbeError> {
    let listing = Listing {
        prefix: store.keys.directory(&roadstead_storage::StorePath::root()),
        page: 1,
        ..Listing::default()
    };
    let listed = listing.page(store, None).await;
    listed
        .map(drop)
        .map_err(|failure| explained(store, failure))
}

fn explained(store: &Store, failure: Failure) -> ProbeError {
    let bucket = &store.bucket;
    let (setting, reason) = match (failure.code(), failure.status()) {
        ("NoSuchBucket" | "InvalidBucketName", _) => {
            ("bucket", format!("there is no bucket {bucket} in this region"))
        }
        ("InvalidAccessKeyId" | "InvalidToken" | "ExpiredToken" | "TokenRefreshRequired", _) => {
            ("accesskey", "the store does not take this key".to_owned())
        }
        ("SignatureDoesNotMatch", _) => (
            "secretkey",
            "the store finds that it does not belong to the accesskey".to_owned(),
        ),
        ("AuthorizationHeaderMalformed" | "PermanentRedirect" | "AuthorizationQueryParametersError", _)
        | (_, Some(301)) => ("region", format!("the bucket {bucket} is in another region")),
        ("RequestTimeTooSkewed", _) => {
            ("accesskey", "this machine's clock is wrong".to_owned())
        }
        (_, Some(401 | 403)) => (
            "bucket",
            format!("the bucket {bucket} may not be listed with these credentials: they need s3:ListBucket"),
        ),
        (_, None) if failure.lacks_credentials() => (
            "accesskey",
            "there are no credentials: none in the configuration, the environment, a profile or of this machine"
                .to_owned(),
        ),
        (_, None) => ("regionendpoint", "the store cannot be reached".to_owned()),
        _ => ("bucket", format!("the bucket {bucket} cannot be listed")),
    };
    ProbeError {
        setting,
        reason,
        said: failure.other().to_string(),
    }
}
