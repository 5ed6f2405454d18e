//! Garbage collection of a store that no registry is serving: what no manifest names is removed.
//!
//! Marks first, from every manifest of every repository (or, where untagged ones are to go, from those that a tag leads
//! to), down through indexes, configs and layers; then sweeps. What cannot be read could name anything: then nothing is
//! removed at all.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use roadstead_oci::{Algorithm, Digest, Manifest, Name, Tag};
use roadstead_storage::{Driver, Error as StoreError, StorePath, layout};

use crate::catalog;
use crate::error::Error;
use crate::link::follow;

/// Names listed in one step.
const PAGE: usize = 1000;

/// Manifests larger than what may be pushed today can have been pushed under another limit.
const READ_LIMIT: usize = 64 << 20;

/// What a collection is to do.
#[derive(Debug, Clone, Copy, Default)]
pub struct CollectOptions {
    /// Says what would go, and removes nothing.
    pub dry_run: bool,
    /// Manifests that no tag leads to go as well, unless they refer to one that stays.
    pub delete_untagged: bool,
}

/// What a collection came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Collected {
    /// Digests that something names.
    pub marked: usize,
    pub blobs: usize,
    pub manifests: usize,
    pub layer_links: usize,
}

/// Why nothing, or not all, was collected.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    #[error(
        "{repository}: the manifest {digest} cannot be read, and could name anything: nothing was removed. Mend it, or delete it through the registry's API: {reason}"
    )]
    Unreadable {
        repository: Name,
        digest: Digest,
        reason: String,
    },
    #[error(transparent)]
    Failed(#[from] Error),
}

impl From<StoreError> for CollectError {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.into())
    }
}

/// Collects. What it does is told line by line, in the reference's words.
pub async fn collect(
    store: &dyn Driver,
    options: CollectOptions,
    tell: &mut (dyn FnMut(String) + Send),
) -> Result<Collected, CollectError> {
    let mut collection = Collection {
        store,
        options,
        tell,
        marked: HashSet::new(),
        doomed: Vec::new(),
        unlinked: Vec::new(),
    };
    let mut last = String::new();
    loop {
        let page = catalog::page(store, &last, PAGE, &|_| true).await?;
        for name in &page.items {
            collection.mark_repository(name).await?;
        }
        match page.items.last() {
            Some(end) if page.more => last = end.to_string(),
            _ => return collection.sweep().await,
        }
    }
}

struct Collection<'a> {
    store: &'a dyn Driver,
    options: CollectOptions,
    tell: &'a mut (dyn FnMut(String) + Send),
    marked: HashSet<Digest>,
    /// Manifests to be removed.
    doomed: Vec<(Name, Digest)>,
    /// Layer links to be removed: found with their repository, when it is known what is marked there.
    unlinked: Vec<(Name, Digest)>,
}

/// A repository's manifests, and what they name.
#[derive(Default)]
struct Graph {
    /// By the name of its link, which is what others name it by.
    named: BTreeMap<Digest, Named>,
}

#[derive(Default)]
struct Named {
    /// Where its bytes are, when that is not what its link is named.
    content: Option<Digest>,
    /// Layers, configs, children.
    children: Vec<Digest>,
    subject: Option<Digest>,
}

impl Collection<'_> {
    async fn mark_repository(&mut self, name: &Name) -> Result<(), CollectError> {
        (self.tell)(name.to_string());
        let graph = self.read(name).await?;
        let kept = if self.options.delete_untagged {
            graph.reached_from(self.tagged(name).await?)
        } else {
            graph.named.keys().cloned().collect()
        };
        let mut here = HashSet::new();
        for (digest, named) in &graph.named {
            if !kept.contains(digest) {
                (self.tell)(format!("manifest eligible for deletion: {digest}"));
                self.doomed.push((name.clone(), digest.clone()));
                continue;
            }
            (self.tell)(format!("{name}: marking manifest {digest} "));
            here.insert(digest.clone());
            here.extend(named.content.clone());
            for child in &named.children {
                (self.tell)(format!("{name}: marking blob {child}"));
                here.insert(child.clone());
            }
        }
        for digest in digests(self.store, &layout::layers(name)).await? {
            if !here.contains(&digest) {
                self.unlinked.push((name.clone(), digest));
                continue;
            }
            // What a link holds is what it stands for, whatever its name.
            let link = layout::layer_link(name, &digest);
            self.marked.extend(follow(self.store, &link).await?);
        }
        self.marked.extend(here);
        Ok(())
    }

    /// Every manifest of the repository.
    async fn read(&self, name: &Name) -> Result<Graph, CollectError> {
        let mut graph = Graph::default();
        for revision in digests(self.store, &layout::revisions(name)).await? {
            let link = layout::revision_link(name, &revision);
            let Some(digest) = follow(self.store, &link).await? else {
                continue;
            };
            let mut named = match self
                .store
                .get(&layout::blob_data(&digest), READ_LIMIT)
                .await
            {
                // Its bytes are gone: there is nothing that it could name.
                Err(StoreError::NotFound(_)) => Named::default(),
                got => named_by(&got?).map_err(|reason| CollectError::Unreadable {
                    repository: name.clone(),
                    digest: digest.clone(),
                    reason,
                })?,
            };
            named.content = (digest != revision).then_some(digest);
            graph.named.insert(revision, named);
        }
        Ok(graph)
    }

    async fn tagged(&self, name: &Name) -> Result<Vec<Digest>, CollectError> {
        let mut tagged = Vec::new();
        for tag in names(self.store, &layout::tags(name)).await? {
            let Ok(tag) = tag.parse::<Tag>() else {
                continue;
            };
            tagged.extend(follow(self.store, &layout::tag_current(name, &tag)).await?);
        }
        Ok(tagged)
    }

    async fn sweep(mut self) -> Result<Collected, CollectError> {
        let mut blobs = Vec::new();
        for digest in self.all_blobs().await? {
            if !self.marked.contains(&digest) {
                blobs.push(digest);
            }
        }
        let collected = Collected {
            marked: self.marked.len(),
            blobs: blobs.len(),
            manifests: self.doomed.len(),
            layer_links: self.unlinked.len(),
        };
        (self.tell)(format!(
            "\n{} blobs marked, {} blobs and {} manifests eligible for deletion",
            collected.marked, collected.blobs, collected.manifests
        ));
        // Links before what they lead to: cut off half way, nothing leads nowhere.
        for (name, digest) in std::mem::take(&mut self.doomed) {
            self.remove_manifest(&name, &digest).await?;
        }
        for (name, digest) in std::mem::take(&mut self.unlinked) {
            (self.tell)(format!(
                "{name}: layer link eligible for deletion: {digest}"
            ));
            self.remove(&layout::layer(&name, &digest)).await?;
        }
        for digest in blobs {
            (self.tell)(format!("blob eligible for deletion: {digest}"));
            self.remove(&layout::blob(&digest)).await?;
        }
        Ok(collected)
    }

    /// With what the tags remember of it.
    async fn remove_manifest(&self, name: &Name, digest: &Digest) -> Result<(), CollectError> {
        for tag in names(self.store, &layout::tags(name)).await? {
            let Ok(tag) = tag.parse::<Tag>() else {
                continue;
            };
            if let Some(entry) = layout::tag_index(name, &tag, digest).parent() {
                self.remove(&entry).await?;
            }
        }
        self.remove(&layout::revision(name, digest)).await
    }

    async fn remove(&self, path: &StorePath) -> Result<(), CollectError> {
        if self.options.dry_run {
            return Ok(());
        }
        match self.store.remove(path).await {
            Err(StoreError::NotFound(_)) => Ok(()),
            removed => Ok(removed?),
        }
    }

    async fn all_blobs(&self) -> Result<Vec<Digest>, CollectError> {
        let mut found = Vec::new();
        for algorithm in Algorithm::ALL {
            let directory = joined(&layout::blobs(), algorithm.as_str())?;
            for shard in names(self.store, &directory).await? {
                for hex in names(self.store, &joined(&directory, &shard)?).await? {
                    found.extend(Digest::from_parts(algorithm, &hex));
                }
            }
        }
        Ok(found)
    }
}

impl Graph {
    /// What tags lead to, what that names, and what refers to any of it.
    fn reached_from(&self, tagged: Vec<Digest>) -> BTreeSet<Digest> {
        let mut referrers: BTreeMap<&Digest, Vec<&Digest>> = BTreeMap::new();
        for (digest, named) in &self.named {
            if let Some(subject) = &named.subject {
                referrers.entry(subject).or_default().push(digest);
            }
        }
        let (mut reached, mut next) = (BTreeSet::new(), tagged);
        while let Some(digest) = next.pop() {
            let Some(named) = self.named.get(&digest) else {
                continue;
            };
            if reached.contains(&digest) {
                continue;
            }
            next.extend(named.children.iter().cloned());
            let refer = referrers.get(&digest).into_iter().flatten();
            next.extend(refer.map(|digest| (*digest).clone()));
            reached.insert(digest);
        }
        reached
    }
}

/// What a manifest's bytes name, those of the first schema too.
fn named_by(bytes: &[u8]) -> Result<Named, String> {
    if let Some(layers) = Manifest::schema1_layers(bytes) {
        return Ok(Named {
            children: layers,
            ..Named::default()
        });
    }
    let manifest = Manifest::parse(bytes, None).map_err(|error| error.to_string())?;
    let children = manifest.children();
    let children = children
        .iter()
        .map(|child| child.descriptor().digest.clone())
        .collect();
    Ok(Named {
        children,
        subject: manifest.subject.map(|subject| subject.digest),
        ..Named::default()
    })
}

/// The digests whose directories lie below this one, one level down for each algorithm.
async fn digests(store: &dyn Driver, directory: &StorePath) -> Result<Vec<Digest>, CollectError> {
    let mut found = Vec::new();
    for algorithm in Algorithm::ALL {
        let directory = joined(directory, algorithm.as_str())?;
        let names = names(store, &directory).await?;
        found.extend(
            names
                .iter()
                .filter_map(|hex| Digest::from_parts(algorithm, hex).ok()),
        );
    }
    Ok(found)
}

/// All names in a directory; none when it does not exist.
async fn names(store: &dyn Driver, directory: &StorePath) -> Result<Vec<String>, CollectError> {
    let mut all: Vec<String> = Vec::new();
    loop {
        let after = all.last().map(String::as_str);
        let page = match store.list(directory, after, PAGE).await {
            Err(StoreError::NotFound(_)) => return Ok(all),
            page => page?,
        };
        if page.is_empty() {
            return Ok(all);
        }
        all.extend(page.into_iter().map(|entry| entry.name));
    }
}

fn joined(directory: &StorePath, name: &str) -> Result<StorePath, CollectError> {
    directory.join(name).map_err(|_strange| {
        let source = std::io::Error::other("a name that no registry writes");
        let what = format!("listing {directory}");
        CollectError::from(StoreError::Io { what, source })
    })
}

#[cfg(test)]
#[path = "collect_tests.rs"]
mod tests;
