//! Reading repositories and manifests, as far as they are not remembered.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use roadstead_oci::Digest;
use roadstead_storage::{Driver, Error as StoreError, Read, StorePath, layout};

use super::doubt::{CollectError, Doubt};
use super::ids::{Id, Ids, Marks};
use super::keep::{Repository, Revision};
use super::links::{self, Holds, Links, Plain};
use super::named::Named;
use super::refs::{Manifests, Refs};
use super::walk::{self, below};
use super::{READ_LIMIT, REVISIONS, TAGS, shown};
use crate::link::pointed_to;

/// Directories read at a time.
const AT_ONCE: usize = 8;

/// Manifests read by one call, and such calls at a time. Larger ones than this are read one by one, so that whoever pushes
/// many of them does not fill the memory.
const BATCH: usize = 64;
const USUAL: usize = 64 << 10;

/// What is known from earlier runs.
#[derive(Default)]
pub(super) struct Memory {
    pub(super) ids: Ids,
    pub(super) manifests: Manifests,
    repositories: HashMap<StorePath, Known>,
}

#[derive(Clone, Default)]
struct Known {
    revisions: Plain,
    layers: Plain,
    tags: Arc<BTreeMap<String, Digest>>,
}

/// What all repositories hold, apart from layers.
pub(super) struct Shelves {
    pub(super) all: Vec<Repository>,
    pub(super) with_manifests: usize,
    /// Links that were read.
    pub(super) read: u64,
}

/// What one repository holds.
struct Shelf {
    path: StorePath,
    revisions: Links,
    tags: Tags,
}

#[derive(Default)]
struct Tags {
    lead_to: BTreeMap<String, Digest>,
    read: u64,
}

impl Memory {
    pub(super) async fn repositories(
        &mut self,
        store: &dyn Driver,
        with_tags: bool,
    ) -> Result<Shelves, CollectError> {
        let walk::Repositories {
            all: paths,
            with_manifests,
        } = walk::repositories(store).await?;
        let (mut all, mut read) = (Vec::with_capacity(paths.len()), 0);
        for some in paths.chunks(BATCH) {
            let shelves: Vec<_> = some
                .iter()
                .map(|path| {
                    let known = self.repositories.get(path).cloned().unwrap_or_default();
                    shelf(store, path.clone(), known, with_tags)
                })
                .collect();
            let mut shelves = stream::iter(shelves).buffered(AT_ONCE);
            while let Some(shelf) = shelves.try_next().await? {
                read += shelf.revisions.read + shelf.tags.read;
                all.push(self.take(shelf));
            }
        }
        Ok(Shelves {
            all,
            with_manifests,
            read,
        })
    }

    fn take(&mut self, shelf: Shelf) -> Repository {
        let Shelf {
            path,
            revisions,
            tags,
        } = shelf;
        let ids = &mut self.ids;
        let numbered = revisions.all.iter().map(|link| {
            let name = ids.id(&link.name);
            let content = match &link.holds {
                Holds::Other(content) => ids.id(content),
                Holds::Name | Holds::Torn | Holds::Nothing => name,
            };
            Revision {
                name,
                content,
                modified: link.modified,
            }
        });
        let numbered = numbered.collect();
        let tagged = tags.lead_to.values().map(|digest| ids.id(digest)).collect();
        let known = self.repositories.entry(path.clone()).or_default();
        known.revisions = revisions.plain;
        known.tags = Arc::new(tags.lead_to);
        Repository {
            name: shown(&path).parse().ok(),
            path,
            revisions: numbered,
            tagged,
        }
    }

    /// Reads the manifests that are new. Answers with their number.
    pub(super) async fn read_manifests(
        &mut self,
        store: &dyn Driver,
        repositories: &[Repository],
    ) -> Result<u64, CollectError> {
        let mut seen = HashSet::new();
        let mut unknown = Vec::new();
        for repository in repositories {
            for revision in &repository.revisions {
                let id = revision.content;
                if !self.manifests.contains_key(&id) && seen.insert(id) {
                    let (digest, name) = (self.ids.digest(id), self.ids.digest(revision.name));
                    unknown.push(Unread {
                        id,
                        digest,
                        repository,
                        name,
                    });
                }
            }
        }
        drop(seen);
        for some in unknown.chunks(BATCH * AT_ONCE) {
            let batches: Vec<_> = some.chunks(BATCH).map(|batch| read(store, batch)).collect();
            let mut batches = stream::iter(batches).buffer_unordered(AT_ONCE);
            while let Some(manifests) = batches.try_next().await? {
                for (id, named) in manifests {
                    let refs = Refs::of(&named, &mut self.ids);
                    self.manifests.insert(id, refs);
                }
            }
        }
        Ok(unknown.len() as u64)
    }

    /// What links to layers of a repository are known.
    pub(super) fn plain_layers(&self, repository: &StorePath) -> Plain {
        let known = self.repositories.get(repository);
        known.map(|known| known.layers.clone()).unwrap_or_default()
    }

    pub(super) fn learn_layers(&mut self, repository: &StorePath, layers: Plain) {
        if let Some(known) = self.repositories.get_mut(repository) {
            known.layers = layers;
        }
    }

    /// Forgets what is not there any more.
    pub(super) fn keep_only(&mut self, repositories: &[Repository]) {
        let paths: HashSet<&StorePath> = repositories.iter().map(|it| &it.path).collect();
        self.repositories.retain(|path, _| paths.contains(path));
        let mut used = Marks::default();
        for revision in repositories.iter().flat_map(|it| &it.revisions) {
            used.add(revision.content);
        }
        self.manifests.retain(|id, _| used.has(*id));
        for refs in self.manifests.values() {
            for id in refs.children().iter().chain(refs.subjects()) {
                used.add(*id);
            }
        }
        // Numbers are given again only when most of them stand for nothing.
        if self.ids.len() > 2 * used.count() + BATCH {
            let (before, ids) = (std::mem::take(&mut self.ids), &mut self.ids);
            let manifests = std::mem::take(&mut self.manifests).into_iter();
            let renumbered = manifests.map(|(id, refs)| {
                let refs = refs.renumbered(&before, ids);
                (ids.id(&before.digest(id)), refs)
            });
            self.manifests = renumbered.collect();
        }
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory")
            .field("digests", &self.ids.len())
            .field("manifests", &self.manifests.len())
            .field("repositories", &self.repositories.len())
            .finish()
    }
}

/// A manifest that is to be read, with the link that leads to it.
struct Unread<'a> {
    id: Id,
    digest: Digest,
    repository: &'a Repository,
    name: Digest,
}

impl Unread<'_> {
    fn doubt(&self, doubt: Doubt) -> CollectError {
        let link = format!("{REVISIONS}/{}/link", super::at(&self.name));
        below(&self.repository.path, &link).map_or_else(|error| error, |link| doubt.at(&link))
    }
}

async fn read(store: &dyn Driver, batch: &[Unread<'_>]) -> Result<Vec<(Id, Named)>, CollectError> {
    let paths = batch.iter().map(|it| layout::blob_data(&it.digest));
    let paths: Vec<StorePath> = paths.collect();
    let got = store.get_each(&paths, USUAL).await;
    let mut named = Vec::with_capacity(batch.len());
    for ((unread, path), got) in batch.iter().zip(&paths).zip(got) {
        let got = match got {
            Err(StoreError::TooLarge { .. }) => store.get(path, READ_LIMIT).await,
            got => got,
        };
        let read = match got {
            // It could name anything; the storage may not be mounted.
            Err(StoreError::NotFound(_)) => {
                return Err(unread.doubt(Doubt::NoBytes(unread.digest.clone())));
            }
            got => Named::by(&got?),
        };
        let read = read.map_err(|reason| {
            let manifest = unread.digest.clone();
            unread.doubt(Doubt::Unreadable { manifest, reason })
        });
        named.push((unread.id, read?));
    }
    Ok(named)
}

async fn shelf(
    store: &dyn Driver,
    path: StorePath,
    known: Known,
    with_tags: bool,
) -> Result<Shelf, CollectError> {
    let revisions = below(&path, REVISIONS)?;
    let revisions = links::revisions(store, &revisions, &known.revisions).await?;
    let tags = if with_tags {
        tags(store, &below(&path, TAGS)?, &known.tags).await?
    } else {
        Tags::default()
    };
    Ok(Shelf {
        path,
        revisions,
        tags,
    })
}

/// What tags point to. A tag that nothing could have written still keeps what it points to.
async fn tags(
    store: &dyn Driver,
    directory: &StorePath,
    known: &BTreeMap<String, Digest>,
) -> Result<Tags, CollectError> {
    let as_before = |tag: &str| known.get(tag).map(|digest| digest.to_string().into());
    let read = Read::Unless(layout::LINK_LIMIT, &as_before);
    let leaves = store.leaves(directory, "current/link", read).await?;
    if leaves.is_empty() {
        walk::entries(store, directory).await?;
    }
    let mut tags = Tags::default();
    for leaf in leaves {
        let there = walk::directory(store, directory, &leaf.name, leaf.is_directory).await?;
        let Some(path) = there else { continue };
        let link = below(&path, "current/link")?;
        let digest = match leaf.file {
            None => walk::linked(store, &link).await?,
            Some(file) => {
                let held = file.content.as_deref().and_then(pointed_to);
                Some(held.ok_or_else(|| Doubt::TornLink.at(&link))?)
            }
        };
        if let Some(digest) = digest {
            tags.read += u64::from(known.get(&leaf.name) != Some(&digest));
            tags.lead_to.insert(leaf.name, digest);
        }
    }
    Ok(tags)
}

/// What those manifests of a repository name that count.
pub(super) fn here(
    repository: &Repository,
    manifests: &Manifests,
    naming: impl Fn(usize) -> bool,
) -> HashSet<Id> {
    let mut here = HashSet::new();
    for (at, revision) in repository.revisions.iter().enumerate() {
        if let Some(refs) = manifests.get(&revision.content).filter(|_| naming(at)) {
            here.extend(refs.children());
        }
    }
    here
}
