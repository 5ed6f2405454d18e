//! Reading the links of a repository, each once in the life of a [`Marker`](super::Marker): what a link holds does not
//! change while the file does not.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use roadstead_oci::{Algorithm, Digest};
use roadstead_storage::{Driver, Error as StoreError, Leaf, LeafFile, Read, StorePath, layout};

use super::doubt::{CollectError, Doubt};
use super::walk::{self, below};
use crate::link::pointed_to;

/// Links read by one call, and such calls at a time.
const BATCH: usize = 64;
const BATCHES: usize = 8;

/// A link, and what it stands for.
#[derive(Debug, Clone)]
pub(super) struct Link {
    pub(super) name: Digest,
    pub(super) holds: Holds,
    pub(super) modified: Option<std::time::SystemTime>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Holds {
    /// The digest that it is named by.
    Name,
    /// As registries write where they were given one digest and keep another.
    Other(Digest),
    /// A file that holds no digest.
    Torn,
    /// There is a directory for it, and no file in it.
    Nothing,
}

/// Links that are known to hold their own name: by name, age and size.
#[derive(Debug, Clone, Default)]
pub(super) struct Plain(Arc<[u64]>);

impl Plain {
    fn has(&self, name: &str, file: &LeafFile) -> bool {
        self.0.binary_search(&print(name, file)).is_ok()
    }
}

fn print(name: &str, file: &LeafFile) -> u64 {
    let mut hasher = DefaultHasher::new();
    (name, file.modified, file.size).hash(&mut hasher);
    hasher.finish()
}

/// What was read.
#[derive(Debug, Default)]
pub(super) struct Links {
    pub(super) all: Vec<Link>,
    pub(super) plain: Plain,
    /// Files whose content was looked at.
    pub(super) read: u64,
}

/// The links of one directory, which are to blobs of one algorithm.
struct Directory<'a> {
    store: &'a dyn Driver,
    path: StorePath,
    algorithm: Algorithm,
    known: &'a Plain,
    prints: Vec<u64>,
    links: Links,
}

/// Where each link is in a list, and where it lies.
type Unread = (usize, StorePath);

async fn contents<'a>(
    store: &dyn Driver,
    batch: &'a [Unread],
) -> (&'a [Unread], Vec<Result<Bytes, StoreError>>) {
    let paths: Vec<StorePath> = batch.iter().map(|(_, path)| path.clone()).collect();
    let got = store.get_each(&paths, layout::LINK_LIMIT).await;
    (batch, got)
}

/// The links to manifests. What could be one and is not understood is an error.
pub(super) async fn revisions(
    store: &dyn Driver,
    directory: &StorePath,
    known: &Plain,
) -> Result<Links, CollectError> {
    let mut found = Found::default();
    for (algorithm, path) in walk::directories(store, directory).await? {
        let algorithm = algorithm.parse::<Algorithm>();
        let algorithm = algorithm.map_err(|_strange| Doubt::StrangeName.at(&path))?;
        let mut one = Directory::new(store, path, algorithm, known);
        for leaf in one.leaves().await? {
            one.revision(leaf).await?;
        }
        found.add(one);
    }
    Ok(found.done())
}

/// The links to layers. What has another name than a digest's is named by nothing.
pub(super) async fn layers(
    store: &dyn Driver,
    directory: &StorePath,
    known: &Plain,
) -> Result<Links, CollectError> {
    let mut found = Found::default();
    for entry in walk::entries(store, directory).await? {
        let Ok(algorithm) = entry.name.parse::<Algorithm>() else {
            continue;
        };
        let path = below(directory, &entry.name)?;
        if !entry.is_directory {
            walk::is_a_file(store, &path).await?;
            continue;
        }
        let mut one = Directory::new(store, path, algorithm, known);
        for leaf in one.leaves().await? {
            if let Ok(name) = Digest::from_parts(algorithm, &leaf.name) {
                one.take(&leaf.name, name, leaf.file);
            }
        }
        found.add(one);
    }
    Ok(found.done())
}

#[derive(Default)]
struct Found {
    links: Links,
    prints: Vec<u64>,
}

impl Found {
    fn add(&mut self, mut one: Directory<'_>) {
        self.links.all.append(&mut one.links.all);
        self.links.read += one.links.read;
        self.prints.append(&mut one.prints);
    }

    fn done(mut self) -> Links {
        self.prints.sort_unstable();
        self.links.plain = Plain(self.prints.into());
        self.links
            .all
            .sort_unstable_by(|one, other| one.name.cmp(&other.name));
        self.links
    }
}

impl<'a> Directory<'a> {
    fn new(store: &'a dyn Driver, path: StorePath, algorithm: Algorithm, known: &'a Plain) -> Self {
        Self {
            store,
            path,
            algorithm,
            known,
            prints: Vec::new(),
            links: Links::default(),
        }
    }

    /// Each with its content, apart from those that are known.
    async fn leaves(&mut self) -> Result<Vec<Leaf>, CollectError> {
        let algorithm = self.algorithm;
        let own = move |hex: &str| Some(Bytes::from(format!("{algorithm}:{hex}")));
        let read = if self.known.0.is_empty() {
            Read::Unless(layout::LINK_LIMIT, &own)
        } else {
            Read::Nothing
        };
        let mut leaves = self.store.leaves(&self.path, "link", read).await?;
        if matches!(read, Read::Nothing) {
            self.read_unknown(&mut leaves).await?;
        } else {
            self.links.read += leaves.iter().filter(|leaf| leaf.file.is_some()).count() as u64;
        }
        Ok(leaves)
    }

    /// What is known holds its own name, and is taken for read.
    async fn read_unknown(&mut self, leaves: &mut [Leaf]) -> Result<(), CollectError> {
        let mut unknown = Vec::new();
        for (at, leaf) in leaves.iter_mut().enumerate() {
            match &mut leaf.file {
                Some(file) if self.known.has(&leaf.name, file) => {
                    let own = format!("{}:{}", self.algorithm, leaf.name);
                    file.content = Some(own.into());
                }
                Some(_) => unknown.push((at, below(&self.path, &format!("{}/link", leaf.name))?)),
                None => {}
            }
        }
        self.links.read += unknown.len() as u64;
        let reads: Vec<_> = unknown
            .chunks(BATCH)
            .map(|batch| contents(self.store, batch))
            .collect();
        let mut batches = stream::iter(reads).buffer_unordered(BATCHES);
        while let Some((batch, got)) = batches.next().await {
            for (&(at, _), got) in batch.iter().zip(got) {
                match got {
                    Ok(content) => {
                        if let Some(file) = &mut leaves[at].file {
                            file.content = Some(content);
                        }
                    }
                    Err(StoreError::TooLarge { .. }) => {}
                    Err(StoreError::NotFound(_)) => leaves[at].file = None,
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }

    async fn revision(&mut self, leaf: Leaf) -> Result<(), CollectError> {
        let Leaf {
            name,
            is_directory,
            file,
        } = leaf;
        let digest = match Digest::from_parts(self.algorithm, &name) {
            Ok(digest) if is_directory => digest,
            _ => {
                let there = walk::directory(self.store, &self.path, &name, is_directory).await?;
                return match there {
                    Some(path) => Err(Doubt::StrangeName.at(&path)),
                    None => Ok(()),
                };
            }
        };
        if file.is_none() {
            // Deleted, most often; what else there is instead of a file could be mended tomorrow.
            let link = below(&self.path, &format!("{name}/link"))?;
            walk::linked(self.store, &link).await?;
            return Ok(());
        }
        self.take(&name, digest, file);
        match self.links.all.last() {
            Some(last) if last.holds == Holds::Torn => {
                Err(Doubt::TornLink.at(&below(&self.path, &format!("{name}/link"))?))
            }
            _ => Ok(()),
        }
    }

    fn take(&mut self, hex: &str, name: Digest, file: Option<LeafFile>) {
        let (holds, modified) = match file {
            None => (Holds::Nothing, None),
            Some(file) => {
                let holds = match file.content.as_deref().and_then(pointed_to) {
                    None => Holds::Torn,
                    Some(held) if held == name => Holds::Name,
                    Some(held) => Holds::Other(held),
                };
                if holds == Holds::Name {
                    self.prints.push(print(hex, &file));
                }
                (holds, file.modified)
            }
        };
        self.links.all.push(Link {
            name,
            holds,
            modified,
        });
    }
}
