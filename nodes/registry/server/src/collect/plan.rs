//! What may go: from manifests down to bytes.

use std::collections::{BTreeSet, HashSet};
use std::time::SystemTime;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use roadstead_metadata::Unit;
use roadstead_oci::{Algorithm, Digest};
use roadstead_storage::{Driver, Leaf, Read, StorePath, layout};

use super::doubt::{CollectError, Doubt};
use super::ids::{Id, Marks};
use super::keep::{self, Depth, Repository, Rules};
use super::links::{self, Holds, Link, Links};
use super::mark::Finding;
use super::read::{self, Memory};
use super::walk::{self, below};
use super::{LAYERS, at};
use crate::link::link_to;

/// Directories looked into at a time, of so many that are to be.
const AT_ONCE: usize = 8;
const CHUNK: usize = 64;

/// Which units are asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) among: Option<&'a BTreeSet<Unit>>,
    /// Of each kind.
    pub(super) most: usize,
}

/// Something that may go.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    kind: Kind,
    /// By its place in [`Plan::repositories`]; 0 for bytes.
    pub(super) repository: usize,
    pub(super) digest: Digest,
    pub(super) modified: Option<SystemTime>,
    pub(super) bytes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Revision,
    Layer,
    Data,
}

#[derive(Debug)]
pub(super) struct Plan {
    pub(super) repositories: Vec<Repository>,
    /// As those.
    pub(super) kept: Vec<Vec<bool>>,
    pub(super) revisions: Vec<Candidate>,
    pub(super) layers: Vec<Candidate>,
    pub(super) blobs: Vec<Candidate>,
    pub(super) has_more: bool,
    pub(super) named: usize,
    pub(super) read: u64,
    pub(super) findings: Vec<Finding>,
}

impl Plan {
    pub(super) async fn of(
        store: &dyn Driver,
        memory: &mut Memory,
        rules: Rules,
        wanted: Wanted<'_>,
    ) -> Result<Self, CollectError> {
        let shelves = memory.repositories(store, rules.untagged).await?;
        let (repositories, links) = (shelves.all, shelves.read);
        let manifests = memory.read_manifests(store, &repositories).await?;
        let kept = keep::kept(&repositories, &memory.manifests, &rules);
        let mut planning = Planning {
            store,
            memory,
            rules,
            wanted,
            needed: Marks::default(),
            has_unlinked: false,
            has_manifests: shelves.with_manifests > 0,
            plan: Self {
                repositories,
                kept,
                revisions: Vec::new(),
                layers: Vec::new(),
                blobs: Vec::new(),
                has_more: false,
                named: 0,
                read: links + manifests,
                findings: Vec::new(),
            },
        };
        planning.manifests();
        planning.layers().await?;
        planning.plan.named = planning.needed.count();
        planning.blobs().await?;
        let Planning { memory, plan, .. } = planning;
        memory.keep_only(&plan.repositories);
        Ok(plan)
    }

    /// `None` for what lies in a repository that is not served.
    pub(super) fn unit(&self, candidate: &Candidate) -> Option<Unit> {
        let digest = candidate.digest.clone();
        let repository = || self.repositories.get(candidate.repository)?.name.clone();
        Some(match candidate.kind {
            Kind::Data => Unit::Data { digest },
            Kind::Layer => Unit::Layer {
                repository: repository()?,
                digest,
            },
            Kind::Revision => Unit::Revision {
                repository: repository()?,
                digest,
            },
        })
    }
}

struct Planning<'a> {
    store: &'a dyn Driver,
    memory: &'a mut Memory,
    rules: Rules,
    wanted: Wanted<'a>,
    needed: Marks,
    /// A link was found that no manifest needs.
    has_unlinked: bool,
    /// There is a repository that manifests were ever pushed to.
    has_manifests: bool,
    plan: Plan,
}

impl Planning<'_> {
    fn is_top_down(&self) -> bool {
        self.rules.depth == Depth::TopDown
    }

    /// Whether it goes. A link that does not, though nothing needs it, is to lead to its bytes all the same.
    fn offer(&mut self, candidate: Candidate) -> bool {
        if self.is_top_down() {
            let Some(unit) = self.plan.unit(&candidate) else {
                return false;
            };
            if self
                .wanted
                .among
                .is_some_and(|among| !among.contains(&unit))
            {
                return false;
            }
        }
        let into = match candidate.kind {
            Kind::Revision => &mut self.plan.revisions,
            Kind::Layer => &mut self.plan.layers,
            Kind::Data => &mut self.plan.blobs,
        };
        let goes = into.len() < self.wanted.most;
        if goes {
            into.push(candidate);
        } else {
            self.plan.has_more = true;
        }
        goes
    }

    /// Manifests that stay need their bytes, and what is named in a repository is needed by it.
    fn manifests(&mut self) {
        let mut gone = Vec::new();
        for (repository, shelf) in self.plan.repositories.iter().enumerate() {
            for (at, revision) in shelf.revisions.iter().enumerate() {
                let is_kept = self.plan.kept[repository][at];
                if is_kept {
                    self.needed.add(revision.name);
                }
                // A link that holds another digest is not what requests for that digest name.
                if is_kept || (self.is_top_down() && revision.content != revision.name) {
                    self.needed.add(revision.content);
                }
                if !is_kept {
                    let candidate = Candidate {
                        kind: Kind::Revision,
                        repository,
                        digest: self.memory.ids.digest(revision.name),
                        modified: revision.modified,
                        bytes: 0,
                    };
                    gone.push((revision.content, candidate));
                }
            }
        }
        for (content, candidate) in gone {
            if !self.offer(candidate) {
                self.needed.add(content);
            }
        }
    }

    fn here(&self, repository: usize) -> HashSet<Id> {
        let kept = &self.plan.kept[repository];
        let naming = |at: usize| self.is_top_down() || kept[at];
        let shelf = &self.plan.repositories[repository];
        let mut here = read::here(shelf, &self.memory.manifests, naming);
        let staying = shelf.revisions.iter().zip(kept).filter(|(_, kept)| **kept);
        here.extend(staying.map(|(revision, _)| revision.name));
        here
    }

    async fn layers(&mut self) -> Result<(), CollectError> {
        let store = self.store;
        let count = self.plan.repositories.len();
        for from in (0..count).step_by(CHUNK) {
            let mut reads = Vec::with_capacity(CHUNK);
            for repository in &self.plan.repositories[from..count.min(from + CHUNK)] {
                let known = self.memory.plain_layers(&repository.path);
                let directory = below(&repository.path, LAYERS)?;
                reads.push(async move { links::layers(store, &directory, &known).await });
            }
            let mut all = stream::iter(reads).buffered(AT_ONCE).enumerate();
            while let Some((at, links)) = all.next().await {
                self.layers_of(from + at, links?).await?;
            }
        }
        Ok(())
    }

    async fn layers_of(&mut self, repository: usize, links: Links) -> Result<(), CollectError> {
        self.plan.read += links.read;
        let here = self.here(repository);
        for id in &here {
            self.needed.add(*id);
        }
        for link in links.all {
            self.layer(repository, &here, link).await?;
        }
        let path = self.plan.repositories[repository].path.clone();
        self.memory.learn_layers(&path, links.plain);
        Ok(())
    }

    async fn layer(
        &mut self,
        repository: usize,
        here: &HashSet<Id>,
        link: Link,
    ) -> Result<(), CollectError> {
        let id = self.memory.ids.find(&link.name);
        if id.is_some_and(|id| here.contains(&id)) {
            return self.named_layer(repository, link).await;
        }
        self.has_unlinked = true;
        if self.is_top_down() {
            if link.holds == Holds::Nothing {
                return Ok(());
            }
            let is_served = self.plan.repositories[repository].name.is_some();
            if !is_served || self.rules.spares(link.modified) {
                let id = self.memory.ids.id(&link.name);
                self.needed.add(id);
                self.mark_held(&link.holds);
                return Ok(());
            }
            // A request for what it holds does not name the link: so that goes after it.
            self.mark_held(&link.holds);
        }
        let name = link.name.clone();
        let goes = self.offer(Candidate {
            kind: Kind::Layer,
            repository,
            digest: link.name,
            modified: link.modified,
            bytes: 0,
        });
        if !goes {
            let id = self.memory.ids.id(&name);
            self.needed.add(id);
        }
        Ok(())
    }

    fn mark_held(&mut self, holds: &Holds) {
        if let Holds::Other(held) = holds {
            let id = self.memory.ids.id(held);
            self.needed.add(id);
        }
    }

    /// What a link holds is what it stands for, whatever its name.
    async fn named_layer(&mut self, repository: usize, link: Link) -> Result<(), CollectError> {
        self.mark_held(&link.holds);
        if !matches!(link.holds, Holds::Torn | Holds::Nothing) {
            return Ok(());
        }
        let path = &self.plan.repositories[repository].path;
        let place = below(path, &format!("{LAYERS}/{}/link", at(&link.name)))?;
        match walk::linked(self.store, &place).await {
            // A torn one can only have stood for the blob that is there under its name.
            Err(CollectError::Doubtful { doubt, .. }) if self.has_blob(&link.name).await? => {
                let mend = (link.holds == Holds::Torn).then(|| link_to(place.clone(), &link.name));
                self.plan.findings.push(Finding { place, doubt, mend });
            }
            Err(error) => return Err(error),
            Ok(Some(held)) => self.mark_held(&Holds::Other(held)),
            Ok(None) => {}
        }
        Ok(())
    }

    async fn has_blob(&self, digest: &Digest) -> Result<bool, CollectError> {
        Ok(crate::link::exists(self.store, &layout::blob_data(digest)).await?)
    }

    async fn blobs(&mut self) -> Result<(), CollectError> {
        if !walk::exists(self.store, &layout::repositories()).await? {
            return Err(Doubt::NoStore.at(&layout::repositories()));
        }
        // What is all of one half of a store without the other is not garbage: something is not mounted.
        if self.has_unlinked && !walk::exists(self.store, &layout::blobs()).await? {
            return Err(Doubt::NoStore.at(&layout::blobs()));
        }
        let shards = self.shards().await?;
        let store = self.store;
        for some in shards.chunks(CHUNK) {
            let looks: Vec<_> = some
                .iter()
                .map(|(algorithm, shard)| async move {
                    let leaves = store.leaves(shard, "data", Read::Nothing).await;
                    leaves.map(|leaves| (*algorithm, leaves))
                })
                .collect();
            let mut looks = stream::iter(looks).buffered(AT_ONCE);
            while let Some((algorithm, leaves)) = looks.try_next().await? {
                for leaf in leaves {
                    self.blob(algorithm, leaf)?;
                }
            }
        }
        Ok(())
    }

    async fn shards(&self) -> Result<Vec<(Algorithm, StorePath)>, CollectError> {
        let mut shards = Vec::new();
        for algorithm in Algorithm::ALL {
            let directory = below(&layout::blobs(), algorithm.as_str())?;
            for shard in walk::entries(self.store, &directory).await? {
                if let (true, Ok(path)) = (shard.is_directory, directory.join(&shard.name)) {
                    shards.push((algorithm, path));
                }
            }
        }
        Ok(shards)
    }

    /// What has another name than a blob's stays.
    fn blob(&mut self, algorithm: Algorithm, leaf: Leaf) -> Result<(), CollectError> {
        let Ok(digest) = Digest::from_parts(algorithm, &leaf.name) else {
            return Ok(());
        };
        if !self.has_manifests {
            return Err(Doubt::NoRepositories.at(&layout::repositories()));
        }
        let id = self.memory.ids.find(&digest);
        if id.is_some_and(|id| self.needed.has(id)) {
            return Ok(());
        }
        let modified = leaf.file.as_ref().and_then(|file| file.modified);
        // A directory without bytes is one that is being made.
        if self.is_top_down() && (leaf.file.is_none() || self.rules.spares(modified)) {
            return Ok(());
        }
        self.offer(Candidate {
            kind: Kind::Data,
            repository: 0,
            digest,
            modified,
            bytes: leaf.file.map_or(0, |file| file.size),
        });
        Ok(())
    }
}
