//! Listing repositories, in byte order of their names, a page at a time.
//!
//! Directories nest as names do, but `a-b` stands before `a/b` and after `a`: a directory's repositories and its
//! subdirectories are visited in the order of `a`, `a-b`, `a-b/`, `a/`.

use futures::future::{BoxFuture, FutureExt as _};
use roadstead_oci::Name;
use roadstead_storage::{Driver, Entry, Error as StoreError, StorePath, layout};

use crate::Registry;
use crate::error::Error;
use crate::link::exists;
use crate::tags::Page;

/// Directory entries held at a time for each level of names.
const PAGE: usize = 1000;

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
            // Subdirectories whose turn has not come: each begins with the one before it.
            let mut waiting: Vec<String> = Vec::new();
            let mut after = self.first_to_look_at(&prefix);
            if let Some(first) = after
                .clone()
                .filter(|first| !first.is_empty() && !first.starts_with('_'))
            {
                self.repository(&path, &prefix, &first).await?;
                waiting.push(first);
            }
            loop {
                let entries = match self.store.list(&path, after.as_deref(), PAGE).await {
                    Err(StoreError::NotFound(_)) => Vec::new(),
                    entries => entries?,
                };
                let Some(end) = entries.last() else { break };
                after = Some(end.name.clone());
                for Entry { name, is_directory } in entries {
                    if !is_directory || name.starts_with('_') {
                        continue;
                    }
                    while let Some(earlier) = waiting.pop_if(|earlier| format!("{earlier}/") < name)
                    {
                        self.subdirectory(&path, &prefix, &earlier).await?;
                    }
                    self.repository(&path, &prefix, &name).await?;
                    waiting.push(name);
                    if self.is_done() {
                        return Ok(());
                    }
                }
            }
            while let Some(last) = waiting.pop() {
                self.subdirectory(&path, &prefix, &last).await?;
            }
            Ok(())
        }
        .boxed()
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

    async fn repository(
        &mut self,
        path: &StorePath,
        prefix: &str,
        child: &str,
    ) -> Result<(), Error> {
        let full = format!("{prefix}{child}");
        if full.as_str() <= self.last || self.is_done() {
            return Ok(());
        }
        let (Ok(name), Ok(directory)) = (full.parse::<Name>(), path.join(child)) else {
            return Ok(());
        };
        let manifests = directory.join("_manifests");
        if (self.shows)(&name)
            && let Ok(manifests) = manifests
            && exists(self.store, &manifests).await?
        {
            self.found.push(name);
        }
        Ok(())
    }

    async fn subdirectory(
        &mut self,
        path: &StorePath,
        prefix: &str,
        child: &str,
    ) -> Result<(), Error> {
        let below = format!("{prefix}{child}/");
        let all_before = below.as_str() < self.last && !self.last.starts_with(&below);
        if all_before || self.is_done() {
            return Ok(());
        }
        match path.join(child) {
            Ok(directory) => self.directory(directory, below).await,
            Err(_no_repository) => Ok(()),
        }
    }

    fn is_done(&self) -> bool {
        self.found.len() >= self.wanted
    }
}

#[cfg(test)]
#[path = "catalog_tests.rs"]
mod tests;
