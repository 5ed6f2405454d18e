//! Listing repositories, in byte order of their names, a page at a time.
//!
//! Directories nest as names do, but `a-b` stands before `a/b` and after `a`: a directory's repositories and its
//! subdirectories are visited in the order of `a`, `a-b`, `a-b/`, `a/`.

use std::collections::VecDeque;

use futures::future::{BoxFuture, FutureExt as _};
use roadstead_oci::Name;
use roadstead_storage::{Driver, Entry, Error as StoreError, StorePath, layout};

use crate::Registry;
use crate::error::Error;
use crate::link::exists;
use crate::tags::Page;

/// Directory entries held at a time for each level of names.
const PAGE: usize = 1000;

/// What makes a directory a repository.
const MANIFESTS: &str = "_manifests";

/// Directories that are looked into together, before their turn.
const AHEAD: usize = 64;

/// Names that are looked at of each. A repository has three, and those of the repositories below it.
const FEW: usize = 16;

impl Registry {
    /// At most `limit` repositories after `last`, of those that are to be shown.
    pub(crate) async fn catalog(
        &self,
        last: &str,
        limit: usize,
        shows: &Filter<'_>,
    ) -> Result<Page<Name>, Error> {
        page(&*self.store, last, limit, shows).await
    }
}

/// Which repositories are shown.
pub(crate) type Filter<'a> = dyn Fn(&Name) -> bool + Send + Sync + 'a;

/// At most `limit` repositories of a store after `last`, of those that are to be shown.
pub(crate) async fn page(
    store: &dyn Driver,
    last: &str,
    limit: usize,
    shows: &Filter<'_>,
) -> Result<Page<Name>, Error> {
    if limit == 0 {
        return Ok(Page::default());
    }
    let mut walk = Walk {
        store,
        last,
        shows,
        wanted: limit.saturating_add(1),
        found: Vec::new(),
    };
    walk.directory(layout::repositories(), String::new())
        .await?;
    Ok(Page::cut(walk.found, limit))
}

struct Walk<'a> {
    store: &'a dyn Driver,
    last: &'a str,
    shows: &'a Filter<'a>,
    wanted: usize,
    found: Vec<Name>,
}

impl Walk<'_> {
    /// Visits all repositories whose names begin with `prefix`, which is empty or ends with a slash.
    fn directory(&mut self, path: StorePath, prefix: String) -> BoxFuture<'_, Result<(), Error>> {
        async move {
            // Those whose subdirectories' turn has not come: each name begins with the one before it.
            let mut waiting: Vec<Child> = Vec::new();
            let mut after = self.first_to_look_at(&prefix);
            if let Some(first) = after
                .clone()
                .filter(|first| !first.is_empty() && !first.starts_with('_'))
            {
                for child in self.look_into(&path, &[first]).await? {
                    self.repository(&prefix, &child);
                    waiting.push(child);
                }
            }
            loop {
                let entries = match self.store.list(&path, after.as_deref(), PAGE).await {
                    Err(StoreError::NotFound(_)) => Vec::new(),
                    entries => entries?,
                };
                let Some(end) = entries.last() else { break };
                after = Some(end.name.clone());
                let mut names: VecDeque<String> = entries.into_iter().filter_map(named).collect();
                while !names.is_empty() {
                    let ahead = self.missing().min(AHEAD).min(names.len());
                    let some: Vec<String> = names.drain(..ahead).collect();
                    for child in self.look_into(&path, &some).await? {
                        while let Some(earlier) = waiting.pop_if(|earlier| earlier.precedes(&child))
                        {
                            self.subdirectory(&prefix, &earlier).await?;
                        }
                        self.repository(&prefix, &child);
                        waiting.push(child);
                        if self.missing() == 0 {
                            return Ok(());
                        }
                    }
                }
            }
            while let Some(last) = waiting.pop() {
                self.subdirectory(&prefix, &last).await?;
            }
            Ok(())
        }
        .boxed()
    }

    /// What there is in these directories, by one question to the store for all.
    async fn look_into(&self, path: &StorePath, names: &[String]) -> Result<Vec<Child>, Error> {
        let (mut children, mut directories) = (Vec::new(), Vec::new());
        for name in names {
            if let Ok(directory) = path.join(name) {
                children.push(name.clone());
                directories.push(directory);
            }
        }
        let lists = self.store.list_each(&directories, FEW).await?;
        let mut looked = Vec::with_capacity(children.len());
        for ((name, directory), entries) in children.into_iter().zip(directories).zip(lists) {
            let is_all = entries.len() < FEW;
            let mut is_repository = entries.iter().any(|entry| entry.name == MANIFESTS);
            if !is_repository && !is_all {
                let manifests = directory.join(MANIFESTS);
                is_repository = match manifests {
                    Ok(manifests) => exists(self.store, &manifests).await?,
                    Err(_no_path) => false,
                };
            }
            looked.push(Child {
                name,
                directory,
                is_repository,
                may_have_more: !is_all || entries.into_iter().any(|entry| named(entry).is_some()),
            });
        }
        Ok(looked)
    }

    /// The first entry below `prefix` that can hold a repository after `last`: what is before it is done with. Of
    /// `last = "a-b/c"` that is `a`, since `a/x` comes after it.
    fn first_to_look_at(&self, prefix: &str) -> Option<String> {
        let (component, _) = match self.last.strip_prefix(prefix)?.split_once('/') {
            Some(split) => split,
            None => (self.last.strip_prefix(prefix)?, ""),
        };
        let end = component
            .find(|next: char| next < '/')
            .unwrap_or(component.len());
        component.get(..end).map(str::to_owned)
    }

    fn repository(&mut self, prefix: &str, child: &Child) {
        let full = format!("{prefix}{}", child.name);
        if !child.is_repository || full.as_str() <= self.last || self.missing() == 0 {
            return;
        }
        if let Ok(name) = full.parse::<Name>()
            && (self.shows)(&name)
        {
            self.found.push(name);
        }
    }

    async fn subdirectory(&mut self, prefix: &str, child: &Child) -> Result<(), Error> {
        let below = format!("{prefix}{}/", child.name);
        let all_before = below.as_str() < self.last && !self.last.starts_with(&below);
        if !child.may_have_more || all_before || self.missing() == 0 {
            return Ok(());
        }
        self.directory(child.directory.clone(), below).await
    }

    /// Repositories that are still wanted.
    fn missing(&self) -> usize {
        self.wanted.saturating_sub(self.found.len())
    }
}

/// A directory that may be a repository, and hold others.
struct Child {
    name: String,
    directory: StorePath,
    is_repository: bool,
    /// There may be repositories below it.
    may_have_more: bool,
}

impl Child {
    /// Whether what is below it comes before the other one.
    fn precedes(&self, other: &Self) -> bool {
        format!("{}/", self.name) < other.name
    }
}

/// The name of an entry that may be part of a repository's.
fn named(entry: Entry) -> Option<String> {
    (entry.is_directory && !entry.name.starts_with('_')).then_some(entry.name)
}

#[cfg(test)]
#[path = "catalog_tests.rs"]
mod tests;
