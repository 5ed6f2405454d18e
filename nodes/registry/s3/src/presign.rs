//! URLs with which a client reads from the store by itself, for a while.

use std::time::Duration;

use aws_sdk_s3::presigning::PresigningConfig;
use roadstead_storage::{Error, Fetch, StorePath};

use crate::failure::Failure;
use crate::store::Store;

pub(crate) async fn presign(
    store: &Store,
    path: &StorePath,
    fetch: Fetch,
    valid: Duration,
) -> Result<String, Error> {
    let key = store.keys.file(path);
    let odd = |message: String| Failure::odd("presign", &key, message).other();
    let config = PresigningConfig::expires_in(valid).map_err(|error| odd(error.to_string()))?;
    let signer = &store.clients.signer;
    let signed = match fetch {
        Fetch::Get => {
            let get = signer.get_object().bucket(&store.bucket).key(&key);
            let signed = get.presigned(config).await;
            signed.map_err(|error| Failure::of("presign", &key, &error).other())?
        }
        Fetch::Head => {
            let head = signer.head_object().bucket(&store.bucket).key(&key);
            let signed = head.presigned(config).await;
            signed.map_err(|error| Failure::of("presign", &key, &error).other())?
        }
    };
    Ok(signed.uri().to_owned())
}
