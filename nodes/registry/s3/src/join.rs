//! A large blob: a multipart upload of parts that the store copies.
//!
//! Copying takes long, and whoever does it may be lost. Who is asked for the same blob after that goes on with the upload
//! that has most of it. Blobs are addressed by their digests, so all uploads to one key have the same bytes; but nodes may
//! be configured for other sizes of parts. Each upload is cut to one size: who begins it chooses, and nobody goes on with one
//! whose first part is not there or not as long as ours. That one has whole parts of ours wherever it has any.
//!
//! Two who are at one upload do not harm it: they send the same parts. Where that changes a part's entity tag, or one of them
//! ends the upload, the other finds out, and looks again.

use std::collections::BTreeMap;
use std::sync::Arc;

use aws_sdk_s3::types::MultipartUpload;
use roadstead_storage::Attempt;

use crate::failure::Failure;
use crate::multipart::{Multipart, Upload, completed};
use crate::plan::{Part, part_size, plan};
use crate::publish::{Source, joined};
use crate::store::Store;

/// How often it is looked again.
const ROUNDS: u32 = 4;
/// Of uploads to one key, the latest are looked at.
const LOOKED_AT: usize = 4;
/// Who comes again keeps this share of the parts on their way, or these few: what is on its way may be lost once more.
const SHARE: usize = 8;
const FEW: usize = 4;

/// What is joined.
pub(crate) struct Join<'a> {
    store: &'a Arc<Store>,
    sources: &'a Arc<[Source]>,
    key: &'a str,
    parts: Vec<Part>,
    total: u64,
}

/// Somebody's upload.
struct Begun {
    upload: Upload,
    /// Entity tags of its parts. None where they are not cut as ours are.
    parts: Option<BTreeMap<i32, Option<String>>>,
}

impl<'a> Join<'a> {
    pub(crate) fn of(store: &'a Arc<Store>, sources: &'a Arc<[Source]>, key: &'a str) -> Self {
        let lengths: Vec<u64> = sources.iter().map(|(_, head)| head.size).collect();
        let size = part_size(&lengths, store.parts.copy_chunk, store.parts.chunk);
        Self {
            store,
            sources,
            key,
            parts: plan(&lengths, size),
            total: lengths.iter().sum(),
        }
    }

    pub(crate) async fn attempt(self, attempt: Attempt) -> Result<(), Failure> {
        let mut looks = attempt == Attempt::Again;
        for round in 1.. {
            let begun = if looks {
                self.begun().await
            } else {
                Vec::new()
            };
            let (mut multipart, others) = self.multipart(begun).await?;
            multipart.stays(attempt != Attempt::Only);
            let failure = match self.fill(&mut multipart).await {
                Ok(()) => {
                    // Nobody needs them any more; who is still at one finds the blob.
                    futures::future::join_all(others.iter().map(Upload::abort)).await;
                    return Ok(());
                }
                Err(failure) => failure,
            };
            let lacks_sources = failure.is_absent() || failure.is_changed();
            if (lacks_sources || failure.is_overtaken()) && self.is_there().await {
                return Ok(());
            }
            if lacks_sources {
                multipart.stays(false);
            }
            if !failure.is_overtaken() || round == ROUNDS {
                return Err(failure);
            }
            looks = true;
        }
        Ok(())
    }

    async fn is_there(&self) -> bool {
        let head = self.store.head(self.key).await;
        head.is_ok_and(|head| head.size == self.total)
    }

    /// The one that has most, or a new one; and the others.
    async fn multipart(&self, mut begun: Vec<Begun>) -> Result<(Multipart, Vec<Upload>), Failure> {
        let widest = self.store.parts.copy_concurrency;
        let has = |one: &Begun| one.parts.as_ref().map_or(0, BTreeMap::len);
        let most = begun.iter().enumerate().max_by_key(|(_, one)| has(one));
        let most = most.filter(|(_, one)| has(one) > 0).map(|(at, _)| at);
        let is_new = begun.is_empty();
        let found = most.map(|at| begun.swap_remove(at));
        let others = begun.into_iter().map(|one| one.upload).collect();
        let narrow = (self.parts.len() / SHARE).max(FEW).min(widest);
        let window = if is_new { widest } else { narrow };
        let Some(Begun { upload, parts }) = found else {
            let created = Multipart::create(self.store, self.key, window).await?;
            return Ok((created, others));
        };
        let parts = parts.unwrap_or_default().into_iter();
        let parts: Vec<_> = parts
            .map(|(number, etag)| completed(number, etag))
            .collect();
        tracing::info!(
            parts = parts.len(),
            of = self.parts.len(),
            "a blob's joining goes on"
        );
        Ok((Multipart::of(upload, parts, window), others))
    }

    /// Sends the parts that are not there, and completes the upload.
    async fn fill(&self, multipart: &mut Multipart) -> Result<(), Failure> {
        let longest = self.parts.first().map_or(0, length);
        for part in &self.parts {
            if multipart.skips() {
                continue;
            }
            if let [span] = part.as_slice() {
                let (source, range) = (self.sources[span.source].clone(), span.range.clone());
                multipart
                    .begin(|upload, number| upload.copy(number, source, range))
                    .await?;
                continue;
            }
            let room = self.store.room(longest).await?;
            let (used, part) = (Arc::clone(self.sources), part.clone());
            multipart
                .begin(|upload, number| async move {
                    let content = joined(&upload.store, &used, part).await?;
                    upload.send(number, content, room).await
                })
                .await?;
        }
        multipart.complete(self.total).await.map(drop)
    }

    /// What was begun before. Whoever may not ask for it begins anew.
    async fn begun(&self) -> Vec<Begun> {
        match self.find().await {
            Ok(begun) => begun,
            Err(failure) => {
                tracing::warn!(error = %failure.other(), "it is not known how far a blob's joining came: it begins anew");
                Vec::new()
            }
        }
    }

    async fn find(&self) -> Result<Vec<Begun>, Failure> {
        const LIST: &str = "ListMultipartUploads";
        let list = self.store.clients.quick.list_multipart_uploads();
        let list = list.bucket(&self.store.bucket).prefix(self.key);
        let listed = list.send().await;
        let listed = listed.map_err(|error| Failure::of(LIST, self.key, &error))?;
        let uploads = listed.uploads.unwrap_or_default().into_iter();
        let mut uploads: Vec<MultipartUpload> = uploads
            .filter(|upload| upload.key() == Some(self.key))
            .collect();
        uploads.sort_by_key(|upload| std::cmp::Reverse(upload.initiated));
        let mut begun = Vec::new();
        for id in uploads
            .into_iter()
            .filter_map(|upload| upload.upload_id)
            .take(LOOKED_AT)
        {
            match self.parts_of(&id).await {
                Ok(parts) => begun.push(Begun {
                    upload: Upload {
                        store: Arc::clone(self.store),
                        key: self.key.to_owned(),
                        id,
                    },
                    parts,
                }),
                Err(failure) if failure.is_ended_upload() => {}
                Err(failure) => return Err(failure),
            }
        }
        Ok(begun)
    }

    /// The parts of an upload that is cut as ours is.
    async fn parts_of(&self, id: &str) -> Result<Option<BTreeMap<i32, Option<String>>>, Failure> {
        const LIST: &str = "ListParts";
        let (mut parts, mut marker) = (BTreeMap::new(), None);
        loop {
            let list = self.store.clients.quick.list_parts();
            let list = list.bucket(&self.store.bucket).key(self.key);
            let list = list.upload_id(id).set_part_number_marker(marker);
            let page = list.send().await;
            let page = page.map_err(|error| Failure::of(LIST, self.key, &error))?;
            for part in page.parts.unwrap_or_default() {
                let (Some(number), Some(size)) = (part.part_number, part.size) else {
                    return Ok(None);
                };
                let at = usize::try_from(number - 1).ok();
                let ours = at.and_then(|at| self.parts.get(at)).map(length);
                if ours.is_none() || ours != u64::try_from(size).ok() {
                    return Ok(None);
                }
                parts.insert(number, part.e_tag);
            }
            marker = page.next_part_number_marker;
            if page.is_truncated != Some(true) || marker.is_none() {
                break;
            }
        }
        Ok(parts.contains_key(&1).then_some(parts))
    }
}

/// Bytes of a part.
fn length(part: &Part) -> u64 {
    part.iter()
        .map(|span| span.range.end - span.range.start)
        .sum()
}
