//! Garbage collection of a store that no registry is serving: what no manifest names is removed.
//!
//! Marks first ([`mark`], which is what a collection of a running registry does as well), then sweeps. What cannot be
//! understood could name anything: then nothing is removed at all. [`walk`] and [`links`] read directories in that way,
//! [`named`] manifests, [`doubt`] says what was not understood; [`keep`] and [`plan`] decide what may go.

pub(crate) mod admission;
mod coordinator;
mod desk;
mod doubt;
pub(crate) mod flights;
pub(crate) mod following;
mod ids;
mod json;
mod keep;
mod links;
mod mail;
mod mark;
mod named;
mod plan;
mod read;
mod reap;
mod refs;
mod removal;
mod report;
mod walk;

use std::time::{Duration, SystemTime};

use roadstead_oci::Digest;
use roadstead_storage::{Driver, StorePath, layout};

pub use coordinator::Collecting;
pub use desk::{DONE, Demand, FAILED, Wish};
pub use doubt::{CollectError, Doubt};
use keep::{Depth, Rules};
pub(crate) use mail::cancel;
pub use mail::{AskError, Asking, cancel_through};
pub use mark::{Finding, Marked, Marker, Policy, Reason, Unneeded};
use plan::{Candidate, Plan, Wanted};
use read::Memory;
pub use reap::reap;
use refs::Refs;
pub use report::Audience;
use walk::below;

/// Manifests larger than what may be pushed today can have been pushed under another limit.
const READ_LIMIT: usize = 64 << 20;

/// Of a repository.
const LAYERS: &str = "_layers";
const REVISIONS: &str = "_manifests/revisions";
const TAGS: &str = "_manifests/tags";

/// Directories told of, and then removed, together.
const REMOVED_AT_ONCE: usize = 256;

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
    let mut memory = Memory::default();
    let rules = Rules {
        depth: Depth::Trees,
        untagged: options.delete_untagged,
        grace: Duration::ZERO,
        now: SystemTime::UNIX_EPOCH,
    };
    let all = Wanted {
        among: None,
        most: usize::MAX,
    };
    let plan = Plan::of(store, &mut memory, rules, all).await?;
    let collection = Collection {
        store,
        options,
        plan: &plan,
        memory: &memory,
    };
    collection.tell_marked(tell);
    collection.sweep(tell).await
}

struct Collection<'a> {
    store: &'a dyn Driver,
    options: CollectOptions,
    plan: &'a Plan,
    memory: &'a Memory,
}

type Tell<'a> = &'a mut (dyn FnMut(String) + Send);

impl Collection<'_> {
    fn tell_marked(&self, tell: Tell<'_>) {
        for (repository, kept) in self.plan.repositories.iter().zip(&self.plan.kept) {
            let name = shown(&repository.path);
            tell(name.to_owned());
            if repository.name.is_none() {
                tracing::warn!(repository = %name, "not a name that is served here; its images stay");
            }
            for (revision, is_kept) in repository.revisions.iter().zip(kept) {
                let digest = self.memory.ids.digest(revision.name);
                if !is_kept {
                    tell(format!("manifest eligible for deletion: {digest}"));
                    continue;
                }
                tell(format!("{name}: marking manifest {digest} "));
                let refs = self.memory.manifests.get(&revision.content);
                for child in refs.map_or(&[][..], Refs::children) {
                    let child = self.memory.ids.digest(*child);
                    tell(format!("{name}: marking blob {child}"));
                }
            }
        }
    }

    async fn sweep(&self, tell: Tell<'_>) -> Result<Collected, CollectError> {
        let plan = self.plan;
        let collected = Collected {
            marked: plan.named,
            blobs: plan.blobs.len(),
            manifests: plan.revisions.len(),
            layer_links: plan.layers.len(),
        };
        tell(format!(
            "\n{} blobs marked, {} blobs and {} manifests eligible for deletion",
            collected.marked, collected.blobs, collected.manifests
        ));
        // Links before what they lead to: cut off half way, nothing leads nowhere.
        self.remove_manifests().await?;
        for some in plan.layers.chunks(REMOVED_AT_ONCE) {
            let mut links = Vec::with_capacity(some.len());
            for Candidate {
                repository, digest, ..
            } in some
            {
                let repository = &plan.repositories[*repository].path;
                let name = shown(repository);
                tell(format!(
                    "{name}: layer link eligible for deletion: {digest}"
                ));
                links.push(below(repository, &format!("{LAYERS}/{}", at(digest)))?);
            }
            self.remove(&links).await?;
        }
        for some in plan.blobs.chunks(REMOVED_AT_ONCE) {
            for Candidate { digest, .. } in some {
                tell(format!("blob eligible for deletion: {digest}"));
            }
            let blobs: Vec<_> = some.iter().map(|blob| layout::blob(&blob.digest)).collect();
            self.remove(&blobs).await?;
        }
        Ok(collected)
    }

    /// With what the tags remember of them.
    async fn remove_manifests(&self) -> Result<(), CollectError> {
        let (mut gone, mut revisions) = (reap::Gone::new(), Vec::new());
        for manifest in &self.plan.revisions {
            let repository = &self.plan.repositories[manifest.repository].path;
            let revision = format!("{REVISIONS}/{}", at(&manifest.digest));
            revisions.push(below(repository, &revision)?);
            let digests = gone.entry(repository.clone()).or_default();
            digests.insert(manifest.digest.clone());
        }
        let remembered = reap::remembered(self.store, &gone).await?;
        self.remove(&remembered).await?;
        self.remove(&revisions).await
    }

    async fn remove(&self, directories: &[StorePath]) -> Result<(), CollectError> {
        if !self.options.dry_run {
            let nobody_else = || futures::FutureExt::boxed(std::future::ready(true));
            self.store.remove_fenced(directories, &nobody_else).await?;
        }
        Ok(())
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
#[path = "collect/online_tests.rs"]
mod online_tests;

#[cfg(test)]
#[path = "collect/asked_tests.rs"]
mod asked_tests;

#[cfg(test)]
#[path = "collect_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "collect_refusal_tests.rs"]
mod refusal_tests;
