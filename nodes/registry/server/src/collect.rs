//! Garbage collection of a store that no registry is serving: what no manifest names is removed.
//!
//! Marks first, from every manifest of every repository (or, where untagged ones are to go, from those that a tag leads
//! to), down through indexes, configs and layers; then sweeps. What cannot be understood could name anything: then nothing
//! is removed at all. [`walk`] reads directories in that way, [`named`] manifests, [`doubt`] says what was not understood.

pub(crate) mod admission;
mod coordinator;
mod doubt;
pub(crate) mod following;
mod graph;
mod json;
mod mark;
mod named;
mod reap;
mod report;
mod walk;

use std::collections::HashSet;

use roadstead_oci::{Algorithm, Digest, Name};
use roadstead_storage::{Driver, Error as StoreError, StorePath, layout};

pub use coordinator::Collecting;
pub use doubt::{CollectError, Doubt};
use graph::Graph;
pub use mark::{Finding, Marked, Marker, Policy, Reason, Unneeded};
use named::Named;
pub use reap::reap;
use walk::below;

/// Manifests larger than what may be pushed today can have been pushed under another limit.
const READ_LIMIT: usize = 64 << 20;

/// Of a repository.
const LAYERS: &str = "_layers";
const REVISIONS: &str = "_manifests/revisions";
const TAGS: &str = "_manifests/tags";

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

/// Collects. What it does is told line by line, in the reference's words.
pub async fn collect(
    store: &dyn Driver,
    options: CollectOptions,
    tell: &mut (dyn FnMut(String) + Send),
) -> Result<Collected, CollectError> {
    let repositories = walk::repositories(store).await?;
    let mut wanted = HashSet::new();
    loop {
        let mut collection = Collection {
            store,
            options,
            tell: &mut *tell,
            wanted,
            marked: HashSet::new(),
            doomed: Vec::new(),
            unlinked: Vec::new(),
        };
        for repository in &repositories {
            collection.mark_repository(repository).await?;
        }
        if !collection.dooms_what_is_wanted() {
            collection.check_whole(&repositories).await?;
            return collection.sweep().await;
        }
        // An index names what another repository was about to lose.
        wanted = collection.wanted;
    }
}

struct Collection<'a> {
    store: &'a dyn Driver,
    options: CollectOptions,
    tell: &'a mut (dyn FnMut(String) + Send),
    /// Manifests that indexes name which stay, and whose repositories do not have them: another may.
    wanted: HashSet<Digest>,
    marked: HashSet<Digest>,
    /// Manifests to be removed, with the directories of their repositories.
    doomed: Vec<(StorePath, Digest)>,
    /// Layer links to be removed: found with their repository, when it is known what is marked there.
    unlinked: Vec<(StorePath, Digest)>,
}

impl Collection<'_> {
    async fn mark_repository(&mut self, repository: &StorePath) -> Result<(), CollectError> {
        let name = shown(repository);
        (self.tell)(name.to_owned());
        if name.parse::<Name>().is_err() {
            tracing::warn!(repository = %name, "not a name that is served here; its images stay");
        }
        let graph = self.read(repository).await?;
        let kept = if self.options.delete_untagged {
            let mut roots = self.tagged(repository).await?;
            let wanted = graph.manifests().map(|(digest, _)| digest);
            roots.extend(wanted.filter(|it| self.wanted.contains(it)).cloned());
            graph.reached_from(roots)
        } else {
            graph.all()
        };
        let mut here = HashSet::new();
        for (digest, named) in graph.manifests() {
            if !kept.contains(digest) {
                (self.tell)(format!("manifest eligible for deletion: {digest}"));
                self.doomed.push((repository.clone(), digest.clone()));
                continue;
            }
            (self.tell)(format!("{name}: marking manifest {digest} "));
            here.insert(digest.clone());
            here.extend(named.content.clone());
            for child in named.children() {
                (self.tell)(format!("{name}: marking blob {child}"));
                here.insert(child.clone());
            }
            let elsewhere = named.manifests.iter().filter(|child| !graph.has(child));
            self.wanted.extend(elsewhere.cloned());
        }
        self.mark_layers(repository, &here).await?;
        self.marked.extend(here);
        Ok(())
    }

    /// What the repository's links to layers stand for, of those that are named.
    async fn mark_layers(
        &mut self,
        repository: &StorePath,
        here: &HashSet<Digest>,
    ) -> Result<(), CollectError> {
        for digest in walk::known_digests(self.store, &below(repository, LAYERS)?).await? {
            if !here.contains(&digest) {
                self.unlinked.push((repository.clone(), digest));
                continue;
            }
            // What a link holds is what it stands for, whatever its name.
            let link = below(repository, &format!("{LAYERS}/{}/link", at(&digest)))?;
            match walk::linked(self.store, &link).await {
                Ok(held) => self.marked.extend(held),
                // A torn one can only have stood for the blob that is there under its name.
                Err(CollectError::Doubtful { .. }) if self.has_blob(&digest).await? => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn has_blob(&self, digest: &Digest) -> Result<bool, CollectError> {
        Ok(crate::link::exists(self.store, &layout::blob_data(digest)).await?)
    }

    /// Every manifest of the repository.
    async fn read(&self, repository: &StorePath) -> Result<Graph, CollectError> {
        let mut graph = Graph::default();
        for revision in walk::digests(self.store, &below(repository, REVISIONS)?).await? {
            let link = below(repository, &format!("{REVISIONS}/{}/link", at(&revision)))?;
            let Some(digest) = walk::linked(self.store, &link).await? else {
                continue;
            };
            let data = layout::blob_data(&digest);
            let mut named = match self.store.get(&data, READ_LIMIT).await {
                // It could name anything; the storage may not be mounted.
                Err(StoreError::NotFound(_)) => return Err(Doubt::NoBytes(digest).at(&link)),
                got => Named::by(&got?).map_err(|reason| {
                    let manifest = digest.clone();
                    Doubt::Unreadable { manifest, reason }.at(&link)
                })?,
            };
            named.content = (digest != revision).then_some(digest);
            graph.add(revision, named);
        }
        Ok(graph)
    }

    /// What tags point to. A tag that nothing could have written still keeps what it points to.
    async fn tagged(&self, repository: &StorePath) -> Result<Vec<Digest>, CollectError> {
        let mut tagged = Vec::new();
        for (_, tag) in walk::directories(self.store, &below(repository, TAGS)?).await? {
            tagged.extend(walk::linked(self.store, &below(&tag, "current/link")?).await?);
        }
        Ok(tagged)
    }

    fn dooms_what_is_wanted(&self) -> bool {
        let mut doomed = self.doomed.iter();
        doomed.any(|(_, digest)| self.wanted.contains(digest))
    }

    /// What is all of one half of a store without the other is not garbage: something is not mounted.
    async fn check_whole(&self, repositories: &[StorePath]) -> Result<(), CollectError> {
        if !walk::exists(self.store, &layout::repositories()).await? {
            return Err(Doubt::NoStore.at(&layout::repositories()));
        }
        let blobs = walk::exists(self.store, &layout::blobs()).await?;
        if blobs && repositories.is_empty() && !self.all_blobs().await?.is_empty() {
            return Err(Doubt::NoRepositories.at(&layout::repositories()));
        }
        if !blobs && !self.unlinked.is_empty() {
            return Err(Doubt::NoStore.at(&layout::blobs()));
        }
        Ok(())
    }

    async fn sweep(mut self) -> Result<Collected, CollectError> {
        let mut blobs = self.all_blobs().await?;
        blobs.retain(|digest| !self.marked.contains(digest));
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
        for (repository, digest) in std::mem::take(&mut self.doomed) {
            self.remove_manifest(&repository, &digest).await?;
        }
        for (repository, digest) in std::mem::take(&mut self.unlinked) {
            let name = shown(&repository);
            (self.tell)(format!(
                "{name}: layer link eligible for deletion: {digest}"
            ));
            let link = below(&repository, &format!("{LAYERS}/{}", at(&digest)))?;
            self.remove(&link).await?;
        }
        for digest in blobs {
            (self.tell)(format!("blob eligible for deletion: {digest}"));
            self.remove(&layout::blob(&digest)).await?;
        }
        Ok(collected)
    }

    /// With what the tags remember of it.
    async fn remove_manifest(
        &self,
        repository: &StorePath,
        digest: &Digest,
    ) -> Result<(), CollectError> {
        for (_, tag) in walk::directories(self.store, &below(repository, TAGS)?).await? {
            let entry = below(&tag, &format!("index/{}", at(digest)))?;
            self.remove(&entry).await?;
        }
        let revision = below(repository, &format!("{REVISIONS}/{}", at(digest)))?;
        self.remove(&revision).await
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

    /// What has another name than a blob's stays.
    async fn all_blobs(&self) -> Result<Vec<Digest>, CollectError> {
        let mut found = Vec::new();
        for algorithm in Algorithm::ALL {
            let directory = below(&layout::blobs(), algorithm.as_str())?;
            for shard in walk::entries(self.store, &directory).await? {
                let (true, Ok(shard)) = (shard.is_directory, directory.join(&shard.name)) else {
                    continue;
                };
                let blobs = walk::entries(self.store, &shard).await?;
                let blobs = blobs.iter();
                found.extend(
                    blobs.filter_map(|blob| Digest::from_parts(algorithm, &blob.name).ok()),
                );
            }
        }
        Ok(found)
    }
}

/// A repository's name, served or not.
fn shown(repository: &StorePath) -> &str {
    let root = layout::repositories();
    let below = repository.as_str().strip_prefix(root.as_str());
    below.map_or(repository.as_str(), |name| name.trim_start_matches('/'))
}

/// A digest as directories.
fn at(digest: &Digest) -> String {
    format!("{}/{}", digest.algorithm(), digest.hex())
}

#[cfg(test)]
#[path = "collect_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "collect_refusal_tests.rs"]
mod refusal_tests;
