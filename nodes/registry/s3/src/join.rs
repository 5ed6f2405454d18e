//! A large blob: a multipart upload of parts that the store copies.
//!
//! Copying takes long, and whoever does it may be lost. Who is asked for the same blob after that goes on with the upload
//! that has most of it. Blobs are addressed by their digests, so all uploads to one key have the same bytes; but nodes may
//! be configured for other sizes of parts. Each upload is cut to one size: who begins it chooses, and nobody goes on with one
//! whose first part is not there or not as long as ours. That one has whole parts of ours wherever it has any.
//!
//! Two who are at one upload do not harm it: they send the same parts. Where that changes a part's entity tag, or one of them
//! ends the upload, the other finds out, and looks again. Nobody aborts an upload here, not even his own: another may be about
//! to complete it, and some stores (Ceph, `SeaweedFS`) lose an object whose upload is aborted in that moment. What is left over
//! is swept.

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

/// Somebody's upload, cut as ours is.
struct Begun {
    id: String,
    /// Entity tags.
    parts: BTreeMap<i32, String>,
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
        let mut in_vain = Vec::new();
        for round in 1.. {
            let begun = if looks {
                self.begun(&in_vain).await
            } else {
                None
            };
            let was_begun = begun.is_some();
            let mut multipart = self.multipart(begun, looks).await?;
            let failure = match self.fill(&mut multipart).await {
                Ok(()) => return Ok(()),
                Err(failure) => failure,
            };
            let lacks_sources = failure.is_absent() || failure.is_changed();
            if (lacks_sources || failure.is_overtaken()) && self.is_there().await {
                return Ok(());
            }
            // An upload that cannot be completed, for whatever reason, must not be gone on with for ever.
            let may_be_its_fault = was_begun && failure.status().is_some() && !lacks_sources;
            if round == ROUNDS || !(failure.is_overtaken() || may_be_its_fault) {
                return Err(failure);
            }
            if was_begun {
                in_vain.push(multipart.id().to_owned());
            }
            looks = round + 1 < ROUNDS;
        }
        Ok(())
    }

    async fn is_there(&self) -> bool {
        let head = self.store.head(self.key).await;
        head.is_ok_and(|head| head.size == self.total)
    }

    async fn multipart(&self, begun: Option<Begun>, is_later: bool) -> Result<Multipart, Failure> {
        let widest = self.store.parts.copy_concurrency;
        let narrow = (self.parts.len() / SHARE).max(FEW).min(widest);
        let window = if is_later { narrow } else { widest };
        let mut multipart = match begun {
            None => Multipart::create(self.store, self.key, window).await?,
            Some(Begun { id, parts }) => {
                let (there, all) = (parts.len(), self.parts.len());
                tracing::info!(parts = there, of = all, "a blob's joining goes on");
                let upload = Upload {
                    store: Arc::clone(self.store),
                    key: self.key.to_owned(),
                    id,
                };
                let parts = parts.into_iter();
                let parts = parts.map(|(number, etag)| completed(number, Some(etag)));
                Multipart::of(upload, parts.collect(), window)
            }
        };
        multipart.stays();
        Ok(multipart)
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

    /// Of what was begun before, the one that has most. Whoever may not ask for it begins anew.
    async fn begun(&self, in_vain: &[String]) -> Option<Begun> {
        match self.find(in_vain).await {
            Ok(begun) => begun,
            Err(failure) => {
                let error = failure.other();
                tracing::warn!(%error, "it is not known how far a blob's joining came: it begins anew");
                None
            }
        }
    }

    async fn find(&self, in_vain: &[String]) -> Result<Option<Begun>, Failure> {
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
        let ids = uploads.into_iter().filter_map(|upload| upload.upload_id);
        let mut most: Option<Begun> = None;
        for id in ids.filter(|id| !in_vain.contains(id)).take(LOOKED_AT) {
            let parts = match self.parts_of(&id).await {
                Ok(parts) => parts,
                Err(failure) if failure.is_ended_upload() => continue,
                Err(failure) => return Err(failure),
            };
            let has_more = |parts: &BTreeMap<i32, String>| {
                most.as_ref()
                    .is_none_or(|most| most.parts.len() < parts.len())
            };
            if let Some(parts) = parts.filter(has_more) {
                most = Some(Begun { id, parts });
            }
        }
        Ok(most)
    }

    /// The parts of an upload that is cut as ours is.
    async fn parts_of(&self, id: &str) -> Result<Option<BTreeMap<i32, String>>, Failure> {
        const LIST: &str = "ListParts";
        let (mut parts, mut marker) = (BTreeMap::new(), 0);
        loop {
            let list = self.store.clients.quick.list_parts();
            let list = list.bucket(&self.store.bucket).key(self.key).upload_id(id);
            let list = list.set_part_number_marker((marker > 0).then(|| marker.to_string()));
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
                if let Some(etag) = part.e_tag {
                    parts.insert(number, etag);
                }
            }
            let next = page.next_part_number_marker;
            let next = next.and_then(|next| next.parse::<u32>().ok());
            match next.filter(|next| page.is_truncated == Some(true) && *next > marker) {
                Some(next) => marker = next,
                None => break,
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
