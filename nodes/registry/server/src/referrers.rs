//! Referrers: the manifests of a repository that name another as their subject.
//!
//! Nothing is stored for them. What a manifest names never changes, so it is read once and remembered; which manifests
//! a repository has is asked of the store each time, and looked at closely only when its directory changed. Manifests
//! that the reference registry wrote, or writes, are found like all others.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use futures::{StreamExt as _, TryStreamExt as _};
use roadstead_oci::{Algorithm, Descriptor, Digest, Manifest, Name, Shape, Tag};
use roadstead_storage::{Error as StoreError, layout};

use crate::Registry;
use crate::error::Error;
use crate::tags::Page;

/// Repositories remembered at a time.
const REPOSITORIES: usize = 1024;

/// Names listed in one step, and manifests read together.
const PAGE: usize = 1000;
const AT_ONCE: usize = 8;

/// A directory that changed this lately may change again without its time telling.
const SETTLED_AFTER: Duration = Duration::from_secs(2);

/// Bytes of descriptors in one answer, as the specification bounds a manifest.
const ANSWER: usize = 4 << 20;

/// What is remembered, a repository at a time.
#[derive(Default)]
pub(crate) struct Knowledge {
    repositories: Mutex<HashMap<Name, Arc<tokio::sync::Mutex<Known>>>>,
}

/// What is known of one repository's manifests. Says nothing about which are still there.
#[derive(Debug, Default)]
struct Known {
    /// When each algorithm's directory of revisions had last changed, when it was last read.
    read_at: HashMap<Algorithm, SystemTime>,
    looked_at: HashSet<Digest>,
    by_subject: HashMap<Digest, BTreeSet<Digest>>,
}

/// What a client asks for.
#[derive(Debug)]
pub(crate) struct Query<'a> {
    pub(crate) subject: &'a Digest,
    pub(crate) artifact_type: Option<&'a str>,
    /// The last digest of the page before.
    pub(crate) last: Option<&'a str>,
    pub(crate) limit: usize,
}

impl Knowledge {
    fn of(&self, name: &Name) -> Arc<tokio::sync::Mutex<Known>> {
        let mut repositories = self
            .repositories
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if repositories.len() >= REPOSITORIES
            && !repositories.contains_key(name)
            && let Some(other) = repositories.keys().next().cloned()
        {
            repositories.remove(&other);
        }
        Arc::clone(repositories.entry(name.clone()).or_default())
    }
}

impl Registry {
    /// The referrers of a digest, in the order of their digests. Empty where nothing is known.
    pub(crate) async fn referrers_of(
        &self,
        name: &Name,
        query: Query<'_>,
    ) -> Result<Page<Descriptor>, Error> {
        let mut candidates: BTreeMap<Digest, Source> = BTreeMap::new();
        self.add_fallback(name, query.subject, &mut candidates)
            .await?;
        let remembered = self.remembered(name, query.subject).await?;
        candidates.extend(
            remembered
                .into_iter()
                .map(|digest| (digest, Source::Subject)),
        );
        let looks: Vec<_> = candidates
            .into_iter()
            .filter(|(digest, _)| {
                query
                    .last
                    .is_none_or(|last| digest.to_string().as_str() > last)
            })
            .map(|(digest, source)| self.if_referrer(name, &query, digest, source))
            .collect();
        let mut present = futures::stream::iter(looks).buffered(AT_ONCE);
        let (mut page, mut bytes) = (Page::default(), 0);
        while let Some(found) = present.next().await {
            let Some(descriptor) = found? else { continue };
            bytes += serde_json::to_vec(&descriptor).map_or(0, |json| json.len());
            if page.items.len() >= query.limit || (bytes > ANSWER && !page.items.is_empty()) {
                page.more = true;
                break;
            }
            page.items.push(descriptor);
        }
        Ok(page)
    }

    /// The descriptor of a candidate that is there, refers to the subject and passes the filter. Read anew each time:
    /// what is remembered stays small, however large annotations are.
    async fn if_referrer(
        &self,
        name: &Name,
        query: &Query<'_>,
        digest: Digest,
        source: Source,
    ) -> Result<Option<Descriptor>, Error> {
        if self.linked_manifest(name, &digest).await?.is_none() {
            return Ok(None);
        }
        let Some(View {
            subject,
            descriptor: Some(descriptor),
        }) = self.view(&digest).await?
        else {
            return Ok(None);
        };
        let refers = match source {
            Source::Subject => subject.as_ref() == Some(query.subject),
            Source::Fallback => subject.is_none_or(|subject| subject == *query.subject),
        };
        let wanted = query
            .artifact_type
            .is_none_or(|wanted| descriptor.artifact_type.as_deref() == Some(wanted));
        Ok((refers && wanted).then_some(descriptor))
    }

    async fn remembered(&self, name: &Name, subject: &Digest) -> Result<BTreeSet<Digest>, Error> {
        let known = self.referrers.of(name);
        let mut known = known.lock().await;
        for algorithm in Algorithm::ALL {
            self.look_at_new(name, algorithm, &mut known).await?;
        }
        Ok(known.by_subject.get(subject).cloned().unwrap_or_default())
    }

    /// Reads the manifests that came since the last look.
    async fn look_at_new(
        &self,
        name: &Name,
        algorithm: Algorithm,
        known: &mut Known,
    ) -> Result<(), Error> {
        let Ok(directory) = layout::revisions(name).join(algorithm.as_str()) else {
            return Ok(());
        };
        let changed = match self.store.stat(&directory).await {
            Ok(stat) => stat.modified,
            Err(StoreError::NotFound(_)) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        if changed.is_some() && known.read_at.get(&algorithm).copied() == changed {
            return Ok(());
        }
        let (mut after, mut all_read) = (None, true);
        loop {
            let entries = match self.store.list(&directory, after.as_deref(), PAGE).await {
                Err(StoreError::NotFound(_)) => break,
                entries => entries?,
            };
            let Some(end) = entries.last() else { break };
            after = Some(end.name.clone());
            let new = entries
                .into_iter()
                .filter_map(|entry| Digest::from_parts(algorithm, &entry.name).ok())
                .filter(|digest| !known.looked_at.contains(digest));
            let looks: Vec<_> = new.map(|digest| self.viewed(digest)).collect();
            let views: Vec<(Digest, Option<View>)> = futures::stream::iter(looks)
                .buffered(AT_ONCE)
                .try_collect()
                .await?;
            for (digest, view) in views {
                all_read &= view.is_some();
                known.remember(digest, view);
            }
        }
        // Manifests whose bytes were not there are looked for again next time.
        match changed.filter(|changed| all_read && is_settled(*changed)) {
            Some(changed) => known.read_at.insert(algorithm, changed),
            None => known.read_at.remove(&algorithm),
        };
        Ok(())
    }

    async fn viewed(&self, digest: Digest) -> Result<(Digest, Option<View>), Error> {
        let view = self.view(&digest).await?;
        Ok((digest, view))
    }

    /// What a stored manifest is as a referrer. `None` when its bytes are not there.
    async fn view(&self, digest: &Digest) -> Result<Option<View>, Error> {
        let Some(bytes) = self.manifest_bytes(digest).await? else {
            return Ok(None);
        };
        let Ok(manifest) = Manifest::parse(&bytes, None) else {
            return Ok(Some(View::default()));
        };
        let descriptor = manifest.as_referrer(digest.clone(), bytes.len() as u64);
        Ok(Some(View {
            subject: manifest.subject.map(|subject| subject.digest),
            descriptor: Some(descriptor),
        }))
    }

    /// Adds what clients listed under the referrers tag.
    async fn add_fallback(
        &self,
        name: &Name,
        subject: &Digest,
        candidates: &mut BTreeMap<Digest, Source>,
    ) -> Result<(), Error> {
        let Some(index) = self.tagged(name, &Tag::of_referrers(subject)).await? else {
            return Ok(());
        };
        let Some(bytes) = self.manifest_bytes(&index).await? else {
            return Ok(());
        };
        if let Ok(Manifest {
            shape: Shape::Index { manifests },
            ..
        }) = Manifest::parse(&bytes, None)
        {
            candidates.extend(
                manifests
                    .into_iter()
                    .map(|listed| (listed.digest, Source::Fallback)),
            );
        }
        Ok(())
    }
}

/// Why a manifest may be a referrer.
#[derive(Debug, Clone, Copy)]
enum Source {
    /// It names the subject.
    Subject,
    /// A client listed it under the referrers tag; it counts unless it names another subject.
    Fallback,
}

#[derive(Debug, Default)]
struct View {
    subject: Option<Digest>,
    descriptor: Option<Descriptor>,
}

impl Known {
    fn remember(&mut self, digest: Digest, view: Option<View>) {
        let Some(view) = view else { return };
        if let Some(subject) = view.subject {
            self.by_subject
                .entry(subject)
                .or_default()
                .insert(digest.clone());
        }
        self.looked_at.insert(digest);
    }
}

fn is_settled(changed: SystemTime) -> bool {
    #[expect(
        clippy::disallowed_methods,
        reason = "compared with the age of a directory, decides only what is cached"
    )]
    let now = SystemTime::now();
    now.duration_since(changed)
        .is_ok_and(|age| age > SETTLED_AFTER)
}
