//! A multipart upload: completed, or aborted when it is dropped, unless somebody may go on with it.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinSet;

use crate::failure::Failure;
use crate::keys;
use crate::plan::MOST_PARTS;
use crate::store::{CONTENT_TYPE, Head, Store, dressed};

/// Parts of one object, on their way.
#[derive(Debug)]
pub(crate) struct Multipart {
    upload: Arc<Upload>,
    /// Parts at a time.
    window: usize,
    begun: i32,
    flying: JoinSet<Result<CompletedPart, Failure>>,
    landed: Vec<CompletedPart>,
    /// Parts that were there before.
    found: BTreeSet<i32>,
    /// Nothing is to be aborted: it is over, or somebody may go on with it.
    stays: bool,
}

/// Which upload.
#[derive(Debug)]
pub(crate) struct Upload {
    pub(crate) store: Arc<Store>,
    pub(crate) key: String,
    pub(crate) id: String,
}

impl Multipart {
    pub(crate) async fn create(
        store: &Arc<Store>,
        key: &str,
        window: usize,
    ) -> Result<Self, Failure> {
        const CREATE: &str = "CreateMultipartUpload";
        let create = store.clients.quick.create_multipart_upload();
        let create = create.bucket(&store.bucket).key(key);
        let create = create.content_type(CONTENT_TYPE);
        let created = dressed!(create, store.dress).send().await;
        let created = created.map_err(|error| Failure::of(CREATE, key, &error))?;
        let id = created.upload_id;
        let id = id.ok_or_else(|| Failure::odd(CREATE, key, "tells no id"))?;
        let upload = Upload {
            store: Arc::clone(store),
            key: key.to_owned(),
            id,
        };
        Ok(Self::of(upload, Vec::new(), window))
    }

    /// What somebody began, with parts that are there.
    pub(crate) fn of(upload: Upload, landed: Vec<CompletedPart>, window: usize) -> Self {
        Self {
            upload: Arc::new(upload),
            window: window.max(1),
            begun: 0,
            flying: JoinSet::new(),
            found: landed.iter().filter_map(|part| part.part_number).collect(),
            landed,
            stays: false,
        }
    }

    /// Its parts stay when it is dropped.
    pub(crate) fn stays(&mut self) {
        self.stays = true;
    }

    pub(crate) fn id(&self) -> &str {
        &self.upload.id
    }

    /// Whether the next part is there: then the one after it is the next.
    pub(crate) fn skips(&mut self) -> bool {
        let is_there = self.found.contains(&(self.begun + 1));
        self.begun += i32::from(is_there);
        is_there
    }

    /// Begins the next part, when there is room for one. `make` is given the part's number.
    pub(crate) async fn begin<F>(
        &mut self,
        make: impl FnOnce(Arc<Upload>, i32) -> F,
    ) -> Result<(), Failure>
    where
        F: Future<Output = Result<CompletedPart, Failure>> + Send + 'static,
    {
        if i64::from(self.begun) == MOST_PARTS.cast_signed() {
            let too_many = "would have more than 10000 parts; a larger chunksize takes more";
            return Err(Failure::odd("UploadPart", &self.upload.key, too_many));
        }
        while self.flying.len() >= self.window {
            self.land().await?;
        }
        self.begun += 1;
        let part = make(Arc::clone(&self.upload), self.begun);
        self.flying.spawn(part);
        Ok(())
    }

    async fn land(&mut self) -> Result<(), Failure> {
        let lost = |error: tokio::task::JoinError| {
            Failure::odd("UploadPart", &self.upload.key, error.to_string())
        };
        if let Some(part) = self.flying.join_next().await {
            self.landed.push(part.map_err(lost)??);
        }
        Ok(())
    }

    /// Makes the object of its parts. Answers with its entity tag.
    pub(crate) async fn complete(&mut self, size: u64) -> Result<Option<String>, Failure> {
        while !self.flying.is_empty() {
            self.land().await?;
        }
        let mut parts = std::mem::take(&mut self.landed);
        parts.sort_by_key(|part| part.part_number);
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts));
        let Upload { store, key, id } = &*self.upload;
        let complete = store.clients.patient.complete_multipart_upload();
        let complete = complete.bucket(&store.bucket).key(key).upload_id(id);
        let completed = complete.multipart_upload(parts.build()).send().await;
        let etag = match completed {
            Ok(completed) => completed.e_tag,
            Err(error) => {
                let failure = Failure::of("CompleteMultipartUpload", key, &error);
                self.completed_before(failure, size).await?
            }
        };
        self.stays = true;
        Ok(etag)
    }

    /// A try whose answer was lost may have done it.
    async fn completed_before(
        &self,
        failure: Failure,
        size: u64,
    ) -> Result<Option<String>, Failure> {
        if failure.is_ended_upload()
            && let Ok(head) = self.upload.store.head(&self.upload.key).await
            && head.size == size
        {
            return Ok(head.etag);
        }
        Err(failure)
    }
}

impl Upload {
    /// Uploads a part. `room` is given back at the end.
    pub(crate) async fn send(
        self: Arc<Self>,
        number: i32,
        content: Bytes,
        room: OwnedSemaphorePermit,
    ) -> Result<CompletedPart, Failure> {
        let Self { store, key, id } = &*self;
        let part = store.clients.bulk.upload_part();
        let part = part.bucket(&store.bucket).key(key).upload_id(id);
        let sent = part.part_number(number).body(content.into()).send().await;
        let sent = sent.map_err(|error| Failure::of("UploadPart", key, &error))?;
        drop(room);
        Ok(completed(number, sent.e_tag))
    }

    /// Has the store copy a part.
    pub(crate) async fn copy(
        self: Arc<Self>,
        number: i32,
        source: (String, Head),
        range: Range<u64>,
    ) -> Result<CompletedPart, Failure> {
        const COPY: &str = "UploadPartCopy";
        let Self { store, key, id } = &*self;
        let (from, head) = source;
        let part = store.clients.patient.upload_part_copy();
        let part = part.bucket(&store.bucket).key(key).upload_id(id);
        let part = part.copy_source(keys::source(&store.bucket, &from));
        let part = part.set_copy_source_if_match(head.etag);
        let part = part.copy_source_range(format!("bytes={}-{}", range.start, range.end - 1));
        let copied = part.part_number(number).send().await;
        let copied = copied.map_err(|error| Failure::of(COPY, &from, &error))?;
        let etag = copied.copy_part_result.and_then(|result| result.e_tag);
        Ok(completed(number, etag))
    }

    async fn abort(&self) {
        let Self { store, key, id } = self;
        let abort = store.clients.quick.abort_multipart_upload();
        let abort = abort.bucket(&store.bucket).key(key).upload_id(id);
        match abort
            .send()
            .await
            .map_err(|error| Failure::of("AbortMultipartUpload", key, &error))
        {
            Ok(_) => {}
            Err(failure) if failure.is_ended_upload() => {}
            Err(failure) => {
                let error = failure.other();
                tracing::warn!(%error, "a multipart upload stays until it is swept");
            }
        }
    }
}

pub(crate) fn completed(number: i32, etag: Option<String>) -> CompletedPart {
    let part = CompletedPart::builder().part_number(number);
    part.set_e_tag(etag).build()
}

impl Drop for Multipart {
    fn drop(&mut self) {
        if self.stays {
            return;
        }
        let (upload, mut flying) = (Arc::clone(&self.upload), std::mem::take(&mut self.flying));
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                // A part that arrives after the abort may stay.
                flying.shutdown().await;
                upload.abort().await;
            });
        }
    }
}
