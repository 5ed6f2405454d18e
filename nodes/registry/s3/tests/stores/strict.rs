//! A store in this process that insists: keys in their own order, equal parts, known entity tags; and loses answers.

use std::collections::BTreeMap;
use std::ops::{Bound, Range};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use futures::TryStreamExt as _;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use roadstead_s3::{Options, Parts};
use s3s::auth::SimpleAuth;
use s3s::dto::*;
use s3s::service::S3ServiceBuilder;
use s3s::{S3, S3Request, S3Response, S3Result, s3_error};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::server::{ADMIN, credentials};

/// As small as S3 allows.
const PART: u64 = 5 << 20;
const BUCKET: &str = "strict";

/// What is in the bucket, and what the store does to whoever asks.
#[derive(Clone, Default)]
pub(crate) struct Strict(Arc<Inner>);

#[derive(Default)]
struct Inner {
    state: Mutex<State>,
    /// Keys of a page; 0: as S3.
    page: AtomicUsize,
    /// Completions that are done, and answered with an error.
    lose: AtomicUsize,
    /// Parts whose copying waits.
    held: watch::Sender<Hold>,
    /// Parts that were to be copied, and those that were.
    asked: AtomicUsize,
    copies: AtomicUsize,
}

#[derive(Default)]
struct Hold {
    parts: Range<i32>,
    /// How often all that waited was lost.
    lost: usize,
}

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Held>,
    uploads: BTreeMap<String, Upload>,
    count: usize,
}

#[derive(Clone)]
struct Held {
    content: Bytes,
    etag: String,
    modified: SystemTime,
}

/// How a completion is refused.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Refuse {
    /// A part is said not to be what it was listed as.
    Unknown,
    /// For another reason.
    Broken,
}

struct Upload {
    key: String,
    refuse: Option<Refuse>,
    parts: BTreeMap<i32, Held>,
    began: SystemTime,
}

#[expect(
    clippy::disallowed_methods,
    reason = "the age of an object, as a store tells it"
)]
fn now() -> SystemTime {
    SystemTime::now()
}

impl Strict {
    /// Serves an empty bucket; answers with options for it.
    pub(crate) async fn start() -> (Self, Options) {
        let strict = Self::default();
        let mut service = S3ServiceBuilder::new(strict.clone());
        service.set_auth(SimpleAuth::from_single(ADMIN.0, ADMIN.1));
        let service = service.build();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let service = service.clone();
                tokio::spawn(async move {
                    let server = Builder::new(TokioExecutor::new());
                    // Clients go away as they like.
                    drop(server.serve_connection(TokioIo::new(stream), service).await);
                });
            }
        });
        let options = Options {
            endpoint: Some(format!("http://{address}")),
            force_path_style: true,
            credentials: Some(credentials(ADMIN)),
            parts: Parts {
                chunk: PART,
                copy_chunk: PART,
                copy_threshold: PART,
                copy_concurrency: 4,
            },
            ..Options::new(BUCKET)
        };
        (strict, options)
    }

    pub(crate) fn pages_of(&self, keys: usize) {
        self.0.page.store(keys, Ordering::Relaxed);
    }

    pub(crate) fn lose_completions(&self, count: usize) {
        self.0.lose.store(count, Ordering::Relaxed);
    }

    /// Copies no part of these numbers until it is told others.
    pub(crate) fn hold(&self, parts: Range<i32>) {
        self.0.held.send_modify(|held| held.parts = parts);
    }

    /// Copies everything from now on, and nothing that waited.
    pub(crate) fn lose_held(&self) {
        self.0.held.send_modify(|held| {
            held.parts = 0..0;
            held.lost += 1;
        });
    }

    /// Waits until so many parts were to be copied.
    pub(crate) async fn asked(&self, parts: usize) {
        while self.all_asked() < parts {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Waits until so many were.
    pub(crate) async fn copied(&self, parts: usize) {
        while self.copies() < parts {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Completes no upload that is there now.
    pub(crate) fn refuse_completions_of_all_begun(&self, refuse: Refuse) {
        for upload in self.state().uploads.values_mut() {
            upload.refuse = Some(refuse);
        }
    }

    pub(crate) fn all_asked(&self) -> usize {
        self.0.asked.load(Ordering::Relaxed)
    }

    pub(crate) fn copies(&self) -> usize {
        self.0.copies.load(Ordering::Relaxed)
    }

    pub(crate) fn uploads(&self) -> usize {
        self.state().uploads.len()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().expect("not poisoned")
    }
}

impl State {
    fn hold(&mut self, content: Bytes) -> Held {
        self.count += 1;
        Held {
            content,
            etag: format!("e{}", self.count),
            modified: now(),
        }
    }

    fn object(&self, key: &str) -> S3Result<Held> {
        let held = self.objects.get(key).cloned();
        held.ok_or_else(|| s3_error!(NoSuchKey))
    }

    /// What a copy asks for, as it must be.
    fn source(&self, source: &CopySource, wanted: Option<&ETagCondition>) -> S3Result<Held> {
        let CopySource::Bucket { key, .. } = source else {
            return Err(s3_error!(InvalidArgument));
        };
        let held = self.object(key)?;
        matches(&held, wanted)?;
        Ok(held)
    }

    fn upload(&mut self, id: &str) -> S3Result<&mut Upload> {
        let upload = self.uploads.get_mut(id);
        upload.ok_or_else(|| s3_error!(NoSuchUpload))
    }
}

fn matches(held: &Held, wanted: Option<&ETagCondition>) -> S3Result<()> {
    match wanted {
        Some(ETagCondition::ETag(etag)) if etag.value() != held.etag => {
            Err(s3_error!(PreconditionFailed))
        }
        _ => Ok(()),
    }
}

fn etag(held: &Held) -> ETag {
    ETag::Strong(held.etag.clone())
}

fn size(bytes: &Bytes) -> Option<i64> {
    i64::try_from(bytes.len()).ok()
}

async fn collect(body: Option<StreamingBlob>) -> S3Result<Bytes> {
    let mut all = BytesMut::new();
    if let Some(mut body) = body {
        while let Some(piece) = body
            .try_next()
            .await
            .map_err(|_broken| s3_error!(IncompleteBody))?
        {
            all.extend_from_slice(&piece);
        }
    }
    Ok(all.freeze())
}

/// An answer with nothing but these fields.
macro_rules! answer {
    ($output:ident { $($field:ident: $value:expr),* $(,)? }) => {
        Ok(S3Response::new($output { $($field: $value,)* ..Default::default() }))
    };
}

#[async_trait::async_trait]
impl S3 for Strict {
    async fn put_object(
        &self,
        request: S3Request<PutObjectInput>,
    ) -> S3Result<S3Response<PutObjectOutput>> {
        let content = collect(request.input.body).await?;
        let mut state = self.state();
        let is_there = state.objects.contains_key(&request.input.key);
        if request.input.if_none_match == Some(ETagCondition::Any) && is_there {
            return Err(s3_error!(PreconditionFailed));
        }
        let held = state.hold(content);
        state.objects.insert(request.input.key, held.clone());
        answer!(PutObjectOutput {
            e_tag: Some(etag(&held))
        })
    }

    async fn head_object(
        &self,
        request: S3Request<HeadObjectInput>,
    ) -> S3Result<S3Response<HeadObjectOutput>> {
        let held = self.state().object(&request.input.key)?;
        answer!(HeadObjectOutput {
            content_length: size(&held.content),
            e_tag: Some(etag(&held)),
            last_modified: Some(held.modified.into()),
        })
    }

    async fn get_object(
        &self,
        request: S3Request<GetObjectInput>,
    ) -> S3Result<S3Response<GetObjectOutput>> {
        let held = self.state().object(&request.input.key)?;
        matches(&held, request.input.if_match.as_ref())?;
        let (mut content, mut ranged) = (held.content.clone(), None);
        if let Some(range) = request.input.range {
            let range = range.check(content.len() as u64)?;
            let whole = content.len();
            ranged = Some(format!("bytes {}-{}/{whole}", range.start, range.end - 1));
            content = content.slice(index(range.start)..index(range.end));
        }
        let length = size(&content);
        answer!(GetObjectOutput {
            body: Some(StreamingBlob::from(s3s::Body::from(content))),
            content_length: length,
            content_range: ranged,
            e_tag: Some(etag(&held)),
            last_modified: Some(held.modified.into()),
        })
    }

    async fn copy_object(
        &self,
        request: S3Request<CopyObjectInput>,
    ) -> S3Result<S3Response<CopyObjectOutput>> {
        let (input, mut state) = (request.input, self.state());
        let wanted = input.copy_source_if_match.as_ref();
        let content = state.source(&input.copy_source, wanted)?.content;
        let held = state.hold(content);
        state.objects.insert(input.key, held.clone());
        let result = CopyObjectResult {
            e_tag: Some(etag(&held)),
            ..Default::default()
        };
        answer!(CopyObjectOutput {
            copy_object_result: Some(result)
        })
    }

    async fn delete_object(
        &self,
        request: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        let mut state = self.state();
        if let Some(held) = state.objects.get(&request.input.key) {
            matches(held, request.input.if_match.as_ref())?;
        }
        state.objects.remove(&request.input.key);
        answer!(DeleteObjectOutput {})
    }

    async fn delete_objects(
        &self,
        request: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        let objects = request.input.delete.objects;
        if objects.len() > 1000 {
            return Err(s3_error!(MalformedXML));
        }
        for object in objects {
            self.state().objects.remove(&object.key);
        }
        answer!(DeleteObjectsOutput {})
    }

    /// Keys and what they are folded to, in the order of both; each counts as one.
    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let (input, state) = (request.input, self.state());
        let prefix = input.prefix.unwrap_or_default();
        let most = match self.0.page.load(Ordering::Relaxed) {
            0 => 1000,
            page => page,
        };
        let most = most.min(
            input
                .max_keys
                .map_or(1000, |keys| index(keys.unsigned_abs())),
        );
        let mut last = input
            .continuation_token
            .or(input.start_after)
            .unwrap_or_default();
        let (mut contents, mut folded, mut more) = (Vec::new(), Vec::<CommonPrefix>::new(), false);
        let from = (Bound::Included(prefix.clone()), Bound::Unbounded);
        for (key, held) in state.objects.range::<String, _>(from) {
            let Some(rest) = key.strip_prefix(&prefix) else {
                break;
            };
            let cut = input.delimiter.as_deref().and_then(|cut| rest.find(cut));
            let told = cut.and_then(|at| key.get(..=prefix.len() + at));
            let told = told.unwrap_or(key);
            if told <= last.as_str() {
                continue;
            }
            if contents.len() + folded.len() == most {
                more = true;
                break;
            }
            told.clone_into(&mut last);
            match cut {
                Some(_) => folded.push(CommonPrefix {
                    prefix: Some(told.to_owned()),
                }),
                None => contents.push(Object {
                    key: Some(key.clone()),
                    last_modified: Some(held.modified.into()),
                    size: size(&held.content),
                    ..Default::default()
                }),
            }
        }
        answer!(ListObjectsV2Output {
            contents: Some(contents),
            common_prefixes: Some(folded),
            is_truncated: Some(more),
            next_continuation_token: more.then_some(last),
        })
    }

    async fn create_multipart_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let mut state = self.state();
        state.count += 1;
        let id = format!("u{}", state.count);
        let upload = Upload {
            key: request.input.key,
            refuse: None,
            parts: BTreeMap::new(),
            began: now(),
        };
        state.uploads.insert(id.clone(), upload);
        answer!(CreateMultipartUploadOutput {
            upload_id: Some(id)
        })
    }

    async fn upload_part(
        &self,
        request: S3Request<UploadPartInput>,
    ) -> S3Result<S3Response<UploadPartOutput>> {
        let input = request.input;
        let content = collect(input.body).await?;
        let mut state = self.state();
        let held = state.hold(content);
        let upload = state.upload(&input.upload_id)?;
        upload.parts.insert(input.part_number, held.clone());
        answer!(UploadPartOutput {
            e_tag: Some(etag(&held))
        })
    }

    async fn upload_part_copy(
        &self,
        request: S3Request<UploadPartCopyInput>,
    ) -> S3Result<S3Response<UploadPartCopyOutput>> {
        let (input, mut held) = (request.input, self.0.held.subscribe());
        self.0.asked.fetch_add(1, Ordering::Relaxed);
        let lost = held.borrow().lost;
        let goes =
            held.wait_for(|held| held.lost > lost || !held.parts.contains(&input.part_number));
        if goes.await.expect("it holds parts, or not").lost > lost {
            return Err(s3_error!(RequestTimeout));
        }
        let mut state = self.state();
        let wanted = input.copy_source_if_match.as_ref();
        let held = state.source(&input.copy_source, wanted)?;
        let range = input.copy_source_range.unwrap_or_default();
        let range = s3s::dto::Range::parse(&range).map_err(|_odd| s3_error!(InvalidArgument))?;
        let range = range.check(held.content.len() as u64)?;
        let held = state.hold(held.content.slice(index(range.start)..index(range.end)));
        let upload = state.upload(&input.upload_id)?;
        upload.parts.insert(input.part_number, held.clone());
        self.0.copies.fetch_add(1, Ordering::Relaxed);
        let result = CopyPartResult {
            e_tag: Some(etag(&held)),
            ..Default::default()
        };
        answer!(UploadPartCopyOutput {
            copy_part_result: Some(result)
        })
    }

    async fn complete_multipart_upload(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let (input, mut state) = (request.input, self.state());
        let upload = state.upload(&input.upload_id)?;
        match upload.refuse {
            Some(Refuse::Unknown) => return Err(s3_error!(InvalidPart)),
            Some(Refuse::Broken) => return Err(s3_error!(InvalidRequest)),
            None => {}
        }
        let (mut all, mut sizes) = (BytesMut::new(), Vec::new());
        let named = input.multipart_upload.and_then(|parts| parts.parts);
        for part in named.unwrap_or_default() {
            let held = part
                .part_number
                .and_then(|number| upload.parts.get(&number));
            let known = held.filter(|held| {
                part.e_tag
                    .as_ref()
                    .is_some_and(|etag| etag.value() == held.etag)
            });
            let known = known.ok_or_else(|| s3_error!(InvalidPart))?;
            sizes.push(known.content.len());
            all.extend_from_slice(&known.content);
        }
        let (last, others) = sizes.split_last().ok_or_else(|| s3_error!(MalformedXML))?;
        if others
            .iter()
            .any(|size| *size != others[0] || *size < index(PART) || last > size)
        {
            return Err(s3_error!(InvalidPart, "parts are not equal, or too small"));
        }
        let held = state.hold(all.freeze());
        state.objects.insert(input.key, held.clone());
        state.uploads.remove(&input.upload_id);
        let (relaxed, less) = (Ordering::Relaxed, |n: usize| n.checked_sub(1));
        if self.0.lose.fetch_update(relaxed, relaxed, less).is_ok() {
            return Err(s3_error!(InternalError, "the answer is lost"));
        }
        answer!(CompleteMultipartUploadOutput {
            e_tag: Some(etag(&held))
        })
    }

    async fn abort_multipart_upload(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        let mut state = self.state();
        state.upload(&request.input.upload_id)?;
        state.uploads.remove(&request.input.upload_id);
        answer!(AbortMultipartUploadOutput {})
    }

    async fn list_parts(
        &self,
        request: S3Request<ListPartsInput>,
    ) -> S3Result<S3Response<ListPartsOutput>> {
        let (input, mut state) = (request.input, self.state());
        let upload = state.upload(&input.upload_id)?;
        let after = input.part_number_marker.unwrap_or_default();
        // Fewer than any store.
        let page = || upload.parts.range(after + 1..).take(2);
        let last = page().last().map(|(number, _)| *number);
        let more = last.is_some_and(|last| upload.parts.range(last + 1..).next().is_some());
        let parts = page().map(|(number, held)| Part {
            part_number: Some(*number),
            size: size(&held.content),
            e_tag: Some(etag(held)),
            ..Default::default()
        });
        answer!(ListPartsOutput {
            parts: Some(parts.collect()),
            is_truncated: Some(more),
            next_part_number_marker: last.filter(|_| more),
        })
    }

    async fn list_multipart_uploads(
        &self,
        request: S3Request<ListMultipartUploadsInput>,
    ) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
        let prefix = request.input.prefix.unwrap_or_default();
        let state = self.state();
        let ours = state
            .uploads
            .iter()
            .filter(|(_, upload)| upload.key.starts_with(&prefix));
        let uploads = ours.map(|(id, upload)| MultipartUpload {
            key: Some(upload.key.clone()),
            upload_id: Some(id.clone()),
            initiated: Some(upload.began.into()),
            ..Default::default()
        });
        answer!(ListMultipartUploadsOutput {
            uploads: Some(uploads.collect())
        })
    }
}

fn index<N: TryInto<usize>>(number: N) -> usize {
    number.try_into().ok().expect("fits")
}
