//! The images that are read: pushed once into a root, before anything is measured.

use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;

use crate::content::{self, Blob, Image};
use crate::http::Target;
use crate::registry::Client;
use crate::work::together;

pub(crate) const BIG: &str = "bench/big";
pub(crate) const SMALL: &str = "bench/small";
pub(crate) const TAGGED: &str = "bench/tagged";
pub(crate) const TAG: &str = "latest";

/// Clients that push seeds.
const CLIENTS: usize = 8;

/// How much there is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    /// Bytes of the large blob.
    pub(crate) large: u64,
    pub(crate) tags: u64,
    pub(crate) repositories: u64,
}

/// What was pushed, and where it lies.
#[derive(Debug, Clone)]
pub(crate) struct Seeds {
    pub(crate) large: String,
    pub(crate) small_blob: String,
    pub(crate) manifest: String,
}

/// What of the seeds a choice of rows needs.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Needed {
    pub(crate) large: bool,
    pub(crate) tags: bool,
    pub(crate) repositories: bool,
}

/// Where the reference's layout keeps a blob's bytes.
pub(crate) fn data(digest: &str) -> String {
    let hex = digest.trim_start_matches("sha256:");
    let shard = hex.get(..2).unwrap_or_default();
    format!("/docker/registry/v2/blobs/sha256/{shard}/{hex}/data")
}

impl Seeds {
    /// Pushes what is not there yet.
    pub(crate) fn push(target: &Target, sizes: Sizes, needed: Needed) -> Result<Self> {
        let mut client = Client::new(target)?;
        let image = Image::new(1, 1, 1024);
        let small_blob = image
            .blobs
            .first()
            .map(|(digest, _)| digest.clone())
            .unwrap_or_default();
        let manifest = content::digest(&image.manifest);
        if !client.has(&format!("/v2/{SMALL}/manifests/{TAG}"))? {
            client.push_image_whole(SMALL, TAG, &image)?;
        }
        let mut blob = Blob::new(2, sizes.large);
        let large = if needed.large {
            blob.digest()
        } else {
            String::new()
        };
        if needed.large && !client.has(&format!("/v2/{BIG}/blobs/{large}"))? {
            client.push_large(BIG, &mut blob, &large)?;
        }
        let last = format!("/v2/{TAGGED}/manifests/{}", tag(sizes.tags));
        if needed.tags && !client.has(&last)? {
            push_tags(target, sizes.tags, &image)?;
        }
        let last = format!("/v2/{}/manifests/{TAG}", repository(sizes.repositories));
        if needed.repositories && !client.has(&last)? {
            push_repositories(target, sizes.repositories, &image)?;
        }
        Ok(Self {
            large,
            small_blob,
            manifest,
        })
    }
}

fn tag(number: u64) -> String {
    format!("v{number:06}")
}

fn repository(number: u64) -> String {
    format!("bench/many/r{number:06}")
}

fn push_tags(target: &Target, tags: u64, image: &Image) -> Result<()> {
    Client::new(target)?.push_image_whole(TAGGED, TAG, image)?;
    each(target, tags, |client, number| {
        client.put_manifest(TAGGED, &tag(number), &image.manifest)
    })
}

fn push_repositories(target: &Target, repositories: u64, image: &Image) -> Result<()> {
    each(target, repositories, |client, number| {
        let name = repository(number);
        for (digest, _) in &image.blobs {
            client.mount(&name, digest, SMALL)?;
        }
        client.put_manifest(&name, TAG, &image.manifest)
    })
}

/// Numbers from 1 to `last`, the last one last: whoever finds it finds all.
fn each(
    target: &Target,
    last: u64,
    push: impl Fn(&mut Client, u64) -> Result<()> + Sync,
) -> Result<()> {
    let next = AtomicU64::new(1);
    together(CLIENTS, |_| {
        let mut client = Client::new(target)?;
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= last {
                return Ok(());
            }
            push(&mut client, number)?;
        }
    })?;
    push(&mut Client::new(target)?, last)
}
