//! Referrers: the manifests of a repository that name another as their subject.
//!
//! Nothing is stored for them. What a manifest names never changes, so it is read once and remembered; which manifests
//! a repository has is asked of the store each time, and looked at closely only when its directory changed. Manifests
//! that the reference registry wrote, or writes, are found like all others.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Bound;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use roadstead_oci::{Algorithm, Descriptor, Digest, Manifest, Name, Shape, Tag};
use roadstead_storage::{Error as StoreError, StorePath, layout};

use crate::Registry;
use crate::error::Error;
use crate::room::{SMALL, Turn};
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
    by_subject: HashMap<Digest, BTreeMap<Digest, Kind>>,
}

/// What is remembered of a referrer's artifact type: enough to pass over most that a filter does not want.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Of(Option<Box<str>>),
    /// Longer than is remembered, or not looked at.
    Unknown,
}

/// Bytes of an artifact type that are remembered.
const KIND: usize = 255;

impl Kind {
    fn of(artifact_type: Option<&str>) -> Self {
        if artifact_type.is_some_and(|kind| kind.len() > KIND) {
            Self::Unknown
        } else {
            Self::Of(artifact_type.map(Into::into))
        }
    }

    fn may_be(&self, wanted: Option<&str>) -> bool {
        match (self, wanted) {
            (Self::Of(kind), Some(_)) => kind.as_deref() == wanted,
            (Self::Unknown, _) | (_, None) => true,
        }
    }
}

/// Where a page begins.
#[derive(Debug)]
enum After {
    Nothing,
    Digest(Digest),
    /// What a client made up.
    Text(String),
}

impl After {
    fn of(last: Option<&str>) -> Self {
        match last {
            None => Self::Nothing,
            Some(last) => last
                .parse()
                .map_or_else(|_malformed| Self::Text(last.to_owned()), Self::Digest),
        }
    }

    fn entries<'a>(
        &'a self,
        of: &'a BTreeMap<Digest, Kind>,
    ) -> impl Iterator<Item = (&'a Digest, &'a Kind)> {
        let from = match self {
            Self::Digest(digest) => Bound::Excluded(digest),
            Self::Nothing | Self::Text(_) => Bound::Unbounded,
        };
        of.range::<Digest, _>((from, Bound::Unbounded))
            .filter(move |(digest, _)| match self {
                Self::Text(text) => digest.to_string() > *text,
                Self::Nothing | Self::Digest(_) => true,
            })
    }
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
    /// Of a repository that exists: names that anybody makes up push nothing out.
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
        let turn = self.turns.long_referrers();
        let fallback = self.fallback(name, query.subject).await?;
        let known = self.known(name).await?;
        let (mut page, mut bytes) = (Page::default(), 0);
        let mut after = After::of(query.last);
        loop {
            let candidates = candidates(&fallback, known.as_deref(), &query, &after).await;
            let Some((last, _)) = candidates.last() else {
                return Ok(page);
            };
            after = After::Digest(last.clone());
            let looks = candidates
                .into_iter()
                .map(|(digest, source)| self.if_referrer(name, &query, digest, source, &turn));
            for descriptor in futures::future::try_join_all(looks)
                .await?
                .into_iter()
                .flatten()
            {
                bytes += written_length(&descriptor);
                if page.items.len() >= query.limit || (bytes > ANSWER && !page.items.is_empty()) {
                    page.more = true;
                    return Ok(page);
                }
                page.items.push(descriptor);
            }
            if bytes > SMALL {
                turn.take().await?;
            }
        }
    }

    /// The descriptor of a candidate that is there, refers to the subject and passes the filter. Read anew each time:
    /// what is remembered stays small, however large annotations are.
    async fn if_referrer(
        &self,
        name: &Name,
        query: &Query<'_>,
        digest: Digest,
        source: Source,
        turn: &Turn<'_>,
    ) -> Result<Option<Descriptor>, Error> {
        if self.linked_manifest(name, &digest).await?.is_none() {
            return Ok(None);
        }
        let Some(View {
            subject,
            descriptor: Some(descriptor),
        }) = self.view(&digest, Some(turn)).await?
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

    /// What is known of the repository, up to date. `None` when it has no manifests.
    async fn known(&self, name: &Name) -> Result<Option<Arc<tokio::sync::Mutex<Known>>>, Error> {
        let mut revisions = Vec::new();
        for algorithm in Algorithm::ALL {
            let Ok(directory) = layout::revisions(name).join(algorithm.as_str()) else {
                continue;
            };
            match self.store.stat(&directory).await {
                Ok(stat) => revisions.push((algorithm, directory, stat.modified)),
                Err(StoreError::NotFound(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        if revisions.is_empty() {
            return Ok(None);
        }
        let remembered = self.referrers.of(name);
        let mut known = remembered.lock().await;
        for (algorithm, directory, changed) in revisions {
            if changed.is_none() || known.read_at.get(&algorithm).copied() != changed {
                self.look_at_new(algorithm, &directory, changed, &mut known)
                    .await?;
            }
        }
        drop(known);
        Ok(Some(remembered))
    }

    /// Reads the manifests that came since the last look.
    async fn look_at_new(
        &self,
        algorithm: Algorithm,
        directory: &StorePath,
        changed: Option<SystemTime>,
        known: &mut Known,
    ) -> Result<(), Error> {
        let (mut after, mut all_read) = (None, true);
        loop {
            let entries = match self.store.list(directory, after.as_deref(), PAGE).await {
                Err(StoreError::NotFound(_)) => break,
                entries => entries?,
            };
            let Some(end) = entries.last() else { break };
            after = Some(end.name.clone());
            let new = entries
                .into_iter()
                .filter_map(|entry| Digest::from_parts(algorithm, &entry.name).ok())
                .filter(|digest| !known.looked_at.contains(digest));
            let new: Vec<Digest> = new.collect();
            for some in new.chunks(AT_ONCE) {
                let views =
                    futures::future::try_join_all(some.iter().map(|new| self.view(new, None)));
                for (digest, view) in some.iter().zip(views.await?) {
                    all_read &= view.is_some();
                    known.remember(digest, view);
                }
            }
        }
        // Manifests whose bytes were not there are looked for again next time.
        match changed.filter(|changed| all_read && is_settled(*changed)) {
            Some(changed) => known.read_at.insert(algorithm, changed),
            None => known.read_at.remove(&algorithm),
        };
        Ok(())
    }

    /// What a stored manifest is as a referrer. `None` when its bytes are not there.
    async fn view(&self, digest: &Digest, turn: Option<&Turn<'_>>) -> Result<Option<View>, Error> {
        let Some(bytes) = self.manifest_bytes_in(digest, turn).await? else {
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

    /// What clients listed under the referrers tag.
    async fn fallback(
        &self,
        name: &Name,
        subject: &Digest,
    ) -> Result<BTreeMap<Digest, Kind>, Error> {
        let Some(index) = self.tagged(name, &Tag::of_referrers(subject)).await? else {
            return Ok(BTreeMap::new());
        };
        let Some(bytes) = self.manifest_bytes(&index).await? else {
            return Ok(BTreeMap::new());
        };
        if let Ok(Manifest {
            shape: Shape::Index { manifests },
            ..
        }) = Manifest::parse(&bytes, None)
        {
            return Ok(manifests
                .into_iter()
                .map(|listed| (listed.digest, Kind::Unknown))
                .collect());
        }
        Ok(BTreeMap::new())
    }
}

/// Bytes of a descriptor in an answer.
fn written_length(descriptor: &Descriptor) -> usize {
    struct Count(usize);
    impl std::io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    serde_json::to_writer(&mut count, descriptor).map_or(0, |()| count.0)
}

/// The next few manifests that may be referrers, in the order of their digests.
async fn candidates(
    fallback: &BTreeMap<Digest, Kind>,
    known: Option<&tokio::sync::Mutex<Known>>,
    query: &Query<'_>,
    after: &After,
) -> Vec<(Digest, Source)> {
    let mut next: BTreeMap<Digest, Source> = after
        .entries(fallback)
        .take(AT_ONCE)
        .map(|(digest, _)| (digest.clone(), Source::Fallback))
        .collect();
    if let Some(known) = known {
        let known = known.lock().await;
        if let Some(of_subject) = known.by_subject.get(query.subject) {
            let wanted = after
                .entries(of_subject)
                .filter(|(_, kind)| kind.may_be(query.artifact_type));
            next.extend(
                wanted
                    .take(AT_ONCE)
                    .map(|(digest, _)| (digest.clone(), Source::Subject)),
            );
        }
    }
    next.into_iter().take(AT_ONCE).collect()
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
    fn remember(&mut self, digest: &Digest, view: Option<View>) {
        let Some(view) = view else { return };
        if let (Some(subject), Some(descriptor)) = (view.subject, view.descriptor) {
            self.by_subject.entry(subject).or_default().insert(
                digest.clone(),
                Kind::of(descriptor.artifact_type.as_deref()),
            );
        }
        self.looked_at.insert(digest.clone());
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
